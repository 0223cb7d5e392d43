"""The service: what it does when all goes well, and what it survives."""

from pathlib import Path

from support.fake_work import done
from support.stock import pictures, read_log
from support.studio import CONFIG

from pipeline.errors import Reason
from pipeline.jobs.job import JobState
from pipeline.jobs.retry_policy import LONGEST_SECONDS, MAX_ATTEMPTS, TRIES, is_due, wait_seconds
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox

# --- all goes well --------------------------------------------------------------------------


def test_a_photo_becomes_its_pictures_and_one_line_and_nothing_is_made_twice(studio):
    studio.put("sub/a.png")
    studio.until_idle()
    assert pictures(studio.outbox) == ["sub/a--mosaic.enhanced.png", "sub/a--mosaic.png"]
    assert [line["status"] for line in read_log(studio.outbox)] == ["done"]
    assert studio.lines == read_log(studio.outbox)
    studio.again()
    studio.until_idle()
    assert studio.executor.begun == []
    assert len(read_log(studio.outbox)) == 1
    assert not (studio.outbox.root / ".staging").exists()


def test_a_broken_file_is_one_failed_line_not_one_for_each_style_and_survives_a_restart(
    make_studio,
):
    studio = make_studio(
        CONFIG.replace("styles:\n", 'styles:\n  waves: {image: "builtin:woodcut_waves"}\n')
    )
    path = studio.put("broken.png")
    path.write_bytes(path.read_bytes()[:60])
    studio.until_idle()
    studio.again()
    studio.until_idle()
    (line,) = read_log(studio.outbox)
    assert (line["content"], line["style"], line["error"]["code"]) == (
        "broken.png",
        None,
        "truncated",
    )
    assert studio.states() == {}
    studio.good_one_survives()


def test_a_file_that_failed_is_examined_again_by_retry_of_its_name_and_by_retry_of_all(studio):
    path = studio.put("broken.png")
    path.write_bytes(path.read_bytes()[:60])
    studio.until_idle()
    for chosen, count in ((["other.png"], 1), (["broken.png"], 2), (None, 3)):
        with Ledger(studio.root / ".state" / "jobs.sqlite3") as elsewhere:
            assert elsewhere.retry(chosen) == (chosen != ["other.png"])
        studio.until_idle()
        assert [line["status"] for line in read_log(studio.outbox)] == ["failed"] * count


def test_the_same_photo_under_another_name_is_linked_not_painted_again(studio):
    studio.put("a.png")
    studio.put("b.png")
    studio.until_idle()
    assert len(studio.executor.begun) == 1
    (twin,) = [line for line in read_log(studio.outbox) if line["status"] == "skipped"]
    assert twin["error"]["code"] == "duplicate"
    assert twin["outputs"][0]["path"] == "a--mosaic.png"


# --- faults ---------------------------------------------------------------------------------


def test_a_transient_fault_waits_longer_each_time_grows_more_careful_and_then_fails(studio):
    studio.put("a.png")
    cautions, waits = [], []
    for _ in range(TRIES[Reason.OUT_OF_MEMORY]):
        studio.until_running()
        cautions.append(studio.executor.begun[-1].caution)
        studio.executor.fail(Reason.OUT_OF_MEMORY)
        studio.tick(0.01)
        began = studio.wall
        while not studio.executor.jobs and studio.states() == {"a.png": "queued"}:
            assert not studio.service.idle
            studio.tick(0.5)
        waits.append(studio.wall - began)
    assert cautions == [0, 1, 2]
    assert 5 <= waits[0] < waits[1] < 30
    studio.fail(Reason.OUT_OF_MEMORY)  # once more after its check
    studio.until_idle()
    assert studio.codes() == {"a.png": "out_of_memory"}
    studio.good_one_survives()


