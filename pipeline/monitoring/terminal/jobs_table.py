"""Lays out the running pairs of the dashboard: in full, as a table, or summed up if many."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from pipeline.monitoring.terminal.layout import ACCENT, QUIET, bar, joined, pair, row
from pipeline.monitoring.terminal.screen import Look
from pipeline.monitoring.view import Lane, View
from pipeline.system.text import format_duration, visible

MIN_NAME_WIDTH = 24  # columns reserved for the name of a pair


def draw_running_jobs(view: View, width: int, height: int, look: Look) -> list[Text]:
    """The running pairs in at most ``height`` rows, in as much detail as fits."""
    running, ahead = view.working, _draw_waiting(view.ahead, width, look)
    if len(running) * 4 + len(ahead) <= height:
        rows = [line for lane in running for line in _draw_in_full(lane, width, look)]
        return [*rows[:-1], *ahead, *rows[-1:]]
    lines = [_lane_to_line(lane, look) for lane in running]
    if len(lines) > height - 1:
        lines = _summarize(running, height - 2, look)
    if len(lines) < height - 1:
        lines = [_HEADINGS, *lines]
    rows = _draw_table(lines, width, look)[: height - 1]
    return [*rows, *ahead[: height - 1 - len(rows)], Text()]


def _draw_waiting(waiting: Sequence[Lane], width: int, look: Look) -> list[Text]:
    """Jobs that were taken in advance, in one row or none."""
    if not waiting:
        return []
    more = Text(f"and {len(waiting) - 1} more" if len(waiting) > 1 else "", style=QUIET)
    first = pair(waiting[0].content, waiting[0].style, width - more.cell_len - 8, look)
    return [row(Text.assemble(("next  ", QUIET), first), more, width)]


def _draw_in_full(lane: Lane, width: int, look: Look) -> list[Text]:
    device = Text(visible(lane.device, look.encoding), style=QUIET)
    aside = Text.assemble((f"{lane.fraction:4.0%}", "bold"), f"{lane.left:>9}", (" left", QUIET))
    return [
        row(pair(lane.content, lane.style, width - device.cell_len - 2, look), device, width),
        row(bar(lane.fraction, width - aside.cell_len - 2, look), aside, width),
        joined(lane.details, width, look),
        Text(),
    ]


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of the table; cells may be empty."""

    name: tuple[str, str]  # photo and style, or a text and ""
    fraction: float | None
    cells: tuple[str, str, str, str, str, str]  # done, left, device, steps/s, scale, step


_HEADINGS = _Line(("", ""), None, ("done", "left", "device", "steps/s", "scale", "step"))
_COLUMN_ORDER = (0, 4, 5, 3, 1, 2)  # order of the cells in a row; in `cells` the vital ones lead
_DEVICE = 2


def _lane_to_line(lane: Lane, look: Look) -> _Line:
    now, device = lane.progress, visible(lane.device, look.encoding)
    at_scale = now is not None and not now.finishing
    scale = f"{now.scale}/{now.scales} {now.side} px" if now and at_scale else lane.phase
    scale = f"draft {scale}" if lane.draft else scale
    step = f"{now.step}/{now.steps}" if now else ""
    rate = f"{lane.rate:.1f}" if now else ""
    cells = (f"{lane.fraction:.0%}", lane.left, device, rate, scale, step)
    return _Line((lane.content, lane.style), lane.fraction, cells)


def _summarize(running: Sequence[Lane], height: int, look: Look) -> list[_Line]:
    """A row per device if there are several, then the lanes that fit, then one row for the rest."""
    by_device = sorted(running, key=lambda lane: lane.device)
    groups = [list(group) for _, group in groupby(by_device, key=lambda lane: lane.device)]
    devices: list[_Line] = []
    if 1 < len(groups) < len(running) and len(groups) <= height:
        devices = [
            _sum_lanes(group, f"{len(group)} jobs", group[0].device, look) for group in groups
        ]
    room = height - len(devices)
    if room < 2:
        return devices or [_sum_lanes(running, f"{len(running)} jobs", "", look)]
    shown = [_lane_to_line(lane, look) for lane in running[: room - 1]]
    rest = running[room - 1 :]
    return [*devices, *shown, _sum_lanes(rest, f"and {len(rest)} more", "", look)]


def _sum_lanes(group: Sequence[Lane], words: str, device: str, look: Look) -> _Line:
    """Several lanes in one line: mean progress, total steps/s, and when the first one ends."""
    fraction = sum(lane.fraction for lane in group) / len(group)
    soonest = min(
        (lane.seconds_left for lane in group if lane.seconds_left is not None), default=None
    )
    rate = f"{sum(lane.rate for lane in group):.1f}"
    left = f"next {format_duration(soonest)}"
    cells = (f"{fraction:.0%}", left, visible(device, look.encoding), rate, "", "")
    return _Line((words, ""), fraction, cells)


def _draw_table(lines: Sequence[_Line], width: int, look: Look) -> list[Text]:
    """Names on the left, and on the right as many columns as the names leave room for."""
    widths = [
        max(Text(line.cells[i]).cell_len for line in lines) for i in range(len(_COLUMN_ORDER))
    ]
    shown: set[int] = set()
    free = width - MIN_NAME_WIDTH - 2
    for column, cells in enumerate(widths):
        if cells and free >= cells + 2:
            shown.add(column)
            free -= cells + 2
    length = min(20, width // 8 + max(0, free) // 4) if free > 8 else 0
    return [
        _draw_row(line, [(i, widths[i]) for i in _COLUMN_ORDER if i in shown], length, width, look)
        for line in lines
    ]


def _draw_row(
    line: _Line, columns: list[tuple[int, int]], length: int, width: int, look: Look
) -> Text:
    aside = Text()
    if length and line.fraction is not None:
        aside.append_text(bar(line.fraction, length, look, ACCENT))
    else:
        aside.append(" " * length)
    for column, cells in columns:
        text = Text(line.cells[column])
        padding = " " * (cells - text.cell_len)
        cell = f"{text.plain}{padding}" if column == _DEVICE else f"{padding}{text.plain}"
        heading = line.fraction is None
        aside.append("  ").append(cell, "bold" if column == 0 and not heading else QUIET)
    return row(pair(*line.name, width - aside.cell_len - 2, look), aside, width)
