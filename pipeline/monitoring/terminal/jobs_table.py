"""The rows of the running pairs: in full, as a table, or summed up where there are many."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from pipeline.monitoring.terminal.layout import ACCENT, QUIET, bar, joined, pair, row
from pipeline.monitoring.terminal.screen import Look
from pipeline.monitoring.view import Lane, View
from pipeline.system.text import format_duration, visible

NARROWEST_NAME = 24  # columns of a pair's name that no other column may take


def lanes(view: View, width: int, height: int, look: Look) -> list[Text]:
    """The running pairs in at most ``height`` rows, in as much detail as fits."""
    running, ahead = view.working, _ahead(view.ahead, width, look)
    if len(running) * 4 + len(ahead) <= height:
        rows = [line for lane in running for line in _full_rows(lane, width, look)]
        return [*rows[:-1], *ahead, *rows[-1:]]
    lines = [_lane_line(lane, look) for lane in running]
    if len(lines) > height - 1:
        lines = _summarize(running, height - 2, look)
    if len(lines) < height - 1:
        lines = [_HEADINGS, *lines]
    rows = _table(lines, width, look)[: height - 1]
    return [*rows, *ahead[: height - 1 - len(rows)], Text()]


def _ahead(waiting: Sequence[Lane], width: int, look: Look) -> list[Text]:
    """What the devices have at hand already, in one row or none."""
    if not waiting:
        return []
    more = Text(f"and {len(waiting) - 1} more" if len(waiting) > 1 else "", style=QUIET)
    first = pair(waiting[0].content, waiting[0].style, width - more.cell_len - 8, look)
    return [row(Text.assemble(("next  ", QUIET), first), more, width)]


def _full_rows(lane: Lane, width: int, look: Look) -> list[Text]:
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
    """One row of the table; a cell that is empty says nothing."""

    name: tuple[str, str]  # photo and style, or words and nothing
    fraction: float | None
    cells: tuple[str, str, str, str, str, str]  # done, left, device, steps/s, scale, step


_HEADINGS = _Line(("", ""), None, ("done", "left", "device", "steps/s", "scale", "step"))
_DRAWN = (0, 4, 5, 3, 1, 2)  # the order of the cells in a row; their own is that of importance
_DEVICE = 2


def _lane_line(lane: Lane, look: Look) -> _Line:
    now, device = lane.progress, visible(lane.device, look.encoding)
    scale = f"{now.scale}/{now.scales} {now.side} px" if now else "starting"
    step = f"{now.step}/{now.steps}" if now else ""
    rate = f"{lane.rate:.1f}" if now else ""
    cells = (f"{lane.fraction:.0%}", lane.left, device, rate, scale, step)
    return _Line((lane.content, lane.style), lane.fraction, cells)


def _summarize(running: Sequence[Lane], height: int, look: Look) -> list[_Line]:
    """A row for each device with several lanes, then lanes as they fit, then the rest as one."""
    by_device = sorted(running, key=lambda lane: lane.device)
    groups = [list(group) for _, group in groupby(by_device, key=lambda lane: lane.device)]
    devices: list[_Line] = []
    if 1 < len(groups) < len(running) and len(groups) <= height:
        devices = [_sum(group, f"{len(group)} jobs", group[0].device, look) for group in groups]
    room = height - len(devices)
    if room < 2:
        return devices or [_sum(running, f"{len(running)} jobs", "", look)]
    shown = [_lane_line(lane, look) for lane in running[: room - 1]]
    rest = running[room - 1 :]
    return [*devices, *shown, _sum(rest, f"and {len(rest)} more", "", look)]


def _sum(group: Sequence[Lane], words: str, device: str, look: Look) -> _Line:
    """Several lanes: how far on average, all their steps, when the first of them ends."""
    fraction = sum(lane.fraction for lane in group) / len(group)
    soonest = min(
        (lane.seconds_left for lane in group if lane.seconds_left is not None), default=None
    )
    rate = f"{sum(lane.rate for lane in group):.1f}"
    left = f"next {format_duration(soonest)}"
    cells = (f"{fraction:.0%}", left, visible(device, look.encoding), rate, "", "")
    return _Line((words, ""), fraction, cells)


def _table(lines: Sequence[_Line], width: int, look: Look) -> list[Text]:
    """Names at the left, and as many columns at the right as leave them room."""
    widths = [max(Text(line.cells[i]).cell_len for line in lines) for i in range(len(_DRAWN))]
    shown: set[int] = set()
    free = width - NARROWEST_NAME - 2
    for column, cells in enumerate(widths):
        if cells and free >= cells + 2:
            shown.add(column)
            free -= cells + 2
    length = min(20, width // 8 + max(0, free) // 4) if free > 8 else 0
    return [
        _row(line, [(i, widths[i]) for i in _DRAWN if i in shown], length, width, look)
        for line in lines
    ]


def _row(line: _Line, columns: list[tuple[int, int]], length: int, width: int, look: Look) -> Text:
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
