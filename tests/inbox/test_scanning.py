"""What a scan of the inbox finds, what it refuses, and that nothing is missed."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.inbox_stock import SETTLE, later, names, put, reasons

from pipeline.errors import Reason, StateError
from pipeline.inbox.scanner import EMPTY_PATIENCE, IGNORED, MAX_DEPTH, Inbox
from pipeline.system.file_version import hash_file

# --- what is found, wherever it lies --------------------------------------------------------


def test_files_in_folders_come_in_order_with_their_path(root, inbox):
    for name in ("b.jpg", "sub/deep/c.PNG", "a.jpg", "sub/a.webp"):
        put(root, name)
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == ["a.jpg", "b.jpg", "sub/a.webp", "sub/deep/c.PNG"]
    assert [found.path for found in scan.settled] == [root / name for name in names(scan)]


def test_a_name_that_is_not_text_is_a_name_like_any_other(root, inbox):
    raw = os.fsencode(root) + b"/\xff\xfe\n\x1b[31m.jpg"
    Path(os.fsdecode(raw)).write_text("picture")
    (found,) = inbox.scan(now=0, wall=later()).settled
    assert os.fsencode(found.content) == b"\xff\xfe\n\x1b[31m.jpg"
    assert hash_file(found.path, found.stamp)


def test_a_folder_moved_in_and_a_file_added_to_it_later_are_found(root, inbox, tmp_path):
    inbox.scan(now=0, wall=later())
    put(tmp_path / "album", "one.jpg")
    (tmp_path / "album").rename(root / "album")
    assert names(inbox.scan(now=1, wall=later())) == ["album/one.jpg"]
    put(root, "album/two.jpg")
    assert names(inbox.scan(now=2, wall=later())) == ["album/one.jpg", "album/two.jpg"]


def test_two_thousand_files_that_came_while_nobody_looked_are_all_found(root, inbox):
    inbox.scan(now=0, wall=later())
    for number in range(2000):
        (root / f"{number:04}.jpg").write_bytes(b"x")
    assert len(inbox.scan(now=1, wall=later()).settled) == 2000


def test_folders_nested_without_end_are_left_at_a_limit_and_reported(root, inbox):
    put(root, "/".join(["d"] * (MAX_DEPTH + 1)) + "/lost.jpg")
    put(root, "/".join(["d"] * MAX_DEPTH) + "/found.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert [name.rpartition("/")[2] for name in names(scan)] == ["found.jpg"]
    assert list(reasons(scan).values()) == [("skipped", "ignored")]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(".hidden.jpg", "._a.jpg", ".~lock.a.jpg#", "~$a.jpg", "a.jpg~", "a.jpg.part"),
        *("a.jpg.crdownload", "a.jpg.filepart", "A.TMP", "notes.yaml", "_folder.yml"),
        *(".syncthing.a.jpg.tmp", "Thumbs.db", "desktop.ini"),
    ],
)
def test_names_on_the_list_are_ignored_and_accounted_for(root, inbox, name):
    put(root, name)
    scan = inbox.scan(now=0, wall=time.time())
    assert names(scan) == []
    assert reasons(scan) == {name: ("skipped", "ignored")}


@pytest.mark.parametrize("folder", [".stversions", "@eaDir", "#recycle", ".git"])
def test_a_folder_on_the_list_is_one_line_whatever_it_holds(root, inbox, folder):
    put(root, f"{folder}/a.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == []
    assert reasons(scan) == {folder: ("skipped", "ignored")}


@pytest.mark.parametrize("name", ["notes.txt", "README", "movie.mp4", "a.jpg.zip", "a\x1b[2J.exe"])
def test_a_name_that_is_no_pictures_is_skipped_as_such(root, inbox, name):
    put(root, name)
    scan = inbox.scan(now=0, wall=time.time())
    assert reasons(scan) == {name: ("skipped", "unsupported_format")}
    assert all(letter >= " " for letter in scan.refused[0].failure.message)


def test_a_download_that_grows_is_refused_as_one_thing_not_as_many(root, inbox):
    path = put(root, "a.jpg.part")
    (first,) = inbox.scan(now=0, wall=time.time()).refused
    path.write_text("much more than before")
    (second,) = inbox.scan(now=1, wall=time.time()).refused
    assert first == second


def test_an_empty_file_is_refused_once_it_has_stayed_so_for_a_while(root, inbox):
    put(root, "a.jpg", "")
    assert reasons(inbox.scan(now=0, wall=time.time())) == {}
    assert reasons(inbox.scan(now=SETTLE, wall=time.time())) == {}
    (refused,) = inbox.scan(now=EMPTY_PATIENCE * SETTLE, wall=time.time()).refused
    assert (refused.status, refused.failure.code) == ("failed", Reason.TRUNCATED)
    put(root, "a.jpg", "now it holds something")
    assert names(inbox.scan(now=999, wall=later())) == ["a.jpg"]


def test_a_folder_with_a_pictures_name_is_reported_and_its_pictures_are_taken(root, inbox):
    put(root, "album.png/a.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert reasons(scan) == {"album.png": ("skipped", "not_regular_file")}
    assert names(scan) == ["album.png/a.jpg"]


def test_links_pipes_and_sockets_are_refused_and_never_opened(root, inbox, tmp_path):
    secret = put(tmp_path, "secret.jpg")
    (root / "link.jpg").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's path must be short
        server.bind("socket.jpg")
        os.chdir(here)
        scan = inbox.scan(now=0, wall=later())
    assert names(scan) == []
    refused = ["folder", "link.jpg", "loop", "pipe.jpg", "socket.jpg"]
    assert reasons(scan) == dict.fromkeys(refused, ("skipped", "not_regular_file"))


@contextmanager
def somebody_else():
    """Root may read everything: be nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_lies_too_deep_for_the_system_is_reported_and_does_not_hide_the_rest(root, inbox):
    put(root, "good.jpg")
    folder = os.open(root, os.O_RDONLY)
    for _ in range(20):  # of 250 bytes each: a path may have 4096
        os.mkdir("d" * 250, dir_fd=folder)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == ["good.jpg"]
    assert list(reasons(scan).values()) == [("failed", "unreadable")]
    assert not scan.hidden


