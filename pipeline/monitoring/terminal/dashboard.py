"""Runs the dashboard: live rows on a terminal, else plain lines. `frame` lays out the rows.

With ``--json`` nothing is shown. To change what the rows contain or how they look, see `frame`; the
values come from `pipeline.monitoring.view`. This module decides only where and when to draw, and
writes the plain lines.
"""

import io
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from datetime import datetime
from itertools import islice
from threading import current_thread, main_thread
from typing import Protocol, Self, TextIO

from pipeline.monitoring.terminal.frame import Painter, render
from pipeline.monitoring.terminal.screen import Screen, in_foreground
from pipeline.monitoring.view import Lane, Result, View, summarize_run
from pipeline.system.text import format_duration, visible

__all__ = ["Dashboard", "Lane", "Result", "View", "render"]

FRAME_SECONDS = 0.25  # at most four frames a second: the engine needs the cores
PROGRESS_SECONDS = 10.0  # between two plain progress lines of one job
LAST_FAILURES = 10  # failures listed again at the end


class Display(Protocol):
    """A way to show a view."""

    def update(self, view: View, now: float) -> None: ...
    def line(self, text: str, now: float) -> None: ...
    def pause(self) -> None: ...
    def close(self, view: View, now: float) -> None: ...


class Dashboard:
    """Shows a view, in the way that fits the output. A context manager.

    On exit it restores the cursor and leaves a plain summary.

    Args:
        file: Where to draw; standard output by default.
        silent: Draw nothing (``--json``: the service prints its events itself).
        plain: Where plain lines go when ``file`` is no terminal to draw on.
        draw: Draw rows where ``file`` is a terminal; otherwise write plain lines (``--plain``).
        clock: Seconds since the epoch, for lines without a time of their own.
    """

    def __init__(
        self,
        file: TextIO | None = None,
        *,
        silent: bool = False,
        plain: io.TextIOBase | TextIO | None = None,
        draw: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._display: Display | None = (
            None if silent else _choose_display(file or sys.stdout, plain, draw)
        )
        self._clock = clock
        self._view = View()
        self._cleanup = ExitStack()
        self._suspend_requested = False

    def __enter__(self) -> Self:
        if isinstance(self._display, Live):
            # Output of other code goes above the rows instead of into them.
            self._cleanup.enter_context(redirect_stdout(_Lines(self.line)))
            self._cleanup.enter_context(redirect_stderr(_Lines(self.line)))
            self._handle_ctrl_z()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, view: View, now: float) -> None:
        """Show ``view``. Cheap to call often: it draws at most four frames a second."""
        self._view = view
        if self._suspend_requested:
            self._suspend()
        if self._display:
            self._display.update(view, now)

    def line(self, text: str) -> None:
        """Write a line of the log above the rows, or among the plain lines."""
        if self._display:
            self._display.line(text, self._clock())

    def pause(self) -> None:
        """Release the terminal to another program; the next update takes it back."""
        if self._display:
            self._display.pause()

    def _handle_ctrl_z(self) -> None:
        # Stopping at once would leave the shell without cursor and echo, and our rows on screen.
        if sys.platform != "win32" and current_thread() is main_thread():
            before = signal.signal(signal.SIGTSTP, self._request_suspend)
            self._cleanup.callback(signal.signal, signal.SIGTSTP, before)

    def _request_suspend(self, *_: object) -> None:
        self._suspend_requested = True

    def _suspend(self) -> None:
        self._suspend_requested = False
        self.pause()
        os.kill(os.getpid(), signal.SIGSTOP)  # until `fg`

    def close(self) -> None:
        """Clear the rows and write the summary; nothing is drawn afterwards."""
        display, self._display = self._display, None
        self._cleanup.close()
        if display:
            display.close(self._view, self._clock())


def _choose_display(file: TextIO, plain: io.TextIOBase | TextIO | None, draw: bool) -> Display:
    painter = Painter(file)
    if draw and painter.can_draw and in_foreground(file):
        return Live(Screen(file), painter)
    return PlainLines(plain or file)


