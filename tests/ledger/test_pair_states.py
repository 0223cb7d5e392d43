"""What the ledger says of pairs: failures that wait, photos that leave, lists, counts."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from support.ledger_stock import failed, only
from support.stock import bring_back, complete, line_of, make, make_job, render, stage

from pipeline.errors import Failure, Reason, StateError
from pipeline.jobs.job import JobResult, JobState
from pipeline.ledger.ledger import Ledger

BUSY = Failure(Reason.OUT_OF_MEMORY, "too large")
GONE = Failure(Reason.DUPLICATE, "taken out of the inbox")


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Its clock goes on by a second each time that it is read."""
    seconds = count(1000)
    with Ledger(path, clock=lambda: float(next(seconds))) as ledger:
        yield ledger


def logged(ledger: Ledger) -> int:
    """How many lines wait for the run log; takes them out."""
    lines: list[str] = []
    ledger.log.flush(lambda new, _: lines.extend(new) or 0)
    return len(lines)


def contents(ledger: Ledger, *states: JobState, **which) -> list[str]:
    return [pair.content for pair in ledger.pairs(*states, **which)]


# --- failures that wait -------------------------------------------------------------------------


def test_a_failure_that_will_be_tried_again_is_counted_and_waits_until_its_time(ledger):
    job = ledger.begin(make_job())
    assert (job.attempt, job.caution) == (1, 0)
    ledger.postpone(job, BUSY, 2, 5000.0)
    assert ledger.retry_times() == {job.id: 5000.0}
    assert ledger.failures(job, Reason.OUT_OF_MEMORY) == 2
    assert ledger.failures(job, Reason.TRUNCATED) == 0
    assert ledger.failures(make_job("b.jpg"), Reason.OUT_OF_MEMORY) == 0
    assert (only(ledger).state, only(ledger).failure) == (JobState.QUEUED, BUSY)
    again = ledger.begin(make_job())
    assert (again.attempt, again.caution) == (2, 2)
    assert ledger.retry_times() == {}
    assert ledger.failures(again, Reason.OUT_OF_MEMORY) == 2, "compared with the next failure"


def test_a_failure_without_a_time_is_due_at_once_and_another_recipe_begins_without_it(ledger):
    ledger.postpone(ledger.begin(make_job()), BUSY, 1, 0.0)
    assert ledger.retry_times() == {}
    other = ledger.begin(make_job(seed=1))
    assert (other.attempt, other.caution) == (1, 0)
    assert ledger.failures(other, Reason.OUT_OF_MEMORY) == 0


def test_a_pair_that_is_done_has_forgotten_its_failures(ledger, outbox):
    ledger.postpone(ledger.begin(make_job()), BUSY, 1, 0.0)
    make(ledger, outbox, make_job())
    assert only(ledger).failure is None
    assert ledger.begin(make_job()).caution == 0


def test_retry_forgets_failures_and_when_they_were_to_be_tried_again(ledger):
    job = ledger.begin(make_job())
    ledger.postpone(job, BUSY, 3, 5000.0)
    assert ledger.retry() == 0, "it waits by itself"
    job = ledger.begin(make_job())
    ledger.settle(failed(job), line_of(failed(job)))
    assert ledger.retry(["a.jpg"]) == 1
    pair = only(ledger)
    assert (pair.attempt, pair.failure, pair.restored) == (0, None, "")
    assert ledger.begin(make_job()).caution == 0


def test_retry_of_a_file_takes_its_failures_and_no_others(ledger, outbox):
    for content, style in (("a.jpg", "mosaic"), ("a.jpg", "wave"), ("b.jpg", "mosaic")):
        bad = failed(ledger.begin(make_job(content, style)))
        ledger.settle(bad, line_of(bad))
    make(ledger, outbox, make_job("a.jpg", "oil"))
    assert ledger.retry(["a.jpg"]) == 2
    assert contents(ledger, JobState.FAILED) == ["b.jpg"]
    assert contents(ledger, JobState.DONE) == ["a.jpg"]


def test_a_pair_whose_earlier_version_was_restored_is_retried_only_by_its_name(ledger, outbox):
    for seed in (0, 1):
        make(ledger, outbox, make_job(seed=seed), mark=str(seed))
    (version,) = ledger.history.earlier()
    bring_back(ledger, outbox, version)
    assert only(ledger).restored
    assert (ledger.retry(), ledger.retry(["b.jpg"])) == (0, 0)
    assert ledger.retry(["a.jpg"]) == 1
    assert (only(ledger).state, only(ledger).restored) == (JobState.QUEUED, "")


