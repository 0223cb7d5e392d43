"""What wakes the scanner: events of the inbox, and where it is polled instead."""

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from support.inbox_stock import put

from pipeline.inbox.watcher import CANARY_SECONDS, RETRY_SECONDS, Watcher
from pipeline.system.file_version import hash_file
from pipeline.system.mounts import Mount

# --- waking ---------------------------------------------------------------------------------


@pytest.fixture
def watcher(root: Path):
    watcher = Watcher(root, kind="any")  # also where this very disk would be polled
    watcher.start_if_needed(now=0)
    if watcher.mode.startswith("polling"):
        pytest.skip(watcher.mode)
    watcher.woken(timeout=0)
    yield watcher
    watcher.stop()


def test_a_folder_that_watchdog_watches_twice_leaves_the_display_alone(watcher):
    emitter = next(iter(watcher._observer.emitters))
    module = type(emitter).__module__
    warnings.warn_explicit("Callback already exists", RuntimeWarning, "x.py", 1, module)


def test_a_new_file_wakes_and_a_name_that_is_not_text_does_too(root, watcher):
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.jpg")).write_text("picture")
    assert watcher.woken(timeout=10)
    put(root, "sub/a.jpg")
    assert watcher.woken(timeout=10)
    watcher.start_if_needed(now=1)
    assert not watcher.mode.startswith("polling")


class CountingBell(threading.Event):
    rings = 0

    def set(self):
        self.rings += 1
        super().set()


def test_our_own_reading_does_not_wake_us(root):
    path = put(root, "a.jpg")
    bell = CountingBell()
    watcher = Watcher(root, bell, kind="any")
    watcher.start_if_needed(now=0)
    watcher.woken(timeout=0)
    for _ in range(100):
        hash_file(path)
    put(root, "b.jpg")  # events keep their order: when this one arrives, the reading was reported
    assert watcher.woken(timeout=10)
    watcher.stop()
    assert bell.rings < 20


def test_a_watcher_that_cannot_watch_says_why_and_starts_as_soon_as_the_folder_is_there(tmp_path):
    root = tmp_path / "later"
    watcher = Watcher(root, kind="any")
    watcher.start_if_needed(now=0)
    assert watcher.mode.startswith("polling: ")
    root.mkdir()
    watcher.start_if_needed(now=1)
    assert watcher.mode == "inotify" or sys.platform != "linux"
    watcher.stop()


@pytest.mark.parametrize("looked_between", [False, True])
def test_an_inbox_renamed_and_made_again_is_watched_again_at_once(root, watcher, looked_between):
    old = root.rename(root.with_name("old"))
    if looked_between:
        watcher.start_if_needed(now=1)
        assert watcher.polling
    root.mkdir()
    put(root, "early.jpg")  # before anybody watches the new folder
    watcher.start_if_needed(now=2)
    assert watcher.woken(timeout=10)
    while watcher.woken(timeout=0.2):
        pass
    put(old, "elsewhere.jpg")
    assert not watcher.woken(timeout=0.3)
    put(root, "a.jpg")
    assert watcher.woken(timeout=10)
    assert not watcher.polling


@pytest.fixture
def deep(tmp_path):
    """A tree of 1,200 folders in folders."""
    folder = path = tmp_path / "deep"
    for _ in range(1200):
        path.mkdir()
        path /= "d"
    yield folder
    subprocess.run(["rm", "-rf", tmp_path], check=True)  # pytest's own removal is a recursion


@pytest.mark.parametrize("when", ["before", "moved in", "built"])
@pytest.mark.slow
def test_a_tree_of_a_thousand_folders_costs_its_depth_and_not_the_events(root, deep, when):
    if when == "before":
        deep.rename(root / "deep")
    watcher = Watcher(root, kind="any")
    watcher.start_if_needed(now=0)
    if watcher.mode.startswith("polling") and sys.platform != "linux":
        pytest.skip(watcher.mode)
    if when == "moved in":
        deep.rename(root / "deep")
    if when == "built":
        subprocess.run(["cp", "-r", deep, root / "deep"], check=True)
    put(root, "deep/d/d/first.jpg")
    assert watcher.woken(timeout=10)
    while watcher.woken(timeout=0.3):
        pass
    watcher.start_if_needed(now=1)
    assert not watcher.polling
    put(root, "a.jpg")
    assert watcher.woken(timeout=10)
    watcher.stop()


def test_a_watcher_whose_thread_died_starts_again_and_wakes_the_scanner(root, watcher):
    (emitter,) = watcher._observer.emitters  # no public way to a thread that dies
    emitter.stop()
    emitter.join()
    watcher.start_if_needed(now=RETRY_SECONDS)
    assert watcher.woken(timeout=10)
    put(root, "a.jpg")
    assert watcher.woken(timeout=10)


def test_watchers_may_ring_a_bell_that_others_ring_too(root):
    bell = threading.Event()
    watcher = Watcher(root, bell, kind="any")
    bell.set()
    assert watcher.woken(timeout=0)
    assert not watcher.woken(timeout=0)


# --- where it is polled ---------------------------------------------------------------------


def test_a_share_is_polled_and_the_mode_says_why(root, monkeypatch):
    share = Mount("/mnt/share", "nfs4")
    monkeypatch.setattr("pipeline.inbox.watcher.find_mount", lambda _: share)
    watcher = Watcher(root)
    watcher.start_if_needed(now=0)
    assert watcher.mode == "polling: nfs4 at /mnt/share does not report every change"
    assert watcher.polling


class Silent(threading.Event):
    """Never comes, though the file made when the watch began may still be reported."""

    def is_set(self) -> bool:
        return False


def test_a_folder_that_keeps_silent_about_a_test_file_is_polled(root, watcher, monkeypatch):
    monkeypatch.setattr(watcher._bell, "canary", Silent())
    watcher._send_canary(now=0)
    watcher.start_if_needed(now=CANARY_SECONDS + 1)
    assert watcher.mode == "polling: a test file that was created here was not reported"
    watcher.start_if_needed(now=1e9)
    assert watcher.polling
    assert list(root.iterdir()) == []


def test_a_folder_that_reports_the_test_file_is_watched(root, watcher):
    assert watcher._bell.canary.wait(10)
    watcher.start_if_needed(now=CANARY_SECONDS + 1)
    assert not watcher.polling
