"""`first: draft`: a small picture of every photo first, then the full one in its place."""

import json
from contextlib import closing

import pytest
from support.fake_work import FakeExecutor, done
from support.stock import pictures, read_log
from support.studio import CONFIG, Studio

from pipeline.config.loading import load
from pipeline.daemon.planner import MOST_FOR_DRAFTS
from pipeline.daemon.preview import preview
from pipeline.errors import Reason
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger

DRAFTS = CONFIG + "first: draft\n"


@pytest.fixture
def studio(make_studio):
    return make_studio(DRAFTS)


def begun(executor: FakeExecutor) -> list[tuple[str, int]]:
    return [(job.content, job.recipe.transfer.size) for job in executor.begun]


def end_draft(studio, name: str = "a.png"):
    """The draft of a photo is in the outbox, and its full picture has not begun."""
    studio.put(name)
    studio.service.fault_pauses.free_bytes = 0
    studio.until_running()
    job = studio.executor.end()
    studio.executor.slots = 0
    studio.tick()
    return job


def test_the_full_picture_replaces_the_draft_which_is_no_earlier_version(studio):
    studio.put("a.png")
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 256), ("a.png", 512)]
    assert pictures(studio.outbox) == ["a--mosaic.enhanced.png", "a--mosaic.png"]
    draft, full = read_log(studio.outbox)
    assert (draft["draft"], full.get("draft")) == (True, None)
    assert draft["outputs"][0]["path"] == full["outputs"][0]["path"]
    assert studio.ledger.history.earlier() == []
    assert not (studio.outbox.root / ".versions").exists()
    assert (studio.view.done, studio.view.drafts) == (1, 1)
    studio.again()
    studio.until_idle()
    assert studio.executor.begun == []


def test_recipe_and_job_of_the_full_picture_are_those_without_drafts(tmp_path):
    jobs = []
    for name, config in (("plain", CONFIG), ("drafts", DRAFTS)):
        (tmp_path / name).mkdir()
        with closing(Studio(tmp_path / name, config)) as studio:
            studio.put("a.png")
            studio.until_idle()
            jobs.append(studio.executor.begun[-1].id)
    assert jobs[0] == jobs[1]


def test_all_drafts_come_before_full_pictures_of_the_same_priority(make_studio):
    studio = make_studio(DRAFTS + "queue: {folders: {'soon/**': 1}}\n")
    for number, name in enumerate(("a.png", "b.png", "soon/c.png")):
        studio.put(name, number)
    studio.executor.slots = 0
    studio.tick()
    studio.examined()
    studio.tick()
    studio.executor.slots = 1
    studio.until_idle()
    assert begun(studio.executor) == [
        ("soon/c.png", 256),
        ("a.png", 256),  # begins before the draft is published and its full picture is due
        ("soon/c.png", 512), ("b.png", 256), ("a.png", 512), ("b.png", 512),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ("preset: draft\n", [256]),
        ("transfer: {size: 128}\n", [128]),
        ("preset: fine\ntransfer: {scales: [256, 512]}\n", [256, 1024]),
        ("transfer: {size: source}\nenhance: {upscale: 2}\n", [256, "source"]),
        ("schedule: {runs: ['* * * * *']}\n", [512]),
        ("first: full\n", [512]),
    ],
)
def test_when_there_are_drafts(make_studio, options, sizes):
    config = CONFIG + options if options.startswith("first") else DRAFTS + options
    studio = make_studio(config)
    studio.put("a.png")
    studio.tick()
    studio.tick(61)  # a bulk run
    studio.until_running()
    studio.until_idle()
    assert [size for _, size in begun(studio.executor)] == sizes
    assert studio.executor.begun[0].recipe.enhance.upscale == 1


@pytest.mark.slow
def test_many_pairs_have_no_drafts_until_all_of_them_are_done(studio):
    studio.executor.slots = 0
    for number in range(MOST_FOR_DRAFTS + 1):
        studio.put(f"{number:02}.png", number)
    for _ in range(3):
        studio.tick()
        studio.examined()
    studio.executor.slots = 1
    studio.until_idle()
    assert {size for _, size in begun(studio.executor)} == {512}
    studio.put("later.png", 999)
    studio.until_idle()
    assert begun(studio.executor)[-2:] == [("later.png", 256), ("later.png", 512)]


def test_a_limited_number_of_jobs_is_one_of_full_pictures(studio):
    studio.service.limit = 1
    studio.service.configure(studio.config, studio.manifest)
    studio.put("a.png")
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 512)]


