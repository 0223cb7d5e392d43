"""Earlier pictures of a pair, kept in ``outbox/.versions/`` when newer ones take their names.

A picture gets its second name there, by a hard link or a whole copy on another disk, before the new
one takes its first: at every moment it stands under one of the two. Which sets there are, and in
which order they go, is in the ledger (`pipeline.ledger.history`).
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
from pipeline.system.file_names import fitting
from pipeline.system.safe_files import NO_LINKS, digest_at, disk_errors, opened_folder

_OF_A_SET = re.compile(r"~([0-9a-f]{12})[.~]")


class Versions:
    """The folder of earlier pictures of an outbox. Building one touches no file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keep(self, outputs: Sequence[Output], name: str) -> tuple[Output, ...]:
        """Give pictures that are about to be replaced a second name. Safe to repeat.

        Args:
            outputs: Where they stand in the outbox.
            name: Id of the set, which tells it from others of the same pair.

        Returns:
            Those that are there now; the others are not in the outbox, or were changed by somebody.

        Raises:
            OutputError: The disk does not take it, or something stands in the way. Nothing may be
                replaced then.
        """
        kept = []
        for output in outputs:
            there = kept_as(output, name)
            with _errors(self.root / there.path), self._folder(there, create=True) as shelf:
                if self._put(output, shelf, PurePosixPath(there.path).name):
                    kept.append(there)
                    os.fsync(shelf)
        return tuple(kept)

    def whole(self, output: Output) -> bool:
        """Whether an earlier picture is there, every byte of it."""
        with suppress(OSError), self._folder(output) as folder:
            name = PurePosixPath(output.path).name
            return digest_at(folder, name, {output.bytes}) == output.sha256
        return False

    def drop(self, outputs: Sequence[Output]) -> None:
        """Remove earlier pictures, and the folders that are empty then. What was changed stays."""
        for output in outputs:
            place = PurePosixPath(output.path)
            with _errors(self.root / place), suppress(FileNotFoundError):
                with self._folder(output) as folder:
                    if digest_at(folder, place.name, {output.bytes}) == output.sha256:
                        os.unlink(place.name, dir_fd=folder)
                for above in place.parents:
                    if above.parts:
                        with suppress(OSError):  # not empty
                            (self.root / above).rmdir()

    def sweep(self, standing: Collection[str]) -> int:
        """Remove what a crash left: half copies, and second names of pictures that stand again.

        Args:
            standing: Ids of the sets whose pictures stand in the outbox.
        """
        count = 0
        with _errors(self.root / VERSIONS):
            for folder, name in self._files():
                of_set = _OF_A_SET.search(name)
                half = PART_NAME.fullmatch(name)
                if half or (of_set and of_set[1] in standing and self._stands(folder, name)):
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

    def _stands(self, folder: PurePosixPath, name: str) -> bool:
        """Whether the same bytes stand under the picture's first name."""
        first = _OF_A_SET.sub(lambda found: found[0][-1], name)
        home = PurePosixPath(*folder.parts[1:])
        with (
            suppress(OSError),
            opened_folder(self.root, home.parts) as fd,
            opened_folder(self.root, folder.parts) as shelf,
        ):
            size = {os.stat(name, dir_fd=shelf, follow_symlinks=False).st_size}
            found = digest_at(fd, first, size)
            return found is not None and found == digest_at(shelf, name, size)
        return False

    def _put(self, output: Output, shelf: int, name: str) -> bool:
        """Give one picture its second name; False where it does not stand under its first."""
        standing = digest_at(shelf, name, {output.bytes})
        if standing == output.sha256:
            return True
        place = PurePosixPath(output.path)
        try:
            with opened_folder(self.root, place.parent.parts) as home:
                if digest_at(home, place.name, {output.bytes}) != output.sha256:
                    return False
                if standing is not None:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                _link(home, place.name, shelf, name)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _folder(self, output: Output, *, create: bool = False) -> Iterator[int]:
        parts = PurePosixPath(output.path).parent.parts
        with opened_folder(self.root, parts, create=create) as folder:
            yield folder


def kept_as(output: Output, name: str) -> Output:
    """A picture of the outbox as it is called among the earlier ones of a set."""
    stem = PurePosixPath(output.stem)
    return output.under(str(PurePosixPath(VERSIONS, stem.parent, fitting(f"{stem.name}~{name}"))))


def absolute(root: Path, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Pictures of an outbox, by their absolute paths."""
    return tuple(replace(output, path=str(root / output.path)) for output in outputs)


def relative(root: Path, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """The same, the other way round."""
    return tuple(
        replace(output, path=Path(output.path).relative_to(root).as_posix()) for output in outputs
    )


def _link(home: int, source: str, shelf: int, name: str) -> None:
    try:
        os.link(source, name, src_dir_fd=home, dst_dir_fd=shelf, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno not in NO_LINKS | {errno.EXDEV}:
            raise
    copy_over(source, name, home=home, folder=shelf)


@contextmanager
def _errors(where: Path) -> Iterator[None]:
    """Whatever is wrong here concerns every pair: it is waited out, and no photo fails for it."""
    try:
        with disk_errors(where, Reason.IO_ERROR):
            yield
    except OutputError as error:
        if error.code is Reason.DISK_FULL:
            raise
        hint = error.hint or "move away what stands there, or set keep: latest"
        raise OutputError(error.what, where=error.where, hint=hint, code=Reason.IO_ERROR) from error
