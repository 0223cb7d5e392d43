"""Draws rows that change in place in the lowest rows of a terminal.

Rows are drawn over the previous ones without erasing them first, and only where they differ, so
nothing flickers. Uses the standard library only; colours and layout come from `frame`.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock
from typing import Any, TextIO

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# A row never wraps, even if the terminal counts a character as wider than we do.
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"
# Terminals with synchronized output show a frame at once; others ignore these codes.
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
CLEAR_ROW, CLEAR_BELOW = "\x1b[K", "\x1b[J"

_SGR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few symbols that are not letters."""

    arrow: str = "→"
    times: str = "×"
    dot: str = "·"
    cut: str = "…"
    full: str = "━"
    half: str = "╸"
    rest: str = "─"
    done: str = "✓"
    failed: str = "✗"
    skipped: str = "–"


@dataclass(frozen=True, slots=True)
class Look:
    """What a terminal can display."""

    encoding: str = "utf-8"
    colors: bool = True  # at least 256; a picture needs as many

    @property
    def unicode(self) -> bool:
        """Whether the encoding has all symbols."""
        return self.encoding.lower().replace("-", "") == "utf8"

    @property
    def glyphs(self) -> Glyphs:
        """The symbols that the encoding has."""
        if self.unicode:
            return Glyphs()
        return Glyphs("->", "x", "|", "~", "=", "=", "-", "+", "!", "-")


class Screen:
    """The lowest rows of a terminal. Opens with the first rows shown; `close` clears them.

    Args:
        file: The terminal.
        size: Returns its columns and rows; called for each frame, so a resize needs no signal.
    """

    def __init__(self, file: TextIO, size: Callable[[], tuple[int, int]] | None = None) -> None:
        self._file = file
        self.size = size or (lambda: terminal_size(file))
        self._rows: list[str] = []
        self._drawn_size = (0, 0)  # columns and rows when the last frame was drawn
        self._open = False
        self._keyboard = _Keyboard(file)
        self._lock = RLock()  # a watcher thread may log while the main thread draws

    def show(self, rows: list[str]) -> None:
        """Replace the rows on screen by ``rows`` (styled text without line ends)."""
        with self._lock:
            if not self._open:
                self._open = True
                self._keyboard.mute()
                self._write(HIDE_CURSOR)
            size = self.size()
            if rows != self._rows or size != self._drawn_size:
                self._draw(rows, all_rows=size != self._drawn_size)
            self._drawn_size = size

    def write_above(self, text: str) -> None:
        """Write a line above the rows; it stays there and scrolls away with the rest."""
        with self._lock:
            top = self._top() if self._rows else ""
            self._write(f"{top}{text}{CLEAR_ROW if top else ''}\r\n")
            rows, self._rows = self._rows, []
            if rows:
                self._draw(rows, all_rows=True)

    def close(self) -> None:
        """Clear the rows, restore cursor and keyboard. `show` opens the screen again."""
        with self._lock:
            if self._open:
                top = self._top() if self._rows else "\r"
                self._write(f"{top}{CLEAR_BELOW}{SHOW_CURSOR}")
                self._keyboard.restore()
            self._open, self._rows = False, []

    def _draw(self, rows: list[str], all_rows: bool) -> None:
        before = self._rows
        drawn = [
            "" if not all_rows and before[i : i + 1] == [row] else f"{row}{CLEAR_ROW}"
            for i, row in enumerate(rows)
        ]
        top = self._top() + (CLEAR_BELOW if all_rows else "") if before else ""
        # If the previous frame had more rows, clear from the start of the row below.
        rest = f"\r\n{CLEAR_BELOW}\x1b[A" if len(before) > len(rows) else ""
        self._write(f"{BEGIN}{NO_WRAP}{top}" + "\r\n".join(drawn) + f"{rest}\r{WRAP}{END}")
        self._rows = rows

    def _top(self) -> str:
        """Moves from the last row to the first. A terminal made narrower has wrapped rows."""
        width = max(1, self.size()[0])
        folds = sum(max(0, _count_cells(row) - 1) // width for row in self._rows)
        up = len(self._rows) - 1 + folds
        return f"\r\x1b[{up}A" if up else "\r"

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a closed terminal must not end the run
            self._file.write(text)
            self._file.flush()


def _count_cells(row: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in _SGR.sub("", row)
    )


class _Keyboard:
    """Prevents the echo of typed keys (and the ^C of Ctrl-C) within the rows."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._before: list[Any] | None = None

    def mute(self) -> None:
        # In the background, changing a terminal's settings would stop the process.
        if termios is None or not in_foreground(self._file):
            return
        with suppress(OSError, termios.error):
            self._before = termios.tcgetattr(self._file.fileno())
            silent = [*self._before]
            silent[3] &= ~termios.ECHO
            # Otherwise Ctrl-C and Ctrl-Z discard output that is not shown yet: half a frame.
            silent[3] |= termios.NOFLSH
            termios.tcsetattr(self._file.fileno(), termios.TCSADRAIN, silent)

    def restore(self) -> None:
        if self._before is None or not in_foreground(self._file):
            return
        with suppress(OSError, termios.error):
            # Keys typed meanwhile were not meant for the shell: discard them.
            termios.tcsetattr(self._file.fileno(), termios.TCSAFLUSH, self._before)
        self._before = None


def terminal_size(file: TextIO) -> tuple[int, int]:
    """Columns and rows of the terminal behind ``file``; 80 x 24 where that is unknown."""
    try:
        columns, rows = os.get_terminal_size(file.fileno())
    except (OSError, ValueError):
        return 80, 24
    return columns or 80, rows or 24  # a serial line reports 0 x 0


def in_foreground(file: TextIO) -> bool:
    """Whether ``file`` is a terminal that this process may draw on (not ``command &``)."""
    try:
        if not file.isatty():
            return False
        return sys.platform == "win32" or os.tcgetpgrp(file.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