def test_what_is_given_back_or_lost_before_it_was_counted_stays_at_no_attempt(ledger, outbox):
    begun = ledger.begin(make_job())
    ledger.give_back(replace(begun, attempt=0))
    assert only(ledger).attempt == 0
    staged = stage(ledger, outbox, render(outbox, ledger.begin(make_job())))
    ledger.redo(replace(staged, attempt=0))
    assert (only(ledger).attempt, only(ledger).state) == (0, JobState.QUEUED)
    assert ledger.staged() == []


def test_a_result_of_a_job_that_never_began_is_refused(ledger, outbox):
    with pytest.raises(StateError, match="is not running"):
        stage(ledger, outbox, render(outbox, make_job()))
    assert ledger.pairs() == []


# --- photos that leave --------------------------------------------------------------------------


def test_a_failed_pair_whose_photo_was_taken_out_is_skipped_with_one_line(ledger):
    bad = failed(ledger.begin(make_job()))
    ledger.settle(bad, line_of(bad))
    assert logged(ledger) == 1
    pair = only(ledger)
    for lines in (1, 0):
        ledger.skip_removed(pair, GONE, line_of(bad))
        assert logged(ledger) == lines
    assert (only(ledger).state, only(ledger).failure) == (JobState.SKIPPED, GONE)
    assert only(ledger).attempt == 0
    assert ledger.begin(make_job()).caution == 0


def test_a_photo_that_leaves_takes_its_twins_along_and_comes_back_by_its_bytes(ledger, outbox):
    for content, sha in (("a.jpg", "1"), ("twin.jpg", "1"), ("b.jpg", "2")):
        make(ledger, outbox, make_job(content, sha=sha * 64))
    ledger.close_photo("a.jpg", "1" * 64)
    assert ledger.closed() == {("a.jpg", "1" * 64), ("twin.jpg", "1" * 64)}
    assert ledger.known()["a.jpg", "mosaic"].closed
    assert not ledger.known()["b.jpg", "mosaic"].closed
    ledger.reopen_photos([("a.jpg", "3" * 64), ("twin.jpg", "1" * 64)])
    assert ledger.closed() == {("a.jpg", "1" * 64)}


def test_a_photo_whose_bytes_are_unknown_takes_nobody_along(ledger):
    for content in ("a.jpg", "b.jpg"):
        bad = failed(make_job(content, sha=""))
        ledger.settle(bad, line_of(bad))
    ledger.close_photo("a.jpg", "")
    assert ledger.closed() == {("a.jpg", "")}


def test_photos_that_are_missing_are_closed_once(ledger, outbox):
    for content in ("a.jpg", "b.jpg", "c.jpg"):
        make(ledger, outbox, make_job(content))
        make(ledger, outbox, make_job(content, style="wave"))
    assert ledger.close_missing(["b.jpg"]) == 2
    assert {content for content, _ in ledger.closed()} == {"a.jpg", "c.jpg"}
    assert ledger.close_missing(["b.jpg"]) == 0


def test_another_photo_under_a_name_leaves_the_first_ones_pair_known_as_an_earlier_one(
    ledger, outbox
):
    first, second = make_job(sha="1" * 64), make_job(sha="2" * 64)
    make(ledger, outbox, first)
    ledger.close_photo("a.jpg", "1" * 64)
    ledger.begin(second)
    known = ledger.known()["a.jpg", "mosaic"]
    assert (known.sha256, known.closed, known.pictured) == ("2" * 64, False, False)
    earlier = known.for_photo("1" * 64)
    assert earlier is not None
    assert (earlier.job, earlier.closed, earlier.pictured) == (first.id, True, True)
    assert ledger.closed() == set(), "the name is in use again"
    assert ledger.count_lives("a.jpg", "mosaic") == 1
    present, former = ledger.pair("a.jpg", "mosaic"), ledger.pair("a.jpg", "mosaic", "1" * 64)
    assert present is not None
    assert former is not None
    assert (present.job, former.job) == (second.id, first.id)
    ledger.reopen_photos([("a.jpg", "1" * 64)])
    earlier = ledger.known()["a.jpg", "mosaic"].for_photo("1" * 64)
    assert earlier is not None
    assert earlier.closed, "only the present photo of a name is opened again"


