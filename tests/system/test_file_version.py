"""A hash is of one version of a regular file, or there is none."""

import os

import pytest
from support.inbox_stock import put

from pipeline.errors import InputError, Reason
from pipeline.system.file_version import Stamp, hash_file


def test_a_hash_is_of_the_version_that_was_found_or_none(tmp_path):
    path = put(tmp_path, "a.jpg")
    stamp = Stamp.of(path.stat())
    assert hash_file(path, stamp) == hash_file(path)
    assert len(hash_file(path)) == 64
    path.write_text("another version")
    assert hash_file(path, stamp) is None
    path.unlink()
    assert hash_file(path, stamp) is None


def test_a_hash_never_follows_a_link_nor_waits_for_a_pipe(tmp_path):
    (tmp_path / "link").symlink_to(put(tmp_path, "a.jpg"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(InputError) as caught:
            hash_file(tmp_path / name)
        assert caught.value.code is Reason.NOT_REGULAR_FILE
