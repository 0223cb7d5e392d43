"""Which place of its paintings each place of a picture learned from, as plain data for the gallery.

A worker stages it as JSON beside the small copies; the gallery checks it and writes it as a
script, because a page opened from ``file://`` can load nothing else. It is no part of the run log:
a map has a few kB, and only the viewer needs it, one at a time.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.outbox.thumbnails import PAINTING_NAME

MOST_CELLS = 24  # on the picture's long side: finer than that, the plan itself is not
MOST_PAINTINGS = 6  # of a blend: the rest would not fit beside the picture
MOST_BYTES = 256 << 10
NO_PLACE = (-1, -1, 0)
FORM = 1  # of the data

_PER_MILLE = range(1001)


@dataclass(frozen=True, slots=True)
class Taught:
    """What one painting taught.

    Attributes:
        name: Of its file, without folders.
        picture: The name of its small copy.
        places: For each cell of the picture, row by row, three numbers: the place of the painting
            in per mille of its width and height, and the radius that holds half of what the cell
            learned from, in per mille of its long side; `NO_PLACE` where it taught nothing.
    """

    name: str
    picture: str
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LearnedMap:
    """The map of one picture: a grid over it, and each painting's places."""

    columns: int
    rows: int
    paintings: tuple[Taught, ...]

    def as_json(self) -> str:
        """JSON in ASCII, which is also a JavaScript literal."""
        return json.dumps({"form": FORM, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read untrusted JSON.

        Raises:
            ValueError: It is not exactly such a map.
        """
        try:
            found = json.loads(text)
            if found["form"] != FORM or len(found["paintings"]) > MOST_PAINTINGS:
                raise ValueError("another form")
            columns, rows = _side(found["columns"]), _side(found["rows"])
            taught = tuple(_taught(each, columns * rows) for each in found["paintings"])
        except (TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"no map: {error}") from None
        return cls(columns, rows, taught)


def _side(value: Any) -> int:
    if type(value) is not int or not 0 < value <= MOST_CELLS:
        raise ValueError(f"no side of a grid: {value!r:.20}")
    return int(value)


def _taught(value: Any, cells: int) -> Taught:
    name, picture, places = value["name"], value["picture"], tuple(value["places"])
    if not isinstance(name, str) or len(name) > 255 or not PAINTING_NAME.fullmatch(picture):
        raise ValueError("no painting")
    if len(places) != 3 * cells or any(type(number) is not int for number in places):
        raise ValueError("not three numbers for each cell")
    for start in range(0, len(places), 3):
        place = places[start : start + 3]
        if place != NO_PLACE and not all(number in _PER_MILLE for number in place):
            raise ValueError(f"no place: {place}")
    return Taught(name, picture, places)
