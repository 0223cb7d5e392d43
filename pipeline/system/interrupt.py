"""The signals that ask the program to stop: whose they are, from its first import to its last line.

Ctrl-C is remembered while the program is being loaded, because some libraries (pydantic's compiled
part, ``__set_name__``) drop a KeyboardInterrupt that comes while they build a class, or turn it
into another error. A command that handles the stop signals itself has them until the process ends.
"""

import atexit
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # the terminal was closed, or the connection to it was lost
    STOP_SIGNALS.append(signal.SIGHUP)

Handler = Callable[[int, object], None]


class _Interrupt:
    """The handler of SIGINT: remembers that it was called, and raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.came = False
        self.listening = False  # this process is the program's own
        self.handled: list[signal.Signals] = []  # by a command, to the end of the process

    def __call__(self, _number: int, _frame: object) -> None:
        self.came = True
        raise KeyboardInterrupt

    def ignore_handled(self) -> None:
        """Ignore what a command handled: Python restores every other handler at its own end."""
        for number in self.handled:
            signal.signal(number, signal.SIG_IGN)


_interrupt = _Interrupt()


def listen() -> None:
    """Remember Ctrl-C from here on, and still raise KeyboardInterrupt; an ignored one stays so.

    Only the program itself calls this: from here on the process is its own.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if not _interrupt.listening:
        _interrupt.listening = True
        atexit.register(_interrupt.ignore_handled)  # the first registered is the last called


def came() -> bool:
    """Whether Ctrl-C was pressed before `run` or `watch` took over its signals."""
    return _interrupt.came


def raise_swallowed() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed, although a library has dropped it.

    For commands that leave SIGINT to this module: after their imports, and while they work.
    """
    if _interrupt.came:
        raise KeyboardInterrupt


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Give the stop signals to a handler.

    The program's own process leaves them there after this context: what follows is its way out,
    perhaps with an error, where the default action would replace the exit code. A caller's process
    gets the earlier handlers back. Ignored signals stay ignored: `nohup pipeline watch` outlives
    its terminal.
    """
    handled = [s for s in STOP_SIGNALS if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, handler) for s in handled}
    try:
        yield
    finally:
        if _interrupt.listening:
            _interrupt.handled = handled
        else:
            for number, restored in before.items():
                signal.signal(number, restored)


def exit_code_is(code: int) -> None:
    """From here on a signal that a command handled ends the process at once, with this code."""
    for number in _interrupt.handled:
        signal.signal(number, lambda *_: os._exit(code))