class Live:
    """Draws frames in the lowest rows of a terminal."""

    def __init__(self, screen: Screen, painter: Painter) -> None:
        self._screen, self._painter = screen, painter
        self._drawn_at = -math.inf

    def update(self, view: View, now: float) -> None:
        """Draw a new frame, unless the last one is too recent."""
        if 0 <= now - self._drawn_at < FRAME_SECONDS:
            return
        self._drawn_at = now
        columns, rows = self._screen.size()
        # The last column stays empty: with wrapping off, clearing the row's end would clear it.
        self._screen.show(self._painter.draw_frame(view, columns - 1, rows - 1, now))

    def line(self, text: str, now: float) -> None:
        """Write a line above the rows."""
        self._screen.write_above(self._painter.draw_log_line(text, now))

    def pause(self) -> None:
        """Clear the rows."""
        self._screen.close()

    def close(self, view: View, now: float) -> None:
        """Clear the rows and write the last failures and the summary."""
        self._screen.close()
        encoding = self._painter.look.encoding
        for failure in islice(view.failures, max(0, len(view.failures) - LAST_FAILURES), None):
            self._screen.write_above(visible(f"failed: {_format_result(failure)}", encoding))
        self._screen.write_above(visible(summarize_run(view, now), encoding))


class PlainLines:
    """Writes what is new in a view since the last update, one line each:

        2025-11-23T08:45:10+01:00 started  cat.jpg x mosaic [3fa2b1c0d9e8] on cpu

    The order of time, word and pair and the words themselves never change, so that grep finds them.
    """

    def __init__(self, file: io.TextIOBase | TextIO) -> None:
        self._file = file
        self._reported: dict[str, float] = {}  # running job -> when its last line was written
        self._results = 0  # so many were written
        self._message = ""

    def update(self, view: View, now: float) -> None:
        """Write lines for jobs that started, progressed or ended, and for a new message."""
        if view.message not in ("", self._message):
            self._message = view.message
            self.line(view.message, now)
        new, self._results = view.results - self._results, view.results
        for result in islice(view.recent, max(0, len(view.recent) - new), None):
            self._reported.pop(result.job, None)  # a second attempt starts again
            word = "draft" if result.draft else result.status
            self._write(result.at, word, _format_result(result))
        for lane in _list_started(view):
            self._report_progress(lane, now)
        running = {lane.job for lane in view.running}
        self._reported = {job: at for job, at in self._reported.items() if job in running}

    def line(self, text: str, now: float) -> None:
        """Write a line of the log."""
        self._write(now, "info", text)

    def pause(self) -> None:
        """Nothing to clear."""

    def close(self, view: View, now: float) -> None:
        """Write the run's summary, unless it was the last message."""
        if summarize_run(view, now) != self._message:
            self._write(now, "summary", summarize_run(view, now))

    def _report_progress(self, lane: Lane, now: float) -> None:
        if lane.job not in self._reported:
            self._reported[lane.job] = now
            self._write(now, "started", f"{_format_pair(lane)} on {lane.device}")
        elif lane.progress and now - self._reported[lane.job] >= PROGRESS_SECONDS:
            self._reported[lane.job] = now
            left = [f"{lane.left} left"] * (lane.left != format_duration(None))
            facts = [f"{lane.fraction:.0%}", *lane.details, *left]
            self._write(now, "progress", f"{_format_pair(lane)} {', '.join(facts)}")

    def _write(self, at: float, word: str, text: str) -> None:
        time = datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")
        encoding = self._file.encoding or "utf-8"
        with suppress(OSError):  # a closed pipe must not end the run
            self._file.write(f"{time} {word:<8} {visible(text, encoding)}\n")
            self._file.flush()


def _list_started(view: View) -> list[Lane]:
    """Running lanes, and the first lane of each device that has reported nothing yet.

    The others were taken in advance: they start when the job before them ends.
    """
    reporting = {lane.device for lane in view.running if lane.progress}
    first = {lane.device: lane for lane in reversed(view.running)}
    return [
        lane
        for lane in view.running
        if lane.progress or (lane.device not in reporting and first[lane.device] is lane)
    ]


def _format_pair(of: Lane | Result) -> str:
    style = f" x {of.style}" if of.style else ""
    return f"{of.content}{style}" + (f" [{of.job}]" if of.job else "")


def _format_result(result: Result) -> str:
    if result.status == "done":
        names = f": {', '.join(result.outputs)}" if result.outputs else ""
        return f"{_format_pair(result)} in {result.seconds:.1f} s{names}"
    return f"{_format_pair(result)} {result.code}: {result.message}"


class _Lines(io.TextIOBase):
    """A stream that passes on whole lines."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self._pass_on = pass_on
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._pass_on(line)
        return len(text)
