"""One instance for each state folder, whatever happens to its files."""

from pathlib import Path

import pytest
from support.studio import CONFIG

from pipeline.config.loading import load
from pipeline.daemon.instance import instance_lock, outbox_lock, read_instance
from pipeline.daemon.restore import restore
from pipeline.daemon.run import Loop, run
from pipeline.errors import LockedError
from pipeline.ledger.ledger import FILE, Ledger


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
        with pytest.raises(LockedError), outbox_lock(tmp_path / "moved"):
            pass
        outbox.mkdir()
        lock.follow()
        with pytest.raises(LockedError), outbox_lock(outbox):
            pass
        with outbox_lock(tmp_path / "moved"):
            pass
        outbox.rename(tmp_path / "moved again")
        with outbox_lock(outbox), pytest.raises(LockedError, match="another studio"):
            lock.follow()  # another was faster: this one publishes nothing there
    with outbox_lock(outbox), outbox_lock(tmp_path / "moved again"):
        pass


def test_a_running_instance_looks_at_its_lock_before_each_step(make_studio):
    studio = make_studio(CONFIG)
    with outbox_lock(studio.outbox.root) as lock:
        loaded = load(studio.root / "config.yaml")
        loop = Loop(studio.service, loaded, None, None, None, None, lock)
        studio.outbox.root.rename(studio.root / "moved")
        with outbox_lock(studio.outbox.root), pytest.raises(LockedError):
            loop._tick()


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


def studio_with(folder: Path, name: str):
    """A studio with an inbox and a state folder of its own, and an outbox that others share."""
    (folder / name / "inbox").mkdir(parents=True, exist_ok=True)
    path = folder / name / "config.yaml"
    path.write_text(f"{CONFIG}outbox: ../out\ndevice: cpu\n")
    return load(path)