def test_a_kill_between_the_two_leaves_the_draft_and_the_full_job_due(studio):
    end_draft(studio)
    draft = pictures(studio.outbox)
    studio.again()
    assert pictures(studio.outbox) == draft
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 512)]
    assert studio.states() == {"a.png": "done"}
    assert studio.ledger.history.earlier() == []


def test_a_draft_that_is_killed_on_the_way_is_rendered_first_again(studio):
    studio.put("a.png")
    studio.until_running()
    studio.again()
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 256), ("a.png", 512)]


def test_a_deleted_draft_stays_deleted_until_it_is_retried(studio):
    job = end_draft(studio)
    for name in pictures(studio.outbox):
        (studio.outbox.root / name).unlink()
    studio.again()
    studio.until_idle()
    assert studio.executor.begun == []
    assert pictures(studio.outbox) == []
    plan = preview(load(studio.root / "config.yaml")).plan
    assert [pair.why for pair in plan.pairs] == ["draft deleted"]
    with Ledger(studio.root / ".state" / "jobs.sqlite3") as elsewhere:
        assert elsewhere.retry([job.id]) == 1
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 512)]


def test_a_copy_of_a_photo_whose_draft_was_deleted_does_not_wait_for_it(studio):
    end_draft(studio)
    for name in pictures(studio.outbox):
        (studio.outbox.root / name).unlink()
    studio.again()
    studio.put("b.png")  # the same bytes
    studio.until_idle()
    assert ("b.png", 512) in begun(studio.executor)
    assert studio.states() == {"a.png": "done", "b.png": "done"}


def test_a_copy_of_a_photo_gets_no_draft_of_its_own(studio):
    studio.put("a.png")
    studio.put("b.png")
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 256), ("a.png", 512)]
    assert studio.states() == {"a.png": "done", "b.png": "skipped"}


def test_a_photo_that_fails_as_a_draft_has_failed_and_a_good_one_survives(studio):
    studio.put("a.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    assert studio.ledger.pair("a.png", "mosaic").state is JobState.FAILED
    assert {size for _, size in begun(studio.executor)} == {256}
    studio.good_one_survives()


def test_an_original_stays_until_the_full_picture_is_there(make_studio):
    studio = make_studio(DRAFTS + "after: delete\n")
    end_draft(studio)
    assert (studio.inbox / "a.png").exists()
    studio.executor.slots = 1
    studio.until_idle()
    assert not (studio.inbox / "a.png").exists()
    assert begun(studio.executor) == [("a.png", 256), ("a.png", 512)]


def test_a_changed_recipe_replaces_a_finished_picture_without_a_draft(studio):
    studio.put("a.png")
    studio.until_idle()
    studio.close()
    studio.configure(DRAFTS + "seed: 7\n")
    studio.open()
    studio.until_idle()
    assert begun(studio.executor) == [("a.png", 512)]
    assert len(studio.ledger.history.earlier()) == 1


def test_a_dry_run_has_one_line_for_each_pair_in_the_order_of_the_queue(studio):
    studio.executor.slots = 0
    studio.put("a.png")
    studio.put("b.png", 1)
    found = preview(load(studio.root / "config.yaml"))
    assert [(pair.content, pair.why) for pair in found.due()] == [
        ("a.png", "new"), ("b.png", "new"),
    ]  # fmt: skip
    studio.executor.slots = 1
    (studio.inbox / "b.png").unlink()
    end_draft(studio)
    studio.put("b.png", 1)
    found = preview(load(studio.root / "config.yaml"))
    assert [(pair.content, pair.why) for pair in found.due()] == [
        ("b.png", "new"), ("a.png", "draft done"),
    ]  # fmt: skip
    assert found.replaced.pictures == 0


def test_no_hook_runs_for_a_draft_and_the_gallery_names_it(make_studio, tmp_path):
    seen = tmp_path / "seen"
    studio = make_studio(DRAFTS + f"hooks: {{on_done: [touch, '{seen}']}}\n")
    end_draft(studio)
    studio.service.bookkeeping.flush(0.0, force=True)
    (chunk,) = (studio.outbox.root / ".gallery").glob("chunk-*.js")
    assert '"draft":true' in chunk.read_text()
    assert not studio.service.hooks.busy
    assert not seen.exists()
    studio.executor.slots = 1
    studio.until_idle(done)
    last = chunk.read_text().splitlines()[-2]
    assert "draft" not in json.loads(last)
    assert seen.exists()


def test_a_failed_draft_runs_the_hook_of_failures(make_studio, tmp_path):
    """No full picture follows it."""
    studio = make_studio(DRAFTS + f"hooks: {{on_failed: [touch, {tmp_path}/told]}}\n")
    studio.put("a.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    assert (tmp_path / "told").exists()
