"""The service: what it does when all goes well, and what it survives."""

import json
import shutil
from pathlib import Path

import pytest
from support.fake_work import done
from support.stock import pictures, read_log
from support.studio import CONFIG

from pipeline.config.transfer import Transfer
from pipeline.daemon import pauses as pause
from pipeline.errors import OutputError, Reason
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


# --- the disk -------------------------------------------------------------------------------


def test_a_full_disk_pauses_before_an_attempt_is_made_and_goes_on_by_itself(
    make_studio, monkeypatch
):
    studio = make_studio(CONFIG.replace("free_bytes: 0", "free_bytes: 1000000"))
    free = 999_999
    monkeypatch.setattr(pause.too_full, "__defaults__", (lambda _: (free, 10**9),))
    monkeypatch.setattr(pause.is_over, "__defaults__", (lambda _: (free, 10**9),))
    studio.put("a.png")
    for _ in range(300):
        studio.tick(0.01)
        if studio.service.paused:
            break
    assert "goes on at 1.2 MB" in studio.view.message
    assert studio.executor.begun == []
    free = 1_200_000  # enough to work, not enough to begin again
    studio.tick(100)
    assert studio.service.paused
    free = 1_250_000
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}
    assert studio.ledger.pairs()[0].attempt == 1


def test_a_disk_that_fills_while_publishing_keeps_what_is_staged_and_burns_no_attempt(
    studio, monkeypatch
):
    studio.put("a.png")
    studio.until_running()
    full = OutputError("cannot be written", code=Reason.DISK_FULL)
    with monkeypatch.context() as broken:
        broken.setattr(Outbox, "publish", lambda *_: (_ for _ in ()).throw(full))
        studio.executor.end()
        studio.tick()
        assert studio.states() == {"a.png": "staged"}
        assert studio.service.paused
        studio.tick()
    studio.tick(pause.AGAIN_SECONDS)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}
    assert len(studio.executor.begun) == 1


def test_a_worker_that_finds_the_disk_full_burns_no_attempt(studio):
    studio.put("a.png")
    studio.until_running()
    studio.executor.fail(Reason.DISK_FULL)
    studio.tick()
    assert studio.service.paused
    studio.tick(pause.AGAIN_SECONDS)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}
    assert studio.ledger.pairs()[0].attempt == 1


def test_an_outbox_that_vanishes_is_waited_for(studio):
    studio.put("a.png")
    studio.until_running()
    studio.outbox.root.rename(studio.root / "unmounted")
    studio.executor.fail(Reason.IO_ERROR)
    studio.tick(30)
    studio.tick(10)
    assert studio.service.paused
    assert studio.service.paused.cause == "outbox"
    (studio.root / "unmounted").rename(studio.outbox.root)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


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
    assert studio.codes() == {"sub/a.png": "output_invalid"}
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


# --- originals ------------------------------------------------------------------------------


def test_by_default_no_original_is_touched(studio):
    good, bad = studio.put("a.png"), studio.put("b.png")
    bad.write_bytes(bad.read_bytes()[:60])
    before = [path.stat() for path in (good, bad)]
    studio.until_idle()
    assert [path.stat().st_ctime_ns for path in (good, bad)] == [s.st_ctime_ns for s in before]


def test_an_original_is_archived_once_its_pictures_are_verified(make_studio):
    studio = make_studio(CONFIG + "after: archive\n")
    content = studio.put("sub/a.png").read_bytes()
    studio.until_idle()
    assert not (studio.inbox / "sub/a.png").exists()
    assert (studio.root / "archive/sub/a.png").read_bytes() == content
    studio.put("sub/a.png", seed=9)
    studio.until_idle()
    assert (studio.root / "archive/sub/a~2.png").exists()
    assert (studio.root / "archive/sub/a.png").read_bytes() == content


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_an_original_whose_pictures_were_spoiled_or_that_changed_stays(make_studio, after):
    studio = make_studio(CONFIG)
    studio.put("a.png")
    studio.until_idle()
    (studio.outbox.root / "a--mosaic.enhanced.png").write_text("spoiled")
    studio.configure(CONFIG + f"after: {after}\n")
    studio.again()
    studio.until_idle()
    studio.service.finish_original("a.png")
    assert (studio.inbox / "a.png").exists()


def test_an_original_is_deleted_only_when_all_its_styles_are_done(make_studio):
    two = CONFIG.replace("styles:\n", 'styles:\n  waves: {image: "builtin:woodcut_waves"}\n')
    studio = make_studio(two + "after: delete\n")
    studio.put("a.png")
    studio.until_running()
    studio.executor.end()
    studio.until_running()
    assert (studio.inbox / "a.png").exists()
    studio.until_idle()
    assert not (studio.inbox / "a.png").exists()
    assert len(pictures(studio.outbox)) == 4


def test_an_archive_on_another_disk_gets_a_whole_copy(make_studio, tmp_path):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    archive = shm / f"archive-{tmp_path.name}"
    try:
        studio = make_studio(CONFIG + f"after: archive\narchive: {archive}\n")
        content = studio.put("a.png").read_bytes()
        studio.until_idle()
        assert [p.name for p in archive.iterdir()] == ["a.png"]
        assert (archive / "a.png").read_bytes() == content
        assert not (studio.inbox / "a.png").exists()
    finally:
        shutil.rmtree(archive, ignore_errors=True)


