"""Jobs on a Ray cluster. The ledger stays the queue: Ray runs what it is given and retries nothing.

Each worker is an actor with its CPUs and GPUs declared, bound to its node. It has at most two jobs,
one at work and one in advance, so what is in flight is bounded. A node that is lost gives its jobs
back; a late answer of a lost worker is never heard.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.model import Config
from pipeline.config.sections import Cluster
from pipeline.errors import ChangedError, ConfigError, Failure, PlaceError, Reason
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult
from pipeline.system.interpreter import as_one_line, last_error_line
from pipeline.workers.messages import AHEAD, Beat, Event, GivenBack, Place, Stop
from pipeline.workers.ray_cluster.connection import (
    check_private,
    connect,
    connection_lost,
    token_required,
)
from pipeline.workers.ray_cluster.node_worker import LEAVE_SECONDS, Delivery, Look, Parcel, needed
from pipeline.workers.ray_cluster.remote_worker import Hired, places, worker_on
from pipeline.workers.ray_cluster.shipping import Cargo, unpacked
from pipeline.workers.stall_watch import Silence

LOOK_SECONDS = 1.0  # between two looks at a worker's progress
NODES_SECONDS = 2.0  # between two looks at the nodes


class RayExecutor:
    """Workers on the nodes of a cluster, hired as nodes come and dropped as they go.

    Args:
        ray: The library, connected.
        cluster: What is declared for each worker.
        place: What jobs may take.
        weights: Tried out on every node before it gets a job; "" when shipped with the jobs.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ray: Any,
        cluster: Cluster,
        place: Place,
        weights: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ray, self._cluster, self._place, self._weights = ray, cluster, place, weights
        self._clock = clock
        self._hired: list[Hired] = []
        self._unfit: dict[str, str] = {}  # nodes that cannot do the work, and why
        self._cargo = Cargo(ray.put)
        self._checkpoints = Checkpoints(place.checkpoints) if place.checkpoints else None
        self._back: list[Event] = []
        self._nodes_at = float("-inf")
        self.shipped: dict[tuple[str, str], int] = {}  # (host, SHA-256): how often
        self._hire()

    # --- what the service asks ----------------------------------------------------------

    @property
    def slots(self) -> int:
        """How many jobs are worked on at once."""
        return len(self._hired)

    @property
    def trouble(self) -> str:
        """Nodes that are left out, and why."""
        return "; ".join(dict.fromkeys(self._unfit.values()))

    def free(self) -> int:
        """How many jobs can be taken now: two for each worker that is up."""
        return sum(AHEAD - len(hired.calls) for hired in self._hired if hired.device)

    def running(self) -> list[tuple[str, Job]]:
        """Worker and job of all that was taken and has not ended."""
        return [(hired.name, job) for hired in self._hired for job, _ in hired.calls.values()]

    def submit(self, job: Job, staging: Path) -> None:
        """Ship a job to the worker that can begin it first."""
        try:
            files = {sha: self._cargo.shipped(sha, path) for sha, path in needed(job).items()}
        except ChangedError as error:
            self._back.append(GivenBack(job, error.path))
            return
        except OSError as error:
            failure = Failure(Reason.IO_ERROR, f"cannot be shipped: {error}")
            self._back.append(JobResult(job, "failed", error=failure))
            return
        hired = min((h for h in self._hired if h.device), key=lambda h: len(h.calls))
        if not hired.calls:
            hired.silence.new_job()
        reached = self._checkpoints.pack(job.id) if self._checkpoints else b""
        hired.calls[hired.handle.do.remote(Parcel(job, files, reached))] = job, staging

    def poll(self, timeout: float) -> list[Event]:
        """What has happened; waits up to ``timeout`` seconds for something to happen."""
        try:
            return self._heard(timeout)
        except Exception as error:
            if not connection_lost(error):
                raise
            what = f"the whole cluster is lost: {as_one_line(str(error))}"
            raise ConfigError(what, where=f"ray.address: {self._cluster.address}") from None

    def _heard(self, timeout: float) -> list[Event]:
        self._hire()
        waited = {ref: hired for hired in self._hired for ref in self._awaited(hired)}
        events, self._back = self._back, []
        if waited:
            self._ray.wait(list(waited), timeout=0 if events else timeout)
            ready, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0)
            for ref in ready:
                if waited[ref] in self._hired:
                    events += self._answered(waited[ref], ref)
        for hired in list(self._hired):
            events += self._watched(hired)
        if not events and self._unfit and not self._hired:
            hint = "install the pipeline with its weights on every node"
            raise PlaceError(self.trouble, where="ray", hint=hint)
        return events

    def renew(self) -> None:
        """Try nodes again that could not do the work."""
        if not self._hired:
            self._unfit, self._nodes_at = {}, float("-inf")

    def interrupt(self) -> None:
        """Ask for all jobs back."""
        for hired in self._hired:
            if hired.calls:
                hired.handle.stop.remote(Stop())

    def close(self, force: bool = False) -> None:  # noqa: ARG002  # it makes no difference
        """End all workers, their folders on the nodes, and the cluster if it is ours."""
        with suppress(Exception):  # whatever has become of the cluster: this is the end
            leaving = [hired.handle.leave.remote() for hired in self._hired if hired.device]
            self._ray.wait(leaving, num_returns=len(leaving), timeout=2 * LEAVE_SECONDS)
        for hired in self._hired:
            with suppress(Exception):
                self._ray.kill(hired.handle)
        self._hired = []
        self._cargo.clear()
        self._ray.shutdown()

    # --- workers ------------------------------------------------------------------------

    def _hire(self) -> None:
        """A worker for every place that the nodes have and that is not taken."""
        if self._clock() < self._nodes_at + NODES_SECONDS:
            return
        self._nodes_at = self._clock()
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        check_private(nodes, token_required())
        gpus = self._cluster.gpus
        if gpus is None:
            gpus = 1.0 if any(node["Resources"].get("GPU") for node in nodes) else 0.0
        most = self._cluster.workers or sys.maxsize
        for node in nodes:
            if node["NodeID"] in self._unfit:
                continue
            cpus, count = places(node["Resources"], self._cluster.cpus, gpus)
            mine = sum(hired.node == node["NodeID"] for hired in self._hired)
            for _ in range(min(count - mine, most - len(self._hired))):
                worker = worker_on(self._ray, node, cpus, gpus)
                place = replace(self._place, state=None)  # ours is of no use there
                device = "auto" if gpus else "cpu"
                handle = worker.remote(place, device, self._weights, max(1, int(cpus)))
                self._hired.append(Hired.on(node, handle, Silence(self._clock)))

    def _awaited(self, hired: Hired) -> list[Any]:
        if not hired.device:
            return [hired.ready]
        if hired.look is None and self._clock() >= hired.looked_at + LOOK_SECONDS:
            hired.look, hired.looked_at = hired.handle.look.remote(), self._clock()
        calls = [] if hired.in_doubt else hired.calls
        return [*calls, *([hired.look] if hired.look is not None else [])]

    # --- answers ------------------------------------------------------------------------

    def _answered(self, hired: Hired, ref: Any) -> list[Event]:
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.ActorUnavailableError:
            return self._doubted(hired)
        except self._ray.exceptions.RayActorError as error:
            return self._lost(hired, str(error))
        except self._ray.exceptions.RayError as error:
            if ref not in hired.calls:
                return self._lost(hired, str(error))
            job, _ = hired.calls.pop(ref)
            return [self._failed(job, hired, Reason.WORKER_CRASHED, as_one_line(str(error)))]
        hired.silence.heard(Beat(busy=False))
        if ref == hired.ready:
            hired.device = answer
            return []
        if ref == hired.look:
            hired.look = None
            return self._reached_again(hired) if hired.in_doubt else self._seen(hired, answer)
        hired.silence.heard(answer)
        return [self._received(hired, answer, *hired.calls.pop(ref))]

    def _seen(self, hired: Hired, look: Look) -> list[Event]:
        if look.progress:
            hired.silence.heard(look)
        here = {job.id for job, _ in hired.calls.values()}
        for job in look.reached.keys() & here:  # of one that has ended meanwhile nothing is kept
            self._keep(job, look.reached[job])
        return list(look.progress)

    def _keep(self, job: str, reached: bytes) -> None:
        """Where a job stands, for its next attempt on whatever node."""
        if self._checkpoints and reached:
            self._checkpoints.unpack(job, reached)

    def _received(self, hired: Hired, delivery: Delivery, job: Job, staging: Path) -> Event:
        """The pictures of a job, written where the outbox expects them."""
        for sha in delivery.fetched:
            key = hired.node, sha
            self.shipped[key] = self.shipped.get(key, 0) + 1
        self._keep(job.id, delivery.reached)
        if isinstance(delivery.result, GivenBack):
            return replace(delivery.result, job=job)
        result = replace(delivery.result, job=job, device=hired.name)
        if result.status != "done":
            return result
        try:
            outputs = unpacked(result.outputs, delivery.files, staging)
        except (ValueError, KeyError) as error:
            return self._failed(job, hired, Reason.OUTPUT_INVALID, f"damaged on its way: {error}")
        except OSError as error:
            return self._failed(job, hired, Reason.IO_ERROR, str(error))
        if self._checkpoints:
            self._checkpoints.drop(job.id)
        return replace(result, outputs=outputs)

    def _watched(self, hired: Hired) -> list[Event]:
        """What becomes of the jobs of a worker that is silent for too long: it is ended."""
        hired.silence.look()
        if not hired.calls:
            hired.silence.heard(None)
            return []
        wrong = hired.silence.too_long(self._place.limits.stall_seconds)
        if not wrong:
            return []
        self._ray.kill(hired.handle)
        return self._dropped(hired, Reason.STALLED, f"the worker on {hired.name} {wrong}")

    def _doubted(self, hired: Hired) -> list[Event]:
        """Lost is a worker, its node, or only the way there: a later look will tell which."""
        if not hired.device:
            self._hired.remove(hired)
        hired.in_doubt, hired.look, hired.looked_at = True, None, self._clock()
        return []

    def _reached_again(self, hired: Hired) -> list[Event]:
        """It was only the way there; but answers were lost on it, so its jobs are begun anew."""
        self._ray.kill(hired.handle)
        self._hired.remove(hired)
        return [GivenBack(job) for job, _ in hired.calls.values()]

    def _lost(self, hired: Hired, why: str) -> list[Event]:
        """A worker died: with its node, of one of its jobs, or because it could not begin."""
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        if hired.node not in alive or "node has died" in why or "node died" in why:
            self._hired.remove(hired)
            return [GivenBack(job) for job, _ in hired.calls.values()]
        if not hired.device:
            self._unfit[hired.node] = f"node {hired.host}: {last_error_line(why)}"
        return self._dropped(hired, Reason.WORKER_CRASHED, f"the worker on {hired.name} died")

    def _dropped(self, hired: Hired, code: Reason, why: str) -> list[Event]:
        """The job at work has failed, the one in advance comes back."""
        self._hired.remove(hired)
        jobs = [job for job, _ in hired.calls.values()]
        failed: list[Event] = [self._failed(job, hired, code, why) for job in jobs[:1]]
        return failed + [GivenBack(job) for job in jobs[1:]]

    def _failed(self, job: Job, hired: Hired, code: Reason, why: str) -> JobResult:
        return JobResult(job, "failed", device=hired.name, error=Failure(code, why))


def open_cluster(config: Config, place: Place) -> RayExecutor:
    """Connect to the cluster of the config, or start one.

    Raises:
        ConfigError: It does not answer in time, or strangers could reach it.
        MissingExtraError: Ray is not installed.
    """
    ray = connect(config.ray)
    weights = config.weights if config.weights in ("embedded", "torchvision") else ""
    try:
        return RayExecutor(ray, config.ray, place, weights)
    except ConfigError:
        ray.shutdown()
        raise
