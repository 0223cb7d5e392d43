"""The list of failures: each reported once, none that is gone, and no download among them."""

import os
import time

import pytest
from support.stock import read_log
from support.studio import CONFIG, Studio

from pipeline.cli.retry import retry_jobs
from pipeline.cli.status import status_report
from pipeline.config.loading import load
from pipeline.errors import Reason
from pipeline.inbox.backlog import Backlog
from pipeline.inbox.downloads import DOWNLOAD_SECONDS
from pipeline.inbox.scanner import EMPTY_PATIENCE, Inbox

SETTLE = 2.0
BROKEN = b"no picture at all"


def report(studio: Studio) -> dict:
    return status_report(load(studio.root / "config.yaml"))


def failures(studio: Studio) -> list[str]:
    shown = report(studio)
    refused = [one["content"] for one in shown["refused"] if one["status"] == "failed"]
    return sorted({*refused, *(pair["content"] for pair in shown["failed"])})


def last_words(studio: Studio) -> dict[str, tuple[str, str]]:
    """What the newest line of the run log says of each file."""
    log = read_log(studio.outbox)
    return {line["content"]: (line["status"], (line["error"] or {}).get("code")) for line in log}


# --- each reported once ---------------------------------------------------------------------


def test_a_wrong_side_file_is_reported_once_and_not_at_every_start(make_studio):
    studio = make_studio()
    studio.put("a.png")
    side = studio.inbox / "a.png.yaml"
    side.write_text("styles: [nothing]\n")
    for _ in range(3):
        studio.until_idle()
        studio.again()
    studio.until_idle()
    lines = [line for line in read_log(studio.outbox) if line["content"] == "a.png"]
    assert [line["error"]["code"] for line in lines] == ["sidecar_invalid"]
    side.write_text("styles: [another]\n")  # wrong in another way: that is news
    studio.until_idle()
    side.unlink()
    studio.until_idle()
    lines = [line for line in read_log(studio.outbox) if line["content"] == "a.png"]
    assert [line["status"] for line in lines] == ["failed", "failed", "done"]
    assert studio.states() == {"a.png": "done"}
    assert failures(studio) == []


# --- none that is gone ----------------------------------------------------------------------


