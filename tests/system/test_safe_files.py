"""Files replaced whole or not at all, and the one decision of what a full disk is."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.output import OutputFormat
from pipeline.errors import DiskFullError, OutputError, Reason
from pipeline.imaging.encode import encode
from pipeline.system.safe_files import (
    TooLargeError,
    disk_errors,
    is_disk_full,
    open_to_overwrite,
    read_bounded,
    whole_file,
    write_whole,
)
from pipeline.system.state_file import write_facts


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: writing fails as with `ulimit -f`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_lack_of_space_is_a_full_disk(number):
    assert is_disk_full(OSError(number, os.strerror(number)))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EROFS, errno.ENOENT])
def test_other_errors_are_not_a_full_disk(number):
    assert not is_disk_full(OSError(number, os.strerror(number)))


def test_a_file_too_large_to_be_read_is_not_a_full_disk(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10))
    with pytest.raises(TooLargeError) as caught:
        read_bounded(tmp_path / "a", 9)
    assert caught.value.errno == errno.EFBIG
    assert not is_disk_full(caught.value)


def test_all_writers_agree_that_a_file_size_limit_is_a_full_disk(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with file_size_limit(1000):
        with pytest.raises(DiskFullError):
            write_facts(tmp_path / "facts.json", {"text": "x" * 2000})
        with pytest.raises(OutputError) as encoding:
            encode(noise, tmp_path / "a.png", OutputFormat())
        with (
            pytest.raises(OutputError) as writing,
            disk_errors(tmp_path),
            open_to_overwrite(tmp_path / "b") as file,
        ):
            file.write(bytes(2000))
    assert encoding.value.code is writing.value.code is Reason.DISK_FULL


def _fill_up(path: Path) -> None:
    with file_size_limit(1000):
        write_whole(path, bytes(2000))


def _fail_inside(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise RuntimeError  # as torch's zip writer does


@pytest.mark.parametrize(("fail", "error"), [(_fill_up, OSError), (_fail_inside, RuntimeError)])
def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, fail, error):
    path = tmp_path / "a"
    write_whole(path, b"old")
    with pytest.raises(error):
        fail(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replacement_is_seen_only_when_it_is_whole(tmp_path):
    path, spare = tmp_path / "a", tmp_path / "spare"
    path.write_bytes(b"old")
    spare.write_bytes(b"left by a crash")
    with whole_file(path, spare=spare, sync=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert not spare.exists()
