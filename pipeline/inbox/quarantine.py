"""The quarantine: lists the failed photos in it, and restores one to the inbox."""

import errno
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.inbox.reason_note import REASON_SUFFIX, read_note, remove_note
from pipeline.inbox.settling import being_written
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger
from pipeline.system.copying import copy_to_part, part_name, remove_part
from pipeline.system.safe_files import (
    NO_LINKS,
    digest_at,
    new_file,
    opened_folder,
)
from pipeline.system.taking import original_name, taken

EMPTY_DIGEST = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class QuarantinedPhoto:
    """A photo in quarantine: its place in the inbox, its file, and why it failed."""

    content: str
    path: Path
    code: str = ""
    message: str = ""

    @property
    def has_note(self) -> bool:
        """Whether the note that the program writes is beside it."""
        return bool(self.code)


def quarantined_photos(root: Path, ledger: Ledger) -> list[QuarantinedPhoto]:
    """Every photo that the program put into quarantine, sorted by its place in the inbox.

    Other files may lie in the folder, and are none of them. A photo is recognised by its note. If
    that is missing, because of a kill or a full disk, the ledger knows the photo as failed: by its
    place and SHA-256, or by its place alone if it could not be decoded.
    """
    files = files_in_quarantine(root)
    if all(file.has_note for file in files):
        return files
    failed: dict[str, set[str]] = {}
    for seen in ledger.files.refusals():
        if seen.status == "failed":
            failed.setdefault(seen.content, set()).add("")
    for pair in ledger.pairs(JobState.FAILED, JobState.QUEUED):  # `retry` was killed halfway
        failed.setdefault(pair.content, set()).add(pair.sha256)
    return [file for file in files if file.has_note or _is_known(file, failed)]


def files_in_quarantine(root: Path) -> list[QuarantinedPhoto]:
    """Every file in quarantine that may be a photo of the program's, or another file."""
    return sorted((_read_photo(root, path) for path in _photos(root)), key=lambda one: one.content)


def _is_known(file: QuarantinedPhoto, failed: Mapping[str, Collection[str]]) -> bool:
    digests = failed.get(file.content, ())
    return "" in digests or (bool(digests) and digest_at(None, os.fspath(file.path)) in digests)


def restore(one: QuarantinedPhoto, inbox: Path) -> bool:
    """Put a photo back into its place in the inbox; may be repeated after a crash at any point.

    Returns:
        False if another file has its place: nothing was changed.

    Raises:
        OSError: The inbox or the quarantine cannot be written.
    """
    place = PurePosixPath(one.content)
    with (
        opened_folder(one.path.parent) as there,
        opened_folder(inbox, place.parent.parts, create=True) as back,
    ):
        if not _link_into_inbox(one.path.name, there, place.name, back):
            return False
        os.fsync(back)
        if _remove_restored(one.path.name, there, place.name, back):
            remove_note(original_name(one.path.name) or one.path.name, there)
        os.fsync(there)
    return True


def _remove_restored(source: str, there: int, name: str, back: int) -> bool:
    """Remove a photo from quarantine; False if its name there belongs to another file by now."""
    with suppress(FileNotFoundError), taken(there, source) as private:
        if not _is_same_file(private, there, name, back) and not _has_same_bytes(
            private, there, name, back
        ):
            return False
        os.unlink(private, dir_fd=there)
    return True


def _is_same_file(source: str, there: int, name: str, back: int) -> bool:
    """Whether two names belong to one file."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=back, follow_symlinks=False)
        return os.path.samestat(os.stat(source, dir_fd=there, follow_symlinks=False), found)
    return False


def _link_into_inbox(source: str, there: int, name: str, back: int) -> bool:
    """Link a file to a free name in the inbox; True also if the same file is already there."""
    try:
        os.link(source, name, src_dir_fd=there, dst_dir_fd=back, follow_symlinks=False)
    except FileExistsError:
        return _has_same_bytes(source, there, name, back)
    except OSError as error:
        if error.errno not in NO_LINKS | {errno.EXDEV}:
            raise
        return _copy_into_inbox(source, there, name, back)
    return True


def _has_same_bytes(source: str, there: int, name: str, back: int) -> bool:
    """Whether its place holds the same bytes: a crash came between copying and removing."""
    size = os.stat(source, dir_fd=there, follow_symlinks=False).st_size
    return digest_at(there, source) == digest_at(back, name, {size})


def _copy_into_inbox(source: str, there: int, name: str, back: int) -> bool:
    """The same by copying: the inbox is on another disk, or the disk has no hard links.

    The copy is complete before it gets its name, so a crash leaves nothing in its place.
    """
    if _is_reserved(source, there, name, back):
        os.replace(part_name(name), name, src_dir_fd=back, dst_dir_fd=back)
        return True
    copy_to_part(source, name, home=there, folder=back)
    try:
        os.link(part_name(name), name, src_dir_fd=back, dst_dir_fd=back, follow_symlinks=False)
    except FileExistsError:
        return _has_same_bytes(source, there, name, back)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _move_copy_to_name(source, there, name, back)
    finally:
        remove_part(name, back)
    return True


def _is_reserved(source: str, there: int, name: str, back: int) -> bool:
    """Whether a crash came after `_move_copy_to_name` reserved the name with an empty file.

    The complete copy then stands beside it, and no program has the empty file open.
    """
    if digest_at(back, name, {0}) != EMPTY_DIGEST or being_written(name, folder=back):
        return False
    return _has_same_bytes(source, there, part_name(name), back)


def _move_copy_to_name(source: str, there: int, name: str, back: int) -> bool:
    """The same on a disk without hard links: an empty file reserves the name."""
    try:
        new_file(name, folder=back).close()
    except FileExistsError:
        return _has_same_bytes(source, there, name, back)
    os.replace(part_name(name), name, src_dir_fd=back, dst_dir_fd=back)
    return True


def _photos(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if name.endswith((REASON_SUFFIX, ".part")):
                continue
            with suppress(FileNotFoundError):  # restored meanwhile
                status = path.lstat()
                # An empty file is no photo: a full disk left it in an earlier version.
                if stat.S_ISREG(status.st_mode) and status.st_size:
                    yield path


def _read_photo(root: Path, path: Path) -> QuarantinedPhoto:
    place = path.with_name(original_name(path.name) or path.name)  # a kill left a private name
    note = read_note(place)
    if note is None:
        return QuarantinedPhoto(place.relative_to(root).as_posix(), path)
    return QuarantinedPhoto(note.content, path, note.code, note.message)
