"""Lays out the dashboard: renders a view as one frame of styled rows. Pure functions.

To change the dashboard, change this module; only the table of running pairs is in `jobs_table`, and
new values come from `pipeline.monitoring.view`. These two modules and `layout` alone import rich.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, reduce
from itertools import islice, zip_longest
from textwrap import wrap
from typing import TextIO

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from pipeline.monitoring.terminal.jobs_table import draw_running_jobs
from pipeline.monitoring.terminal.layout import (
    ACCENT,
    BAD,
    GOOD,
    QUIET,
    bar,
    elide,
    joined,
    pair,
    row,
)
from pipeline.monitoring.terminal.preview import Pixel, Preview, character_size, resize, shade
from pipeline.monitoring.terminal.screen import Look
from pipeline.monitoring.view import Result, View
from pipeline.system.text import format_duration, visible

MIN_CLOCK_WIDTH = 48  # columns of a result; with fewer, the name needs the space of the clock
MIN_HEADING_HEIGHT = 10  # rows of results and failures; with fewer, no heading for failures

MARGIN = " "

Row = Sequence[Text | Segment]


@dataclass(frozen=True, slots=True)
class Frame:
    """The rows of a frame, as something that rich can print."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.rows:
            yield Segment(MARGIN)
            for part in line:
                if isinstance(part, Text):
                    style = console.get_style(part.style)
                    yield from Segment.apply_style(part.render(console), style)
                else:
                    yield part
            yield Segment.line()


