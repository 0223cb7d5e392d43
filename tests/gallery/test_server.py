"""The gallery over HTTP, asked through real sockets; its page: tests/gallery/page/test_live.py."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gallery_stock import add_film, done_line, draw, hang, write_log

from pipeline.config.sections import Limits
from pipeline.errors import InputError, OutputError, Reason
from pipeline.gallery.server import GalleryServer, Site, uploads
from pipeline.gallery.server.access import Guard, is_loopback
from pipeline.gallery.server.server import MOST_CONNECTIONS
from pipeline.gallery.server.uploads import clean_name, receive
from pipeline.gallery.writer import FOLDER, PICTURES, Gallery
from pipeline.inbox.scanner import Inbox
from pipeline.jobs.job import Progress
from pipeline.monitoring.live import DOCUMENT_FILE, REQUEST_FILE, LivePublisher, request_live
from pipeline.monitoring.view import View
from pipeline.outbox.thumbnails import small_name

LIMITS = Limits(bytes=100_000, free_bytes=0)
TOKEN = "correct horse battery"


class Answer(SimpleNamespace):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Visitor:
    """A server, and somebody who asks it."""

    def __init__(self, root: Path, guard: Guard | None = None, **site: object) -> None:
        for name in ("inbox", "outbox", "state"):
            (root / name).mkdir(exist_ok=True)
        self.inbox, self.outbox, self.state = root / "inbox", root / "outbox", root / "state"
        self.now = 0.0
        self.notes: list[str] = []
        places = (self.outbox, self.inbox, self.state, LIMITS, guard or Guard())
        self.server = GalleryServer(
            ("127.0.0.1", 0), Site(*places, **site), lambda: self.now, self.notes.append
        )
        self.loop = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.loop.start()

    def end(self) -> None:
        self.server.shutdown()
        self.loop.join()
        self.server.server_close()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **more: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        connection.request(method, path, body, headers)
        got = connection.getresponse()
        answer = Answer(status=got.status, headers=got.headers, body=got.read())
        connection.close()
        return answer

    def put(self, name: str, body: bytes = b"picture", **more: str) -> Answer:
        return self.ask(f"/inbox/{name}", "PUT", body, **more)

    def raw(self, text: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        connection.sendall(text)
        return connection

    def arrived(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.inbox.iterdir()}


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visitor]:
    here = Visitor(tmp_path)
    yield here
    here.end()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Visitor]:
    here = Visitor(tmp_path, Guard(TOKEN, frozenset({"studio.example"}), "pipeline-1"))
    yield here
    here.end()


def told(visitor: Visitor, *lines: dict) -> None:
    write_log(visitor.outbox, lines)
    Gallery(visitor.outbox).update()


def until(true: Callable[[], object]) -> None:
    """Waits for another thread or process, which tells nobody when it is done."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- what is shown --------------------------------------------------------------------------


def test_the_page_may_talk_to_its_server_and_to_nobody_else(visitor: Visitor) -> None:
    answer = visitor.ask("/")
    assert answer.status == 200
    assert b"connect-src 'self'" in answer.body
    assert b"file:" not in answer.body.partition(b"</head>")[0].partition(b"<style>")[0]
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_pictures_that_the_gallery_names_are_there_whatever_their_names(visitor: Visitor) -> None:
    line = done_line("sub/a b#?é\udcff.jpg")
    hang(visitor.outbox, line)
    add_film(visitor.outbox, line)
    told(visitor, line)
    for output in line["outputs"]:
        path = quote(os.fsencode(output["path"]))
        answer = visitor.ask(f"/{path}")
        assert answer.status == 200
        assert answer.body == (visitor.outbox / output["path"]).read_bytes()
        kind = "image/webp" if output["kind"] == "timelapse" else "image/png"
        assert answer.headers["Content-Type"] == kind
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    copy = f"/{FOLDER}/{PICTURES}/{small_name(line['outputs'][0]['sha256'])}"
    assert "immutable" in visitor.ask(copy).headers["Cache-Control"]
    assert visitor.ask(f"/{FOLDER}/chunk-0001.js?7").headers["Content-Type"].startswith("text/java")


