"""The same words count the same things, wherever they are shown."""

import io
import json
from dataclasses import asdict, replace

from rich.console import Console
from support.fake_work import done
from support.studio import CONFIG

from pipeline.cli.status import status_report, status_text
from pipeline.config.loading import load
from pipeline.daemon.instance import instance_lock
from pipeline.daemon.observers import Observers, _status
from pipeline.errors import Reason
from pipeline.jobs.job import JobState
from pipeline.monitoring.counts import Counts, count_all
from pipeline.monitoring.live import live_document
from pipeline.monitoring.terminal.dashboard import render
from pipeline.monitoring.view import View, summarize_run

NOTHING = dict.fromkeys(JobState, 0)


def frame(view: View) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None, highlight=False)
    console.print(render(view, 120, 20, 0.0), end="", soft_wrap=True)
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
