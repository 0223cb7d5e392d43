"""The gallery server: what it shows, what goes on, and the command that starts it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from support.gallery_stock import add_film, add_map, digest, done_line, draw, hang
from support.gallery_visitor import LIMITS, Visitor, told
from support.live_program import signalled

from pipeline.gallery.writer import FOLDER, PICTURES
from pipeline.jobs.job import Progress
from pipeline.monitoring.live import DOCUMENT_FILE, REQUEST_FILE, LivePublisher, request_live
from pipeline.monitoring.view import View
from pipeline.outbox.thumbnails import map_name, painting_name, small_name

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
    add_map(visitor.outbox, line)
    script = f"/{FOLDER}/{PICTURES}/{map_name(line['outputs'][0]['sha256'])}"
    assert visitor.ask(f"{script}?7").headers["Content-Type"].startswith("text/javascript")
    painting = f"/{FOLDER}/{PICTURES}/{painting_name(digest('starry.jpg'))}"
    assert visitor.ask(painting).headers["Content-Type"] == "image/jpeg"
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
@pytest.mark.slow
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.slow
def test_signals_until_the_last_moment_leave_the_servers_exit_code(
    tmp_path: Path, number: int, code: int
) -> None:
    with stopped(start(tmp_path, "--port", "0")) as running:
        assert running.stdout.readline()
        with signalled(running, number, begin=tmp_path):
            assert running.wait(20) == code
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
