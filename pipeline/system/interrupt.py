"""Remembers Ctrl-C while the program is being loaded, because libraries may swallow it.

Some (pydantic's compiled part, ``__set_name__``) drop a KeyboardInterrupt that comes while they
build a class, or turn it into another error.
"""

import signal


class _Interrupt:
    """The handler of SIGINT: remembers that it was called, and raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, _number: int, _frame: object) -> None:
        self.came = True
        raise KeyboardInterrupt


_interrupt = _Interrupt()


def listen() -> None:
    """Remember Ctrl-C from here on, and still raise KeyboardInterrupt; an ignored one stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def came() -> bool:
    """Whether Ctrl-C was pressed before `run` or `watch` took over its signals."""
    return _interrupt.came


def raise_swallowed() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed, although a library has dropped it.

    For commands that leave SIGINT to this module: after their imports, and while they work.
    """
    if _interrupt.came:
        raise KeyboardInterrupt
