"""Keeps, archives, deletes or quarantines a photo of the inbox once all its pairs have ended.

The default leaves every file alone, and a file that the config names, such as a painting, always
stays. Everything else is done only to the version of the file that was processed, and a photo is
archived or deleted only after its pictures were read back and verified. What may take long or fail
comes first: reading the archive, copying to another disk. Then the photo is taken
(`pipeline.system.taking`), and removed or moved if it still is that version.

Where a folder cannot be read or written now, the photo stays, and is tried again by and by.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath

from pipeline.config.checks.places import is_source
from pipeline.config.model import Config
from pipeline.errors import Failure, Reason
from pipeline.inbox.examiner import PASSING
from pipeline.inbox.reason_note import write_note
from pipeline.inbox.scanner import EMPTY
from pipeline.inbox.settling import being_written
from pipeline.jobs.job import JobState, Output
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.system.copying import copy_to_part, part_name, remove_part
from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import digest_at, error_text, new_file, opened_folder
from pipeline.system.taking import (
    move_to_free_name,
    numbered_names,
    put_back_after_crash,
    taken,
)

AGAIN_SECONDS = 15.0  # between two tries where a folder cannot be written
MOST_FAILED = 3  # in one try: each reads the pictures of its photo
_DIGEST = 64  # characters of a SHA-256
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

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
        self._sources = [place.path for place in config.sources()]
        self._waiting: dict[str, tuple[Ending, str]] = {}  # by content, with what failed
        self._trouble_of_left = ""
        self._again_at = float("-inf")

    @staticmethod
    def wanted(config: Config) -> bool:
        """Whether the config asks to move or delete any original."""
        return (config.after, config.failed) != ("keep", "leave")

    @property
    def trouble(self) -> str:
        """Which folders do not allow originals to be moved or deleted now, and why; "" if none."""
        whys = {why for _, why in self._waiting.values()} | {self._trouble_of_left}
        return "; ".join(sorted(filter(None, whys)))

    def finish(self, ending: Ending) -> None:
        """Archive, delete or quarantine a photo whose pairs have all ended, as the config says."""
        self._waiting.pop(ending.content, None)
        if self._is_named(ending.content):
            return
        try:
            if ending.failure is not None:
                self._quarantine(ending, ending.failure)
            elif self.config.after != "keep" and self._are_verified(ending.made):
                self._archive_or_delete(ending)
        except OSError as error:
            self._waiting[ending.content] = ending, self._describe(ending, error)

    def _is_named(self, content: str) -> bool:
        """Whether the config names this file of the inbox as a painting, a start image or a model.

        Looked up each time: a link that the config names may point elsewhere by now.
        """
        try:
            status = (self.config.inbox / content).stat()
        except OSError:
            return False  # gone, or not to be moved now
        return is_source(self._sources, status)

    def retry(self, now: float) -> None:
        """Try again, now and then, what a folder did not allow.

        Args:
            now: Monotonic seconds.
        """
        if not self._waiting or now < self._again_at:
            return
        self._again_at = now + AGAIN_SECONDS
        failed = 0
        for ending, _ in list(self._waiting.values()):
            self.finish(ending)  # waits behind the others if it fails again
            failed += ending.content in self._waiting
            if failed == MOST_FAILED:
                return

    def put_back(self, left: Iterable[str]) -> bool:
        """Give photos that a crash left under a private name their own again.

        Args:
            left: Their paths relative to the inbox.

        Returns:
            Whether all have it; otherwise :attr:`trouble` says why.
        """
        self._trouble_of_left = ""
        for content in left:
            folder, private = _split(content)
            try:
                with opened_folder(self.config.inbox, folder) as inbox:
                    put_back_after_crash(private, inbox)
            except FileNotFoundError:
                continue  # another program was quicker
            except OSError as error:
                where = self.config.inbox / content
                self._trouble_of_left = f"{where} cannot be renamed: {error_text(error)}"
        return not self._trouble_of_left

    def _describe(self, ending: Ending, error: OSError) -> str:
        config = self.config
        if ending.failure is None and config.after == "delete":
            what = f"after: delete: photos cannot be deleted from {config.inbox}"
        else:
            key, folder = ("failed: quarantine", config.quarantine)
            if ending.failure is None:
                key, folder = ("after: archive", config.archive)
            what = f"{key}: photos cannot be moved from {config.inbox} to {folder}"
        return f"{what}: {error_text(error)}; tried again every {AGAIN_SECONDS:.0f} s"

    @contextmanager
    def _leaving(self, ending: Ending) -> Iterator[None]:
        """Record that a photo leaves the inbox: the next file with its name is another photo.

        The ledger records it first, so that a crash in between costs no picture.
        """
        content, sha256 = ending.content, ending.sha256
        self._ledger.close_photo(content, sha256)
        try:
            yield
        finally:
            if sha256 and version_at(self.config.inbox / content) == ending.version:
                self._ledger.reopen_photos({(content, sha256)})

    def _archive_or_delete(self, ending: Ending) -> None:
        with self._leaving(ending):
            if self.config.after == "archive":
                self._move(ending.content, ending.version, ending.sha256, self.config.archive)
            else:
                self._delete(ending.content, ending.version)

    def _quarantine(self, ending: Ending, failure: Failure) -> None:
        stays = failure == EMPTY or failure.code in _STAYS
        if self.config.failed == "leave" or stays:
            return
        with self._leaving(ending):
            root = self.config.quarantine
            moved = self._move(ending.content, ending.version, ending.sha256, root)
            if moved:
                with suppress(OSError):  # it only explains
                    write_note(moved, ending.content, failure)

    def _are_verified(self, pairs: Collection[Pair]) -> bool:
        """Whether all pictures of some pairs are in the outbox, byte for byte.

        Raises:
            OSError: They cannot be read now.
        """
        if any(pair.state is not JobState.DONE or not pair.outputs for pair in pairs):
            return False
        return bool(pairs) and all(
            self._stands(output) for pair in pairs for output in pair.outputs
        )

    def _stands(self, output: Output) -> bool:
        place = PurePosixPath(output.path)
        try:
            with opened_folder(self.config.outbox, place.parent.parts) as folder:
                return digest_at(folder, place.name, {output.bytes}) == output.sha256
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            return False

    def _delete(self, content: str, version: str) -> bool:
        folder, name = _split(content)
        with (
            opened_folder(self.config.inbox, folder) as inbox,
            _taken(inbox, name, version) as private,
        ):
            if private is None:
                return False
            os.unlink(private, dir_fd=inbox)
            with suppress(OSError):  # it has left
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
            before = _stamp_of(inbox, name, version)
            if before is None:
                return None
            is_there, names = _find_names(inbox, there, name, sha256, before.size)
            _check_writable(there, name)
            copied = not is_there and os.fstat(inbox).st_dev != os.fstat(there).st_dev
            if copied and not _copy(name, inbox, there, version, sha256):
                return None
            try:
                moved = _take_away(name, names, inbox, there, version, is_there, copied)
            finally:
                with suppress(OSError):  # the next photo of this name removes it
                    remove_part(name, there)
            with suppress(OSError):  # it has left
                os.fsync(inbox)
        return root.joinpath(*folder, moved) if moved else None


def version_at(path: Path) -> str:
    """The version of the file at a path now; "" where there is none."""
    try:
        return str(Stamp.of(path.lstat()))
    except OSError:
        return ""


def _split(content: str) -> tuple[tuple[str, ...], str]:
    path = PurePosixPath(content)
    return path.parent.parts, path.name


def _stamp_of(folder: int, name: str, version: str) -> Stamp | None:
    """The stamp of a file; None if it is gone or another version than is meant."""
    try:
        stamp = Stamp.of(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return None
    return stamp if str(stamp) == version else None


@contextmanager
def _taken(folder: int, name: str, version: str) -> Iterator[str | None]:
    """Take a photo, if it is this version of it and no program has it open for writing.

    Yields:
        Its private name; None where it is another version, which keeps its name.
    """
    before = _stamp_of(folder, name, version)
    if before is None:
        yield None
        return
    with ExitStack() as stack:
        try:
            private = stack.enter_context(taken(folder, name))
        except FileNotFoundError:
            yield None
            return
        after = Stamp.of(os.stat(private, dir_fd=folder, follow_symlinks=False))
        same = replace(after, ctime_ns=before.ctime_ns) == before  # renaming changes this alone
        yield private if same and not being_written(private, folder=folder) else None


def _find_names(
    inbox: int, there: int, name: str, sha256: str, size: int
) -> tuple[bool, Iterable[str]]:
    """Whether a photo is in a folder already, and otherwise the names that it may get there."""
    names = numbered_names(name)
    for free in names:
        found = digest_at(there, free, {size})
        if found is None:
            return False, chain([free], names)
        if len(found) == _DIGEST:  # another file of this size
            sha256 = sha256 or digest_at(inbox, name, {size}) or ""
        if found == sha256:  # a crash came between copying and removing
            return True, [free]
    return False, []


def _check_writable(folder: int, name: str) -> None:
    """Find out before a photo is taken: one that comes back counts as a new version."""
    remove_part(name, folder)
    new_file(part_name(name), folder=folder).close()
    remove_part(name, folder)


def _copy(name: str, inbox: int, there: int, version: str, sha256: str) -> bool:
    """Copy a photo to another disk, under the hidden name of its own; False if it has changed."""
    digest = copy_to_part(name, name, home=inbox, folder=there)
    if (sha256 or digest) == digest and _stamp_of(inbox, name, version):
        return True
    remove_part(name, there)
    return False


def _take_away(
    name: str,
    names: Iterable[str],
    inbox: int,
    there: int,
    version: str,
    is_there: bool,
    copied: bool,
) -> str:
    """Take a photo out of the inbox; returns its name in the other folder, "" if it has changed."""
    with _taken(inbox, name, version) as private:
        if private is None:
            return ""
        if is_there:
            os.unlink(private, dir_fd=inbox)
            return next(iter(names))
        if not copied:
            try:
                moved = move_to_free_name(private, names, inbox, there)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # A second mount of the same disk.
                copy_to_part(private, name, home=inbox, folder=there)
                names = numbered_names(name)
            else:
                with suppress(OSError):  # it has left, and its note is still to be written
                    os.fsync(there)
                return moved
        moved = move_to_free_name(part_name(name), names, there, there)
        os.fsync(there)
        os.unlink(private, dir_fd=inbox)
    return moved
