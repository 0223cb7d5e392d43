"""The ledger: states of pairs, their names, files seen."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import TESTS
from support.ledger_stock import KILLED, failed, only
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
from pipeline.jobs.job import MARKS, JobResult, JobState
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.names import RUN_LOG, candidate_names
from pipeline.outbox.run_log import RunLog

EMPTY = Failure(Reason.TRUNCATED, "the file is empty")


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
    assert only(ledger).attempt == 1  # no fault of its photo


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


@pytest.mark.parametrize("mark", sorted(filter(None, MARKS.values())))
def test_a_style_named_like_another_kind_of_file_of_a_pair_gets_a_name_that_meets_none(
    mark, ledger, outbox
):
    make(ledger, outbox, make_job(style="mosaic"))
    make(ledger, outbox, make_job(style=f"mosaic{mark}"))
    targets = {pair.style: pair.target for pair in ledger.pairs()}
    assert targets == {"mosaic": "a--mosaic", f"mosaic{mark}": f"a~2--mosaic{mark}"}


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
    with pytest.raises(JobError, match="did not make"):
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


# --- the run log, and what is ours ----------------------------------------------------------


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
