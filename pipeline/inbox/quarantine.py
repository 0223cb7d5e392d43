"""Photos that failed and were put aside: which there are, and how one comes back into the inbox."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.inbox.originals import REASON_SUFFIX
from pipeline.system.copying import copy_to_part, part_name, remove_part
from pipeline.system.safe_files import (
    NO_LINKS,
    digest_at,
    new_file,
    opened_folder,
    read_bounded,
)

MOST_NOTE = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class Held:
    """A photo in quarantine: where it came from, where it lies, and why."""

    content: str
    path: Path
    code: str = ""
    message: str = ""


def held(root: Path) -> list[Held]:
    """Every photo in quarantine, by its place in the inbox.

    What lies in the folder counts; the note beside it only explains, and may be missing.
    """
    return sorted((_held(root, path) for path in _photos(root)), key=lambda one: one.content)


def restore(one: Held, inbox: Path) -> bool:
    """Put a photo back into its place; may be repeated after a crash at any point.

    Returns:
        False where another file stands there: nothing was changed.

    Raises:
        OSError: The inbox or the quarantine cannot be written.
    """
    place = PurePosixPath(one.content)
    with (
        opened_folder(one.path.parent) as there,
        opened_folder(inbox, place.parent.parts, create=True) as back,
    ):
        if not _placed(one.path.name, there, place.name, back):
            return False
        os.fsync(back)
        with suppress(FileNotFoundError):  # moved, not linked
            os.unlink(one.path.name, dir_fd=there)
        with suppress(FileNotFoundError):
            os.unlink(one.path.name + REASON_SUFFIX, dir_fd=there)
        os.fsync(there)
    return True


def _placed(source: str, there: int, name: str, back: int) -> bool:
    """Bring a file under a free name in the inbox; True also where it stands there already."""
    try:
        os.link(source, name, src_dir_fd=there, dst_dir_fd=back, follow_symlinks=False)
    except FileExistsError:
        return _is_there(source, there, name, back)
    except OSError as error:
        if error.errno not in NO_LINKS | {errno.EXDEV}:
            raise
        return _carried(source, there, name, back)
    return True


def _is_there(source: str, there: int, name: str, back: int) -> bool:
    """Whether the same bytes stand in its place: a crash fell between copying and removing."""
    size = os.stat(source, dir_fd=there, follow_symlinks=False).st_size
    return digest_at(there, source) == digest_at(back, name, {size})


def _carried(source: str, there: int, name: str, back: int) -> bool:
    """The same where no second name can be given: another disk, or one without links.

    The copy is whole before it gets the name, so a crash leaves nothing that stands in the way.
    """
    copy_to_part(source, name, home=there, folder=back)
    try:
        os.link(part_name(name), name, src_dir_fd=back, dst_dir_fd=back, follow_symlinks=False)
    except FileExistsError:
        return _is_there(source, there, name, back)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _renamed(source, there, name, back)
    finally:
        remove_part(name, back)
    return True


def _renamed(source: str, there: int, name: str, back: int) -> bool:
    """The same on a disk without links: an empty file reserves the name."""
    try:
        new_file(name, folder=back).close()
    except FileExistsError:
        return _is_there(source, there, name, back)
    os.replace(part_name(name), name, src_dir_fd=back, dst_dir_fd=back)
    return True


def _photos(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if name.endswith((REASON_SUFFIX, ".part")):
                continue
            with suppress(FileNotFoundError):  # brought back meanwhile
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _held(root: Path, path: Path) -> Held:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        note = json.loads(read_bounded(path.with_name(path.name + REASON_SUFFIX), MOST_NOTE))
        error = note["error"]
        return Held(str(note["content"]), path, str(error["code"]), str(error["message"]))
    return Held(path.relative_to(root).as_posix(), path)
