"""The same words count the same things, wherever they are shown."""

import io
import json
import shutil
from dataclasses import asdict, replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from support.fake_work import done, photo
from support.stock import read_log
from support.studio import CONFIG, STYLES, Studio

from pipeline.cli.retry import retry_jobs
from pipeline.cli.status import status_report, status_text
from pipeline.config.loading import load
from pipeline.daemon.instance import instance_lock
from pipeline.daemon.observers import Observers, _status
from pipeline.daemon.planned_pauses import UserPause, save_user_pause
from pipeline.daemon.run_statistics import describe_results
from pipeline.errors import Reason
from pipeline.jobs.job import JobState
from pipeline.jobs.plan import Planned
from pipeline.monitoring.counts import Counts, Tally, count_all, count_ended
from pipeline.monitoring.live import live_document
from pipeline.monitoring.terminal.dashboard import render
from pipeline.monitoring.view import View, summarize_run

NOTHING = dict.fromkeys(JobState, 0)


def frame(view: View, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None, highlight=False)
    console.print(render(view, width, 20, 0.0), end="", soft_wrap=True)
    return console.file.getvalue()


def test_all_reports_of_a_running_service_have_the_same_counts(make_studio):
    studio = make_studio(CONFIG + "first: draft\n", slots=2)
    observed = studio.root / "config.yaml"
    for number in range(5):
        studio.put(f"{number}.png", number)
    broken = studio.put("broken.png", 9)
    broken.write_bytes(broken.read_bytes()[:60])
    with instance_lock(studio.config.state, "watch") as record:
        observers = Observers(studio.config, record, "watch")
        studio.until_running(2)
        studio.examined()
        studio.fail(Reason.ENGINE_ERROR)
        studio.until_idle()
        for number in range(5, 9):
            studio.put(f"{number}.png", number)
        studio.tick()
        studio.examined()
        studio.until_running(2)
        studio.executor.end(done)  # a draft
        studio.until_running(2)
        counts = studio.view.counts
        assert counts == Counts(queued=2, running=2, done=4, failed=1, not_taken=1)
        observers._next_record = 0.0
        observers.update(studio.service, studio.now, studio.wall)
        report = status_report(load(observed))
    words = "2 queued, 2 running, 4 done, 1 failed, 1 file not taken"
    assert counts.words() == words == report["counts"]
    assert words in status_text(report)
    assert words.replace(", ", " · ") in frame(studio.view)
    assert _status(studio.view).startswith(words)
    document = json.loads(json.dumps(live_document(studio.view, 0.0)))
    assert document["words"] == words
    assert {key: document[key] for key in asdict(counts)} == asdict(counts)
    assert len(document["lanes"]) == len(report["running"]) == 2
    assert report["jobs"] | {"queued": 2, "running": 2, "done": 4, "failed": 1} == report["jobs"]
    assert summarize_run(studio.view, 0.0).startswith("4 done, 1 failed, 1 file not taken")


def test_a_pair_with_a_draft_only_is_queued(make_studio):
    studio = make_studio(CONFIG + "first: draft\n")
    studio.put("a.png")
    studio.until_running()
    studio.executor.end()
    studio.executor.slots = 0
    studio.tick()
    states = studio.ledger.counts()
    assert (states[JobState.QUEUED], states[JobState.DONE]) == (1, 0)
    studio.close()
    report = status_report(load(studio.root / "config.yaml"))
    assert (report["counts"], report["recent"][0]["draft"]) == ("1 queued, 0 running, 0 done", True)
    assert "  draft   a.png x mosaic" in status_text(report)
    studio.open()
    studio.until_idle()
    states = studio.ledger.counts()
    assert (states[JobState.QUEUED], states[JobState.DONE]) == (0, 1)


