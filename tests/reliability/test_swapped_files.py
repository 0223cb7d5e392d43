"""Something else stands where the program expects a file of its own: nothing hangs or is lost.

The paths are those of a real run, and each is replaced by each kind of object that has no end,
answers never or leads elsewhere.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.fake_work import FakeExecutor, photo
from support.stock import read_log

from pipeline.cli.explain import explain_report
from pipeline.cli.status import status_report
from pipeline.daemon import run as running
from pipeline.errors import PipelineError
from pipeline.gallery.server.files import OutboxFiles
from pipeline.monitoring import live
from pipeline.outbox.publisher import Outbox

pytestmark = pytest.mark.slow

PATIENCE = 10  # seconds: what a service manager waits at least after SIGTERM
HOLE = 10 << 30
CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}}
watch: {settle_seconds: 0, scan_seconds: 1}
limits: {free_bytes: 0}
after: archive
metrics: {file: .state/metrics.prom}
hooks: {on_done: ["true"]}
"""
# What a run leaves behind, and what it opens besides.
KEPT = [
    *("outbox/index.html", "outbox/runs.jsonl", "outbox/.gallery/head.js"),
    *("outbox/.gallery/chunk-0001.js", "outbox/.gallery/tidied", "outbox/.gallery"),
    *("outbox/.gallery/pictures", "outbox/a--mosaic.png", "archive/a.png", "config.yaml"),
    *(".state/jobs.sqlite3", ".state/instance.lock", ".state/metrics.prom"),
    *(".state/logs/pipeline.jsonl", ".state/logs/hooks.log", ".state/logs"),
]
PASSING = [
    *("outbox/.staging", "outbox/.gallery/head.js.new", "outbox/.gallery/index.html.new"),
    *("outbox/b--mosaic.png", "outbox/b--mosaic.enhanced.png", "archive/b.png"),
    *(".state/jobs.sqlite3-wal", ".state/jobs.sqlite3-shm", ".state/instance.json"),
    *(".state/live.wanted", ".state/live.json", ".state/live.new", ".state/held.json"),
    *(".state/checkpoints", ".state/styles", "inbox/b.png.yaml", "inbox/_folder.yaml"),
]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # zeros without an end
    except PermissionError:
        pytest.skip("only root makes devices")


def hole(path: Path) -> None:
    path.touch()
    os.truncate(path, HOLE)


def link(path: Path) -> None:
    precious = path.parent / "precious"
    precious.write_text("not ours")
    path.symlink_to("precious")


def folder(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_text("not ours")


KINDS = [fifo, a_socket, device, hole, link, folder]


class Instant(FakeExecutor):
    """Every job ends well at once."""

    def poll(self, timeout: float) -> list:
        while self.jobs:
            self.end()
        return super().poll(timeout)

    def close(self, force: bool = False) -> None: ...


@pytest.fixture
def instant(monkeypatch):
    """The program without the processes beside it, which open nothing of this."""
    monkeypatch.setattr(running, "open_executor", lambda *_: Instant())
    monkeypatch.setattr("pipeline.imaging.sandbox.Decoder.probe", lambda *_: None)


@contextmanager
def in_time(seconds: float = PATIENCE):
    """Fails where the code within waits for longer, at the line where it does."""

    def hangs(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def project(root: Path) -> Path:
    (root / "inbox").mkdir(parents=True)
    photo(root / "inbox/a.png", 1)
    (root / "config.yaml").write_text(CONFIG)
    return root


def run(root: Path) -> int:
    return running.run(running.load(root / "config.yaml"), as_json=True, keep_going=False)


def look(root: Path) -> None:
    """All that only reads."""
    files = OutboxFiles(root / "outbox")
    for name in ("index.html", "runs.jsonl", ".gallery/head.js", "a--mosaic.png"):
        if found := files.open(name):
            found.file.close()
    live.request_live(root / ".state", time.time())
    loaded = running.load(root / "config.yaml")
    status_report(loaded)
    explain_report(loaded, root / "inbox/b.png")


def swap(path: Path, kind) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    kind(path)


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def test_the_paths_below_are_those_of_a_real_run(tmp_path, instant):
    root = project(tmp_path / "p")
    assert run(root) == 0
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    passing = {"outbox/a--mosaic.enhanced.png"}  # as its brother
    assert found - passing <= set(KEPT) | set(PASSING)


# A pipe, which hangs what opens it, in each place by itself; the others in several at once, but
# for those without which nothing begins.
FIRST = {"config.yaml", ".state/jobs.sqlite3", ".state/jobs.sqlite3-wal", ".state/instance.lock"}
FOLDERS = {"outbox/.gallery", "outbox/.gallery/pictures", ".state/logs", "outbox/.staging"}
LEAVES = [place for place in (*KEPT, *PASSING) if place not in FIRST | FOLDERS]
ALONE = [((place,), fifo) for place in (*KEPT, *PASSING)]
ALONE += [((place,), kind) for place in sorted(FIRST) for kind in KINDS[1:]]
TOGETHER = [
    (places, kind)
    for places in (LEAVES[::3], LEAVES[1::3], LEAVES[2::3], sorted(FOLDERS - {"outbox/.gallery"}))
    for kind in KINDS[1:]
]


@pytest.mark.parametrize(("places", "kind"), ALONE + TOGETHER)
def test_nothing_that_stands_in_a_files_place_makes_a_command_hang(
    tmp_path, instant, capsys, places, kind
):
    root = project(tmp_path / "p")
    assert run(root) == 0
    photo(root / "inbox/b.png", 2)
    settings = (root / "config.yaml").read_text()
    for place in places:
        swap(root / place, kind)
    for command in (look, run):
        with in_time(), suppress(PipelineError):
            command(root)
    for precious in root.rglob("precious"):
        assert precious.read_text() == "not ours"

    for place in places:
        clear(root / place)
    (root / "config.yaml").write_text(settings)
    with in_time():
        assert run(root) == 0
    assert [*(root / "outbox").glob("b--mosaic.png"), *(root / "outbox").glob("b~2--mosaic.png")]
    logged = [line["content"] for line in read_log(Outbox(root / "outbox"))]
    assert logged.count("b.png") <= 2  # once more where the jobs database was lost


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_a_service_whose_files_are_all_pipes_ends_with_sigterm(tmp_path, command, instant):
    root = project(tmp_path / "p")
    assert run(root) == 0
    for place in LEAVES:
        if place.startswith(("outbox/", ".state/live", ".state/logs")):
            swap(root / place, fifo)
    words = [sys.executable, "-P", "-m", "pipeline", command, "--config", root / "config.yaml"]
    words += ["--port", "0"] if command == "serve" else []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        until = time.monotonic() + 60
        while not (root / ".state/instance.json").exists() and command == "watch":
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until
            time.sleep(0.05)  # another process
        if command == "serve":
            assert b"gallery" in process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE
