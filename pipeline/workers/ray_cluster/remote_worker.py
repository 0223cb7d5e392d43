"""A worker on a Ray node as the daemon sees it, and how many workers fit on a node."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.jobs.job import Job
from pipeline.workers.messages import AHEAD
from pipeline.workers.ray_cluster.node_worker import Worker
from pipeline.workers.stall_watch import StallWatch

CALLS_AT_ONCE = AHEAD + 2  # per worker: its jobs, a status, a request to stop


@dataclass(slots=True, eq=False)
class RemoteWorker:
    """A worker as the daemon sees it."""

    node: str
    host: str
    handle: Any
    ready: Any
    stall_watch: StallWatch
    device: str = ""  # "" until it has started
    status: Any = None  # the pending response
    asked_at: float = 0.0
    in_doubt: bool = False  # it cannot be reached, for an unknown reason
    calls: dict[Any, tuple[Job, Path]] = field(default_factory=dict)

    @classmethod
    def on(cls, node: Mapping[str, Any], handle: Any, stall_watch: StallWatch) -> "RemoteWorker":
        """A worker that was just requested."""
        return cls(
            node["NodeID"], node["NodeManagerAddress"], handle, handle.ready.remote(), stall_watch
        )

    @property
    def name(self) -> str:
        return f"{self.host}/{self.device}"


def bind_worker_class(ray: Any, node: Mapping[str, Any], cpus: float, gpus: float) -> Any:
    """An actor class bound to a node, with declared CPUs and GPUs for each actor."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    return ray.remote(Worker).options(
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=0,  # the ledger counts the attempts
        max_task_retries=0,
        max_concurrency=CALLS_AT_ONCE,
        scheduling_strategy=strategy(node["NodeID"], soft=False),
    )


def worker_capacity(
    resources: Mapping[str, float], cpus: float | None, gpus: float
) -> tuple[float, int]:
    """CPUs that each worker of a node declares, and how many workers fit on the node."""
    has_cpus, has_gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if gpus:
        each = 1.0 if cpus is None else cpus
        return each, int(min(has_gpus / gpus, has_cpus / each))
    each = has_cpus if cpus is None else cpus
    return each, int(has_cpus / each) if each else 0
