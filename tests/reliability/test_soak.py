"""The real daemon under kill -9, a small disk that fills, failing system calls, floods of files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import ROOT, SUPPORT, TESTS
from support.fake_work import photo
from support.soak import soak
from support.stock import pictures, read_log

from pipeline.outbox.publisher import Outbox

pytestmark = pytest.mark.slow

MEMORY = Path("/dev/shm")
SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
STYLES = 'styles: {mosaic: {image: "builtin:mosaic"}}\n'
CONFIG = STYLES + "watch: {settle_seconds: 0, scan_seconds: 1}\nlimits: {free_bytes: 0}\n"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(ROOT)])}


@pytest.fixture
def root():
    """A folder where syncing costs nothing; killing a process loses no page either way."""
    folder = tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ended_at_last(command: list, **options) -> Iterator[subprocess.Popen]:
    """A program that ends with the test, however that ends."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 4 + 600)
def test_every_file_is_accounted_for_after_the_daemon_was_killed_again_and_again(root):
    report = soak(root / "project", SECONDS, SEED)
    print(json.dumps(report))
    assert report["amiss"] == []
    assert report["kills"] > SECONDS / 15
    assert report["pairs"] > SECONDS / 2
    assert report["peak_kb"] < 300_000


# --- a real, small disk ---------------------------------------------------------------------

SMALL_DISK = """
set -e
mount -t tmpfs -o size=1500k none "$1/outbox"
head -c 1600000 /dev/zero > "$1/outbox/ballast" 2>/dev/null || true
"$2" "$3/soak_daemon.py" watch "$1/config.yaml" > /dev/null &
daemon=$!
for i in $(seq 300); do
  grep -q '"paused": "the disk' "$1/.state/instance.json" 2>/dev/null && break
  sleep 0.1
done
cat "$1/.state/instance.json"
echo
rm "$1/outbox/ballast"
for i in $(seq 300); do
  test -s "$1/outbox/a--mosaic.enhanced.png" && grep -q done "$1/outbox/runs.jsonl" && break
  sleep 0.1
done
kill $daemon
wait $daemon || true
ls -A "$1/outbox"
cat "$1/outbox/runs.jsonl"
"""


def test_a_full_disk_pauses_the_daemon_and_space_lets_it_go_on_and_no_attempt_is_burnt(root):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("needs user namespaces for a small disk of its own")
    (root / "outbox").mkdir()
    (root / "config.yaml").write_text(CONFIG.replace("free_bytes: 0", "free_bytes: 1000000"))
    photo(root / "inbox/a.png")
    command = ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", root, sys.executable, SUPPORT]
    answer = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert answer.returncode == 0, answer.stderr
    out = answer.stdout
    assert '"paused": "the disk of' in out
    assert "continues at" in out
    assert "a--mosaic.png" in out.splitlines()
    assert ".staging" not in out.splitlines()
    (line,) = [json.loads(text) for text in out.splitlines() if text.startswith('{"ts"')]
    assert (line["status"], line["attempt"]) == ("done", 1)


# --- system calls that fail -----------------------------------------------------------------


def strace_works() -> bool:
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode == 0


@pytest.mark.parametrize(
    "fault",
    [
        "link,linkat:error=EXDEV:when=1",
        "link,linkat:error=EPERM",
        "fsync:error=EIO:when=2",
        "fsync:error=EIO:when=5",
        "fdatasync:error=EIO:when=3",
        "write,pwrite64:error=ENOSPC:when=40",
        "rename,renameat,renameat2:error=EIO:when=1",
        "mkdir,mkdirat:error=ENOSPC:when=2",
    ],
)
def test_a_system_call_that_fails_once_loses_nothing_and_the_next_run_makes_it_good(root, fault):
    if not strace_works():
        pytest.skip("needs strace")
    (root / "config.yaml").write_text(CONFIG)
    for seed in range(2):
        photo(root / f"inbox/{seed}.png", seed)
    run = [sys.executable, SUPPORT / "soak_daemon.py", "run", root / "config.yaml"]
    # The daemon itself and not its children: strace counts in each process from the start.
    injected = ["strace", "-qq", "-o", "/dev/null", "-e", f"inject={fault}", *run]
    trouble = subprocess.run(injected, capture_output=True, env=ENVIRONMENT, timeout=200)
    after = subprocess.run(run, capture_output=True, text=True, env=ENVIRONMENT, timeout=100)
    assert after.returncode == 0, (trouble.stderr, after.stderr)
    outbox = Outbox(root / "outbox")
    assert len(pictures(outbox)) == 4
    assert sorted(line["content"] for line in read_log(outbox)) == ["0.png", "1.png"]
    assert all((outbox.root / name).read_text().endswith("END") for name in pictures(outbox))


# --- stopping the daemon --------------------------------------------------------------------


def test_sigterm_ends_the_daemon_cleanly_in_the_middle_of_a_job(root):
    (root / "config.yaml").write_text(CONFIG)
    photo(root / "inbox/a.png")
    with ended_at_last(
        [sys.executable, SUPPORT / "soak_daemon.py", "watch", root / "config.yaml"],
        env=ENVIRONMENT | {"PAINT_SECONDS": "600"},
    ) as daemon:
        until = time.monotonic() + 60
        while not list(root.glob("outbox/.staging/*")) and time.monotonic() < until:
            time.sleep(0.05)  # until the job is begun
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    assert not (root / "outbox/.staging").exists()
    run = [sys.executable, SUPPORT / "soak_daemon.py", "run", root / "config.yaml"]
    assert subprocess.run(run, env=ENVIRONMENT, capture_output=True, timeout=100).returncode == 0
    (line,) = read_log(Outbox(root / "outbox"))
    assert (line["status"], line["attempt"]) == ("done", 1)


# --- a flood --------------------------------------------------------------------------------

WATCHING = """
import sys, time
from pathlib import Path
from pipeline.inbox.scanner import Inbox
from pipeline.inbox.watcher import Watcher
root = Path(sys.argv[1])
watcher, inbox = Watcher(root, kind="any"), Inbox(root, 0)
watcher.start_if_needed(time.monotonic())
inbox.scan(time.monotonic(), time.time())
print(watcher.mode, flush=True)
sys.stdin.readline()
woken = watcher.woken(30)
print(woken, len(inbox.scan(time.monotonic(), time.time()).settled), flush=True)
watcher.stop()
"""


def test_twelve_thousand_files_that_come_while_the_watcher_is_stopped_are_all_found(root):
    command = [sys.executable, "-c", WATCHING, root]
    with ended_at_last(command, text=True, env=ENVIRONMENT, stdin=subprocess.PIPE) as watcher:
        mode = watcher.stdout.readline()
        watcher.send_signal(signal.SIGSTOP)
        for number in range(12_000):
            (root / f"{number:05}.png").write_bytes(b"x")
        watcher.send_signal(signal.SIGCONT)
        watcher.stdin.write("\n")
        watcher.stdin.flush()
        woken, count = watcher.stdout.readline().split()
    assert count == "12000"
    assert woken == "True" or mode.startswith("polling")