def test_without_an_instance_the_ledger_counts():
    states = NOTHING | {JobState.QUEUED: 3, JobState.STAGED: 1, JobState.RUNNING: 1}
    assert count_all(states, 0, None) == Counts(queued=3, running=2)
    assert count_all(states, 0, {"pid": 1}) == Counts(queued=3, running=2)
    assert count_all(states, 2, {"queued": 7, "busy": 1}).words() == (
        "7 queued, 1 running, 0 done, 2 files not taken"
    )


def test_a_count_of_nothing_is_left_out_unless_it_is_always_shown():
    found = Counts(failed=2, skipped=1, settling=3)
    assert found.words() == "0 queued, 0 running, 0 done, 2 failed, 1 skipped, 3 settling"
    assert found.results() == "2 failed, 1 skipped"
    assert replace(found, failed=0, skipped=0).results() == ""


# --- one life ---------------------------------------------------------------------------------

LIFE = (
    CONFIG.replace(STYLES, STYLES + "  own: {image: own.png}\n")
    + """first: draft
match: [{inbox: "own/**", styles: [own]}, {inbox: "*", styles: [mosaic]}]
metrics: {file: pipeline.prom}
"""
)


def fail(studio: Studio, name: str, seed: int) -> None:
    studio.put(name, seed)
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)


def draft(studio: Studio, name: str, seed: int) -> None:
    """The draft is in the outbox, and the full picture has not begun."""
    studio.put(name, seed)
    studio.until_running()
    studio.executor.end()
    studio.executor.slots = 0
    studio.tick()
    studio.tick()


def lead_through_one_life(studio: Studio) -> None:
    """3 done, one of them after it had failed, one twice, one deleted since; all other ends."""
    for number in range(2):
        studio.put(f"done-{number}.png", number)
    broken = studio.put("broken.png", 90)
    broken.write_bytes(broken.read_bytes()[:60])
    (studio.inbox / "notes.txt").write_text("no picture")
    (studio.inbox / "removed.txt").write_text("no picture")
    studio.until_idle()
    (studio.inbox / "removed.txt").unlink()
    for path in studio.outbox.root.glob("done-0--*"):
        path.unlink()
    photo(studio.inbox / "done-1.png", 50)  # another one in its place
    shutil.copy(studio.inbox / "done-0.png", studio.inbox / "twin.png")
    studio.until_idle()
    fail(studio, "failed.png", 2)
    fail(studio, "tried-again.png", 3)
    fail(studio, "gone.png", 4)
    retry_jobs(load(studio.root / "config.yaml"), ["tried-again.png"])
    (studio.inbox / "gone.png").unlink()
    studio.until_idle()
    draft(studio, "deleted.png", 5)
    for path in studio.outbox.root.glob("deleted--*"):
        path.unlink()
    studio.put("own/waits.png", 6)
    (studio.root / "own.png").unlink()
    studio.tick()
    studio.examined()
    studio.executor.slots = 1
    studio.until_idle()
    draft(studio, "drafted.png", 7)
    save_user_pause(studio.config.state, UserPause())
    studio.executor.slots = 1
    for number in range(10, 13):
        studio.put(f"paused-{number}.png", number)
    studio.tick()
    studio.examined()
    (studio.inbox / "paused-12.png").unlink()
    studio.tick()


ENDED = {"done": 3, "failed": 1, "skipped": 3, "not_taken": 2}
WORDS = "3 queued, 0 running, 3 done, 1 failed, 3 skipped, 2 files not taken, 1 waiting for a style"


def gauges(studio: Studio) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families((studio.root / "pipeline.prom").read_text()):
        for sample in family.samples:
            found.setdefault(sample.name, {})["".join(sample.labels.values())] = sample.value
    return found