def test_what_may_not_be_read_is_reported_and_does_not_hide_the_rest():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        put(root, "good.jpg")
        put(root, "shut.jpg").chmod(0)
        put(root, "shut/inside.jpg")
        (root / "shut").chmod(0)
        put(root, "listed/inside.jpg")
        (root / "listed").chmod(0o744)
        inbox = Inbox(root, SETTLE)
        with somebody_else():
            scan = inbox.scan(now=0, wall=later())
        (root / "shut").chmod(0o755)
        (root / "shut.jpg").chmod(0o644)
        (root / "listed").chmod(0o755)
        assert names(scan) == ["good.jpg"]
        names_shut = ("shut.jpg", "shut", "listed/inside.jpg")
        assert reasons(scan) == dict.fromkeys(names_shut, ("failed", "unreadable"))
        with somebody_else():
            scan = inbox.scan(now=SETTLE, wall=later())
        assert names(scan) == ["good.jpg", "shut.jpg", "listed/inside.jpg", "shut/inside.jpg"]


# --- an inbox that is gone ------------------------------------------------------------------


def test_a_vanished_inbox_is_an_error_that_says_how_to_mend_it_not_an_empty_inbox(tmp_path):
    with pytest.raises(StateError, match=r"nowhere.*no such file.*create the folder"):
        Inbox(tmp_path / "nowhere", SETTLE).scan(now=0, wall=0)


def test_an_inbox_that_is_a_file_is_an_error(tmp_path):
    with pytest.raises(StateError, match="cannot be read"):
        Inbox(put(tmp_path, "file"), SETTLE).scan(now=0, wall=0)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk")
def test_another_disk_in_place_of_the_inbox_is_an_error_not_an_empty_inbox(tmp_path):
    (tmp_path / "real").mkdir()
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    link = tmp_path / "inbox"
    link.symlink_to("real")
    inbox = Inbox(link, SETTLE)
    inbox.scan(now=0, wall=0)
    link.unlink()
    link.symlink_to("/dev/shm")
    with pytest.raises(StateError, match="another disk"):
        inbox.scan(now=1, wall=0)


# --- what is ignored by name ----------------------------------------------------------------


def test_the_ignore_list_hides_no_ordinary_photo(root, inbox):
    ordinary = ["IMG_0001.JPG", "a b.jpeg", "party.tmp.png", "été~1.webp", "part.tif", "_x.bmp"]
    for name in ordinary:
        put(root, name)
    assert names(inbox.scan(now=0, wall=later())) == sorted(ordinary)
    assert len(set(IGNORED)) == len(IGNORED)


def test_scanning_needs_no_watchdog():
    code = (
        "import sys, pipeline.inbox.scanner, pipeline.inbox.watcher\n"
        "print('watchdog' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout == "False\n"


# --- second names, lists of one's own -------------------------------------------------------


def test_a_file_with_a_second_name_is_refused_until_it_has_one_of_its_own(root, inbox, tmp_path):
    path = put(root, "a.jpg")
    os.link(path, tmp_path / "elsewhere.jpg")
    assert reasons(inbox.scan(now=0, wall=later())) == {"a.jpg": ("skipped", "hardlinked")}
    (tmp_path / "elsewhere.jpg").unlink()
    assert names(inbox.scan(now=1, wall=later())) == ["a.jpg"]


def test_a_list_of_ones_own_adds_to_the_names_that_are_ignored(root):
    for name in ("raw_1.jpg", "a.jpg", "~b.jpg", "Drafts/c.jpg"):
        put(root, name)
    scan = Inbox(root, 0, ("raw_*", "drafts")).scan(now=0, wall=later())
    assert names(scan) == ["a.jpg"]
    assert set(reasons(scan)) == {"raw_1.jpg", "~b.jpg", "Drafts"}
