"""Where jobs run: device slots of this machine, or a cluster, behind one interface.

Jobs run in separate processes, so that a crash, a leak or a hang of the engine does not affect the
daemon, and the dashboard keeps moving while torch computes. Each slot gets its next job in advance.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.config.model import Config
from pipeline.config.transfer import LARGEST
from pipeline.jobs.job import Job
from pipeline.workers.local import LocalExecutor
from pipeline.workers.messages import Event, GivenBack, WorkerSettings

__all__ = ["Event", "Executor", "GivenBack", "LocalExecutor", "WorkerSettings", "open_executor"]

START_SECONDS = 120.0  # for the devices that the config names to respond


class Executor(Protocol):
    """Runs jobs on devices or nodes."""

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        ...

    @property
    def trouble(self) -> str:
        """Devices or nodes that cannot be used, and why; "" when there are none."""
        ...

    def free(self) -> int:
        """How many jobs can be submitted now, to start now or next."""
        ...

    def running(self) -> list[tuple[str, Job]]:
        """Device and job of all submitted jobs that have not ended."""
        ...

    def submit(self, job: Job, staging: Path) -> None:
        """Submit a job; its pictures go to the folder ``staging``."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """Return new events; wait up to ``timeout`` seconds for the first.

        Raises:
            PlaceError: No device or node of the config can be used; all jobs were given back.
        """
        ...

    def renew(self) -> None:
        """Retry devices and nodes that could not be used."""
        ...

    def interrupt(self) -> None:
        """Request all jobs back; each comes as GivenBack, or with its result if it just ended."""
        ...

    def close(self, force: bool = False) -> None:
        """End all processes; with ``force``, kill them at once."""
        ...


def open_executor(
    config: Config, place: WorkerSettings, stops: Callable[[], int] = lambda: 0
) -> Executor:
    """Open the executor for the config's ``engine`` and ``device``.

    Args:
        config: Names the engine and its devices.
        place: Limits of the jobs, and the state folder.
        stops: How many times the program was asked to stop: a cluster that does not answer must not
            delay it.

    Raises:
        ConfigError: None of the named devices exists; the cluster does not respond or is unsafe.
        MissingExtraError: ``engine: ray`` without Ray.
    """
    if config.engine == "ray":
        from pipeline.workers.ray_cluster.cluster_process import ClusterProcess

        return ClusterProcess(config, place, stops=stops)
    named = [config.device] if isinstance(config.device, str) else list(config.device)
    executor = LocalExecutor(named, place, side=_largest_side(config), share=config.slots)
    if not {"auto", "cpu"} & set(named):
        executor.confirm(START_SECONDS)
    return executor


def _largest_side(config: Config) -> int | None:
    """Long side in px of the largest pictures of the config; None: the size of the photos."""
    wanted = [config.transfer_of(style) for style in config.styles]
    sizes = [each.size if each.within is None else LARGEST for each in wanted]
    return None if "source" in sizes else max(size for size in sizes if size != "source")