def render(view: View, width: int, height: int, now: float, look: Look | None = None) -> Frame:
    """Lay out one frame of at most ``height`` rows and ``width`` columns.

    From top to bottom: the head, the running pairs, then previews and results.
    """
    look, width = look or Look(), width - len(MARGIN)
    head = _draw_head(view, width, now, look)
    running = draw_running_jobs(view, width, max(2, (height - len(head)) * 3 // 5), look)
    above: list[Row] = [[line] for line in (*head, *running)]
    return Frame([*above, *_draw_body(view, width, height - len(above), look)][:height])


def _draw_body(view: View, width: int, height: int, look: Look) -> Sequence[Row]:
    """Pictures and results: side by side, or one above the other on a narrow terminal."""
    if height < 2:
        return []
    of_lanes = [lane.preview for lane in view.running if lane.preview]
    previews = (of_lanes or [view.preview] if view.preview else [])[: max(1, width // 70)]
    if not previews or height < 5:
        return _draw_results(view, width, height, look)
    if width < 70:
        left = _draw_pictures(previews, width, height * 3 // 5, look)
        return [*left, [Text()], *_draw_results(view, width, height - len(left) - 1, look)]
    left = _draw_pictures(previews, width // 2, height, look)
    indent = len(left[0]) + 3
    return _put_beside(left, _draw_results(view, width - indent, height, look), indent)


def _draw_head(view: View, width: int, now: float, look: Look) -> list[Text]:
    """Folders, preset and device; counts; progress of the whole run."""
    inbox, outbox = (
        elide(visible(name, look.encoding), max(8, width // 4), look.glyphs.cut)
        for name in (view.inbox, view.outbox)
    )
    where = Text.assemble((inbox, "bold"), (f" {look.glyphs.arrow} ", QUIET), (outbox, "bold"))
    facts = [format_duration(now - view.started_at), visible(view.preset), visible(view.device)]
    message = elide(visible(view.message, look.encoding), width // 2, look.glyphs.cut)
    return [
        row(where, joined([fact for fact in facts if fact], width // 2, look), width),
        row(_draw_counts(view, width - cell_len(message) - 2, look), Text(message, QUIET), width),
        *_draw_queue(view, width, look),
        Text(),
    ]


def _draw_counts(view: View, width: int, look: Look) -> Text:
    """The counts that fit."""
    text, colors = Text(), {"running": ACCENT, "done": GOOD, "failed": BAD}
    for number, word in view.counts.parts():
        dot = f" {look.glyphs.dot} " if text else ""
        if text.cell_len + len(f"{dot}{number} {word}") <= width:
            bold = f"bold {colors.get(word, '')}" if number else "bold"
            text.append(dot, QUIET).append(str(number), bold).append(f" {word}", QUIET)
    return text


def _draw_queue(view: View, width: int, look: Look) -> list[Text]:
    total = view.queued + len(view.running) + view.ended
    if not total:
        return []
    facts = [f"{view.ended} of {total}"]
    pace = view.pace
    facts += [f"{format_duration(pace.seconds_left)} left"] if pace.seconds_left is not None else []
    facts += [f"{pace.per_hour:.0f} an hour"] if pace.per_hour is not None else []
    aside = joined(facts, width // 2, look)
    fraction = (view.ended + sum(lane.fraction for lane in view.running)) / total
    return [row(bar(fraction, width - aside.cell_len - 2, look, GOOD), aside, width)]


def _draw_results(view: View, width: int, height: int, look: Look) -> Sequence[Row]:
    """The latest results and, below them, the latest failures with their reasons."""
    below = _draw_failures(view, width, height // 3, look)
    if below and height >= MIN_HEADING_HEIGHT:
        below = [Text(), Text("Failed", style=f"bold {BAD}"), *below]
    others = (result for result in reversed(view.recent) if result.status != "failed")
    rows = [_draw_result(r, width, look) for r in islice(others, max(1, height - len(below) - 1))]
    rows = rows or [Text("nothing yet", style=QUIET)]
    return [[row] for row in (Text("Latest", style="bold"), *rows, *below)][:height]


def _draw_result(result: Result, width: int, look: Look) -> Text:
    done = result.status == "done"
    sign = (f"{look.glyphs.done} ", GOOD) if done else (f"{look.glyphs.skipped} ", QUIET)
    clock = (
        datetime.fromtimestamp(result.at).strftime("%H:%M  ") if width >= MIN_CLOCK_WIDTH else ""
    )
    took = f"{'draft  ' * result.draft}{format_duration(result.seconds)}"
    aside = Text(took if done else visible(result.code), style=QUIET)
    room = width - len(clock) - aside.cell_len - 4
    name = pair(result.content, result.style, room, look)
    return row(Text.assemble(sign, (clock, QUIET), name), aside, width)


def _draw_failures(view: View, width: int, height: int, look: Look) -> list[Text]:
    """The newest failure in full, then older ones that fit into ``height`` rows."""
    rows: list[Text] = []
    for failure in reversed(view.failures):
        more = _draw_failure(failure, width, look)
        if len(rows) + len(more) > height:
            return rows or more[: max(1, height)]
        rows += more
    return rows


def _draw_failure(result: Result, width: int, look: Look) -> list[Text]:
    code = Text(visible(result.code, look.encoding), style=BAD)
    name = pair(result.content, result.style, width - code.cell_len - 4, look)
    message = visible(result.message, look.encoding)
    lines = wrap(message, max(8, width - 2), max_lines=2, placeholder=look.glyphs.cut)
    why = [Text(f"  {line}", style=QUIET) for line in lines]
    for line in why:
        line.truncate(width)  # wrap counts characters, not columns
    sign = (f"{look.glyphs.failed} ", BAD)
    return [row(Text.assemble(sign, name), code, width), *why]


@lru_cache(maxsize=16)  # pictures change about once a second, frames four times
def draw_picture(preview: Preview, columns: int, rows: int, colors: bool = True) -> Sequence[Row]:
    """The preview as large as fits: two pixels per character, the upper one in the foreground."""
    columns, rows = character_size(preview, columns, rows)
    pixels = resize(preview, columns, rows * 2)
    return [
        [
            draw_half_block(*pair) if colors else Segment(shade(*pair))
            for pair in zip(*two, strict=True)
        ]
        for two in zip(pixels[::2], pixels[1::2], strict=True)
    ]


@lru_cache(maxsize=16384)
def draw_half_block(upper: Pixel, lower: Pixel) -> Segment:
    return Segment("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))


def _draw_pictures(previews: list[Preview], width: int, height: int, look: Look) -> Sequence[Row]:
    """Pictures side by side, equally wide; each part of a row is one column."""
    each = (width - 2 * (len(previews) - 1)) // len(previews)
    images = [
        draw_picture(preview, each, height, look.colors and look.unicode) for preview in previews
    ]
    return reduce(lambda left, right: _put_beside(left, right, len(left[0]) + 2), images)


def _put_beside(left: Sequence[Row], right: Sequence[Row], indent: int) -> list[Row]:
    none: Row = ()
    return [
        [*a, *[Segment(" ")] * (indent - len(a)), *b] if b else a
        for a, b in zip_longest(left, right, fillvalue=none)
    ]


class Painter:
    """Turns frames into rows of text with the escape codes that ``file`` understands."""

    def __init__(self, file: TextIO) -> None:
        self._console = Console(file=file, highlight=False, markup=False, emoji=False)
        colors = self._console.color_system in ("256", "truecolor") and not self._console.no_color
        self.look = Look(self._console.encoding, colors)

    @property
    def can_draw(self) -> bool:
        """Whether the terminal can change rows in place (not TERM=dumb, not the oldest Windows)."""
        return self._console.is_interactive and not self._console.legacy_windows

    def draw_frame(self, view: View, width: int, height: int, now: float) -> list[str]:
        """Draw the rows of `render`."""
        return self._to_text(render(view, width, height, now, self.look)).split("\n")

    def draw_log_line(self, text: str, now: float) -> str:
        """Draw a line of the log with the time of day."""
        clock = datetime.fromtimestamp(now).strftime("%H:%M:%S  ")
        return self._to_text(Text.assemble((clock, QUIET), visible(text, self.look.encoding)))

    def _to_text(self, rows: RenderableType) -> str:
        with self._console.capture() as capture:
            self._console.print(rows, end="", soft_wrap=True)
        return capture.get().rstrip("\n")
