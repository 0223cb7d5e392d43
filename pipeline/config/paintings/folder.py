"""Lists a folder of paintings: which pictures and files with options it has. Reads none of them.

The folder belongs to the owner of the config, and is trusted like it: links are followed, as they
are for `image:`. Only what lies directly in it counts.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pipeline.config.file_kinds import foreign_kind, is_photo_name, is_unseen
from pipeline.system.file_version import Stamp
from pipeline.system.text import format_count

MOST_PAINTINGS = 1000  # more is a folder of photos by mistake: each photo would get each of them
MOST_SHOWN = 5  # names in one finding
SIDE_SUFFIX = ".yaml"
MAX_NAME = 64  # characters of a style's name

# Names of pictures with "", and names of files with options with their version.
State = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class PaintingFolder:
    """A folder of paintings, as it was when it was listed.

    Attributes:
        path: The folder.
        paintings: The pictures in it, by the names of their styles.
        side_files: The files with options beside them, by the same names.
        ignored: What else lies there, in words; "" if nothing does.
        state: Another one once the folder gives other styles or options.
        missing: It could not be listed or is empty, and the caller needs no painting.
    """

    path: Path
    paintings: Mapping[str, Path] = field(default_factory=dict)
    side_files: Mapping[str, Path] = field(default_factory=dict)
    ignored: str = ""
    state: State = frozenset()
    missing: bool = False

    def options_file(self, style: str) -> Path:
        """The file with the options of one of its styles, which need not exist."""
        return _options_beside(self.path, self.paintings[style])


@lru_cache(maxsize=4096)  # asked for each folder above each photo, in each plan
def style_name(name: str) -> str:
    """A style's name for a file's or a folder's: what it may not contain becomes ``_``.

    Most names stay as they are: "Café am Abend" does, "Nacht (1889)" becomes "Nacht_1889".
    """
    plain = "".join(
        sign if sign in " .-_" or _is_word(sign) else "\0"
        for sign in unicodedata.normalize("NFC", name)
    )
    joined = re.sub(r"[ \0]*\0[ \0]*", "_", plain.strip("\0 ")).lstrip(" .-")
    return joined[:MAX_NAME].rstrip() or "painting"


def list_folder(path: Path, without: Collection[Path] = ()) -> PaintingFolder:
    """List a folder of paintings.

    Args:
        path: The folder.
        without: Pictures in it that do not count yet, because they are still being copied.

    Raises:
        OSError: It cannot be listed.
        ValueError: Two pictures have the same name, or there are too many.
    """
    pictures, sides, others = _sort_entries(path)
    taken = [name for name in pictures if path / name not in without]
    if len(taken) > MOST_PAINTINGS:
        raise ValueError(
            f"there are more than {MOST_PAINTINGS} pictures in the folder {path}: name a folder "
            "that has only paintings"
        )
    paintings: dict[str, Path] = {}
    for name in taken:
        style = style_name(Path(name).stem)
        if style in paintings:
            names = f"{paintings[style].name} and {name} in {path}"
            raise ValueError(f"{names} would both be the style {style!r}: rename one of them")
        paintings[style] = path / name
    beside = {style: _options_beside(path, file) for style, file in paintings.items()}
    side_files = {style: side for style, side in beside.items() if side.name in sides}
    state = _state_of(path, taken, sides)
    return PaintingFolder(path, paintings, side_files, _describe_others(path, others), state)


def look_at_folder(path: Path, without: Collection[Path] = ()) -> tuple[State | None, str]:
    """`state` and `ignored` of a folder as it is now; None where it cannot be listed.

    Never raises: two pictures of one name are no matter before the config is loaded.
    """
    try:
        pictures, sides, others = _sort_entries(path)
    except OSError:
        return None, ""
    taken = [name for name in pictures if path / name not in without]
    return _state_of(path, taken, sides), _describe_others(path, others)


def _options_beside(path: Path, painting: Path) -> Path:
    return path / f"{painting.name}{SIDE_SUFFIX}"


def _state_of(path: Path, pictures: Collection[str], sides: Collection[str]) -> State:
    # The version of a picture does not matter here: each plan reads it.
    counted = {name + SIDE_SUFFIX for name in pictures}.intersection(sides)
    return frozenset(
        [(name, "") for name in pictures]
        + [(name, str(Stamp.at(path / name))) for name in sorted(counted)]
    )


def _sort_entries(path: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """Names of pictures, names of files with options, and what the other entries are."""
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    kinds = {entry.name: _kind_of(entry) for entry in found}
    pictures = [name for name, kind in kinds.items() if kind == ""]
    sides, others = [], {}
    for name, kind in kinds.items():
        if kind == SIDE_SUFFIX and name.removesuffix(SIDE_SUFFIX) in pictures:
            sides.append(name)
        elif kind == SIDE_SUFFIX:
            others[name] = "options, but the picture is not beside it"
        elif kind:
            others[name] = kind
    return pictures, sides, {name: kind for name, kind in others.items() if kind != "unseen"}


def _kind_of(entry: os.DirEntry[str]) -> str:
    """What an entry is, if it is no picture; "" where its style may wait for it, but exists."""
    name = entry.name
    if is_unseen(name):
        return "unseen"
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link that leads nowhere now: as if its file could not be read
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "a folder"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    if is_photo_name(name):
        return "" if _is_text(name) else "its name is not UTF-8"
    if name.endswith(SIDE_SUFFIX) and is_photo_name(name.removesuffix(SIDE_SUFFIX)):
        return SIDE_SUFFIX
    if name.lower().endswith((".yaml", ".yml")):
        return "options are named after their picture, as in a.jpg.yaml"
    kind = foreign_kind(name)
    return kind.what if kind else "not a picture"


def _describe_others(path: Path, others: Mapping[str, str]) -> str:
    """One finding for all that is ignored."""
    if not others:
        return ""
    shown = [f"{name} ({kind})" for name, kind in list(others.items())[:MOST_SHOWN]]
    more = len(others) - len(shown)
    listed = ", ".join(shown) + (f" and {format_count(more, 'other')}" if more else "")
    return f"ignored in {path}: {listed}"


def _is_word(sign: str) -> bool:
    """Whether a sign is a letter, a mark on one, or a digit, as the check of names has it."""
    category = unicodedata.category(sign)
    return category[0] in "LM" or category == "Nd"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
