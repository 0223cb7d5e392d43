"""Keeps earlier pictures of a pair in ``outbox/.versions/`` when newer ones replace them.

A picture gets a second name there, by a hard link or by a whole copy on another disk, before the
new one takes its first name: at every moment it has one of the two. The ledger
(`pipeline.ledger.history`) records which versions exist and which is removed first.
"""

import errno
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.errors import OutputError, Reason
from pipeline.jobs.job import Output
from pipeline.outbox.names import VERSIONS
from pipeline.system.copying import PART_NAME, copy_over
from pipeline.system.file_names import fit_name
from pipeline.system.file_version import remove_file_with
from pipeline.system.safe_files import NO_LINKS, digest_at, disk_errors, opened_folder

_VERSION_ID = re.compile(r"~([0-9a-f]{12})[.~]")


class Versions:
    """The folder of earlier pictures of an outbox. Creating the object touches no file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keep(self, outputs: Sequence[Output], name: str) -> tuple[Output, ...]:
        """Give pictures that are about to be replaced a second name. Safe to repeat.

        Args:
            outputs: The pictures in the outbox.
            name: Id of the version, which distinguishes it from others of the same pair.

        Returns:
            The kept pictures; others are not in the outbox, or were changed by someone.

        Raises:
            OutputError: The file cannot be written, or another one has the name. The pictures must
                not be replaced then.
        """
        kept = []
        for output in outputs:
            there = in_versions(output, name)
            with _errors(self.root / there.path), self._folder(there, create=True) as folder:
                if self._link(output, folder, PurePosixPath(there.path).name):
                    kept.append(there)
                    os.fsync(folder)
        return tuple(kept)

    def is_intact(self, output: Output) -> bool:
        """Whether an earlier picture exists with unchanged bytes."""
        with suppress(OSError), self._folder(output) as folder:
            name = PurePosixPath(output.path).name
            return digest_at(folder, name, {output.bytes}) == output.sha256
        return False

    def remove(self, outputs: Sequence[Output]) -> None:
        """Remove earlier pictures, and folders that become empty. Changed files stay."""
        for output in outputs:
            place = PurePosixPath(output.path)
            with _errors(self.root / place), suppress(FileNotFoundError):
                with self._folder(output) as folder:
                    remove_file_with(output.sha256, output.bytes, place.name, folder)
                for above in place.parents:
                    if above.parts:
                        with suppress(OSError):  # not empty
                            (self.root / above).rmdir()

    def sweep(self, current: Collection[str]) -> int:
        """Remove leftovers of a crash: partial copies, and second names of present pictures.

        Args:
            current: Ids of the versions whose pictures are in the outbox.

        Returns:
            How many files were removed.
        """
        count = 0
        with _errors(self.root / VERSIONS):
            for folder, name in self._files():
                version_id = _VERSION_ID.search(name)
                partial = PART_NAME.fullmatch(name)
                if partial or (
                    version_id and version_id[1] in current and self._is_in_outbox(folder, name)
                ):
                    with opened_folder(self.root, folder.parts) as fd:
                        os.unlink(name, dir_fd=fd)
                    count += 1
        return count

    def _files(self) -> Iterator[tuple[PurePosixPath, str]]:
        top = self.root / VERSIONS
        if top.is_symlink():
            return
        for folder, _, names in os.walk(top):
            for name in names:
                yield PurePosixPath(Path(folder).relative_to(self.root)), name

    def _is_in_outbox(self, folder: PurePosixPath, name: str) -> bool:
        """Whether the file with the picture's first name has the same bytes."""
        first_name = _VERSION_ID.sub(lambda found: found[0][-1], name)
        with (
            suppress(OSError),
            opened_folder(self.root, folder.parts[1:]) as first,
            opened_folder(self.root, folder.parts) as second,
        ):
            size = {os.stat(name, dir_fd=second, follow_symlinks=False).st_size}
            found = digest_at(first, first_name, size)
            return found is not None and found == digest_at(second, name, size)
        return False

    def _link(self, output: Output, folder: int, name: str) -> bool:
        """Give one picture its second name; False when its first name is gone or changed."""
        present = digest_at(folder, name, {output.bytes})
        if present == output.sha256:
            return True
        place = PurePosixPath(output.path)
        try:
            with opened_folder(self.root, place.parent.parts) as first:
                if digest_at(first, place.name, {output.bytes}) != output.sha256:
                    return False
                if present is not None:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                _link_or_copy(place.name, name, home=first, folder=folder)
        except (FileNotFoundError, NotADirectoryError):  # the latter: its folder is a link now
            return False
        return True

    @contextmanager
    def _folder(self, output: Output, *, create: bool = False) -> Iterator[int]:
        parts = PurePosixPath(output.path).parent.parts
        with opened_folder(self.root, parts, create=create) as folder:
            yield folder


def in_versions(output: Output, name: str) -> Output:
    """A picture of the outbox with its name in ``.versions``; ``name`` is the version's id."""
    stem = PurePosixPath(output.stem)
    second = PurePosixPath(VERSIONS, stem.parent, fit_name(f"{stem.name}~{name}"))
    return output.with_stem(str(second))


def absolute_paths(root: Path, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """The same pictures with absolute instead of relative paths."""
    return tuple(replace(output, path=str(root / output.path)) for output in outputs)


def relative_paths(root: Path, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """The same pictures with paths relative to the outbox."""
    return tuple(
        replace(output, path=Path(output.path).relative_to(root).as_posix()) for output in outputs
    )


def _link_or_copy(source: str, name: str, *, home: int, folder: int) -> None:
    try:
        os.link(source, name, src_dir_fd=home, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS | {errno.EXDEV}:
            raise
        copy_over(source, name, home=home, folder=folder)


@contextmanager
def _errors(where: Path) -> Iterator[None]:
    """Turn errors into reasons for a pause: they concern every pair, so no photo may fail."""
    try:
        with disk_errors(where, Reason.IO_ERROR):
            yield
    except OutputError as error:
        if error.code is Reason.DISK_FULL:
            raise
        hint = error.hint or "move away the file that is there, or set keep: latest"
        raise OutputError(error.what, where=error.where, hint=hint, code=Reason.IO_ERROR) from error
