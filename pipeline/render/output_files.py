"""Protects files when a command writes where the user says: inputs, and files of other programs.

An existing file of that name is checked before anything is computed, and again when the finished
file gets the name: rendering takes long enough for someone to put another file there.
"""

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from pipeline.config.output import format_of
from pipeline.config.sections import Limits
from pipeline.errors import PipelineError, UsageError
from pipeline.imaging.metadata import read_record
from pipeline.imaging.sandbox import Decoder
from pipeline.jobs.provenance import is_ours, names_this_program
from pipeline.system.file_names import fit_name
from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import NO_LINKS, error_text, new_file, read_bounded, write_whole

FORCE = "--force"
MOST_REPORT = 64 << 20  # bytes; a report of 10,000 pictures has 5 MB
MOST_OPTIONS = 4096  # bytes
# Options that `tune` has saved. With anything else in it the file is its user's.
CHOSEN_HEAD = "# chosen with pipeline tune\n"
_OPTION = r"[a-z_]+: [-+.0-9e]+"
_CHOSEN = re.compile(rf"{CHOSEN_HEAD}transfer: \{{{_OPTION}(, {_OPTION})*\}}\n".encode())
SMALL = 16  # px; decoded this small, because only the record in the file is needed


@dataclass(frozen=True, slots=True)
class Target:
    """A name that may be written to, and the file that had it when that was checked."""

    path: Path
    inputs: tuple[Path, ...] = ()
    force: bool = False
    before: Stamp | None = None  # None: the name was free

    def place(self, source: Path) -> None:
        """Move a finished file to this name.

        Raises:
            UsageError: Another file has taken the name meanwhile. The finished file is kept under
                another name beside it, which the error states.
        """
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".pipeline-") as folder:
            near = Path(folder, source.name)
            try:
                source.rename(near)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                shutil.copyfile(source, near)  # it is wanted on another disk
            if not self._take_name(near):
                kept = _link_beside(near, self.path)
                what = "another file was created under this name in the meantime"
                hint = f"the result is in {kept}"
                raise UsageError(what, where=str(self.path), hint=hint)

    def write(self, content: bytes) -> "Target":
        """Write a small file under this name in one step.

        Returns:
            The same target, for the next version of the file.

        Raises:
            UsageError: It cannot be written, or another file has taken the name.
        """
        spare = self.path.with_name(f".pipeline-{os.getpid()}-{self.path.name}")
        try:
            write_whole(spare, content)
        except OSError as error:
            what = f"cannot be written: {error_text(error)}"
            raise UsageError(what, where=str(self.path)) from None
        self.place(spare)
        return self.renewed()

    def renewed(self) -> "Target":
        """The same target after something was placed there: the next version may replace it."""
        return replace(self, before=Stamp.at(self.path))

    def _take_name(self, source: Path) -> bool:
        existing = _lstat(self.path)
        if existing is None:
            return _link(source, self.path)
        if is_input(self.path, self.inputs) or not _is_replaceable(existing):
            return False
        if self.force or Stamp.of(existing) == self.before:
            source.replace(self.path)
            return True
        return False


def check_target(path: Path, inputs: Iterable[Path], *, force: bool = False) -> Target:
    """Check that a command may write to a name.

    Args:
        path: The name as the user gave it.
        inputs: Files that the command reads: never overwritten, whatever their spelling.
        force: Also overwrite a file that this program may not have made.

    Raises:
        UsageError: The command must not write there.
    """
    existing, inputs = _lstat(path), tuple(inputs)
    if existing is None:
        return Target(path, inputs, force)
    if is_input(path, inputs):
        what = "is one of the input files, which are never overwritten"
        raise UsageError(what, where=str(path), hint="give another name")
    if not _is_replaceable(existing):
        what = "is a folder" if stat.S_ISDIR(existing.st_mode) else "is not a regular file"
        raise UsageError(what, where=str(path), hint="give a file name")
    if not force and not (stat.S_ISREG(existing.st_mode) and is_made_here(path)):
        what = "exists, and nothing in the file shows that this program made it"
        raise UsageError(what, where=str(path), hint=f"give another name, or {FORCE} to replace it")
    return Target(path, inputs, force, Stamp.of(existing))


def is_input(path: Path, inputs: Iterable[Path]) -> bool:
    """Whether a name leads to one of these files, through links and in any spelling."""
    for one in inputs:
        with suppress(OSError):
            if path.samefile(one):
                return True
    return False


def is_made_here(path: Path) -> bool:
    """Whether a record in a file states that this program made it."""
    if path.suffix == ".json":
        return _is_our_report(path)
    if path.suffix == ".yaml":
        return _is_our_choice(path)
    if format_of(path.name) is None:
        return False
    decoder = Decoder(Limits())
    try:
        return is_ours(read_record(decoder.decode(path.resolve(), SMALL).xmp))
    except PipelineError:
        return False
    finally:
        decoder.close()


def _is_our_report(path: Path) -> bool:
    """Whether a JSON file names this program as its maker."""
    try:
        found = json.loads(read_bounded(path, MOST_REPORT))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and names_this_program(found)


def _is_our_choice(path: Path) -> bool:
    """Whether a YAML file has only options that `tune` has saved."""
    try:
        return _CHOSEN.fullmatch(read_bounded(path, MOST_OPTIONS)) is not None
    except OSError:
        return False


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"cannot be written: {reason}", where=str(path)) from None


def _is_replaceable(existing: os.stat_result) -> bool:
    """Whether it can be replaced at all: a file, or a link, of which only the link is replaced."""
    return stat.S_ISREG(existing.st_mode) or stat.S_ISLNK(existing.st_mode)


def _link_beside(source: Path, path: Path) -> Path:
    """Give a file the first free name next to a taken one; return that name."""
    return next(free for free in _free_names(path) if _link(source, free))


def _free_names(path: Path) -> Iterator[Path]:
    for number in count(2):
        yield path.with_name(fit_name(f"{path.stem}~{number}", path.suffix))


def _link(source: Path, path: Path) -> bool:
    """Link a file to a name; False when the name is taken."""
    try:
        os.link(source, path, follow_symlinks=False)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    # No hard links on this disk (FAT, some network shares): an empty file reserves the name.
    try:
        new_file(path).close()
    except FileExistsError:
        return False
    source.replace(path)
    return True