def assert_live_sources_agree(studio: Studio, observers: Observers) -> None:
    assert studio.view.message == "paused by you (`resume` continues)"
    assert studio.view.counts.words() == WORDS
    assert WORDS.replace(", ", " · ") in frame(studio.view, 180)
    assert live_document(studio.view, 0.0)["words"] == WORDS
    assert _status(studio.view).startswith(f"{WORDS}; ")
    observers.update(studio.service, studio.now, studio.wall)
    found = gauges(studio)
    ended = {name: ENDED[name] for name in ("done", "failed", "skipped")}
    states = {"queued": 3, "running": 0, "staged": 0, "waiting": 1}
    assert found["pipeline_jobs"] == states | ended
    assert found["pipeline_files_not_taken"][""] == 2
    assert found["pipeline_queue_length"][""] == 3
    assert found["pipeline_running_jobs"][""] == 0


def assert_reports_of_the_end_agree(studio: Studio, observers: Observers) -> None:
    for line in studio.lines:
        observers.add_line(line, studio.wall)
    summary = studio.service.statistics.summary()
    assert {name: summary[name] for name in ENDED} == ENDED
    assert summary["failures"] == {"engine_error": 1, "truncated": 1}
    assert describe_results(summary) == "3 done, 1 failed, 3 skipped, 2 files not taken"
    assert summarize_run(studio.view, 0.0).startswith(describe_results(summary))
    digest = observers.batch.end("stopped", studio.view.tally, studio.wall)
    assert digest is not None
    assert {name: digest[name] for name in ENDED} == ENDED
    assert digest["failures"] == summary["failures"]
    assert [one["content"] for one in digest["first_failed"]] == ["broken.png", "failed.png"]
    observers.finish(studio.service, True, lambda: True)
    log = (studio.config.state / "logs" / "pipeline.jsonl").read_text().splitlines()
    found = gauges(studio)  # of lines: two were painted again, and two failures ended otherwise
    assert found["pipeline_results_total"] == {"done": 4, "failed": 4, "skipped": 3}
    assert found["pipeline_failures_total"] == {"engine_error": 3, "truncated": 1}
    stop = next(line for line in map(json.loads, log) if line["event"] == "stop")
    assert {name: stop[name] for name in ENDED} == ENDED


def test_after_one_life_all_sources_have_the_same_counts(make_studio):
    studio = make_studio()
    photo(studio.root / "own.png", 99)
    studio.configure(LIFE)
    studio.again()
    lead_through_one_life(studio)
    with (
        instance_lock(studio.config.state, "watch") as record,
        Observers(studio.config, record, "watch") as observers,
    ):
        assert_live_sources_agree(studio, observers)
        report = status_report(load(studio.root / "config.yaml", complete=False))
        assert_reports_of_the_end_agree(studio, observers)
    lines = {(line["content"], line["style"]): line for line in read_log(studio.outbox)}
    pairs = [line for line in lines.values() if line["style"]]
    assert [line["status"] for line in pairs].count("failed") == 1
    full = [line for line in pairs if line["status"] == "done" and not line.get("draft")]
    assert len(full) == 3
    studio.close()
    later = status_report(load(studio.root / "config.yaml", complete=False))
    for found in (report, later):
        assert found["counts"] == WORDS
        assert found["jobs"]["queued"] == 3
        assert sum(found["jobs"].values()) == 3 + 3 + 1 + 3 + 1
        assert f"\n{WORDS}\n5 pictures of 5 photos in 1 style\n" in status_text(found)
    assert later["instance"] is None
    studio.open()


@pytest.mark.parametrize("why", ["recipe changed", "new"])
def test_a_pair_that_is_painted_again_counts_once_and_another_photo_of_its_name_anew(why):
    tally = Tally()
    tally.add("a.jpg", "ink", "done")
    mark = tally.mark
    tally.follow_plan([Planned("a.jpg", "ink", why)])
    assert tally.counts() == Counts(done=int(why == "new"))
    tally.add("a.jpg", "ink", "failed", "engine_error")
    assert tally.counts() == Counts(done=int(why == "new"), failed=1)
    assert count_ended(tally.since(mark)) == Counts(failed=1)