def test_a_picture_told_later_is_there_later(visitor: Visitor) -> None:
    first, second = done_line("a.jpg"), done_line("b.jpg")
    for line in (first, second):
        hang(visitor.outbox, line)
    told(visitor, first)
    assert visitor.ask("/a--mosaic.png").status == 200
    assert visitor.ask("/b--mosaic.png").status == 404
    told(visitor, second)
    assert visitor.ask("/b--mosaic.png").status == 200


@pytest.mark.parametrize(
    "path",
    ["/runs.jsonl", "/secret.png", "/.gallery/", "/.gallery/pictures/", "/sub", "/..%2fstate/x.png",
     "/../inbox/photo.png", "/%2e%2e/inbox/photo.png", "//etc/passwd", "/a--mosaic.png%00",
     "/.gallery/../secret.png", "/.gallery/pictures/..%2f..%2fsecret.png", "/linked.png",
     "/.gallery/pictures/" + "0" * 20 + ".jpg", "/folder.png", "/page.html", "/%",
     "/inbox/photo.png"],
)  # fmt: skip
def test_nothing_else_is_there(visitor: Visitor, path: str) -> None:
    draw(visitor.outbox / "secret.png", "red")
    draw(visitor.inbox / "photo.png", "red")
    lines = [done_line(f"{name}.jpg") for name in ("a", "linked", "folder", "page")]
    hang(visitor.outbox, lines[0])
    names = ("a--mosaic.png", "linked.png", "folder.png", "page.html")
    for line, name in zip(lines, names, strict=True):
        line["outputs"][0]["path"] = name
    (visitor.outbox / "linked.png").symlink_to(visitor.outbox / "secret.png")
    (visitor.outbox / "folder.png").mkdir()
    (visitor.outbox / "page.html").write_text("<script>alert(1)</script>")
    told(visitor, *lines)
    assert visitor.ask("/a--mosaic.png").status == 200
    assert visitor.ask(path).status == 404


def test_an_outbox_without_a_gallery_is_an_empty_one(visitor: Visitor) -> None:
    answer = visitor.ask(f"/{FOLDER}/head.js")
    assert answer.body == b'gallery.head({"chunks": 0, "told": 0})\n'


def test_what_a_browser_has_is_not_sent_again_and_a_part_is_sent_as_a_part(
    visitor: Visitor,
) -> None:
    line = done_line("a.jpg")
    hang(visitor.outbox, line)
    told(visitor, line)
    whole = visitor.ask("/a--mosaic.png")
    assert visitor.ask("/a--mosaic.png", If_None_Match=whole.headers["ETag"]).status == 304
    part = visitor.ask("/a--mosaic.png", Range="bytes=3-9")
    assert (part.status, part.body) == (206, whole.body[3:10])
    assert part.headers["Content-Range"] == f"bytes 3-9/{len(whole.body)}"
    assert visitor.ask("/a--mosaic.png", Range="bytes=-4").body == whole.body[-4:]
    assert visitor.ask("/a--mosaic.png", Range="bytes=999999-").body == whole.body
    assert visitor.ask("/a--mosaic.png", "HEAD").body == b""


# --- who may ask ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "localhost.evil.example",
                                  "127.0.0.1.evil.example", "", "[::1", "a b"])  # fmt: skip
def test_a_name_that_is_not_ours_is_refused(visitor: Visitor, host: str) -> None:
    assert visitor.ask("/", Host=host).status == 403
    assert visitor.put("a.jpg", Host=host).status == 403
    assert visitor.arrived() == {}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8765",
                                  "192.168.1.5", "studio.example"])  # fmt: skip
def test_numbers_and_our_own_names_are_known(host: str) -> None:
    assert Guard(names=frozenset({"studio.example"})).knows_host(host)


