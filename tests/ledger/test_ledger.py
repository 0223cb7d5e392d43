"""The ledger: what it keeps, for whom, and what it refuses to open."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import TESTS
from support.stock import (
    complete,
    line_of,
    make,
    make_job,
    pictures,
    read_log,
    recover,
    render,
    stage,
)

from pipeline.errors import Failure, JobError, Reason, StateError
from pipeline.jobs.job import JobResult, JobState
from pipeline.ledger.database import APPLICATION_ID, MIGRATIONS
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.names import RUN_LOG, candidate_names
from pipeline.outbox.publisher import Outbox
from pipeline.outbox.run_log import RunLog

KILLED = """
import os, sys
from pathlib import Path
from support.stock import make_job
from pipeline.ledger.ledger import Ledger
Ledger(Path(sys.argv[1])).begin(make_job())
os.kill(os.getpid(), 9)
"""
EMPTY = Failure(Reason.TRUNCATED, "the file is empty")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.sqlite3"


@pytest.fixture
def ledger(path: Path):
    with Ledger(path) as ledger:
        yield ledger


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    outbox = Outbox(tmp_path / "outbox")
    outbox.prepare()
    return outbox


def only(ledger: Ledger):
    (pair,) = ledger.pairs()
    return pair


def failed(job, code=Reason.OUT_OF_MEMORY) -> JobResult:
    return JobResult(job, "failed", 0.5, "cpu", error=Failure(code, "too large"))


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


# --- the states of a pair -------------------------------------------------------------------


@pytest.mark.slow
def test_an_attempt_is_counted_before_the_work_even_if_the_process_is_killed(path):
    for attempt in (1, 2, 3):
        killed = subprocess.run([sys.executable, "-c", KILLED, path], cwd=TESTS)
        assert killed.returncode == -signal.SIGKILL
        with Ledger(path) as ledger:
            (pair,) = ledger.requeue_interrupted()
            assert (pair.state, pair.attempt) == (JobState.RUNNING, attempt)
            assert only(ledger).state is JobState.QUEUED
            assert ledger.requeue_interrupted() == []


def test_a_job_that_is_done_is_known_and_finished(ledger, outbox):
    job = make_job()
    make(ledger, outbox, job)
    known = ledger.known()["a.jpg", "mosaic"]
    assert (known.job, known.recipe) == (job.id, job.recipe.digest)
    assert (known.state, known.content) == (JobState.DONE, "a.jpg")
    assert ledger.finished() == {(job.sha256, "mosaic", job.recipe.digest): "a.jpg"}
    pair = only(ledger)
    assert (pair.target, pair.attempt, pair.device) == ("a--mosaic", 1, "cpu")
    assert (pair.losses, pair.seconds, pair.failure) == ({"total": 2.0}, 1.5, None)
    assert [o.path for o in pair.outputs] == ["a--mosaic.png", "a--mosaic.enhanced.png"]


def test_a_failed_job_keeps_its_reason_and_comes_back_by_retry_with_fresh_attempts(ledger):
    job = ledger.begin(ledger.begin(make_job()))
    assert job.attempt == 2
    ledger.settle(failed(job), line_of(failed(job)))
    pair = only(ledger)
    assert pair.failure == Failure(Reason.OUT_OF_MEMORY, "too large")
    assert ledger.counts()[JobState.FAILED] == 1
    assert ledger.retry(["no such job"]) == 0
    assert ledger.retry() == 1
    assert only(ledger).state is JobState.QUEUED
    assert ledger.begin(make_job()).attempt == 1


def test_an_interrupted_attempt_that_is_given_back_does_not_count(ledger):
    ledger.give_back(ledger.begin(make_job()))
    assert only(ledger).state is JobState.QUEUED
    assert ledger.begin(make_job()).attempt == 1


def test_another_photo_or_recipe_starts_counting_again(ledger):
    ledger.begin(make_job())
    assert ledger.begin(make_job()).attempt == 2
    assert ledger.begin(make_job(seed=1)).attempt == 1
    assert ledger.begin(make_job(sha="6" * 64, seed=1)).attempt == 1
    assert len(ledger.pairs()) == 1


def test_a_done_job_is_rendered_again_only_when_named(ledger, outbox):
    make(ledger, outbox, make_job())
    assert ledger.retry() == 0
    assert ledger.retry([make_job().id]) == 1
    assert only(ledger).outputs  # still known for ours


def test_a_pair_may_fail_or_be_skipped_without_ever_having_begun(ledger):
    twin = JobResult(make_job(), "skipped", error=Failure(Reason.DUPLICATE, "same as b.jpg"))
    ledger.settle(twin, line_of(twin))
    assert (only(ledger).state, only(ledger).attempt) == (JobState.SKIPPED, 0)


def test_what_was_staged_at_a_crash_is_published_without_rendering_again(path, outbox):
    with Ledger(path) as ledger:
        stage(ledger, outbox, render(outbox, ledger.begin(make_job()), "first"))
    with Ledger(path) as ledger:
        recover(ledger, outbox)
        assert only(ledger).state is JobState.DONE
    assert (outbox.root / "a--mosaic.png").read_text().split()[1] == "first"
    assert [line["status"] for line in read_log(outbox)] == ["done"]


def test_finishing_twice_changes_and_logs_nothing_more(ledger, outbox):
    staged = stage(ledger, outbox, render(outbox, ledger.begin(make_job())))
    published = complete(ledger, outbox, staged)
    ledger.finish(staged, published)
    ledger.log.flush(RunLog(outbox.root / RUN_LOG).append)
    assert len(read_log(outbox)) == 1


def test_a_staged_result_that_cannot_be_published_is_rendered_again_under_the_same_name(
    ledger, outbox
):
    staged = stage(ledger, outbox, render(outbox, ledger.begin(make_job())))
    Path(staged.outputs[0].path).write_text("bits have rotted")
    with pytest.raises(JobError, match="damaged"):
        complete(ledger, outbox, staged)
    ledger.redo(staged)
    assert make(ledger, outbox, make_job())[0].path == "a--mosaic.png"
    assert only(ledger).attempt == 2


def test_a_result_of_a_job_that_is_not_running_is_refused(ledger, outbox):
    begun = ledger.begin(make_job())
    result = render(outbox, begun)
    ledger.give_back(begun)
    with pytest.raises(StateError, match="is not running"):
        stage(ledger, outbox, result)
    assert only(ledger).state is JobState.QUEUED


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.jpg", "a.png"),  # one stem
        ("A.jpg", "a.jpg"),  # one name, where case does not count
        ("sub/Straße.jpg", "SUB/strasse.jpg"),
        ("\u00e9.jpg", "e\u0301.jpg"),  # NFC and NFD
        ("\udcff.jpg", "\udcff.png"),  # not text
    ],
)
def test_two_photos_that_would_collide_get_distinct_names_that_stay(ledger, outbox, first, second):
    make(ledger, outbox, make_job(first))
    make(ledger, outbox, make_job(second))
    targets = {pair.content: pair.target for pair in ledger.pairs()}
    assert "~2--mosaic" in targets[second]
    make(ledger, outbox, make_job(second, seed=1))
    make(ledger, outbox, make_job(first, seed=1))
    assert {pair.content: pair.target for pair in ledger.pairs()} == targets
    assert len(pictures(outbox)) == 4


def test_styles_whose_names_would_meet_in_a_suffix_get_distinct_names(ledger, outbox):
    make(ledger, outbox, make_job(style="mosaic"))
    make(ledger, outbox, make_job(style="mosaic.enhanced"))
    make(ledger, outbox, make_job("a--b.jpg", style="c"))
    make(ledger, outbox, make_job("a.jpg", style="b--c"))
    assert len(pictures(outbox)) == 8


def test_a_file_that_is_not_ours_moves_a_pair_to_another_name_for_good(ledger, outbox):
    (outbox.root / "a--mosaic.enhanced.png").write_text("not ours")
    make(ledger, outbox, make_job())
    assert only(ledger).target == "a~2--mosaic"
    (outbox.root / "a--mosaic.enhanced.png").unlink()
    make(ledger, outbox, make_job(seed=1))
    assert pictures(outbox) == ["a~2--mosaic.enhanced.png", "a~2--mosaic.png"]


def test_a_pair_whose_name_was_taken_at_the_last_moment_gets_another(ledger, outbox):
    staged = stage(ledger, outbox, render(outbox, ledger.begin(make_job())))
    (outbox.root / "a--mosaic.png").write_text("not ours")
    with pytest.raises(JobError, match="not ours"):
        complete(ledger, outbox, staged)
    names = candidate_names(staged.content, staged.style)
    staged = ledger.rename(
        staged, names, lambda stem, before: outbox.is_taken(stem, staged.outputs, before)
    )
    complete(ledger, outbox, staged)
    assert (outbox.root / "a--mosaic.png").read_text() == "not ours"
    assert only(ledger).target == "a~2--mosaic"


# --- files seen -----------------------------------------------------------------------------


def test_a_file_is_hashed_once_per_version(ledger):
    ledger.files.record_hash("a.jpg", "v1", "abc")
    assert ledger.files.hashes() == {("a.jpg", "v1"): "abc"}


def test_a_refusal_is_accounted_for_once_per_version(ledger):
    def refuse(stamp):
        return ledger.files.refuse("a.jpg", stamp, "failed", EMPTY, {"content": "a.jpg"})

    assert refuse("v1")
    assert not refuse("v1")
    assert refuse("v2")
    lines: list[str] = []
    ledger.log.flush(lambda new, _: lines.extend(new) or 0)
    assert len(lines) == 2
    assert ledger.files.find("a.jpg").failure == EMPTY
    assert [seen.content for seen in ledger.files.refusals()] == ["a.jpg"]


def test_a_new_version_of_a_refused_file_is_refused_no_more(ledger):
    ledger.files.refuse("a.jpg", "v1", "failed", EMPTY, {})
    ledger.files.record_hash("a.jpg", "v2", "abc")
    assert ledger.files.refusals() == []
    ledger.files.refuse("a.jpg", "v2", "skipped", Failure(Reason.NO_MATCH, "no rule fits"), {})
    assert ledger.files.hashes() == {("a.jpg", "v2"): "abc"}


def test_names_that_are_not_text_and_times_beyond_all_clocks_are_kept(ledger, outbox):
    name = os.fsdecode(b"sub/\xff\xfe\n.jpg")
    stamp = f"{2**64}.{10**25}.-1.{2**64}"
    ledger.files.record_hash(name, stamp, "abc")
    assert ledger.files.hashes() == {(name, stamp): "abc"}
    make(ledger, outbox, make_job(name))
    assert next(iter(ledger.known())) == (name, "mosaic")
    assert read_log(outbox)[0]["content"] == name


def test_numbers_that_json_does_not_know_become_null_in_the_run_log(ledger, outbox):
    ledger.log.add({"losses": {"total": float("nan"), "tv": float("-inf")}, "words": "NaN"})
    ledger.log.flush(RunLog(outbox.root / RUN_LOG).append)
    assert read_log(outbox) == [{"losses": {"total": None, "tv": None}, "words": "NaN"}]


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
    with pytest.raises(StateError, match=r"jobs\.sqlite3: is not a jobs database \(move it away"):
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


def test_settled_results_reach_the_run_log_with_their_reason(ledger, outbox):
    job = replace(make_job(), attempt=1)
    ledger.settle(failed(job), line_of(failed(job)))
    ledger.log.flush(RunLog(outbox.root / RUN_LOG).append)
    (line,) = read_log(outbox)
    assert line["error"] == {"code": "out_of_memory", "message": "too large"}
    assert json.dumps(line)


def test_what_was_published_before_the_ledger_recorded_it_is_still_known_as_ours(ledger, outbox):
    staged = stage(ledger, outbox, render(outbox, ledger.begin(make_job()), "first"))
    outbox.publish(staged.outputs, staged.target, staged.previous)
    ledger.redo(staged)
    make(ledger, outbox, make_job(), "second")
    assert pictures(outbox) == ["a--mosaic.enhanced.png", "a--mosaic.png"]
    assert (outbox.root / "a--mosaic.png").read_text().split()[1] == "second"
