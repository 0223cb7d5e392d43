"""Stages pictures, and publishes them atomically under their final names.

A worker renders into ``outbox/.staging/JOB.ATTEMPT/``, on the file system of the final names. The
service then publishes: each staged picture gets its final name by a hard link (which never
overwrites) or, to replace an earlier picture of the same pair, by a rename. Staged files are kept
until the ledger holds the result, so publishing can be interrupted at any point and repeated: a
file with its final name and the right SHA-256 counts as published.
"""

import errno
import os
import shutil
import stat
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path, PurePosixPath

from pipeline.errors import OutputError, Reason
from pipeline.jobs.job import Job, Kind, Output
from pipeline.outbox.names import (
    STAGED_FOLDER,
    STAGING,
    add_number,
    inbox_to_outbox_folders,
    staging_name,
)
from pipeline.system.copying import copy_to_part, part_name, remove_part
from pipeline.system.file_version import Stamp, remove_file_with
from pipeline.system.safe_files import (
    NO_LINKS,
    digest_and_size,
    digest_at,
    disk_errors,
    opened_folder,
)


class Outbox:
    """The folder of results, for workers and the service. Creating the object touches no file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / STAGING

    def prepare(self) -> None:
        """Create the folder, once at the start: later its absence is an error."""
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)

    def make_staging_folder(self, job: Job) -> Path:
        """Create an empty folder for one attempt at a job."""
        folder = self._staging / staging_name(job.id, job.attempt)
        with disk_errors(folder, Reason.IO_ERROR):
            with suppress(FileExistsError):
                self._staging.mkdir()
            if self._staging.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            _remove_tree(folder)
            folder.mkdir()
        return folder

    def folder_of(self, content: str) -> str:
        """The folder for the pictures of a photo; if a file has its name, one with a number.

        A symbolic link is not avoided: someone put it there on purpose, so publishing waits.
        """
        place = self.root
        with disk_errors(self.root):
            for part in inbox_to_outbox_folders(content.rpartition("/")[0]):
                names = (add_number(part, number) if number > 1 else part for number in count(1))
                place /= next(name for name in names if _may_be_folder(place / name))
        return "" if place == self.root else place.relative_to(self.root).as_posix()

    def is_taken(
        self, stem: str, staged: Sequence[Output], previous: Sequence[Output] = ()
    ) -> bool:
        """Whether another file has one of the names: neither this pair's nor this result.

        In a folder that cannot be used no name is taken: :meth:`publish` reports it.
        """
        folder, finals = PurePosixPath(stem).parent, [output.with_stem(stem) for output in staged]
        with (
            disk_errors(self.root / folder),
            suppress(FileNotFoundError, NotADirectoryError),
            opened_folder(self.root, folder.parts) as fd,
        ):
            return any(
                _is_foreign(final, _digest_of_existing(fd, final, previous), previous)
                for final in finals
            )
        return False

    def publish(
        self, staged: Sequence[Output], stem: str, previous: Sequence[Output] = ()
    ) -> tuple[Output, ...]:
        """Put staged pictures under their final names. Safe to repeat after a crash at any point.

        Args:
            staged: Pictures in the staging folder (absolute paths).
            stem: Their name in the outbox without suffix, for which :meth:`is_taken` was false.
            previous: What this pair published earlier; it is replaced if it is unchanged.

        Returns:
            The pictures with paths relative to the outbox.

        Raises:
            OutputError: A staged picture is missing or damaged, a file that is not ours has the
                name, or the disk is full (``disk_full``). No new name is left behind.
        """
        finals = tuple(output.with_stem(stem) for output in staged)
        folder = PurePosixPath(stem).parent
        linked: list[str] = []
        with (
            disk_errors(self.root / folder),
            opened_folder(self.root, folder.parts, create=True) as fd,
        ):
            missing = _list_unpublished(staged, finals, fd, previous)
            for _, name, earlier in missing:
                _check_unchanged(name, earlier, fd)
            try:
                for source, name, earlier in missing:
                    if _put_in_place(source, fd, name, earlier):
                        linked.append(name)
                for name in (PurePosixPath(final.path).name for final in finals):
                    remove_part(name, fd)  # a crash may have left it
                os.fsync(fd)
            except (OutputError, OSError):
                for name in linked:
                    os.unlink(name, dir_fd=fd)
                for _, name, _ in missing:
                    remove_part(name, fd)
                raise
        self._remove_earlier(previous, {final.path for final in finals})
        return finals

    def remove(self, outputs: Sequence[Output]) -> None:
        """Remove pictures that are as they were published, and folders that become empty."""
        for output in outputs:
            place = PurePosixPath(output.path)
            with disk_errors(self.root / place), suppress(FileNotFoundError):
                with opened_folder(self.root, place.parent.parts) as fd:
                    remove_file_with(output.sha256, output.bytes, place.name, fd)
                    os.fsync(fd)  # before the ledger forgets them
                for folder in (above for above in place.parents if above.parts):
                    with suppress(OSError):  # not empty
                        (self.root / folder).rmdir()

    def has_staging_folder(self, job: Job) -> bool:
        """Whether the staging folder of an attempt is still there, and was not removed."""
        return _is_folder(self._staging / staging_name(job.id, job.attempt))

    def discard(self, job: str, attempt: int) -> None:
        """Remove the staging folder of one attempt, once the ledger holds its result."""
        folder = self._staging / staging_name(job, attempt)
        with disk_errors(folder):
            if not self._staging.is_symlink():
                _remove_tree(folder)

    def sweep(self, keep: Collection[str] = ()) -> int:
        """Clear ``.staging`` at the start and at a clean end, except for the folders in ``keep``.

        What has another name than the program gives is the user's, and stays.

        Args:
            keep: Names (:func:`staging_name`) of attempts that are not published yet.

        Returns:
            How many folders of crashed runs were removed.
        """
        with disk_errors(self._staging):
            entries = [path for path in _list_entries(self._staging) if path.name not in keep]
            orphans = [path for path in entries if STAGED_FOLDER.fullmatch(path.name)]
            for path in orphans:
                _remove_tree(path)
            if _is_folder(self._staging) and not _list_entries(self._staging):
                self._staging.rmdir()
        return len(orphans)

    def _remove_earlier(self, previous: Sequence[Output], replaced: Collection[str]) -> None:
        """Remove earlier pictures of this pair that were not replaced because its name changed."""
        for output in (output for output in previous if output.path not in replaced):
            place = PurePosixPath(output.path)
            with (
                disk_errors(self.root / place),
                suppress(FileNotFoundError),
                opened_folder(self.root, place.parent.parts) as fd,
            ):
                remove_file_with(output.sha256, output.bytes, place.name, fd)


def _digest_of_existing(fd: int, output: Output, previous: Sequence[Output] = ()) -> str | None:
    """SHA-256 of the file with a picture's name in its open folder; None when there is none.

    The file is read only if it may be this picture or one of ``previous``, by its size.
    """
    sizes = {candidate.bytes for candidate in (output, *previous)}
    return digest_at(fd, PurePosixPath(output.path).name, sizes)


def _is_foreign(final: Output, present: str | None, previous: Sequence[Output]) -> bool:
    """Whether the existing file is neither this picture nor an earlier one of its pair."""
    if present is None or present == final.sha256:
        return False
    return (final.path, present) not in {(output.path, output.sha256) for output in previous}


def _list_unpublished(
    staged: Sequence[Output], finals: Sequence[Output], fd: int, previous: Sequence[Output]
) -> list[tuple[Path, str, Stamp | None]]:
    """Pictures still to be published: source, name, and the earlier picture that they replace."""
    missing = []
    for source, final in zip(staged, finals, strict=True):
        name = PurePosixPath(final.path).name
        earlier = Stamp.of_name(name, fd)
        present = _digest_of_existing(fd, final, previous)
        if present == source.sha256:
            continue
        if _is_foreign(final, present, previous):
            raise _name_conflict(final.path)
        verify_staged(source)
        missing.append((Path(source.path), name, earlier))
    return missing


def _check_unchanged(name: str, earlier: Stamp | None, fd: int) -> None:
    """Raise a conflict if another file has taken the name while pictures were read."""
    present = Stamp.of_name(name, fd)
    if present is not None and present != earlier:
        raise _name_conflict(name)


def _put_in_place(source: Path, fd: int, name: str, earlier: Stamp | None) -> bool:
    """Give one picture its name; True when it was linked to a name that was free."""
    try:
        if earlier is None:
            os.link(source, name, dst_dir_fd=fd, follow_symlinks=False)
            return True
        spare = source.with_name(part_name(source.name))  # a second link keeps the staged picture
        spare.unlink(missing_ok=True)
        os.link(source, spare, follow_symlinks=False)
        _check_unchanged(name, earlier, fd)
        os.replace(spare, name, dst_dir_fd=fd)
    except FileExistsError:
        raise _name_conflict(name) from None
    except OSError as error:
        if error.errno == errno.EXDEV:  # a folder of the outbox is on another disk
            return _copy_into_place(source, fd, name, earlier)
        if error.errno not in NO_LINKS:
            raise
        # No hard links here (FAT, some network shares): rename. This never shows a partial file.
        _check_unchanged(name, earlier, fd)
        os.replace(source, name, dst_dir_fd=fd)
    return False


def _copy_into_place(source: Path, fd: int, name: str, earlier: Stamp | None) -> bool:
    """Do the same across disks: a whole copy beside the final name, then one rename."""
    half = part_name(name)
    copy_to_part(str(source), name, home=None, folder=fd)
    if earlier is None:
        try:
            os.link(half, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
            os.unlink(half, dir_fd=fd)
            return True
        except FileExistsError:
            raise _name_conflict(name) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
    _check_unchanged(name, earlier, fd)
    os.replace(half, name, src_dir_fd=fd, dst_dir_fd=fd)
    return False


def _name_conflict(name: str) -> OutputError:
    what = "a file that this program did not make has this name"
    return OutputError(what, where=name, code=Reason.PUBLISH_CONFLICT)


def verify_staged(staged: Output) -> None:
    """Check that a staged picture is as the ledger says.

    Raises:
        OutputError: It is missing or damaged.
    """
    found = digest_at(None, staged.path)
    if found != staged.sha256:
        what = "the staged picture is missing" if found is None else "the staged picture is damaged"
        raise OutputError(what, where=staged.path, hint="it will be painted again")


def _list_entries(folder: Path) -> list[Path]:
    """The entries of one of our folders; none when it is a link."""
    return list(folder.iterdir()) if _is_folder(folder) else []


def _may_be_folder(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return True
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_tree(path: Path) -> None:
    """Remove a file or a folder with its content, if it exists."""
    with suppress(FileNotFoundError):
        if _is_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink()


def staged_output(kind: Kind, path: Path, width: int, height: int) -> Output:
    """Describe a staged picture that was written and synced."""
    digest, size = digest_and_size(path)
    if not size:
        raise OutputError("the written picture is empty", where=str(path))
    return Output(kind, str(path), digest, size, width, height)
