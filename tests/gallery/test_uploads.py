"""Uploads land in the inbox whole, under harmless names, or not at all."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gallery_visitor import LIMITS, Visitor, until
from support.live_program import ENVIRONMENT

from pipeline.config.sections import Limits
from pipeline.errors import InputError, OutputError, Reason
from pipeline.gallery.server import uploads
from pipeline.gallery.server.request_handler import RESPONSE_SECONDS
from pipeline.gallery.server.server import MOST_CONNECTIONS
from pipeline.gallery.server.uploads import clean_name, receive
from pipeline.inbox.scanner import Inbox


def test_an_upload_lands_in_the_inbox_whole_and_under_its_name(visitor: Visitor) -> None:
    answer = visitor.put("my%20photo.JPG", b"x" * 90_000)
    assert (answer.status, json.loads(answer.body)) == (201, {"name": "my photo.JPG"})
    assert visitor.arrived() == {"my photo.JPG": b"x" * 90_000}
    assert visitor.notes == ["my photo.JPG: put into the inbox by 127.0.0.1"]


def test_two_uploads_of_the_same_name_are_both_kept(visitor: Visitor) -> None:
    for body in (b"one", b"two", b"three"):
        assert visitor.put("a.jpg", body).status == 201
    assert visitor.arrived() == {"a.jpg": b"one", "a-2.jpg": b"two", "a-3.jpg": b"three"}


def test_an_upload_into_an_inbox_that_is_away_is_answered_with_what_to_do(visitor: Visitor) -> None:
    visitor.inbox.rename(visitor.inbox.with_name("away"))
    answer = visitor.put("a.jpg", b"x")
    assert answer.status == 503
    assert b"is this folder still there" in answer.body
    assert b"outbox" not in answer.body


def test_the_scanner_takes_an_upload_like_any_other_photo(visitor: Visitor) -> None:
    visitor.put("a.jpg", b"\xff\xd8\xff...\xff\xd9")
    scan = Inbox(visitor.inbox, 0.0).scan(100.0, time.time() + 100)
    assert [found.content for found in scan.settled] == ["a.jpg"]
    assert scan.refused == ()


def test_a_connection_cut_in_the_middle_leaves_nothing(visitor: Visitor) -> None:
    head = b"PUT /inbox/a.jpg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
    with visitor.raw(head + b"x" * 20_000) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.recv(1000)
    assert visitor.arrived() == {}


def test_an_upload_that_does_not_come_to_its_end_is_ended(visitor: Visitor) -> None:
    head = b"PUT /inbox/a.jpg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
    with visitor.raw(head + b"x") as connection:
        # Until the body is read: each stage has a deadline of its own, by the clock of its begin.
        until(lambda: max(visitor.server.deadlines.values(), default=0) > RESPONSE_SECONDS)
        visitor.now = 1e6
        while connection.recv(1000):
            pass
    assert visitor.arrived() == {}


def test_a_request_that_never_ends_is_ended(visitor: Visitor) -> None:
    with visitor.raw(b"GET / HTTP/1.1\r\nHost: local") as connection:
        until(lambda: visitor.server.deadlines)
        visitor.now = 1e6
        assert connection.recv(1000) == b""
    visitor.now = 0.0
    assert visitor.ask("/").status == 200


def test_more_connections_than_there_is_room_for_are_told_so(visitor: Visitor) -> None:
    crowd = [visitor.raw(b"G") for _ in range(MOST_CONNECTIONS)]
    until(lambda: len(visitor.server.deadlines) == MOST_CONNECTIONS)
    with visitor.raw(b"") as late:
        assert b" 503 " in late.recv(1000)
    for each in crowd:
        each.close()
    until(lambda: not visitor.server.deadlines)
    until(lambda: visitor.ask("/").status == 200)


@pytest.mark.parametrize(
    ("name", "body", "status", "about"),
    [("a.exe", b"x", 415, "accepted"), ("a", b"x", 415, "accepted"), (".jpg", b"x", 415, ""),
     ("photo.jpg.yaml", b"x", 415, ""), ("_folder.yaml", b"x", 415, ""),
     ("a.jpg", b"x" * 100_001, 413, "0 MB"), ("a.jpg", b"", 400, "empty")],
)  # fmt: skip
def test_what_is_no_photo_is_refused_with_a_reason(
    visitor: Visitor, name: str, body: bytes, status: int, about: str
) -> None:
    answer = visitor.put(name, body)
    assert answer.status == status
    assert about in answer.body.decode()
    assert visitor.arrived() == {}


def test_an_upload_of_unknown_length_is_refused(visitor: Visitor) -> None:
    endless = b"Content-Length: " + b"9" * 5000 + b"\r\n"  # Python reads no number of that length
    chunked = b"Transfer-Encoding: chunked\r\n"
    for length in (b"", b"Content-Length: -1\r\n", chunked, endless):
        head = b"PUT /inbox/a.jpg HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n"
        with visitor.raw(head) as connection:
            assert b" 411 " in connection.recv(1000)
    assert visitor.arrived() == {}


def test_uploads_can_be_switched_off(tmp_path: Path) -> None:
    visitor = Visitor(tmp_path, upload=False)
    assert visitor.put("a.jpg").status == 403
    assert json.loads(visitor.ask("/live").body)["upload"] is False
    visitor.end()


@pytest.mark.parametrize(
    ("name", "kept"),
    [("../../etc/a.jpg", "a.jpg"), ("C:\\photos\\a.jpg", "a.jpg"), (".hidden.jpg", "hidden.jpg"),
     ("~a.jpg", "a.jpg"), ("a\u202egpj.jpg", "agpj.jpg"), ("a\nb\0.jpg", "ab.jpg"),
     ("...~.png", "photo.png"), ("e\u0301.jpg", "é.jpg"), ('<b>"a|?*:.jpg', "_b__a____.jpg"),
     ("x" * 300 + ".jpg", "x" * 120 + ".jpg")],
)  # fmt: skip
def test_names_are_made_harmless(name: str, kept: str) -> None:
    assert clean_name(name) == kept


@given(st.text(max_size=300), st.sampled_from([".jpg", ".PNG", "", ".tiff", ".sh"]))
def test_no_name_leads_out_of_the_inbox_or_hides_in_it(name: str, suffix: str) -> None:
    try:
        kept = clean_name(name + suffix)
    except InputError:
        return
    assert kept == Path(kept).name
    assert not kept.startswith((".", "~"))
    assert len(kept.encode()) < 200


def test_a_full_disk_refuses_before_and_during(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as early:
        receive(tmp_path, "a.jpg", 10, lambda _: b"x", Limits(free_bytes=1 << 49))
    assert early.value.code is Reason.DISK_FULL

    def full(_: int) -> bytes:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError) as late:
        receive(tmp_path, "a.jpg", 10, full, LIMITS)
    assert late.value.code is Reason.DISK_FULL
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["nameless", "hidden", "no hard links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The three ways of writing; the outermost seam is the system's answer."""
    if request.param != "nameless":
        monkeypatch.setattr(uploads, "NAMELESS", 0)
    if request.param == "no hard links":

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "no links on this disk")

        monkeypatch.setattr(os, "link", refuse)
    return request.param


