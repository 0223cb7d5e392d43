"""What `status` counts: files that wait, and files in quarantine."""

from pathlib import Path

from support.inbox_project import QUARANTINE, loaded, put_aside

from pipeline.cli.explain import explain_report, explain_text
from pipeline.cli.status import status_report, status_text
from pipeline.inbox.backlog import count_backlog
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger


def test_status_counts_what_waits_and_what_is_put_aside(make_studio):
    studio = make_studio(QUARANTINE)
    put_aside(studio)
    studio.put("c.png", seed=7)
    studio.put("d.png", seed=8)
    (studio.inbox / "list.txt").write_text("no picture")
    report = status_report(loaded(studio))
    assert report["waiting"] == {"files": 2, "at_least": False}
    assert [one["content"] for one in report["quarantine"]] == ["sub/a.png"]
    text = status_text(report)
    assert "waiting in the inbox: 2 files" in text
    assert "in quarantine: 1" in text
    assert "engine_error" in text
    told = explain_text(explain_report(loaded(studio), Path("sub/a.png")))
    assert "in quarantine: " in told
    studio.until_idle()
    assert status_report(loaded(studio))["waiting"] == {"files": 0, "at_least": False}


def test_a_photo_that_was_replaced_waits_again(make_studio):
    studio = make_studio()
    studio.put("a.png")
    studio.until_idle()
    studio.put("a.png", seed=3)
    assert count_backlog(studio.config, studio.ledger).waiting == 1


def test_a_count_that_takes_too_long_says_at_least(make_studio):
    studio = make_studio()
    for seed in range(5):
        studio.put(f"{seed}.png", seed)
    times = iter(range(100))
    found = count_backlog(studio.config, studio.ledger, 2.0, lambda: float(next(times)))
    assert (found.waiting, found.whole) == (3, False)


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    with Ledger(path) as ledger:
        ledger.files.record_mount(tmp_path, "nfs4 at /mnt")
    with Ledger(path) as ledger:
        assert ledger.files.mount_of(tmp_path) == "nfs4 at /mnt"
        assert ledger.files.mount_of(tmp_path / "other") is None
        assert ledger.counts()[JobState.DONE] == 0
