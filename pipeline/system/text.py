"""Text for people and machines: printable text, timestamps, counts and durations."""

import datetime
import math
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache


def timestamp(wall: float) -> str:
    """UTC, ISO 8601, to the millisecond."""
    at = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_count(count: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} {noun}{'s' * (count != 1)}"


_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST = 4096  # characters shown of any one text; PATH_MAX


def join_words(words: Iterable[str], last: str = "and") -> str:
    """A list in a sentence: `a, b and c`."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final


def shorten_list(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are: `a, b and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@lru_cache(maxsize=1024)
def visible(text: str, encoding: str = "utf-8") -> str:
    r"""``text`` as one line that does nothing to a terminal.

    Control and format characters, bidi overrides, lone surrogates, line separators and all that
    ``encoding`` cannot write become escapes such as ``\x1b``; odd spaces become plain ones.
    """
    text = unicodedata.normalize("NFC", text[:_LONGEST])
    shown = "".join(char if char.isprintable() else _escape(char) for char in text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _escape(char: str) -> str:
    if unicodedata.category(char) == "Zs":  # macOS puts a narrow no-break space into names
        return " "
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8, as surrogateescape carries it
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode()


def encodable(text: str) -> str:
    r"""``text`` as UTF-8, JSON and SQLite take it; unlike ``visible`` it changes nothing else.

    A byte of a file name that is not UTF-8 stands in a ``str`` as a lone surrogate, which no
    encoder takes: it becomes an escape such as ``\xff``.
    """
    return _SURROGATES.sub(lambda found: _escape(found[0]), text)


def fold(line: str, columns: int) -> str:
    """``line`` in rows of at most ``columns`` characters, broken at spaces and indented below.

    A word longer than a row, such as a path, stays whole, so that it can be copied.
    """
    if len(line) <= columns:
        return line
    indent = " " * min(len(line) - len(line.lstrip()) + 4, columns // 2)
    rows = textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(rows)


def format_duration(seconds: float | None) -> str:
    """A length of time: 0:07, 12:40, 3:05:00, 2d 03:00; a dash where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    minutes, left = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