def with_failures(studio: Studio) -> None:
    (studio.inbox / "broken.jpg").write_bytes(BROKEN)
    studio.put("hopeless.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    assert failures(studio) == ["broken.jpg", "hopeless.png"]


def test_a_failed_photo_that_is_deleted_leaves_the_list_of_failures(make_studio):
    studio = make_studio()
    with_failures(studio)
    for name in ("broken.jpg", "hopeless.png"):
        (studio.inbox / name).unlink()
    assert failures(studio) == []  # also while no studio works on it
    assert report(studio)["jobs"]["failed"] == 0
    assert retry_jobs(load(studio.root / "config.yaml"), None) == 0
    studio.until_idle()
    assert set(last_words(studio).values()) == {("skipped", "vanished")}
    lines = len(read_log(studio.outbox))
    studio.again()
    studio.until_idle()
    assert len(read_log(studio.outbox)) == lines


def test_a_failed_photo_that_comes_back_is_tried_again(make_studio):
    studio = make_studio()
    with_failures(studio)
    kept = (studio.inbox / "hopeless.png").rename(studio.root / "kept.png")
    studio.until_idle()
    kept.rename(studio.inbox / "hopeless.png")
    studio.until_idle()
    assert studio.states() == {"hopeless.png": "done"}


def test_what_was_put_aside_stays_a_failure_until_it_is_tried_again(make_studio):
    studio = make_studio(CONFIG + "failed: quarantine\n")
    with_failures_put_aside = ("broken.jpg", "hopeless.png")
    (studio.inbox / "broken.jpg").write_bytes(BROKEN)
    studio.put("hopeless.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    assert sorted(p.name for p in studio.inbox.iterdir()) == []
    assert [one["content"] for one in report(studio)["quarantine"]] == [*with_failures_put_aside]
    assert last_words(studio)["hopeless.png"] == ("failed", "engine_error")
    assert retry_jobs(load(studio.root / "config.yaml"), None) == 2
    studio.until_idle()
    assert studio.states()["hopeless.png"] == "done"


def test_an_inbox_out_of_reach_makes_no_failure_disappear(make_studio, monkeypatch):
    studio = make_studio()
    with_failures(studio)
    (studio.inbox / "broken.jpg").unlink()
    monkeypatch.setattr(
        "pipeline.cli.status.count_backlog", lambda *_: Backlog(0, False, "it is gone")
    )
    assert failures(studio) == ["broken.jpg", "hopeless.png"]


# --- no download among them -----------------------------------------------------------------

FIREFOX = ("photo.jpg.part", "photo.Xy12Zq.jpg.part")
OTHERS = ("photo.jpg.crdownload", "photo.jpg.partial", "photo.jpg.aria2", "photo.jpg.opdownload")


@pytest.mark.parametrize("beside", [*FIREFOX, *OTHERS])
def test_an_empty_file_beside_its_download_is_waited_for(beside, tmp_path):
    inbox = Inbox(tmp_path, SETTLE)
    (tmp_path / "photo.jpg").touch()
    (tmp_path / beside).write_bytes(b"half of it")
    now, wall = 1000.0, time.time()
    for _ in range(20):  # as long as it goes on
        now, wall = now + 60, wall + 60
        os.utime(tmp_path / beside, (wall, wall))
        found = inbox.scan(now, wall)
        assert [one.content for one in found.refused] == [beside]
        assert beside in found.unsettled["photo.jpg"]
        assert found.next_look > now
    now, wall = now + DOWNLOAD_SECONDS + 60, wall + DOWNLOAD_SECONDS + 60
    assert "photo.jpg" in [one.content for one in inbox.scan(now, wall).refused]


@pytest.mark.parametrize("ahead", [10.0, 3600.0, 2e9])
def test_a_partial_file_with_a_time_to_come_is_waited_for_no_longer_than_others(ahead, tmp_path):
    """The clock of a server or of a camera is wrong, or this one was set back."""
    inbox = Inbox(tmp_path, SETTLE)
    part = tmp_path / "photo.png.part"
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n IEND")
    now, wall = 1000.0, time.time() + 60
    for number in range(3):  # as long as it goes on
        part.write_bytes(b"half of it" * (number + 1))
        os.utime(part, (wall + ahead, wall + ahead))
        for _ in range(5):
            assert "photo.png" in inbox.scan(now, wall).unsettled
            now, wall = now + 60, wall + 60
    now, wall = now + DOWNLOAD_SECONDS, wall + DOWNLOAD_SECONDS
    assert [one.content for one in inbox.scan(now, wall).settled] == ["photo.png"]


def test_a_file_that_fills_under_its_own_name_is_taken_when_its_download_has_ended(tmp_path):
    inbox = Inbox(tmp_path, SETTLE)
    (tmp_path / "photo.jpg").write_bytes(b"x" * 100)
    (tmp_path / "photo.jpg.aria2").touch()
    wall = time.time()
    inbox.scan(0.0, wall)
    assert "photo.jpg" in inbox.scan(60.0, wall + 60).unsettled
    (tmp_path / "photo.jpg.aria2").unlink()
    assert [one.content for one in inbox.scan(61.0, wall + 61).settled] == ["photo.jpg"]


def test_a_folder_that_a_browser_downloads_into_is_not_entered(tmp_path):
    (tmp_path / "photo.jpg.download").mkdir()
    (tmp_path / "photo.jpg.download" / "photo.jpg").write_bytes(b"half of it")
    found = Inbox(tmp_path, 0.0).scan(0.0, time.time() + 3600)
    assert [(one.content, one.failure.code) for one in found.refused] == [
        ("photo.jpg.download", Reason.IGNORED)
    ]
    assert found.settled == ()


def test_an_empty_file_is_waited_for_longer_then_reported_and_never_put_aside(make_studio):
    studio = make_studio(
        CONFIG.replace("settle_seconds: 0", "settle_seconds: 2") + "failed: quarantine\n"
    )
    empty = studio.inbox / "photo.jpg"
    empty.touch()
    os.utime(empty, (studio.wall, studio.wall))
    for _ in range(int(EMPTY_PATIENCE * SETTLE) - 1):
        studio.tick()
    assert failures(studio) == []
    assert studio.service.planner.settling == 1
    for _ in range(5):
        studio.tick()
    assert failures(studio) == ["photo.jpg"]
    assert empty.exists()
    studio.put("photo.jpg")
    studio.until_idle()
    assert studio.states() == {"photo.jpg": "done"}
    assert failures(studio) == []
