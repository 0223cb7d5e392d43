"""Standard output that goes wrong: the work goes on, and what was not shown is never kept quiet."""

import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_work import photo
from support.live_program import ENVIRONMENT, painted, program, project, started, until
from support.stock import read_log

from pipeline.daemon.instance import instance_lock, read_instance
from pipeline.outbox.publisher import Outbox
from pipeline.system.stdout import MOST_BYTES, StdoutWriter

pytestmark = pytest.mark.slow

FULL = Path("/dev/full")

# --- the outlet -----------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, StdoutWriter]]:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        yield reader, StdoutWriter(file)


def pause_of(root: Path) -> str:
    return str((read_instance(root / ".state") or {}).get("paused"))


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(pipe) -> None:
    reader, out = pipe
    begun = time.process_time()
    for number in range(MOST_BYTES // 1000 + 200):
        out.write(f"{number} {'x' * 1000}\n")
        out.flush()
    assert time.process_time() - begun < 5
    assert out.lost > 0
    out.drain(lambda: False)
    assert out.trouble.endswith("nothing reads it")
    os.close(reader)


def test_a_slow_reader_gets_every_line_whole_and_in_order(pipe) -> None:
    reader, out = pipe
    lines = [f"{number} {'x' * 3000}\n" for number in range(100)]
    for line in lines:
        out.write(line)
        out.flush()
    read = b""

    def some_more() -> bool:
        nonlocal read
        read += os.read(reader, 65536)
        return True

    out.drain(some_more)
    os.set_blocking(reader, False)
    while len(read) < sum(map(len, lines)):
        read += os.read(reader, 65536)
    assert read.decode() == "".join(lines)
    assert out.trouble == ""
    os.close(reader)


def test_a_reader_that_left_is_no_error_and_its_lines_are_counted(pipe) -> None:
    reader, out = pipe
    out.write("seen\n")
    out.flush()
    os.close(reader)
    out.write("not seen\n")
    out.flush()
    out.write("nor this\n")
    assert out.gone
    assert out.trouble == "standard output did not take 2 lines: its reader exited"


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_a_full_disk_is_named() -> None:
    with FULL.open("w") as file:
        out = StdoutWriter(file)
        out.write("a\n")
        out.flush()
        out.drain(lambda: True)
        assert out.trouble == "standard output did not take 1 line: no space left on device"


# --- real processes -------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["its reader exited", "no space left on device", "closed"])
def test_a_run_paints_everything_whatever_becomes_of_its_output(tmp_path, output) -> None:
    root = project(tmp_path)
    shell = '"$0" "$@"' + {"its": " | head -1 >/dev/null", "no": " >/dev/full"}.get(
        output.split()[0], " >&-"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}", *program(root, "run")],
        env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    assert painted(root) == 2
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
    if output != "closed":
        assert output in done.stderr
    assert done.returncode == (1 if "space" in output else 0)


def test_a_watch_whose_output_nobody_reads_paints_and_stops(tmp_path) -> None:
    root = project(tmp_path, photos=0)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"x" * 65536)
    os.set_blocking(writer, True)
    with started(root, "watch", stdout=writer, stderr=subprocess.PIPE) as daemon:
        photo(root / "inbox" / "a.png", 1)
        until(lambda: painted(root) == 1)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=60) == 1
        assert b"nothing reads it" in daemon.stderr.read()
    os.close(writer)
    os.close(reader)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_is_a_clean_stop_as_a_service_manager_s_is(tmp_path, number) -> None:
    root = project(tmp_path)
    with started(root, "watch", stdout=subprocess.DEVNULL, start_new_session=True) as daemon:
        until(lambda: painted(root) == 2)
        os.killpg(daemon.pid, number)  # its workers get it too
        assert daemon.wait(timeout=60) == 0
    assert not (root / ".state" / "instance.json").exists()
    assert not (root / "outbox" / ".staging").exists()


def test_nohup_is_heeded(tmp_path) -> None:
    root = project(tmp_path, photos=0)
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with started(root, "watch", stdout=subprocess.DEVNULL, preexec_fn=ignore) as daemon:
        until((root / ".state" / "instance.json").exists)
        daemon.send_signal(signal.SIGHUP)
        photo(root / "inbox" / "a.png", 1)
        until(lambda: painted(root) == 1)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=60) == 0


def test_a_start_waits_for_a_backup_of_the_database_and_says_so(tmp_path) -> None:
    root = project(tmp_path)
    with started(root, "run", stdout=subprocess.DEVNULL) as first:
        assert first.wait(timeout=60) == 0
    backup = sqlite3.connect(root / ".state" / "jobs.sqlite3", isolation_level=None)
    backup.execute("BEGIN EXCLUSIVE")
    photo(root / "inbox" / "late.png", 9)
    with started(root, "watch", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as daemon:
        until(
            lambda: "database is busy" in str((read_instance(root / ".state") or {}).get("paused"))
        )
        backup.execute("ROLLBACK")
        until(lambda: painted(root) == 3)
        backup.execute("BEGIN EXCLUSIVE")
        photo(root / "inbox" / "later.png", 10)
        until(
            lambda: "database is busy" in str((read_instance(root / ".state") or {}).get("paused"))
        )
        backup.execute("ROLLBACK")
        until(lambda: painted(root) == 4)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=60) == 0
        assert daemon.stderr.read() == b""
    backup.close()


def test_those_who_only_ask_neither_keep_a_start_out_nor_are_taken_for_an_instance(
    tmp_path,
) -> None:
    asking = (
        "import sys; from pathlib import Path; from pipeline.daemon.instance import read_instance\n"
        "print('asking', flush=True)\n"
        "while True: assert 'x' not in (read_instance(Path(sys.argv[1])) or {})"
    )
    state = tmp_path / ".state"
    with instance_lock(state, "run"):
        pass
    asked = [
        subprocess.Popen([sys.executable, "-c", asking, str(state)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for one in asked:
            assert one.stdout.readline() == b"asking\n"
        for _ in range(50):
            assert read_instance(state) is None
            with instance_lock(state, "run") as record:
                record.update(busy=1)
                assert (read_instance(state) or {})["busy"] == 1
        assert [one.poll() for one in asked] == [None, None]
    finally:
        for one in asked:
            one.kill()
            one.communicate()


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", [["status", "--json"], ["check"], ["--help"], ["schema"]])
def test_a_command_that_cannot_print_says_why(tmp_path, command) -> None:
    project(tmp_path, photos=0)
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *command],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: no space left on device\n"


def test_without_standard_streams_no_file_of_ours_takes_their_place(tmp_path) -> None:
    root = project(tmp_path, photos=1)
    (root / "inbox" / "0.png").write_bytes(b"no picture")
    done = subprocess.run(
        ["bash", "-c", f'cd "{root}"; exec "{sys.executable}" -m pipeline run <&- >&- 2>&-'],
        env=ENVIRONMENT,
    )
    assert done.returncode == 1  # that photo is none
    (line,) = read_log(Outbox(root / "outbox"))
    assert line["status"] == "failed"