def test_what_failed_is_quarantined_with_its_reason_if_so_configured(make_studio):
    studio = make_studio(CONFIG + "failed: quarantine\n")
    path = studio.put("sub/broken.png")
    path.write_bytes(path.read_bytes()[:60])
    studio.put("hopeless.png", seed=3)
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    told = json.loads((studio.root / "quarantine/sub/broken.png.reason.json").read_text())
    assert told["error"]["code"] == "truncated"
    assert (studio.root / "quarantine/hopeless.png").exists()
    assert [p.name for p in studio.inbox.rglob("*.png")] == []
    studio.good_one_survives()


# --- side files -----------------------------------------------------------------------------

TWO = CONFIG.replace("styles:\n", 'styles:\n  waves: {image: "builtin:woodcut_waves"}\n')


def test_side_files_pick_styles_and_options_for_their_photo_and_folder_only(make_studio):
    studio = make_studio(TWO)
    for seed, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        studio.put(name, seed)
    (studio.inbox / "sub/_folder.yaml").write_text("styles: [waves]\ntransfer: {seed_: 1}\n"[:16])
    (studio.inbox / "sub/c.png.yaml").write_text("transfer: {content_weight: 0.5}\n")
    studio.until_idle()
    made = {(j.content, j.style): j.recipe.transfer.content_weight for j in studio.executor.begun}
    default = Transfer().content_weight
    assert made == {
        ("a.png", "waves"): default,
        ("a.png", "mosaic"): default,
        ("sub/b.png", "waves"): default,
        ("sub/c.png", "waves"): 0.5,
    }


def test_a_changed_side_file_plans_exactly_its_photo_anew(studio):
    for seed, name in enumerate(("a.png", "b.png")):
        studio.put(name, seed)
    studio.until_idle()
    studio.executor.begun.clear()
    (studio.inbox / "a.png.yaml").write_text("enhance: {sharpen: 0.9}\n")
    studio.until_idle()
    assert [job.content for job in studio.executor.begun] == ["a.png"]
    (studio.inbox / "a.png.yaml").unlink()
    studio.until_idle()
    assert [job.content for job in studio.executor.begun] == ["a.png", "a.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("styles: [mosiac]\n", "a.png.yaml:1: styles: there is no style 'mosiac'"),
        ("\ntransfer: {init: /etc/passwd}\n", "a.png.yaml:2: transfer.init"),
        ("transfer: {size: 20000}\n", "at most 4096 px"),
        ("transfer: {size: source}\n", "at most 4096 px"),
        ("transfer: {steps: [99999]}\n", "at most 2000"),
        ("hooks: {on_done: [rm]}\n", "a.png.yaml:1: unknown key 'hooks'"),
        ("outbox: /tmp\n", "unknown key 'outbox'"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed"),
        ("styles: [mosaic]\nstyles: [waves]\n", "a.png.yaml:2: the key 'styles' is given twice"),
        ("x" * (64 << 10) + "yz", "larger than 65536 bytes"),
        ("[" * 30000, "not valid YAML"),
        ("- a\n", "the top level must be keys with values"),
        ("!!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    ],
)  # fmt: skip
def test_a_wrong_side_file_fails_its_photo_with_its_line_until_it_is_mended(studio, text, words):
    studio.put("a.png")
    side = studio.inbox / "a.png.yaml"
    side.write_text(text)
    studio.until_idle()
    (line,) = [line for line in read_log(studio.outbox) if line["content"] == "a.png"]
    assert (line["status"], line["error"]["code"]) == ("failed", "sidecar_invalid")
    assert words in line["error"]["message"]
    studio.good_one_survives()
    side.write_text("styles: [mosaic]\n")
    studio.until_idle()
    assert studio.states()["a.png"] == "done"
    assert [r.content for r in studio.ledger.files.refusals() if r.status == "failed"] == []


# --- hooks ----------------------------------------------------------------------------------


def test_hooks_get_the_result_as_data_and_no_shell_reads_the_name(make_studio, tmp_path):
    said = tmp_path / "said"
    words = "sys.stdin.read() + os.environ['PIPELINE_CONTENT'] + '\\n'"
    program = f"import sys, os; open(sys.argv[1], 'a').write({words})"
    hook = json.dumps(["python3", "-c", program, str(said)])
    studio = make_studio(CONFIG + f"hooks: {{on_done: {hook}, on_failed: {hook}}}\n")
    studio.put("$(touch pwned); `id`.png")
    bad = studio.put("bad.png")
    bad.write_text("no picture")
    for _ in range(2000):
        studio.until_idle()
        if said.exists() and said.read_text().count("\n") == 2:
            break
    lines = sorted(said.read_text().splitlines())
    assert any('"status": "done"' in line and line.endswith("`id`.png") for line in lines)
    assert any('"code": "unsupported_format"' in line for line in lines)
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("hook", "seconds", "words"),
    [
        (["no-such-program-anywhere"], 5, "cannot be started"),
        (["false"], 5, "ended with 1"),
        (["sleep", "1000"], 1, "took longer than 1 s"),  # real ones
    ],
)
def test_the_loop_survives_a_hook_that(make_studio, hook, seconds, words):
    hooks = f"hooks: {{on_done: {json.dumps(hook)}, timeout_seconds: {seconds}}}\n"
    studio = make_studio(CONFIG + hooks)
    studio.put("a.png")
    for _ in range(2000):
        studio.tick(0.05)
        while studio.executor.jobs:
            studio.executor.end()
        if words in studio.service.hooks.trouble:
            break
    assert words in studio.view.message
    studio.good_one_survives()