def test_on_every_file_system_a_file_comes_whole_and_takes_nobodys_name(
    tmp_path: Path, file_system: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"another's")
    seen = []

    def read(_: int) -> bytes:
        seen.extend(path.name for path in tmp_path.iterdir())
        return b"x" * 10

    assert receive(tmp_path, "a.jpg", 20, read, LIMITS) == "a-2.jpg"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "a.jpg": b"another's", "a-2.jpg": b"x" * 20,
    }  # fmt: skip
    assert (tmp_path / "a-2.jpg").stat().st_nlink == 1
    assert "a-2.jpg" not in seen
    with pytest.raises(InputError, match="incomplete"):
        receive(tmp_path, "b.jpg", 20, lambda _: b"", LIMITS)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".upload-0123456789abcdef.part").touch()
    (tmp_path / "a.part").touch()
    uploads.remove_partial_uploads(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]


def test_only_the_servers_own_unfinished_uploads_are_removed(tmp_path: Path) -> None:
    own = f".upload-{'0f' * 8}.part"
    theirs = [".upload-mine.part", f".upload-{'0f' * 9}.part", f".upload-{'0F' * 8}.part"]
    for name in (own, *theirs):
        (tmp_path / name).touch()
    uploads.remove_partial_uploads(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(theirs)


# --- two servers on one inbox ----------------------------------------------------------------

# Uploads ten bytes, as on a disk without nameless files; the bytes come through stdin.
UPLOADER = """
import sys
from pathlib import Path
from pipeline.config.sections import Limits
from pipeline.gallery.server import uploads

def read(size):
    print("reading", flush=True)
    return sys.stdin.buffer.read(size)

uploads.NAMELESS = 0
print(uploads.receive(Path(sys.argv[1]), "a.jpg", 10, read, Limits(free_bytes=0)), flush=True)
"""


@contextmanager
def uploading(inbox: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another server has received nothing yet of an upload."""
    command = [sys.executable, "-c", UPLOADER, str(inbox)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"reading\n"
            yield server
        finally:
            server.kill()


@pytest.mark.slow
def test_a_server_that_starts_leaves_the_unfinished_upload_of_another_one(tmp_path: Path) -> None:
    with uploading(tmp_path) as server:
        uploads.remove_partial_uploads(tmp_path)
        assert server.communicate(b"0123456789")[0] == b"a.jpg\n"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.jpg": b"0123456789"}
    with uploading(tmp_path) as server:
        server.kill()
        server.wait()
        assert len(list(tmp_path.iterdir())) == 2
        uploads.remove_partial_uploads(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_an_upload_whose_file_is_removed_before_it_is_locked_gets_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts in this moment cannot know yet that the file is wanted."""
    lock, early = uploads.try_lock, [True]

    def lock_late(fd: int) -> bool | None:
        if early and early.pop():
            uploads.remove_partial_uploads(tmp_path)
        return lock(fd)

    monkeypatch.setattr(uploads, "NAMELESS", 0)
    monkeypatch.setattr(uploads, "try_lock", lock_late)
    assert receive(tmp_path, "a.jpg", 5, lambda _: b"whole", LIMITS) == "a.jpg"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.jpg": b"whole"}


def test_where_no_file_can_be_locked_uploads_arrive_and_none_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "NAMELESS", 0)
    monkeypatch.setattr(uploads, "try_lock", lambda _: None)
    unfinished = tmp_path / f".upload-{'0f' * 8}.part"
    unfinished.touch()
    uploads.remove_partial_uploads(tmp_path)
    assert receive(tmp_path, "a.jpg", 5, lambda _: b"whole", LIMITS) == "a.jpg"
    assert {path.name for path in tmp_path.iterdir()} == {"a.jpg", unfinished.name}
