"""Messages between the daemon and its worker processes: plain frozen data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.sections import Limits, Timelapse
from pipeline.jobs.job import DEFAULT_LIMITS, NO_TIMELAPSE, Job, JobResult, Progress

AHEAD = 2  # jobs a process has at most: one at the device, one decoded ahead or being written


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The process is alive; ``busy``: it has computed since the last heartbeat."""

    busy: bool


# (job, workspace, on_progress, should_stop) -> JobResult; by default `render.run_job.run_job`.
RunJob = Callable[..., Any]


FindDevices = Callable[[str], tuple[tuple[str, int], ...]]  # `pipeline.nst.devices.find_devices`


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A job that was stopped before its end, on request, or whose place was lost.

    Or one that no longer can be done as planned, because the file ``changed`` holds something else.
    """

    job: Job
    changed: Path | None = None


Event = Progress | JobResult | GivenBack


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Limits of the worker processes, their state folder, and replacements for tests."""

    limits: Limits = DEFAULT_LIMITS
    state: Path | None = None  # logs and checkpoints; absent: neither
    do: RunJob | None = None  # replaces the engine
    timelapse: Timelapse = NO_TIMELAPSE
    find: FindDevices | None = None  # replaces the search for devices

    @property
    def checkpoints(self) -> Path | None:
        """Where jobs keep how far they came."""
        return self.state and self.state / "checkpoints"


@dataclass(frozen=True, slots=True)
class DoJob:
    """A job to do."""

    job: Job
    staging: Path


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a job that has not begun, or, without a name, all jobs."""

    job: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The process is up; names and free bytes of the devices that its device name stands for."""

    devices: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The process cannot work: its device is not there."""

    why: str


@dataclass(frozen=True, slots=True)
class DeviceTaken:
    """A job has the device."""

    job: str
