"""One instance for each state folder, whatever happens to its files."""

import pytest

from pipeline.daemon.instance import instance_lock, read_instance
from pipeline.errors import LockedError


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
def test_a_deleted_lock_file_lets_no_second_instance_in(tmp_path, name):
    with instance_lock(tmp_path, "watch"):
        (tmp_path / name).unlink()
        assert read_instance(tmp_path) is not None
        with pytest.raises(LockedError), instance_lock(tmp_path, "run"):
            pass
        assert read_instance(tmp_path) is not None
    assert read_instance(tmp_path) is None
