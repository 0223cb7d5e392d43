"""Keeps, archives, deletes or quarantines a photo of the inbox once all its pairs have ended.

The default leaves every file alone. Everything else is done only to the version of the file that
was processed, and a photo is archived or deleted only after its pictures were read back and
verified.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.model import Config
from pipeline.errors import Failure, OutputError, Reason
from pipeline.inbox.examiner import PASSING
from pipeline.inbox.reason_note import write_note
from pipeline.inbox.scanner import EMPTY, Refused
from pipeline.jobs.job import JobState, Output
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.system.copying import copy_over
from pipeline.system.file_names import MAX_NAMES, fit_name
from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import digest_at, new_file, opened_folder

# These failures pass, or a corrected side file ends them: the photo stays where it is.
_STAYS = PASSING | {Reason.SIDECAR_INVALID}


@dataclass(frozen=True, slots=True)
class Ending:
    """A photo whose pairs have all ended; ``failure``: why one of them failed, if one did."""

    content: str
    version: str
    sha256: str
    made: tuple[Pair, ...] = ()
    failure: Failure | None = None


class Originals:
    """Handles the originals as the config says.

    Args:
        config: Its keys ``after`` and ``failed`` decide.
        ledger: Records that a photo leaves the inbox, before it does: a crash costs no picture.
    """

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self.config, self._ledger = config, ledger

    @staticmethod
    def wanted(config: Config) -> bool:
        """Whether the config asks to move or delete any original."""
        return (config.after, config.failed) != ("keep", "leave")

    def finish(self, ending: Ending) -> None:
        """Archive, delete or quarantine a photo whose pairs have all ended, as the config says."""
        if ending.failure is not None:
            self._put_aside(ending.content, ending.version, ending.sha256, ending.failure)
        elif self.config.after != "keep":
            with self._leaving(ending.content, ending.version, ending.sha256):
                self._archive_or_delete(ending.content, ending.version, ending.made)

    def put_aside(self, refused: Refused) -> None:
        """Quarantine a file that was refused as a failure, as the config says."""
        if refused.status == "failed" and refused.version:
            self._put_aside(refused.content, refused.version, "", refused.failure)

    def _put_aside(self, content: str, version: str, sha256: str, failure: Failure) -> None:
        stays = failure == EMPTY or failure.code in _STAYS
        if self.config.failed != "leave" and not stays:
            with self._leaving(content, version, sha256):
                self._quarantine(content, version, sha256, failure)

    @contextmanager
    def _leaving(self, content: str, version: str, sha256: str) -> Iterator[None]:
        """Record that a photo leaves the inbox: the next file with its name is another photo.

        The ledger records it first, so that a crash in between costs no picture.
        """
        self._ledger.close_photo(content, sha256)
        yield
        if sha256 and version_at(self.config.inbox / content) == version:
            self._ledger.reopen_photos({(content, sha256)})

    def _archive_or_delete(self, content: str, version: str, pairs: Iterable[Pair]) -> str:
        """Handle a photo whose pictures are all done. Returns what was done to it, "" if nothing.

        Args:
            content: The photo.
            version: Which version of it was processed.
            pairs: All its pairs, each with its pictures in the outbox.
        """
        made = list(pairs)
        if self.config.after == "keep" or not made or not all(map(self._verified, made)):
            return ""
        with suppress(OSError):
            if self.config.after == "archive":
                moved = self._move(content, version, made[0].sha256, self.config.archive)
                return f"archived as {moved}" if moved else ""
            return "deleted" if self._delete(content, version) else ""
        return ""  # the folder cannot be reached now: tried again at the next start

    def _quarantine(self, content: str, version: str, sha256: str, failure: Failure) -> str:
        """Handle a photo that failed for good. Returns what was done to it, "" if nothing."""
        if self.config.failed == "leave":
            return ""
        with suppress(OSError):
            moved = self._move(content, version, sha256, self.config.quarantine)
            if moved:
                with suppress(OSError):  # it only explains
                    write_note(moved, content, failure)
                return f"put into {moved}"
        return ""

    def _verified(self, pair: Pair) -> bool:
        """Whether all pictures of a pair are in the outbox, byte for byte."""
        if pair.state is not JobState.DONE or not pair.outputs:
            return False
        try:
            return all(map(self._stands, pair.outputs))
        except (OSError, OutputError):
            return False

    def _stands(self, output: Output) -> bool:
        place = PurePosixPath(output.path)
        with opened_folder(self.config.outbox, place.parent.parts) as folder:
            return digest_at(folder, place.name, {output.bytes}) == output.sha256

    def _delete(self, content: str, version: str) -> bool:
        folder, name = _split(content)
        with opened_folder(self.config.inbox, folder) as inbox:
            if not _is(inbox, name, version):
                return False
            os.unlink(name, dir_fd=inbox)
            os.fsync(inbox)
        return True

    def _move(self, content: str, version: str, sha256: str, root: Path) -> Path | None:
        """Move a photo into the same folder below ``root``; no existing file is replaced."""
        folder, name = _split(content)
        root.mkdir(parents=True, exist_ok=True)
        with (
            opened_folder(self.config.inbox, folder) as inbox,
            opened_folder(root, folder, create=True) as there,
        ):
            if not _is(inbox, name, version):
                return None
            size = os.stat(name, dir_fd=inbox, follow_symlinks=False).st_size
            free = _reserved(there, name, sha256, size)
            if free is None:  # a crash came between copying and removing
                os.unlink(name, dir_fd=inbox)
                return root.joinpath(*folder, name)
            try:
                os.replace(name, free, src_dir_fd=inbox, dst_dir_fd=there)
            except OSError as error:
                if error.errno != errno.EXDEV or not copy_over(
                    name, free, home=inbox, folder=there, sha256=sha256
                ):
                    os.unlink(free, dir_fd=there)
                    raise
                os.fsync(there)
                if _is(inbox, name, version):
                    os.unlink(name, dir_fd=inbox)
            os.fsync(there)
            os.fsync(inbox)
        return root.joinpath(*folder, free)


def version_at(path: Path) -> str:
    """The version of the file at a path now; "" where there is none."""
    try:
        return str(Stamp.of(path.lstat()))
    except OSError:
        return ""


def _split(content: str) -> tuple[tuple[str, ...], str]:
    path = PurePosixPath(content)
    return path.parent.parts, path.name


def _is(folder: int, name: str, version: str) -> bool:
    try:
        return str(Stamp.of(os.stat(name, dir_fd=folder, follow_symlinks=False))) == version
    except FileNotFoundError:
        return False


def _reserved(folder: int, name: str, sha256: str, size: int) -> str | None:
    """Reserve a free name by an empty file, to be replaced; None if the photo is already there."""
    for free in _names(name):
        try:
            new_file(free, folder=folder).close()
        except FileExistsError:
            if sha256 and digest_at(folder, free, {size}) == sha256:
                return None
            if os.stat(free, dir_fd=folder, follow_symlinks=False).st_size:
                continue
            # An empty file was reserved before a crash.
        return free
    raise FileExistsError(errno.EEXIST, "every name is taken", name)


def _names(name: str) -> Iterator[str]:
    path = PurePosixPath(name)
    yield name
    for number in range(2, MAX_NAMES):
        yield fit_name(f"{path.stem}~{number}", path.suffix)
