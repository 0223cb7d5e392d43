"""What becomes of a photo in the inbox once it is done with: kept, archived, deleted, quarantined.

The default touches nothing. Whatever else was asked for happens only to the very version of the
file that was processed, and only after its pictures were read back and found whole.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.model import Config
from pipeline.errors import Failure, OutputError, Reason
from pipeline.inbox.examiner import PASSING
from pipeline.inbox.scanner import EMPTY, Refused
from pipeline.jobs.job import JobState, Output
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.system.copying import copy_over
from pipeline.system.file_names import MAX_NAMES, fit_name
from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import digest_at, new_file, opened_folder, write_whole

REASON_SUFFIX = ".reason.json"


# These pass, or are corrected beside the photo: it stays where it is.
_STAYS = PASSING | {Reason.SIDECAR_INVALID}


@dataclass(frozen=True, slots=True)
class Ending:
    """A photo all of whose pairs have ended: ``failure`` says why one has failed, if one has."""

    content: str
    version: str
    sha256: str
    made: tuple[Pair, ...] = ()
    failure: Failure | None = None


class Originals:
    """Acts on photos of the inbox as the config says.

    Args:
        config: What becomes of originals.
        ledger: Is written to before a photo leaves the inbox, so that a crash costs no picture.
    """

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self.config, self._ledger = config, ledger

    @staticmethod
    def wanted(config: Config) -> bool:
        """Whether the config has any original touched."""
        return (config.after, config.failed) != ("keep", "leave")

    def finish(self, ending: Ending) -> None:
        """Archive, delete or quarantine a photo whose pairs have all ended, as the config says."""
        if ending.failure is not None:
            self._put_aside(ending.content, ending.version, ending.sha256, ending.failure)
        elif self.config.after != "keep":
            with self._leaving(ending.content, ending.version, ending.sha256):
                self.processed(ending.content, ending.version, ending.made)

    def put_aside(self, refused: Refused) -> None:
        """Quarantine a file that was refused as a failure, as the config says."""
        if refused.status == "failed" and refused.version:
            self._put_aside(refused.content, refused.version, "", refused.failure)

    def _put_aside(self, content: str, version: str, sha256: str, failure: Failure) -> None:
        stays = failure == EMPTY or failure.code in _STAYS
        if self.config.failed != "leave" and not stays:
            with self._leaving(content, version, sha256):
                self.failed(content, version, sha256, failure)

    @contextmanager
    def _leaving(self, content: str, version: str, sha256: str) -> Iterator[None]:
        """A photo is taken out of the inbox: what gets its name next is another photo.

        The ledger knows before it happens, so that a crash in between costs no picture.
        """
        self._ledger.close_photo(content, sha256)
        yield
        if sha256 and version_at(self.config.inbox / content) == version:
            self._ledger.reopen_photos({(content, sha256)})

    def processed(self, content: str, version: str, pairs: Iterable[Pair]) -> str:
        """All pictures of a photo are made. Returns what was done to it, "" if nothing.

        Args:
            content: The photo.
            version: Which version of it was processed.
            pairs: All its pairs, with the pictures that stand for each.
        """
        made = list(pairs)
        if self.config.after == "keep" or not made or not all(map(self._verified, made)):
            return ""
        with suppress(OSError):
            if self.config.after == "archive":
                moved = self._move(content, version, made[0].sha256, self.config.archive)
                return f"archived as {moved}" if moved else ""
            return "deleted" if self._delete(content, version) else ""
        return ""  # out of reach now: asked again at the next start

    def failed(self, content: str, version: str, sha256: str, failure: Failure) -> str:
        """A photo failed for good. Returns what was done to it, "" if nothing."""
        if self.config.failed == "leave":
            return ""
        with suppress(OSError):
            moved = self._move(content, version, sha256, self.config.quarantine)
            if moved:
                self._explain(moved, content, failure)
                return f"put into {moved}"
        return ""

    def _verified(self, pair: Pair) -> bool:
        """Whether a pair's pictures stand in the outbox, every byte of them."""
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
        """Move a photo under ``root``, in its folder, over nothing that stands there."""
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
            if free is None:  # a crash fell between copying and removing
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

    def _explain(self, moved: Path, content: str, failure: Failure) -> None:
        """A note beside a quarantined photo: why, and how to have it tried again."""
        told = {
            "content": content,
            "error": {"code": failure.code, "message": failure.message},
            "mend": "`pipeline retry` puts it back into the inbox and tries again",
        }
        with suppress(OSError):
            note = moved.with_name(moved.name + REASON_SUFFIX)
            write_whole(note, json.dumps(told, indent=2).encode())


def version_at(path: Path) -> str:
    """The version that lies under a photo's name at this moment; "" where nothing does."""
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
    """A name taken by an empty file of ours, to be replaced; None if the photo stands there."""
    for free in _names(name):
        try:
            new_file(free, folder=folder).close()
        except FileExistsError:
            if sha256 and digest_at(folder, free, {size}) == sha256:
                return None
            if os.stat(free, dir_fd=folder, follow_symlinks=False).st_size:
                continue
            # An empty one was reserved before a crash.
        return free
    raise FileExistsError(errno.EEXIST, "every name is taken", name)


def _names(name: str) -> Iterator[str]:
    path = PurePosixPath(name)
    yield name
    for number in range(2, MAX_NAMES):
        yield fit_name(f"{path.stem}~{number}", path.suffix)
