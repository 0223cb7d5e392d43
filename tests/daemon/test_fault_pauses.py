"""A full disk or a missing outbox pauses the work, and no attempt is counted."""

import errno
import os
from pathlib import Path

import pytest
from support.fake_work import done
from support.studio import CONFIG

from pipeline.daemon import fault_pauses
from pipeline.errors import OutputError, Reason
from pipeline.outbox.publisher import Outbox


def test_a_full_disk_pauses_before_an_attempt_is_made_and_goes_on_by_itself(
    make_studio, monkeypatch
):
    studio = make_studio(CONFIG.replace("free_bytes: 0", "free_bytes: 1000000"))
    free = 999_999
    monkeypatch.setattr(fault_pauses.find_full_disk, "__defaults__", (lambda _: (free, 10**9),))
    monkeypatch.setattr(fault_pauses.is_over, "__defaults__", (lambda _: (free, 10**9),))
    studio.put("a.png")
    for _ in range(300):
        studio.tick(0.01)
        if studio.service.fault_pause:
            break
    assert "continues at 1.2 MB" in studio.view.message
    assert studio.executor.begun == []
    free = 1_200_000  # enough to work, not enough to begin again
    studio.tick(100)
    assert studio.service.fault_pause
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
        assert studio.service.fault_pause
        studio.tick()
    studio.tick(fault_pauses.AGAIN_SECONDS)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}
    assert len(studio.executor.begun) == 1


def test_a_worker_that_finds_the_disk_full_burns_no_attempt(studio):
    studio.put("a.png")
    studio.until_running()
    studio.executor.fail(Reason.DISK_FULL)
    studio.tick()
    assert studio.service.fault_pause
    studio.tick(fault_pauses.AGAIN_SECONDS)
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
    assert studio.service.fault_pause
    assert studio.service.fault_pause.cause == "outbox"
    (studio.root / "unmounted").rename(studio.outbox.root)
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("calls", [("link", "replace"), ("mkdir",), ("fsync",)])
@pytest.mark.slow
def test_a_folder_of_the_outbox_that_denies_access_is_waited_for_and_blames_no_photo(
    make_studio, monkeypatch, calls, number
):
    studio = make_studio(CONFIG + "failed: quarantine\n")
    studio.put("first.png", seed=1)
    studio.until_idle()
    studio.put("sub/a.png")
    studio.until_running()

    def denied(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        for call in calls:
            patch.setattr(os, call, denied)
        studio.executor.end()
        for _ in range(50):
            studio.tick(10.0)
        assert studio.service.fault_pause is not None
        assert studio.service.fault_pause.cause == "outbox"
        assert os.strerror(number).lower() in studio.view.message
    studio.until_idle()
    assert studio.states() == {"first.png": "done", "sub/a.png": "done"}
    assert (studio.inbox / "sub/a.png").exists()
    studio.good_one_survives()


def test_full_disks_that_workers_reported_before_space_came_back_start_no_new_pause(make_studio):
    studio = make_studio(CONFIG, slots=4)
    for seed in range(4):
        studio.put(f"{seed}.png", seed)
    studio.until_running(4)
    for _ in range(4):
        studio.executor.fail(Reason.DISK_FULL)
    studio.tick()
    assert studio.service.fault_pause
    studio.tick(fault_pauses.AGAIN_SECONDS)
    assert studio.service.fault_pause is None
    studio.until_idle()
    assert set(studio.states().values()) == {"done"}
    assert {pair.attempt for pair in studio.ledger.pairs()} == {1}


def test_after_a_full_disk_one_job_is_tried_before_the_others(make_studio):
    studio = make_studio(CONFIG, slots=4)
    for seed in range(6):
        studio.put(f"{seed}.png", seed)
    studio.until_running(4)
    while studio.executor.jobs:
        studio.executor.fail(Reason.DISK_FULL)
    studio.tick()
    for _ in range(3):  # it is still full
        studio.tick(fault_pauses.AGAIN_SECONDS)
        studio.tick()
        assert len(studio.executor.jobs) == 1
        studio.executor.fail(Reason.DISK_FULL)
        studio.tick()
        assert studio.service.fault_pause
    studio.tick(fault_pauses.AGAIN_SECONDS)
    studio.tick()
    studio.executor.end(done)  # there is space again
    studio.until_running(4)
    studio.until_idle()
    assert set(studio.states().values()) == {"done"}


def test_a_disk_whose_figures_show_no_lack_of_space_is_not_promised_to_have_more_than_it_has():
    pause = fault_pauses.pause_for_full_disk(Path("/disk"), 0, 0.0, lambda _: (900, 1000))
    assert "continues at" not in pause.why
    assert "tried again every 15 s" in pause.why
    short = fault_pauses.pause_for_full_disk(Path("/disk"), 40, 0.0, lambda _: (30, 1000))
    assert "continues at" in short.why


def test_the_disk_of_a_folder_within_the_outbox_is_the_one_that_is_named(tmp_path):
    (tmp_path / "outbox/sub").mkdir(parents=True)
    where = str(tmp_path / "outbox/sub/a--mosaic.png")
    full = OutputError("cannot be written", where=where, code=Reason.DISK_FULL)
    pause = fault_pauses.pause_for_outbox(full, tmp_path / "outbox", 0, 0.0)
    assert pause is not None
    assert pause.folder == tmp_path / "outbox/sub"
