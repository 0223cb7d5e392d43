"""The database file: readers beside a writer, and what is refused."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support import TESTS
from support.ledger_stock import KILLED, failed, only
from support.stock import (
    make,
    make_job,
)

from pipeline.errors import StateError
from pipeline.jobs.job import JobState
from pipeline.ledger.database import APPLICATION_ID, MIGRATIONS
from pipeline.ledger.ledger import Ledger


def test_a_database_that_was_removed_or_replaced_under_us_is_an_error_not_a_silent_loss(path):
    with Ledger(path) as ledger:
        ledger.begin(make_job())
        path.rename(path.with_name("away"))
        with pytest.raises(StateError, match=r"removed or replaced.*put it back"):
            ledger.begin(make_job("b.jpg"))
        path.write_bytes(b"")
        with pytest.raises(StateError, match="removed or replaced"):
            ledger.begin(make_job("b.jpg"))
        path.with_name("away").rename(path)
        assert ledger.begin(make_job("b.jpg")).attempt == 1


# --- reading beside a writer ----------------------------------------------------------------


def test_reading_creates_nothing_at_all(path):
    with Ledger(path, read_only=True) as ledger:
        assert ledger.known() == {}
        assert set(ledger.counts().values()) == {0}
    assert not path.parent.exists()


def test_reading_leaves_an_idle_ledger_as_it_was(path, outbox):
    with Ledger(path) as ledger:
        make(ledger, outbox, make_job())
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    with Ledger(path, read_only=True) as ledger:
        assert only(ledger).state is JobState.DONE
        assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    assert list(before) == ["jobs.sqlite3"]


def test_a_reader_sees_what_a_running_writer_has_committed_and_cannot_write(ledger, path):
    ledger.begin(make_job())
    with Ledger(path, read_only=True) as reader:
        assert reader.counts()[JobState.RUNNING] == 1
        with pytest.raises(StateError, match="cannot be written"):
            reader.begin(make_job())
        ledger.settle(failed(make_job()), {})
        assert reader.counts()[JobState.FAILED] == 1


@pytest.mark.slow
def test_the_ledger_of_a_killed_writer_can_be_read(path):
    subprocess.run([sys.executable, "-c", KILLED, path], cwd=TESTS)
    with Ledger(path, read_only=True) as reader:
        assert reader.counts()[JobState.RUNNING] == 1


def test_the_revision_changes_with_every_write_and_with_nothing_else(ledger, path):
    before = ledger.revision()
    ledger.known()
    assert ledger.revision() == before
    with Ledger(path) as other:  # `retry`, typed while the daemon runs
        other.files.record_hash("a.jpg", "v", "abc")
        between = ledger.revision()
        assert between != before
    ledger.files.record_hash("b.jpg", "v", "abc")
    assert ledger.revision() != between


def test_pairs_are_listed_latest_first_by_state_and_photo(path):
    clock = iter(range(1000))
    with Ledger(path, clock=lambda: float(next(clock))) as ledger:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            ledger.begin(make_job(name))
        ledger.settle(failed(make_job("b.jpg")), {})
        assert [pair.content for pair in ledger.pairs()] == ["b.jpg", "c.jpg", "a.jpg"]
        assert [pair.content for pair in ledger.pairs(JobState.FAILED)] == ["b.jpg"]
        assert [pair.content for pair in ledger.pairs(content="a.jpg")] == ["a.jpg"]
        assert len(ledger.pairs(limit=2)) == 2


# --- what it refuses to open ----------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_with_a_hint(path):
    path.parent.mkdir()
    path.write_bytes(b"this is a letter, not a database " * 100)
    with pytest.raises(StateError, match=r"jobs\.sqlite3: is not a jobs database.* \(move it away"):
        Ledger(path)
    assert path.read_bytes().startswith(b"this is a letter")


def test_another_programs_database_is_refused_untouched(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StateError, match="another program"):
            Ledger(path, read_only=read_only)
    with sqlite3.connect(path) as db:
        assert [name for (name,) in db.execute("SELECT name FROM sqlite_schema")] == ["bookmarks"]
    db.close()
    assert len(path.read_bytes()) == len(before)


def older(path: Path, version: int) -> None:
    """A database as an earlier version of the program left it."""
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        for script in MIGRATIONS[:version]:
            db.executescript(script)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("INSERT INTO seen (content, stamp, sha256) VALUES (x'61', 'v', 'abc')")
    db.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_an_older_versions_database_is_read_and_left_as_it_is(path, version):
    """Between an upgrade and the next run `status` reports what there is, and changes nothing."""
    older(path, version)
    before = path.read_bytes()
    with Ledger(path, read_only=True) as ledger:
        assert ledger.files.hashes() == {("a", "v"): "abc"}
    assert path.read_bytes() == before
    with Ledger(path) as ledger:
        assert ledger.files.hashes() == {("a", "v"): "abc"}


def test_a_newer_versions_database_is_refused(path):
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StateError, match="newer version"):
        Ledger(path)


def test_a_damaged_database_is_refused(path):
    with Ledger(path) as ledger:
        for number in range(500):
            ledger.files.record_hash(f"{number}.jpg", "v", "a" * 64)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))
    with pytest.raises(StateError, match="damaged"):
        Ledger(path)


def test_a_state_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match="state folder"):
        Ledger(tmp_path / "state" / "jobs.sqlite3")


FULL_DISK = """
import sys
from pathlib import Path
from support.stock import make_job
from pipeline.errors import StateError
from pipeline.ledger.ledger import Ledger
from pipeline.jobs.job import JobState
disk = Path(sys.argv[1])
with Ledger(disk / "jobs.sqlite3") as ledger:
    ledger.begin(make_job("kept.jpg"))
    (disk / "ballast").write_bytes(b"x" * 4096)
    free = disk / "more"
    try:
        with free.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
    except OSError:
        pass
    try:
        for number in range(10_000):
            ledger.begin(make_job(f"{number}.jpg"))
    except StateError as error:
        print(error)
    before = len(ledger.pairs())
    free.unlink()
    ledger.begin(make_job("after.jpg"))
    assert len(ledger.pairs()) == before + 1
    assert ledger.pairs(content="kept.jpg")
print("ok")
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_loses_nothing_and_passes(tmp_path):
    program = f"exec {sys.executable} -c '{FULL_DISK}' {tmp_path}"
    mount = f"mount -t tmpfs -o size=512k none {tmp_path} && {program}"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("needs user namespaces for a small disk of its own")
    command = ["unshare", "-rm", "sh", "-c", mount]
    here = TESTS
    answer = subprocess.run(command, capture_output=True, text=True, cwd=here)
    first, last = answer.stdout.splitlines()
    assert "the disk is full (free some space; nothing was lost)" in first, answer.stderr
    assert last == "ok"
