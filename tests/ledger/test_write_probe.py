"""A quota or a file size limit on the state folder is a full disk, whatever SQLite calls it."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.stock import make_job

from pipeline.daemon.fault_pauses import AGAIN_SECONDS
from pipeline.errors import BusyError, DiskFullError
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.write_probe import refuses_more


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def refused(number: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, refuse)


def test_a_file_size_limit_pauses_the_daemon_as_a_full_disk_does(studio):
    studio.put("a.png", 1)
    studio.until_idle()
    with file_size_limit(20_000):
        for number in range(4):
            studio.put(f"b{number}.png", 2 + number)
        for _ in range(20):
            studio.tick(2.0)
            while studio.executor.jobs:
                studio.executor.end()
        assert studio.service.fault_pause.cause == "disk"
        assert "a size limit" in studio.view.message
    studio.tick(AGAIN_SECONDS)
    studio.until_idle()
    assert set(studio.states().values()) == {"done"}
    assert len(studio.states()) == 5
    assert [pair.attempt for pair in studio.ledger.pairs()] == [1] * 5


@pytest.mark.parametrize("name", ["fsync", "fdopen", "open"])
@pytest.mark.parametrize(
    ("number", "full"),
    [(errno.EDQUOT, True), (errno.ENOSPC, True), (errno.EFBIG, True), (errno.EIO, False)],
)
def test_a_quota_is_told_from_a_broken_disk(tmp_path, monkeypatch, name, number, full):
    with monkeypatch.context() as patch:
        refused(number, name, patch)
        assert refuses_more(tmp_path / "jobs.sqlite3") is full
    assert not refuses_more(tmp_path / "jobs.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_that_a_quota_refuses_is_a_full_disk(tmp_path, monkeypatch):
    refused(errno.EDQUOT, "mkdir", monkeypatch)
    with pytest.raises(DiskFullError):
        Ledger(tmp_path / "state" / "jobs.sqlite3")


def test_a_database_whose_folder_denies_access_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "jobs.sqlite3"
    with Ledger(path) as ledger:
        ledger.begin(make_job())
        with monkeypatch.context() as patch:
            refused(errno.EACCES, "stat", patch)
            with pytest.raises(BusyError, match="cannot be reached: permission denied"):
                ledger.begin(make_job("b.jpg"))
        assert ledger.begin(make_job("b.jpg")).attempt == 1
