"""Signals that ask `run` and `watch` to stop, counted."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.system import interrupt

# SIGHUP: the terminal was closed, or the connection to it was lost.
_STOPS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])


class Asked:
    """How often we were asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal = 0
        self.number = 0

    def __call__(self, number: int, _frame: object) -> None:
        self.signal += 1
        self.number = number

    def wait(self, seconds: float) -> None:
        """Rest, but not through a signal."""
        if not self.signal:
            time.sleep(seconds)


@contextmanager
def _signals() -> Iterator[Asked]:
    asked = Asked()
    if interrupt.came():  # and was swallowed
        asked(signal.SIGINT, None)
    # What is ignored stays so: `nohup pipeline watch` outlives its terminal.
    heeded = [s for s in _STOPS if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, asked) for s in heeded}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
