"""Ctrl-C while the program is being loaded: remembered, because libraries may swallow it.

Some (pydantic's compiled part, ``__set_name__``) drop a KeyboardInterrupt that comes while they
build a class, or turn it into another error.
"""

import signal

_came = False


def listen() -> None:
    """Remember Ctrl-C from here on, besides raising KeyboardInterrupt; ignored ones stay so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def came() -> bool:
    """Whether Ctrl-C was pressed before `run` or `watch` took over its signals."""
    return _came


def _remember(_number: int, _frame: object) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt
