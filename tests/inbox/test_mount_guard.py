"""An inbox whose disk is missing is waited for, and not taken for an empty one."""

import os
import shutil
from pathlib import Path

import pytest
from support.inbox_project import loaded
from support.studio import Studio

from pipeline.cli.dry_run import print_dry_run
from pipeline.cli.retry import accept_inbox
from pipeline.cli.status import status_report, status_text
from pipeline.errors import InboxError
from pipeline.inbox import mount_guard
from pipeline.system.mounts import Mount

SHARE, BARE = Mount("/mnt", "nfs4"), Mount("/", "ext4")


@pytest.fixture
def lies_on(monkeypatch):
    """Says on which mount every folder lies."""
    return lambda mount: monkeypatch.setattr(mount_guard, "find_mount", lambda _: mount)


def unmounted(studio: Studio, lies_on) -> None:
    """The share is gone when the daemon starts again; its bare mount point is there."""
    lies_on(SHARE)
    studio.put("a.png")
    studio.until_idle()
    studio.inbox.rename(studio.root / "share")
    studio.inbox.mkdir()
    lies_on(BARE)
    studio.again()


def test_an_inbox_whose_disk_is_missing_at_the_start_is_waited_for_not_taken_for_empty(
    make_studio, lies_on
):
    studio = make_studio()
    unmounted(studio, lies_on)
    studio.tick()
    assert studio.view.message.startswith("paused: ")
    assert "was on nfs4 at /mnt and is now on ext4 at /" in studio.view.message
    assert not studio.service.idle
    shutil.rmtree(studio.inbox)
    (studio.root / "share").rename(studio.inbox)
    lies_on(SHARE)
    studio.good_one_survives()


def test_a_photo_in_the_bare_mount_point_changes_nothing(make_studio, lies_on):
    studio = make_studio()
    unmounted(studio, lies_on)
    studio.put("stray.png", seed=9)
    for _ in range(3):
        studio.tick()
    assert studio.executor.begun == []
    assert "paused" in studio.view.message


def test_a_moved_inbox_is_accepted_by_command_while_the_daemon_waits(make_studio, lies_on):
    studio = make_studio()
    unmounted(studio, lies_on)
    studio.tick()
    assert accept_inbox(loaded(studio)) == "ext4 at /"
    studio.good_one_survives()


def test_an_inbox_moved_with_its_files_to_another_disk_needs_no_word(make_studio, lies_on):
    studio = make_studio()
    lies_on(SHARE)
    studio.put("a.png")
    studio.until_idle()
    lies_on(BARE)
    studio.again()
    studio.good_one_survives()
    (studio.inbox / "a.png").unlink()
    (studio.inbox / "zz-good.png").unlink()
    studio.again()
    studio.until_idle()
    assert "paused" not in studio.view.message


def test_an_inbox_that_was_emptied_is_empty(make_studio, lies_on):
    studio = make_studio()
    lies_on(SHARE)
    studio.put("a.png")
    studio.until_idle()
    (studio.inbox / "a.png").unlink()
    studio.again()
    studio.until_idle()
    assert "paused" not in studio.view.message


def test_nothing_is_said_of_a_missing_disk_as_if_it_were_empty(make_studio, lies_on, capsys):
    studio = make_studio()
    unmounted(studio, lies_on)
    with pytest.raises(InboxError, match=r"mount its disk.*pipeline accept") as caught:
        print_dry_run(loaded(studio), as_json=False)
    assert caught.value.exit_code == 2
    report = status_report(loaded(studio))
    assert "was on nfs4" in report["trouble"]
    assert "was on nfs4" in status_text(report)


def test_a_watch_waits_for_an_inbox_that_worked_before_and_refuses_one_that_never_did(make_studio):
    studio = make_studio()
    assert not mount_guard.worked_before(studio.config)
    studio.put("a.png")
    studio.until_idle()
    studio.inbox.rename(studio.root / "away")
    assert mount_guard.worked_before(studio.config)


@pytest.mark.skipif(os.name == "nt", reason="folders are mounted elsewhere there")
def test_where_no_table_of_mounts_can_be_read_the_mount_point_is_told(make_studio, lies_on):
    lies_on(None)
    assert mount_guard.mount_word(Path("/")) == "the disk at /"
    assert mount_guard.mount_word(make_studio().inbox).startswith("the disk at /")
