"""Counts the signals that ask `run` and `watch` to stop."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.system import interrupt

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # the terminal was closed, or the connection to it was lost
    STOP_SIGNALS.append(signal.SIGHUP)


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
    """Handle the stop signals within this context; the earlier handlers are restored."""
    requests = StopRequests()
    if interrupt.came():  # and a library swallowed it
        requests(signal.SIGINT, None)
    # Ignored signals stay ignored: `nohup pipeline watch` outlives its terminal.
    handled = [s for s in STOP_SIGNALS if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, requests) for s in handled}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
