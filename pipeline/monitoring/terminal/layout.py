"""Building blocks of the dashboard's rows: shortened names, bars, left and right parts."""

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipeline.monitoring.terminal.screen import Look
from pipeline.system.text import visible

ACCENT, GOOD, BAD, QUIET = "cyan", "green", "red", "dim"


def elide(text: str, cells: int, cut: str = "…") -> str:
    """Shorten ``text`` to ``cells`` columns in its middle, because names end in a suffix."""
    if cell_len(text) <= cells:
        return text
    room = max(0, cells - cell_len(cut))
    start = max(0, len(text) - (room + 1) // 2)
    while cell_len(text[start:]) > (room + 1) // 2:
        start += 1
    return set_cell_size(text, room // 2) + cut + text[start:]


def row(left: Text, right: Text, width: int) -> Text:
    """One row with a left and a right part; the left one is shortened if they do not fit."""
    right.truncate(width)
    left.truncate(max(0, width - right.cell_len - 2))
    return Text.assemble(left, " " * (width - left.cell_len - right.cell_len), right)


def pair(content: str, style: str, width: int, look: Look) -> Text:
    """``photo x style`` in at most ``width`` columns, without control characters."""
    cut, times = look.glyphs.cut, look.glyphs.times
    style = elide(visible(style, look.encoding), max(8, width // 3), cut)
    joint = f" {times} " if style else ""
    name = elide(visible(content, look.encoding), max(8, width - cell_len(style + joint)), cut)
    return Text.assemble(name, (joint, QUIET), (style, ACCENT))


def joined(parts: list[str], width: int, look: Look) -> Text:
    """Join as many of ``parts`` as fit, from the first on."""
    between = f" {look.glyphs.dot} "
    while len(parts) > 1 and cell_len(between.join(parts)) > width:
        parts = parts[:-1]
    return Text(between.join(parts), style=QUIET)


def bar(fraction: float, width: int, look: Look, color: str = ACCENT) -> Text:
    """A progress bar of ``width`` columns."""
    full, half = divmod(int(min(1.0, fraction) * width * 2), 2)
    done = look.glyphs.full * full + look.glyphs.half * half
    return Text.assemble((done, color), (look.glyphs.rest * (width - len(done)), QUIET))
