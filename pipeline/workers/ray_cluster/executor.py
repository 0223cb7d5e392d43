"""Runs jobs on a Ray cluster. The ledger remains the queue: Ray never retries a job.

Each worker is an actor with declared CPUs and GPUs, bound to its node. It has at most two jobs, one
running and one in advance. Jobs of a lost node go back into the queue; late responses of a lost
worker are ignored.
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
from pipeline.errors import ChangedError, ClusterLostError, ConfigError, Failure, PlaceError, Reason
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult
from pipeline.system.interpreter import as_one_line, last_error_line
from pipeline.workers.messages import AHEAD, Event, GivenBack, Heartbeat, Stop, WorkerSettings
from pipeline.workers.ray_cluster.connection import (
    check_private,
    connect,
    is_connection_lost,
    token_required,
)
from pipeline.workers.ray_cluster.node_worker import (
    LEAVE_SECONDS,
    Delivery,
    Shipment,
    WorkerStatus,
    files_by_sha256,
)
from pipeline.workers.ray_cluster.remote_worker import (
    RemoteWorker,
    bind_worker_class,
    worker_capacity,
)
from pipeline.workers.ray_cluster.shipping import ShippedFiles, unpack_outputs
from pipeline.workers.stall_watch import StallWatch

STATUS_SECONDS = 1.0  # between two requests for a worker's status
NODES_SECONDS = 2.0  # between two checks of the nodes


class RayExecutor:
    """Workers on the nodes of a cluster, started as nodes come and dropped as they go.

    Args:
        ray: The library, connected.
        cluster: Which resources to declare for each worker.
        place: Limits of the jobs.
        weights: Checked on every node before it gets a job; "" when shipped with the jobs.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ray: Any,
        cluster: Cluster,
        place: WorkerSettings,
        weights: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ray, self._cluster, self._place, self._weights = ray, cluster, place, weights
        self._clock = clock
        self._workers: list[RemoteWorker] = []
        self._unfit: dict[str, str] = {}  # nodes that cannot be used, and why
        self._shipped_files = ShippedFiles(ray.put)
        self._checkpoints = Checkpoints(place.checkpoints) if place.checkpoints else None
        self._back: list[Event] = []
        self._nodes_at = float("-inf")
        self.shipped: dict[tuple[str, str], int] = {}  # how often, by node and SHA-256
        self._start_workers()

    # --- the executor's interface ----------------------------------------------------------

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return len(self._workers)

    @property
    def trouble(self) -> str:
        """Nodes that cannot be used, and why."""
        return "; ".join(dict.fromkeys(self._unfit.values()))

    def free(self) -> int:
        """How many jobs can be submitted: two for each worker that has started."""
        return sum(AHEAD - len(worker.calls) for worker in self._workers if worker.device)

    def running(self) -> list[tuple[str, Job]]:
        """Worker and job of all submitted jobs that have not ended."""
        return [(worker.name, job) for worker in self._workers for job, _ in worker.calls.values()]

    def submit(self, job: Job, staging: Path) -> None:
        """Ship a job to the worker that can start it first."""
        try:
            files = {
                sha: self._shipped_files.reference(sha, path)
                for sha, path in files_by_sha256(job).items()
            }
        except ChangedError as error:
            self._back.append(GivenBack(job, error.path))
            return
        except OSError as error:
            failure = Failure(Reason.IO_ERROR, f"cannot be sent to the node: {error}")
            self._back.append(JobResult(job, "failed", error=failure))
            return
        worker = min((one for one in self._workers if one.device), key=lambda one: len(one.calls))
        if not worker.calls:
            worker.stall_watch.job_started()
        reached = self._checkpoints.pack(job.id) if self._checkpoints else b""
        worker.calls[worker.handle.do.remote(Shipment(job, files, reached))] = job, staging

    def poll(self, timeout: float) -> list[Event]:
        """Return new events; wait up to ``timeout`` seconds for the first.

        Raises:
            ClusterLostError: The connection is lost, and no pause restores it.
        """
        try:
            return self._collect(timeout)
        except Exception as error:
            if not is_connection_lost(error):
                raise
            what = f"the whole cluster is lost: {as_one_line(str(error))}"
            hint = "start the cluster again, then this command; running jobs start again"
            where = f"ray.address: {self._cluster.address}"
            raise ClusterLostError(what, where=where, hint=hint) from None

    def _collect(self, timeout: float) -> list[Event]:
        self._start_workers()
        waited = {ref: worker for worker in self._workers for ref in self._list_awaited(worker)}
        events, self._back = self._back, []
        if waited:
            self._ray.wait(list(waited), timeout=0 if events else timeout)
            ready, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0)
            for ref in ready:
                if waited[ref] in self._workers:
                    events += self._handle_response(waited[ref], ref)
        for worker in list(self._workers):
            events += self._watch(worker)
        if not events and self._unfit and not self._workers:
            hint = "install the pipeline with its weights on every node"
            raise PlaceError(self.trouble, where="ray", hint=hint)
        return events

    def renew(self) -> None:
        """Retry nodes that could not be used."""
        if not self._workers:
            self._unfit, self._nodes_at = {}, float("-inf")

    def interrupt(self) -> None:
        """Request all jobs back."""
        for worker in self._workers:
            if worker.calls:
                worker.handle.stop.remote(Stop())

    def close(self, force: bool = False) -> None:  # noqa: ARG002  # always at once
        """End all workers, their folders on the nodes, and the cluster if it is ours."""
        with suppress(Exception):  # the cluster may be gone already
            leaving = [worker.handle.leave.remote() for worker in self._workers if worker.device]
            self._ray.wait(leaving, num_returns=len(leaving), timeout=2 * LEAVE_SECONDS)
        for worker in self._workers:
            with suppress(Exception):
                self._ray.kill(worker.handle)
        self._workers = []
        self._shipped_files.clear()
        self._ray.shutdown()

    # --- workers ------------------------------------------------------------------------

    def _start_workers(self) -> None:
        """Start workers on all nodes that have room for more."""
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
            cpus, count = worker_capacity(node["Resources"], self._cluster.cpus, gpus)
            mine = sum(worker.node == node["NodeID"] for worker in self._workers)
            for _ in range(min(count - mine, most - len(self._workers))):
                actor_class = bind_worker_class(self._ray, node, cpus, gpus)
                place = replace(self._place, state=None)  # our folder does not exist there
                device = "auto" if gpus else "cpu"
                handle = actor_class.remote(place, device, self._weights, max(1, int(cpus)))
                self._workers.append(RemoteWorker.on(node, handle, StallWatch(self._clock)))

    def _list_awaited(self, worker: RemoteWorker) -> list[Any]:
        if not worker.device:
            return [worker.ready]
        if worker.status is None and self._clock() >= worker.asked_at + STATUS_SECONDS:
            worker.status, worker.asked_at = worker.handle.status.remote(), self._clock()
        calls = [] if worker.in_doubt else worker.calls
        return [*calls, *([worker.status] if worker.status is not None else [])]

    # --- responses ------------------------------------------------------------------------

    def _handle_response(self, worker: RemoteWorker, ref: Any) -> list[Event]:
        try:
            response = self._ray.get(ref)
        except self._ray.exceptions.ActorUnavailableError:
            return self._mark_in_doubt(worker)
        except self._ray.exceptions.RayActorError as error:
            return self._handle_lost_worker(worker, str(error))
        except self._ray.exceptions.RayError as error:
            if ref not in worker.calls:
                return self._handle_lost_worker(worker, str(error))
            job, _ = worker.calls.pop(ref)
            return [self._fail(job, worker, Reason.WORKER_CRASHED, as_one_line(str(error)))]
        worker.stall_watch.message_received(Heartbeat(busy=False))
        if ref == worker.ready:
            worker.device = response
            return []
        if ref == worker.status:
            worker.status = None
            if worker.in_doubt:
                return self._replace_reconnected(worker)
            return self._take_status(worker, response)
        worker.stall_watch.message_received(response)
        return [self._take_delivery(worker, response, *worker.calls.pop(ref))]

    def _take_status(self, worker: RemoteWorker, status: WorkerStatus) -> list[Event]:
        if status.progress:
            worker.stall_watch.message_received(status)
        here = {job.id for job, _ in worker.calls.values()}
        for job in status.reached.keys() & here:  # without jobs that have ended meanwhile
            self._store_checkpoint(job, status.reached[job])
        return list(status.progress)

    def _store_checkpoint(self, job: str, reached: bytes) -> None:
        """Store the checkpoint of a job, for its next attempt on any node."""
        if self._checkpoints and reached:
            self._checkpoints.unpack(job, reached)

    def _take_delivery(
        self, worker: RemoteWorker, delivery: Delivery, job: Job, staging: Path
    ) -> Event:
        """Write the pictures of a job into its staging folder."""
        for sha in delivery.fetched:
            key = worker.node, sha
            self.shipped[key] = self.shipped.get(key, 0) + 1
        self._store_checkpoint(job.id, delivery.reached)
        if isinstance(delivery.result, GivenBack):
            return replace(delivery.result, job=job)
        result = replace(delivery.result, job=job, device=worker.name)
        if result.status != "done":
            return result
        try:
            outputs = unpack_outputs(result.outputs, delivery.files, staging)
        except (ValueError, KeyError) as error:
            return self._fail(job, worker, Reason.OUTPUT_INVALID, f"damaged in transit: {error}")
        except OSError as error:
            return self._fail(job, worker, Reason.IO_ERROR, str(error))
        if self._checkpoints:
            self._checkpoints.drop(job.id)
        return replace(result, outputs=outputs)

    def _watch(self, worker: RemoteWorker) -> list[Event]:
        """Kill a worker that is silent for too long; return the events of its jobs."""
        worker.stall_watch.tick()
        if not worker.calls:
            worker.stall_watch.message_received(None)
            return []
        problem = worker.stall_watch.diagnose(self._place.limits.stall_seconds)
        if not problem:
            return []
        self._ray.kill(worker.handle)
        return self._drop(worker, Reason.STALLED, f"the worker on {worker.name} {problem}")

    def _mark_in_doubt(self, worker: RemoteWorker) -> list[Event]:
        """Note that worker, node or only the connection is lost; the next status shows which."""
        if not worker.device:
            self._workers.remove(worker)
        worker.in_doubt, worker.status, worker.asked_at = True, None, self._clock()
        return []

    def _replace_reconnected(self, worker: RemoteWorker) -> list[Event]:
        """Drop a worker that only lost its connection; its lost jobs go back into the queue."""
        self._ray.kill(worker.handle)
        self._workers.remove(worker)
        return [GivenBack(job) for job, _ in worker.calls.values()]

    def _handle_lost_worker(self, worker: RemoteWorker, why: str) -> list[Event]:
        """Handle a dead worker: it died with its node, in a job, or at its start."""
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        if worker.node not in alive or "node has died" in why or "node died" in why:
            self._workers.remove(worker)
            return [GivenBack(job) for job, _ in worker.calls.values()]
        if not worker.device:
            self._unfit[worker.node] = f"node {worker.host}: {last_error_line(why)}"
        return self._drop(worker, Reason.WORKER_CRASHED, f"the worker on {worker.name} died")

    def _drop(self, worker: RemoteWorker, code: Reason, why: str) -> list[Event]:
        """Drop a worker: its running job has failed, the one in advance goes back."""
        self._workers.remove(worker)
        jobs = [job for job, _ in worker.calls.values()]
        failed: list[Event] = [self._fail(job, worker, code, why) for job in jobs[:1]]
        return failed + [GivenBack(job) for job in jobs[1:]]

    def _fail(self, job: Job, worker: RemoteWorker, code: Reason, why: str) -> JobResult:
        return JobResult(job, "failed", device=worker.name, error=Failure(code, why))


def open_cluster(config: Config, place: WorkerSettings) -> RayExecutor:
    """Connect to the cluster of the config, or start one.

    Raises:
        ConfigError: It does not respond in time, or untrusted hosts could reach it.
        MissingExtraError: Ray is not installed.
    """
    ray = connect(config.ray)
    weights = config.weights if config.weights in ("embedded", "torchvision") else ""
    try:
        return RayExecutor(ray, config.ray, place, weights)
    except ConfigError:
        ray.shutdown()
        raise
