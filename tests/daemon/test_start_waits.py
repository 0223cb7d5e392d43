"""The start of `watch` waits for the jobs database and for space; `run` reports a full disk."""

import pytest

from pipeline.daemon.instance import instance_lock
from pipeline.daemon.run import Stopped, once_free
from pipeline.daemon.signals import StopRequests
from pipeline.errors import BusyError, DiskFullError


class Stop(StopRequests):
    """Notes what the instance reports at each wait, and takes no time; may stop after some."""

    def __init__(self, record, after=9):
        super().__init__()
        self.record, self.after, self.reports = record, after, []

    def wait(self, seconds):
        self.reports.append(self.record.facts.get("paused"))
        self.count += len(self.reports) == self.after


def failing(*errors):
    left = list(errors)

    def start():
        if left:
            raise left.pop(0)
        return "started"

    return start


@pytest.mark.parametrize("kind", [BusyError, DiskFullError])
def test_the_start_of_watch_waits_reports_why_and_goes_on(tmp_path, kind):
    with instance_lock(tmp_path, "watch") as record:
        stop = Stop(record)
        assert once_free(failing(kind("why"), kind("why")), stop, record) == "started"
        assert stop.reports == ["why", "why"]
        assert record.facts["paused"] is None


def test_watch_can_be_stopped_while_it_waits_for_space(tmp_path):
    with instance_lock(tmp_path, "watch") as record:
        stop = Stop(record, after=1)
        with pytest.raises(Stopped, match="the disk was full") as stopped:
            once_free(failing(*[DiskFullError("full")] * 5), stop, record)
        assert len(stop.reports) == 1
        assert stopped.value.exit_code in (0, 130)


def test_the_start_of_run_ends_at_a_full_disk(tmp_path):
    with instance_lock(tmp_path, "run") as record:
        stop = Stop(record)
        with pytest.raises(DiskFullError):
            once_free(failing(DiskFullError("full")), stop, record)
        assert stop.reports == []
