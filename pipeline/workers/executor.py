"""Where jobs run: this machine's device slots, or a cluster; one interface for both.

A process of its own keeps a crash of the engine, a leak or a hang away from the daemon, and lets
the dashboard move while torch computes. Each slot is given its next job in advance.
"""

from pathlib import Path
from typing import Protocol

from pipeline.config.model import Config
from pipeline.jobs.job import Job
from pipeline.workers.local import LocalExecutor
from pipeline.workers.messages import Event, GivenBack, WorkerSettings

__all__ = ["Event", "Executor", "GivenBack", "LocalExecutor", "WorkerSettings", "open_executor"]

START_SECONDS = 120.0  # for the devices that a config names to answer


class Executor(Protocol):
    """Where jobs run."""

    @property
    def slots(self) -> int:
        """How many jobs are worked on at once."""
        ...

    @property
    def trouble(self) -> str:
        """Devices or nodes that are left out, and why; "" when none is."""
        ...

    def free(self) -> int:
        """How many jobs can be taken now, to be begun now or next."""
        ...

    def running(self) -> list[tuple[str, Job]]:
        """Device and job of all that was taken and has not ended."""
        ...

    def submit(self, job: Job, staging: Path) -> None:
        """Take a job; its pictures go to the folder ``staging``."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """What has happened; waits up to ``timeout`` seconds for something to happen.

        Raises:
            PlaceError: No device or node of the config can be used; all jobs were given back.
        """
        ...

    def renew(self) -> None:
        """Try devices and nodes again that could not be used."""
        ...

    def interrupt(self) -> None:
        """Ask for all jobs back; each comes as GivenBack, or as the result it just came to."""
        ...

    def close(self, force: bool = False) -> None:
        """End all processes; with ``force`` at once."""
        ...


def open_executor(config: Config, place: WorkerSettings) -> Executor:
    """What the config's ``engine`` and ``device`` ask for.

    Raises:
        ConfigError: None of the devices named is there; the cluster does not answer or is unsafe.
        MissingExtraError: ``engine: ray`` without Ray.
    """
    if config.engine == "ray":
        from pipeline.workers.ray_cluster.executor import open_cluster

        return open_cluster(config, place)
    named = [config.device] if isinstance(config.device, str) else list(config.device)
    executor = LocalExecutor(named, place, side=_largest_side(config), share=config.slots)
    if not {"auto", "cpu"} & set(named):
        executor.confirm(START_SECONDS)
    return executor


def _largest_side(config: Config) -> int | None:
    """Long side in px of the largest pictures that the config asks for; None: the photos' own."""
    sizes = [config.transfer_of(style).size for style in config.styles]
    return None if "source" in sizes else max(size for size in sizes if size != "source")
