"""Folders of the inbox that cannot be read: only what is below them is unknown."""

import errno
import os

import pytest
from support.stock import pictures
from support.studio import CONFIG

from pipeline.inbox.scanner import Inbox


def deny(monkeypatch, *folders, number=errno.EACCES):
    """Folders that cannot be listed, also for root."""
    real, shut = os.scandir, {os.fspath(folder) for folder in folders}

    def scandir(path):
        if path in shut:
            raise OSError(number, os.strerror(number), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return shut


def look_again(studio):
    for _ in range(3):
        studio.tick()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", ["lost+found", "deep/er/shut"])
def test_a_photo_removed_beside_a_folder_that_cannot_be_read_has_left(
    make_studio, monkeypatch, name, number
):
    studio = make_studio(CONFIG + "keep: latest\n")
    (studio.inbox / name).mkdir(parents=True)
    deny(monkeypatch, studio.inbox / name, number=number)
    for seed, where in enumerate(("", "deep/", "shut/")):  # beside it, above it, of its name
        studio.put(f"{where}a.png", 10 + seed)
        studio.until_idle()
        (studio.inbox / f"{where}a.png").unlink()
        look_again(studio)
        studio.put(f"{where}a.png", 20 + seed)
        studio.until_idle()
        found = pictures(studio.outbox)
        assert f"{where}a--mosaic.png" in found
        assert f"{where}a~2--mosaic.png" in found
        (studio.inbox / f"{where}a.png").unlink()


def test_a_failure_removed_beside_a_folder_that_cannot_be_read_leaves_the_list(
    make_studio, monkeypatch
):
    studio = make_studio()
    (studio.inbox / "shut").mkdir()
    deny(monkeypatch, studio.inbox / "shut")
    path = studio.put("broken.png")
    path.write_bytes(path.read_bytes()[:60])
    studio.until_idle()
    assert {seen.content for seen in studio.ledger.files.refusals()} == {"broken.png", "shut"}
    path.unlink()
    look_again(studio)
    assert {seen.content for seen in studio.ledger.files.refusals()} == {"shut"}


def test_what_is_below_a_folder_that_cannot_be_read_counts_as_present(make_studio, monkeypatch):
    """Its photos are the same ones when it can be read again, and failures stay in the list."""
    studio = make_studio(CONFIG + "keep: latest\n")
    studio.put("shut/deep/a.png", 1)
    path = studio.put("shut/broken.png")
    path.write_bytes(path.read_bytes()[:60])
    studio.until_idle()
    shut = deny(monkeypatch, studio.inbox / "shut")
    studio.put("other.png", 3)
    studio.until_idle()
    refused = {seen.content for seen in studio.ledger.files.refusals()}
    assert refused == {"shut/broken.png", "shut"}
    assert not studio.ledger.closed()
    shut.clear()
    studio.put("shut/deep/a.png", 2)
    studio.until_idle()
    assert "shut/deep/a--mosaic.png" in pictures(studio.outbox)
    assert "shut/deep/a~2--mosaic.png" not in pictures(studio.outbox)
    (studio.inbox / "shut/deep/a.png").unlink()
    look_again(studio)
    assert {content for content, _ in studio.ledger.closed()} == {"shut/deep/a.png"}


def test_a_photo_that_is_removed_while_it_cannot_be_read_has_left_once_it_can(
    make_studio, monkeypatch
):
    studio = make_studio()
    path = studio.put("shut/a.png", 1)
    studio.until_idle()
    shut = deny(monkeypatch, studio.inbox / "shut", number=errno.EIO)
    look_again(studio)
    path.unlink()
    look_again(studio)
    assert not studio.ledger.closed()
    shut.clear()
    look_again(studio)
    assert {content for content, _ in studio.ledger.closed()} == {"shut/a.png"}


@pytest.mark.parametrize("top", [True, False])
def test_lost_and_found_on_top_of_a_file_system_is_no_failure(root, monkeypatch, top):
    (root / "lost+found").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: top and path == os.path.realpath(root))
    deny(monkeypatch, root / "lost+found")
    (one,) = Inbox(root, 0).scan(0, 2e9).refused
    expected = ("skipped", "ignored") if top else ("failed", "unreadable")
    assert (one.status, one.failure.code.value) == expected