def test_another_sites_page_can_read_nothing_but_may_link_here(visitor: Visitor) -> None:
    assert visitor.ask("/live", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 403
    assert visitor.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
     {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_another_sites_page_can_put_nothing_into_the_inbox(
    visitor: Visitor, headers: dict[str, str]
) -> None:
    assert visitor.put("a.jpg", **headers).status == 403
    assert visitor.arrived() == {}


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "TRACE"])
def test_a_form_or_a_preflight_finds_nobody(visitor: Visitor, method: str) -> None:
    answer = visitor.ask("/inbox/a.jpg", method, b"x")
    assert answer.status == 501
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/live", "/a--mosaic.png", "/?token=wrong", "/?token="])
def test_without_the_token_nothing_is_shown(guarded: Visitor, path: str) -> None:
    assert guarded.ask(path).status == 401
    assert guarded.ask(path, Cookie=f"pipeline-1={TOKEN}").status == 401
    assert guarded.ask(path, Cookie="pipeline-1=é; =;;").status == 401
    assert guarded.put("a.jpg", Authorization="Bearer wrong").status == 401
    assert guarded.arrived() == {}


def test_the_address_with_the_token_becomes_a_cookie_that_does_not_hold_it(
    guarded: Visitor,
) -> None:
    answer = guarded.ask(f"/?token={TOKEN.replace(' ', '+')}")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert guarded.ask("/", Cookie=cookie.partition(";")[0]).status == 200
    assert guarded.put("a.jpg", Authorization=f"Bearer {TOKEN}").status == 201


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machines_own_addresses_need_no_token(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org"])
def test_every_other_address_needs_one(host: str) -> None:
    assert not is_loopback(host)


# --- uploads --------------------------------------------------------------------------------


def test_an_upload_lands_in_the_inbox_whole_and_under_its_name(visitor: Visitor) -> None:
    answer = visitor.put("my%20photo.JPG", b"x" * 90_000)
    assert (answer.status, json.loads(answer.body)) == (201, {"name": "my photo.JPG"})
    assert visitor.arrived() == {"my photo.JPG": b"x" * 90_000}
    assert visitor.notes == ["my photo.JPG: put into the inbox by 127.0.0.1"]


def test_two_uploads_of_the_same_name_are_both_kept(visitor: Visitor) -> None:
    for body in (b"one", b"two", b"three"):
        assert visitor.put("a.jpg", body).status == 201
    assert visitor.arrived() == {"a.jpg": b"one", "a-2.jpg": b"two", "a-3.jpg": b"three"}


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
        until(lambda: visitor.server._deadlines)
        visitor.now = 1e6
        while connection.recv(1000):
            pass
    assert visitor.arrived() == {}


def test_a_request_that_never_ends_is_ended(visitor: Visitor) -> None:
    with visitor.raw(b"GET / HTTP/1.1\r\nHost: local") as connection:
        until(lambda: visitor.server._deadlines)
        visitor.now = 1e6
        assert connection.recv(1000) == b""
    visitor.now = 0.0
    assert visitor.ask("/").status == 200


def test_more_connections_than_there_is_room_for_are_told_so(visitor: Visitor) -> None:
    crowd = [visitor.raw(b"G") for _ in range(MOST_CONNECTIONS)]
    until(lambda: len(visitor.server._deadlines) == MOST_CONNECTIONS)
    with visitor.raw(b"") as late:
        assert b" 503 " in late.recv(1000)
    for each in crowd:
        each.close()
    until(lambda: not visitor.server._deadlines)
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
        monkeypatch.setattr(uploads, "_NAMELESS", 0)
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
    with pytest.raises(InputError, match="ended"):
        receive(tmp_path, "b.jpg", 20, lambda _: b"", LIMITS)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".upload-1234.part").touch()
    (tmp_path / "a.part").touch()
    uploads.remove_partial_uploads(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]


