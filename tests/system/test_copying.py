"""A file copied to another disk is whole under its name, or not there at all."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from pipeline.system.copying import PART_NAME, copy_over, copy_to_part, part_name
from pipeline.system.safe_files import opened_folder

PHOTO = os.urandom(3 << 20)  # several blocks
SHA256 = hashlib.sha256(PHOTO).hexdigest()


@pytest.fixture
def folders(tmp_path: Path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "a.jpg").write_bytes(PHOTO)
    with opened_folder(tmp_path / "here") as here, opened_folder(tmp_path / "there") as there:
        yield here, there


def test_a_copy_takes_the_place_of_what_reserved_its_name(folders, tmp_path):
    here, there = folders
    target = tmp_path / "there" / "b.jpg"
    target.touch()
    assert copy_over("a.jpg", "b.jpg", home=here, folder=there, sha256=SHA256)
    assert target.read_bytes() == PHOTO
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["b.jpg"]


def test_a_file_that_changed_since_it_was_hashed_is_not_copied_over_anything(folders, tmp_path):
    here, there = folders
    target = tmp_path / "there" / "b.jpg"
    target.write_text("earlier")
    assert not copy_over("a.jpg", "b.jpg", home=here, folder=there, sha256="0" * 64)
    assert target.read_text() == "earlier"
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["b.jpg"]


def test_a_disk_that_fills_during_a_copy_has_all_its_space_again(folders, tmp_path, monkeypatch):
    here, there = folders

    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        copy_over("a.jpg", "b.jpg", home=here, folder=there)
    assert [p.name for p in (tmp_path / "there").iterdir()] == []


def test_what_stands_under_the_hidden_name_is_replaced_and_a_link_is_not_followed(
    folders, tmp_path
):
    here, there = folders
    precious = tmp_path / "precious"
    precious.write_text("not ours")
    part = tmp_path / "there" / part_name("b.jpg")
    part.symlink_to(precious)
    assert copy_to_part("a.jpg", "b.jpg", home=here, folder=there) == SHA256
    assert precious.read_text() == "not ours"
    assert part.read_bytes() == PHOTO
    assert not part.is_symlink()


def test_the_hidden_name_of_a_copy_fits_every_disk_and_is_recognized(tmp_path):
    for name in ("a.jpg", "x" * 255, os.fsdecode(b"\xff.jpg")):
        assert PART_NAME.fullmatch(part_name(name))
