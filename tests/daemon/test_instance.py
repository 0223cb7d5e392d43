"""One instance for each state folder, whatever happens to its files."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.live_program import ENVIRONMENT
from support.studio import CONFIG, Studio

from pipeline.config.loading import load
from pipeline.daemon.instance import OutboxLock, instance_lock, outbox_lock, read_instance
from pipeline.daemon.restore import restore
from pipeline.daemon.run import run
from pipeline.daemon.service import Service
from pipeline.errors import LockedError
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.monitoring.view import View


def test_a_second_instance_is_refused_and_named(tmp_path):
    assert read_instance(tmp_path) is None
    with instance_lock(tmp_path, "watch"):
        assert read_instance(tmp_path)["command"] == "watch"
        with (
            pytest.raises(LockedError, match="in use by `pipeline watch`, process"),
            instance_lock(tmp_path, "run"),
        ):
            pass
        assert read_instance(tmp_path)["command"] == "watch"
    assert read_instance(tmp_path) is None
    with instance_lock(tmp_path, "run"):
        pass


@pytest.mark.parametrize("name", ["instance.lock", "instance.json"])
@pytest.mark.slow
def test_a_deleted_lock_file_lets_no_second_instance_in(tmp_path, name):
    with instance_lock(tmp_path, "watch"):
        (tmp_path / name).unlink()
        assert read_instance(tmp_path) is not None
        with pytest.raises(LockedError), instance_lock(tmp_path, "run"):
            pass
        assert read_instance(tmp_path) is not None
    assert read_instance(tmp_path) is None


@pytest.mark.slow
def test_a_second_studio_with_the_same_outbox_is_refused_before_it_touches_a_file(tmp_path):
    """Its start would remove the running work of the first one from `.staging`."""
    first = studio_with(tmp_path, "A")
    second = studio_with(tmp_path, "B")
    work = tmp_path / "out/.staging/job.1"
    work.mkdir(parents=True)
    with instance_lock(first.config.state, "watch"), outbox_lock(first.config.outbox):
        for keep_going in (False, True):
            with pytest.raises(LockedError, match=r"the outbox is in use by another"):
                run(second, as_json=True, keep_going=keep_going, plain=True)
        assert work.exists()
    assert LockedError.exit_code == 2


def test_the_lock_follows_an_outbox_that_was_renamed_and_made_again(tmp_path):
    """A second studio is refused in the new folder, and takes the one that was moved away."""
    outbox = tmp_path / "out"
    with outbox_lock(outbox) as lock:
        outbox.rename(tmp_path / "moved")
        lock.follow()  # no folder has the name now: nothing changes
        assert is_refused(tmp_path / "moved")
        outbox.mkdir()
        lock.follow()
        assert is_refused(outbox)
        with outbox_lock(tmp_path / "moved"):
            pass
        outbox.rename(tmp_path / "moved again")
        with outbox_lock(outbox), pytest.raises(LockedError, match="another studio"):
            lock.follow()  # another was faster: this one publishes nothing there
    with outbox_lock(outbox), outbox_lock(tmp_path / "moved again"):
        pass


def test_two_studios_whose_outboxes_have_changed_their_names_do_not_wait_for_each_other(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with outbox_lock(first) as one, outbox_lock(second) as other:
        first.rename(tmp_path / "spare")
        second.rename(first)
        (tmp_path / "spare").rename(second)
        with pytest.raises(LockedError):
            one.follow()
        other.follow()
        one.follow()
        assert is_refused(first)
        assert is_refused(second)


# --- an outbox that another studio takes while this one runs ---------------------------------

OTHER_STUDIO = """
import sys
from pathlib import Path
from pipeline.daemon.instance import instance_lock, outbox_lock
with instance_lock(Path(sys.argv[1]), "watch"), outbox_lock(Path(sys.argv[2])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_studio(state: Path, outbox: Path) -> Iterator[int]:
    """Another process has locked an outbox, until this context ends; yields its id."""
    command = [sys.executable, "-c", OTHER_STUDIO, str(state), str(outbox)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process.pid
        process.communicate()


@pytest.fixture
def locked_studio(make_studio) -> Iterator[Studio]:
    """A running service that has locked its outbox, with one photo done."""
    studio = make_studio(CONFIG)
    with outbox_lock(studio.outbox.root) as studio.lock:
        studio.again()
        studio.put("first.png", 1)
        studio.until_idle()
        yield studio


@pytest.mark.slow
def test_watch_survives_that_another_studio_takes_its_renamed_outbox(locked_studio, tmp_path):
    studio, outbox = locked_studio, locked_studio.outbox.root
    theirs = outbox / ".staging/job.1"
    studio.put("second.png", 2)
    studio.until_running()
    outbox.rename(studio.root / "moved")
    with other_studio(tmp_path / "other", outbox) as process:
        theirs.mkdir(parents=True)
        for _ in range(5):
            studio.tick()
        assert f"another studio: `pipeline watch`, process {process}" in studio.view.message
        assert f"with the state folder {tmp_path / 'other'}" in studio.view.message
        assert studio.service.pause_reason
        studio.put("third.png", 3)
        studio.service.stop()  # and at its end, too, it leaves the work of the other alone
        for _ in range(5):
            studio.tick()
        studio.service.finish()
        studio.service.give_back_running()
        assert [path.name for path in outbox.iterdir()] == [".staging"]
        assert theirs.exists()
    studio.again()
    studio.until_idle()
    assert set(studio.states().values()) == {"done"}
    assert studio.codes() == {}
    assert studio.view.message == ""
    assert {pair.attempt for pair in studio.ledger.pairs()} == {1}


@pytest.mark.slow
def test_watch_goes_on_by_itself_when_its_outbox_is_free_again(locked_studio, tmp_path):
    studio = locked_studio
    studio.outbox.root.rename(studio.root / "moved")
    with other_studio(tmp_path / "other", studio.outbox.root):
        studio.put("second.png", 2)
        for _ in range(60):
            studio.tick(60.0)
        assert [job.content for job in studio.executor.begun] == ["first.png"]
    studio.good_one_survives()
    assert studio.states()["second.png"] == "done"


def test_run_ends_when_another_studio_has_its_outbox(locked_studio):
    studio = locked_studio
    service = Service(
        studio.config, studio.manifest, studio.ledger, studio.executor, View(), lock=studio.lock
    )
    studio.outbox.root.rename(studio.root / "moved")
    with outbox_lock(studio.outbox.root):
        for step in (service.start, lambda: service.tick(0.0, 0.0), service.finish):
            with pytest.raises(LockedError, match="the outbox is in use by another studio"):
                step()
    service.close()


def test_a_studio_with_a_new_state_folder_takes_its_outbox_over(tmp_path):
    loaded = studio_with(tmp_path, "A")
    state, outbox = loaded.config.state, loaded.config.outbox
    for place in (state, tmp_path / "new", state):
        with instance_lock(place, "watch"), outbox_lock(outbox):
            assert read_instance(place)["command"] == "watch"
    assert list(outbox.iterdir()) == []


@pytest.mark.slow
def test_restore_publishes_nothing_beside_another_studio(tmp_path):
    loaded = studio_with(tmp_path, "A")
    Ledger(loaded.config.state / FILE).close()
    with outbox_lock(loaded.config.outbox), pytest.raises(LockedError, match="outbox"):
        restore(loaded, [], True)


def is_refused(outbox: Path) -> bool:
    """Whether another studio may not lock an outbox now."""
    lock = OutboxLock(outbox)
    with suppress(LockedError):
        lock.follow()
        lock.release()
        return False
    return True


def studio_with(folder: Path, name: str):
    """A studio with an inbox and a state folder of its own, and an outbox that others share."""
    (folder / name / "inbox").mkdir(parents=True, exist_ok=True)
    path = folder / name / "config.yaml"
    path.write_text(f"{CONFIG}outbox: ../out\ndevice: cpu\n")
    return load(path)