def test_a_permanent_fault_fails_at_once(studio):
    studio.put("a.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    assert studio.wall < 2e9 + 5
    studio.good_one_survives()


def test_the_loop_survives_a_file_that_kills_its_worker_each_time(studio):
    studio.put("poison.png")
    for _ in range(3):
        studio.until_running()
        studio.executor.fail(Reason.WORKER_CRASHED)
        for _ in range(30):
            studio.tick(0.5)
            if studio.executor.jobs:
                break
    assert studio.states() == {"poison.png": "failed"}
    assert len(studio.executor.begun) == 3
    studio.good_one_survives()


def test_a_fault_of_another_kind_begins_the_count_anew(studio):
    studio.put("a.png")
    for code in (Reason.WORKER_CRASHED, Reason.STALLED, Reason.WORKER_CRASHED):
        studio.until_running()
        studio.executor.fail(code)
        studio.tick(20)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_a_job_that_takes_the_whole_program_down_each_time_is_stopped_at_last(studio):
    studio.put("a.png")
    for _ in range(MAX_ATTEMPTS):
        studio.until_running()
        studio.again()
    studio.until_idle()
    assert studio.states() == {"a.png": "failed"}
    assert studio.codes() == {"a.png": "worker_crashed"}
    studio.good_one_survives()


def test_a_wait_outlasts_a_restart_and_a_clock_set_back_by_years(studio):
    studio.put("a.png")
    studio.until_running()
    studio.executor.fail(Reason.IO_ERROR)
    studio.tick()
    studio.again()
    studio.tick()
    for _ in range(20):
        studio.tick(0.01)
    assert studio.executor.jobs == []
    studio.wall -= 1e9
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_waits_are_bounded_and_spread():
    waits = [wait_seconds(Reason.IO_ERROR, times, "job") for times in range(1, 5)]
    assert waits == sorted(waits)
    assert wait_seconds(Reason.IO_ERROR, 5, "job") is None
    assert wait_seconds(Reason.TRUNCATED, 1, "job") is None
    assert max(waits) <= LONGEST_SECONDS * 1.25
    assert len({wait_seconds(Reason.IO_ERROR, 1, str(n)) for n in range(50)}) > 40
    assert is_due(0, 1e9)
    assert not is_due(1e9 + 5, 1e9)
    assert is_due(1e9, -5)


# --- the photo changes meanwhile ------------------------------------------------------------


def test_a_photo_replaced_while_it_is_painted_is_painted_anew_not_published_as_the_old_one(studio):
    path = studio.put("a.png", seed=1)
    studio.until_running()
    studio.put("other.part", seed=2)
    (studio.inbox / "other.part").rename(path)
    studio.executor.end()
    studio.until_idle()
    assert [line["status"] for line in read_log(studio.outbox) if line["style"]] == ["done"]
    first, second = studio.executor.begun
    assert first.sha256 != second.sha256
    assert second.sha256 in (studio.outbox.root / "a--mosaic.png").read_text()


def test_a_photo_deleted_while_it_is_painted_is_accounted_for_and_painted_if_it_comes_back(studio):
    path = studio.put("a.png")
    studio.until_running()
    path.unlink()
    studio.executor.fail(Reason.VANISHED)
    studio.until_idle()
    assert studio.codes() == {"a.png": "vanished"}
    studio.put("a.png")
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_an_inbox_that_vanishes_pauses_and_its_return_goes_on_by_itself(studio):
    studio.put("a.png")
    studio.until_idle()
    studio.inbox.rename(studio.root / "unmounted")
    studio.tick()
    assert studio.view.message.startswith("paused: ")
    assert "no such file" in studio.view.message
    assert not studio.service.idle
    (studio.root / "unmounted").rename(studio.inbox)
    studio.good_one_survives()
    assert "paused" not in studio.view.message
    assert len(studio.executor.begun) == 2


# --- publishing -----------------------------------------------------------------------------


def test_a_name_that_a_stranger_takes_at_the_last_moment_leads_to_another_name(studio, monkeypatch):
    publish = Outbox.publish

    def somebody_was_faster(outbox, staged, stem, previous=()):
        if stem == "a--mosaic":
            (outbox.root / "a--mosaic.png").write_text("not ours")
        return publish(outbox, staged, stem, previous)

    monkeypatch.setattr(Outbox, "publish", somebody_was_faster)
    studio.put("a.png")
    studio.until_idle()
    assert "a~2--mosaic.png" in pictures(studio.outbox)
    assert (studio.outbox.root / "a--mosaic.png").read_text() == "not ours"
    assert len(studio.executor.begun) == 1


def test_staged_pictures_that_rot_before_they_are_published_are_made_again(studio):
    def rotten(job, staging):
        result = done(job, staging)
        if len(studio.executor.begun) == 1:
            Path(result.outputs[0].path).write_text("rot")
        return result

    studio.put("a.png")
    studio.until_idle(rotten)
    assert studio.states() == {"a.png": "done"}
    assert len(studio.executor.begun) == 2


def test_the_loop_survives_a_place_in_the_outbox_that_cannot_be_used(studio):
    studio.put("sub/a.png")
    (studio.outbox.root / "sub").symlink_to(studio.inbox)
    for _ in range(4):
        studio.tick(20)
        studio.until_idle() if not studio.executor.jobs and studio.service.idle else None
        while studio.executor.jobs:
            studio.executor.end()
    studio.until_idle()
    assert studio.codes() == {}
    assert studio.states() == {"sub/a.png": "staged"}
    assert "sub/a.png waits: " in studio.view.message
    studio.good_one_survives()


# --- stopping -------------------------------------------------------------------------------


def test_a_stop_gives_running_jobs_back_without_counting_the_attempt(studio):
    studio.put("a.png")
    studio.until_running()
    studio.service.stop()
    studio.tick()
    studio.service.finish()
    (pair,) = studio.ledger.pairs()
    assert (pair.state, pair.attempt) == (JobState.QUEUED, 0)
    assert not (studio.outbox.root / ".staging").exists()
