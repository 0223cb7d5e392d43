"""The note beside a photo in quarantine: why it failed. No other file of its name is touched."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import Failure
from pipeline.system.safe_files import read_bounded, write_whole

REASON_SUFFIX = ".reason.json"
MOST_NOTE = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class ReasonNote:
    """The place of a photo in the inbox, and why it failed."""

    content: str
    code: str
    message: str


def read_note(photo: Path | str, *, folder: int | None = None) -> ReasonNote | None:
    """The note beside a photo; None where there is none, or a file that is no such note.

    Args:
        photo: Path of the photo; relative to ``folder``, if that is given.
        folder: Descriptor of an open folder.
    """
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        facts = json.loads(read_bounded(f"{photo}{REASON_SUFFIX}", MOST_NOTE, folder=folder))
        error = facts["error"]
        content = str(facts["content"])
        if _is_place(content):
            return ReasonNote(content, str(error["code"]), str(error["message"]))
    return None


def _is_place(content: str) -> bool:
    """Whether this is a path of a file within the inbox.

    Raises:
        ValueError: It holds characters that no file name can hold.
    """
    path = PurePosixPath(content)
    inside = bool(path.name) and not path.is_absolute() and ".." not in path.parts
    return inside and b"\0" not in os.fsencode(content)


def write_note(photo: Path, content: str, failure: Failure) -> None:
    """Write a note beside a photo: why it failed, and how to try it again.

    Raises:
        OSError: It cannot be written, or something that is no note has its name.
    """
    note = photo.with_name(photo.name + REASON_SUFFIX)
    if os.path.lexists(note) and read_note(photo) is None:
        raise FileExistsError(f"{note} is another file")
    facts = {
        "content": content,
        "error": {"code": failure.code, "message": failure.message},
        "mend": "`pipeline retry` puts it back into the inbox and tries again",
    }
    write_whole(note, json.dumps(facts, indent=2).encode())


def remove_note(photo: str, folder: int) -> None:
    """Remove the note beside a photo in an open folder."""
    if read_note(photo, folder=folder) is not None:
        with suppress(FileNotFoundError):
            os.unlink(photo + REASON_SUFFIX, dir_fd=folder)