# --- live -----------------------------------------------------------------------------------


def busy_view() -> View:
    view = View(message="watching", queued=3)
    view.begin_job("j1", "a\udcff.jpg", "mosaic", "cpu")
    view.update_progress(Progress("j1", 1, 2, 64, 10, 40, 0.5, 1.0, 3.0, (1, 2, bytes(range(6)))))
    return view


def test_nobody_asking_costs_no_file(tmp_path: Path) -> None:
    LivePublisher(tmp_path).publish(busy_view(), 100.0)
    assert list(tmp_path.iterdir()) == []


def test_who_asks_is_told_what_goes_on(tmp_path: Path) -> None:
    publisher = LivePublisher(tmp_path)
    assert request_live(tmp_path, 100.0) is None
    publisher.publish(busy_view(), 100.2)
    now = request_live(tmp_path, 100.5)
    assert (now["queued"], now["lanes"][0]["fraction"]) == (3, 0.25)
    assert now["lanes"][0]["preview"] == [2, 1, "AAECAwQF"]
    assert {path.name for path in tmp_path.iterdir()} == {REQUEST_FILE, DOCUMENT_FILE}


def test_telling_is_bounded_and_ends_when_nobody_asks(tmp_path: Path) -> None:
    publisher, path = LivePublisher(tmp_path), tmp_path / DOCUMENT_FILE
    request_live(tmp_path, 100.0)
    publisher.publish(busy_view(), 100.0)
    first = path.stat().st_ino
    publisher.publish(busy_view(), 100.2)
    assert path.stat().st_ino == first
    publisher.publish(busy_view(), 150.0)
    assert json.loads(path.read_text())["at"] == 100.0
    assert request_live(tmp_path, 150.0) is None  # told too long ago to be now
    publisher.close()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x"}', "\xff"])
def test_a_damaged_word_is_no_word(tmp_path: Path, text: str) -> None:
    (tmp_path / DOCUMENT_FILE).write_text(text)
    assert request_live(tmp_path, 100.0) is None


def test_the_server_tells_what_goes_on(visitor: Visitor) -> None:
    assert json.loads(visitor.ask("/live").body)["now"] is None
    LivePublisher(visitor.state).publish(busy_view(), time.time())
    now = json.loads(visitor.ask("/live").body)
    assert now["now"]["lanes"][0]["style"] == "mosaic"
    assert now["bytes"] == LIMITS.bytes
    assert ".jpg" in now["suffixes"]


# --- the command ----------------------------------------------------------------------------


def start(folder: Path, *words: str, config: str = "") -> subprocess.Popen[str]:
    (folder / "inbox").mkdir(exist_ok=True)
    text = 'styles: {a: {image: "builtin:mosaic"}}\n' + config
    (folder / "config.yaml").write_text(text)
    command = [sys.executable, "-m", "pipeline", "serve", *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the context, also where a test fails."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_command_serves_until_a_signal_and_never_loads_torch(
    tmp_path: Path, number: int, code: int
) -> None:
    with stopped(start(tmp_path, "--port", "0")) as running:
        address = running.stdout.readline().split()[-1]
        maps = Path(f"/proc/{running.pid}/maps")
        heavy = maps.exists() and "libtorch" in maps.read_text()
        host = address.removeprefix("http://").rstrip("/")
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        running.send_signal(number)
        assert running.wait(20) == code
        assert not heavy
        assert running.stderr.read() == ""


def test_another_address_gets_a_token_of_its_own(tmp_path: Path) -> None:
    with stopped(start(tmp_path, "--port", "0", "--host", "0.0.0.0")) as running:
        address = running.stdout.readline().split()[-1]
        assert len(address.partition("?token=")[2]) >= 32
        running.terminate()
        running.wait(20)


def test_an_address_in_use_is_wrong_usage(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        running = start(tmp_path, "--port", port)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    running = start(tmp_path, config="serve: {token: secret}\n")
    _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "serve.token" in said
