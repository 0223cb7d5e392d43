"""Standard output that never blocks and never fails, so that the program can go on."""

import io
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TextIO

MOST_BYTES = 4 << 20  # that wait for a reader; what comes then is counted and left out
# A pipe that is ready takes as many without waiting.
PIPE_BYTES = getattr(select, "PIPE_BUF", 512)
LOOK_SECONDS = 0.05


class StdoutWriter(io.TextIOBase):
    """Takes text at once, and writes it as fast as the reader reads.

    A closed pipe, a pipe that is not read or a full disk lose lines, and nothing else happens;
    `trouble` reports them.

    Args:
        file: The stream to write to; None: there is none.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._fd = _descriptor(file)
        self._waiting = bytearray()
        self._error: OSError | None = None  # of the last attempt
        self.gone = file is None  # whether the reader went away
        self.lost = 0  # lines that were left out

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return (self._file and self._file.encoding) or "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Take a text; all of it is written, or nothing."""
        if self._file is not None and self._fd is None:
            self._plainly(text)
        elif self.gone or len(self._waiting) > MOST_BYTES:
            self.lost += text.count("\n")
        else:
            self._waiting += text.encode(self.encoding, "backslashreplace")
        return len(text)

    def flush(self) -> None:
        """Write what the reader takes at this moment."""
        while self._waiting and self._fd is not None and _ready(self._fd):
            try:
                count = os.write(self._fd, self._waiting[:PIPE_BYTES])
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._leave()
                return
            except OSError as error:  # a full disk: tried again with the next line
                self._error = error
                return
            self._error = None
            del self._waiting[:count]

    def drain(self, go_on: Callable[[], bool]) -> None:
        """Write the text that waits, while ``go_on`` returns true and there is no error."""
        self.flush()
        while self._waiting and self._error is None and go_on():
            time.sleep(LOOK_SECONDS)
            self.flush()

    @property
    def trouble(self) -> str:
        """How many lines were lost, and why; "" where none was."""
        if self._waiting:
            self.lost += self._waiting.count(b"\n") or 1
            self._waiting.clear()
        if not self.lost:
            return ""
        why = "its reader exited" if self.gone else "nothing reads it"
        if self._error is not None:
            why = (os.strerror(self._error.errno or 0) or str(self._error)).lower()
        lines = f"{self.lost} line{'s' * (self.lost != 1)}"
        return f"standard output did not take {lines}: {why}"

    def _plainly(self, text: str) -> None:
        """To a stream without a descriptor, in the memory of this process."""
        with suppress(OSError):
            assert self._file is not None  # noqa: S101  # asked before
            self._file.write(text)
            self._file.flush()

    def _leave(self) -> None:
        self.gone = True
        self.lost += self._waiting.count(b"\n")
        self._waiting.clear()


def _descriptor(file: TextIO | None) -> int | None:
    try:
        if file is not None:
            file.flush()
            return file.fileno()
    except (OSError, ValueError, AttributeError):
        pass
    return None


def _ready(fd: int) -> bool:
    """Whether writing a little would return at once, with or without an error."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def stdout_reader_is_gone() -> bool:
    """Whether the reader of standard output has closed it."""
    fd = _descriptor_of_stdout()
    if fd is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def stdout_error(error: OSError) -> str:
    """Why standard output cannot be written, if that is what caused an error; else ""."""
    fd = _descriptor_of_stdout()
    if fd is None:
        return ""
    try:
        os.write(fd, b"\n")  # what is open there may have lost bytes already: it is tried
    except OSError as again:
        return os.strerror(again.errno or 0).lower() if again.errno == error.errno else ""
    return ""


def _descriptor_of_stdout() -> int | None:
    try:
        return sys.__stdout__.fileno() if sys.__stdout__ is not None else None
    except (OSError, ValueError):
        return None


def open_standard_streams() -> None:
    """Give closed standard streams to the null device.

    Else the next file that is opened, the jobs database perhaps, becomes standard output.
    """
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    if _wants_ascii(os.environ, bool(sys.flags.utf8_mode)):
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.isatty():
                stream.reconfigure(encoding="ascii", errors="backslashreplace")


def _wants_ascii(environment: Mapping[str, str], utf8_mode: bool) -> bool:
    """Whether the locale is C by the user's choice (``LANG=C``).

    Python writes UTF-8 then all the same (PEP 538 and 540), which such a terminal shows as garbage.
    Without any setting, as in most containers, the terminal is probably a UTF-8 one.
    """
    if "PYTHONIOENCODING" in environment or "PYTHONUTF8" in environment:
        return False
    names = [environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if utf8_mode and names[1] == "C.UTF-8":
        names[1] = None  # set by Python itself, because LANG is C
    return next(filter(None, names), "") in ("C", "POSIX")


def end_standard_streams() -> None:
    """Write what waits; what cannot be written must not turn into another exit code."""
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, fd)
                os.close(null)
