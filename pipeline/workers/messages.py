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
    """The process is alive; ``busy``: it has been computing since the last heartbeat."""

    busy: bool


# (job, workspace, on_progress, should_stop) -> JobResult; by default `render.run_job.run_job`.
RunJob = Callable[..., Any]


FindDevices = Callable[[str], tuple[tuple[str, int], ...]]  # `pipeline.nst.devices.find_devices`


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A job that goes back into the queue.

    It was stopped on request, its worker was lost, or it can no longer be run as planned because
    the content of the file ``changed`` is not the planned one.
    """

    job: Job
    changed: Path | None = None


Event = Progress | JobResult | GivenBack


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Limits of the worker processes, their state folder, and replacements for tests."""

    limits: Limits = DEFAULT_LIMITS
    state: Path | None = None  # for logs and checkpoints; None: neither is written
    do: RunJob | None = None  # replaces the engine
    timelapse: Timelapse = NO_TIMELAPSE
    find: FindDevices | None = None  # replaces the search for devices

    @property
    def checkpoints(self) -> Path | None:
        """The folder in which jobs store their progress."""
        return self.state and self.state / "checkpoints"


@dataclass(frozen=True, slots=True)
class DoJob:
    """Run a job."""

    job: Job
    staging: Path


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a job that has not started, or all jobs if ``job`` is empty."""

    job: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has started; its devices, each with its free bytes."""

    devices: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The process cannot work, because its device cannot be used."""

    why: str


@dataclass(frozen=True, slots=True)
class DeviceTaken:
    """A job has got the device."""

    job: str
