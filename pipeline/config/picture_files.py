"""Says why a path is not a picture that can be used, and what to do instead."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from pipeline.config.file_kinds import foreign_kind, is_photo_name
from pipeline.system.near_names import nearest_path
from pipeline.system.paths import is_folder, is_web_address, why_no_file, why_web_address


def picture_problem(path: Path, remedy: str) -> tuple[str, str] | None:
    """Why a path cannot be used as a picture, as ``what`` and ``hint``; None when it can be.

    Args:
        path: The file.
        remedy: What to do about a file that does not exist, where no other has a similar name.
    """
    if is_web_address(str(path)):
        return why_web_address(str(path))
    if is_folder(path):
        return "is a folder, not a picture", _choose_inside(path)
    why = why_no_file(path)
    if why == os.strerror(errno.ENOENT).lower():
        near = nearest_path(path)
        return "no such image", f"did you mean {str(near)!r}?" if near else remedy
    if why:
        return f"this image cannot be used ({why})", remedy
    if (kind := foreign_kind(path.name)) is not None:
        return f"is {kind.what}", kind.hint
    return None


def _choose_inside(folder: Path) -> str:
    with suppress(OSError):  # it may be listed or not
        inside = sorted(file.name for file in folder.iterdir() if is_photo_name(file.name))
        if inside:
            return f"name one picture in it, such as {folder / inside[0]}"
    return "name one picture"
