"""Counts the signals that ask `run` and `watch` to stop."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.system import interrupt


class StopRequests:
    """How many stop signals have come, and the number of the last one; it is their handler."""

    def __init__(self) -> None:
        self.count = 0
        self.number = 0

    def __call__(self, number: int, _frame: object) -> None:
        self.count += 1
        self.number = number

    def wait(self, seconds: float) -> None:
        """Sleep, unless a stop was requested before."""
        if not self.count:
            time.sleep(seconds)


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Count the stop signals from here on, in the program's own process until it ends."""
    requests = StopRequests()
    if interrupt.came():  # and a library swallowed it
        requests(signal.SIGINT, None)
    with interrupt.handled_by(requests):
        yield requests