# --- lists and counts ---------------------------------------------------------------------------


def test_pairs_are_listed_latest_first_by_state_by_photo_and_no_more_than_asked_for(ledger, outbox):
    for content in ("a.jpg", "b.jpg", "c.jpg"):
        make(ledger, outbox, make_job(content))
    bad = failed(ledger.begin(make_job("b.jpg", style="wave")))
    ledger.settle(bad, line_of(bad))
    assert contents(ledger) == ["b.jpg", "c.jpg", "b.jpg", "a.jpg"]
    assert contents(ledger, JobState.DONE) == ["c.jpg", "b.jpg", "a.jpg"]
    assert contents(ledger, JobState.DONE, JobState.FAILED, limit=2) == ["b.jpg", "c.jpg"]
    assert contents(ledger, JobState.FAILED, content="a.jpg") == []
    assert contents(ledger, content="b.jpg") == ["b.jpg", "b.jpg"]
    assert contents(ledger, limit=0) == []


def test_pairs_of_one_moment_are_listed_by_name_and_style(path):
    with Ledger(path, clock=lambda: 1000.0) as ledger:
        for content, style in (("b.jpg", "wave"), ("b.jpg", "mosaic"), ("a.jpg", "wave")):
            ledger.begin(make_job(content, style))
        listed = [(pair.content, pair.style) for pair in ledger.pairs()]
    assert listed == [("a.jpg", "wave"), ("b.jpg", "mosaic"), ("b.jpg", "wave")]


def test_results_and_pairs_of_one_photo_can_be_asked_for_alone(ledger, outbox):
    for content, sha in (("a.jpg", "1"), ("b.jpg", "2")):
        make(ledger, outbox, make_job(content, sha=sha * 64))
    assert list(ledger.finished("2" * 64).values()) == ["b.jpg"]
    assert len(ledger.finished()) == 2
    assert list(ledger.known("a.jpg")) == [("a.jpg", "mosaic")]
    assert len(ledger.known()) == 2
    assert ledger.pair("c.jpg", "mosaic") is None


def test_pairs_are_counted_by_state_with_those_that_have_none(ledger, outbox):
    make(ledger, outbox, make_job())
    for content in ("b.jpg", "c.jpg"):
        ledger.begin(make_job(content))
    twin = JobResult(make_job("d.jpg"), "skipped", error=GONE)
    ledger.settle(twin, line_of(twin))
    counts = ledger.counts()
    assert set(counts) == set(JobState)
    assert {state: n for state, n in counts.items() if n} == {
        JobState.DONE: 1,
        JobState.RUNNING: 2,
        JobState.SKIPPED: 1,
    }
    assert len(ledger.requeue_interrupted()) == 2
    assert ledger.counts()[JobState.QUEUED] == 2


def test_a_pair_with_a_draft_only_counts_as_queued(ledger, outbox):
    make(ledger, outbox, make_job())
    result = render(outbox, ledger.begin(make_job("b.jpg")))
    line = line_of(result) | {"draft": True}
    staged = ledger.stage(result, line, ["b--mosaic"], lambda *_: False)
    complete(ledger, outbox, staged)
    counts = ledger.counts()
    assert (counts[JobState.DONE], counts[JobState.QUEUED]) == (1, 1)


def test_a_pair_that_is_staged_may_begin_again_by_another_recipe(ledger, outbox):
    stage(ledger, outbox, render(outbox, ledger.begin(make_job())))
    assert ledger.begin(make_job(seed=1)) is not None


def test_staged_pairs_come_oldest_first(ledger, outbox):
    for content in ("b.jpg", "a.jpg", "c.jpg"):
        stage(ledger, outbox, render(outbox, ledger.begin(make_job(content))))
    assert [staged.content for staged in ledger.staged()] == ["b.jpg", "a.jpg", "c.jpg"]


def test_a_reader_sees_that_something_was_written(ledger, path):
    with Ledger(path, read_only=True) as reader:
        before = reader.revision()
        assert reader.revision() == before
        ledger.begin(make_job())
        assert reader.revision() != before
