"""Stands for a Ray cluster, in the process that holds the connection to it."""

import os
import signal
from pathlib import Path

from pipeline.config.model import Config
from pipeline.errors import ClusterLostError, ConfigError
from pipeline.workers.messages import Event, WorkerSettings
from support.fake_work import FakeExecutor

UNREACHABLE, FAULT = "unreachable", "fault"  # files in the state folder


def connect(config: Config, _place: WorkerSettings) -> "FakeCluster":
    if (config.state / UNREACHABLE).exists():
        raise ConfigError("does not answer", where="ray.address: auto")
    return FakeCluster(config.state / FAULT)


class FakeCluster(FakeExecutor):
    """Ends each job at the next poll, unless a file names a fault: then that happens, once."""

    def __init__(self, fault: Path) -> None:
        super().__init__(slots=2)
        self._fault = fault

    def poll(self, timeout: float) -> list[Event]:
        if self.jobs and self._fault.exists():
            fault = self._fault.read_text()
            self._fault.unlink()
            if fault == "its own node dies":
                os._exit(1)  # as Ray does
            if fault == "it hangs":
                while True:
                    signal.pause()
            if fault == "the whole cluster is lost":
                raise ClusterLostError(fault)
            raise ValueError(fault)
        while self.jobs:
            self.end()
        return super().poll(timeout)

    def close(self, force: bool = False) -> None:
        self._fault.with_name("closed").touch()
