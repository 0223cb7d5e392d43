"""What runs on a node of a Ray cluster: one worker, which has a device and does jobs.

A node has no access to the outbox, nor to the inbox: photo, paintings and weights come as objects
and are kept in a folder of the node's own by their SHA-256, so that each is shipped once per node.
Pictures go back as bytes; the daemon alone publishes.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import Failure, JobError, PipelineError, Reason
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, Progress
from pipeline.jobs.recipe import StyleImage
from pipeline.system.safe_files import read_bounded
from pipeline.workers.messages import DoJob, GivenBack, Stop, WorkerSettings
from pipeline.workers.ray_cluster.node_folder import NodeFolder
from pipeline.workers.worker_process import JobRunner, prepare_engine

MOST_BYTES = 4 << 30  # of one file of a result
LEAVE_SECONDS = 2.0  # for the step that a job is at

Fetch = Callable[[Any], bytes]  # ray.get


@dataclass(frozen=True, slots=True)
class Shipment:
    """A job on its way: the files it needs by their SHA-256, each a reference to its bytes."""

    job: Job
    files: Mapping[str, Any]
    reached: bytes = b""  # where an earlier attempt came to


@dataclass(frozen=True, slots=True)
class Delivery:
    """What comes back: the result, and every file of its staging folder by its relative path."""

    result: JobResult | GivenBack
    files: Mapping[str, bytes]
    fetched: tuple[str, ...] = ()  # what the node did not have yet
    reached: bytes = b""  # how far a job came that was not finished


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How far the jobs of a worker are; checkpoints that are new since the last status."""

    progress: Sequence[Progress]
    reached: Mapping[str, bytes]  # by job


class Worker:
    """A worker on a node; Ray makes an actor of it. Raises where the node cannot do the work.

    Args:
        place: What jobs may take; its ``state`` is not of this node.
        device: Its name here; ``auto``: the one that Ray gave.
        weights: Where VGG-19 comes from, to be tried out now; "" when it is shipped with jobs.
        threads: Cores it computes on.
        fetch: Turns a reference into bytes.
    """

    def __init__(
        self,
        place: WorkerSettings,
        device: str,
        weights: str,
        threads: int,
        fetch: Fetch | None = None,
    ) -> None:
        self.fetch = fetch or _ray_get
        do, found = _prepare_engine(place, device, weights, threads)
        self.shared = NodeFolder(_run())
        self.folder = self.shared.path
        self.place = replace(place, state=self.folder)
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        self.sent_checkpoints: dict[str, str] = {}  # their versions
        self.progress: dict[str, Progress] = {}
        self.results: dict[str, Any] = {}
        self.ended: dict[str, threading.Event] = {}
        self.fetching = threading.Lock()
        self.device = found
        self.runner = JobRunner(do, found, self.place, self._receive)

    def ready(self) -> str:
        """The device; answered once the worker is up."""
        return self.device

    def do(self, shipment: Shipment) -> Delivery:
        """Do a job; two may be here at once, see `pipeline.workers.worker_process`."""
        job = shipment.job
        staging = Path(tempfile.mkdtemp(prefix=f"{job.id}-", dir=self.folder))
        try:
            here, fetched = self._unpack(shipment)
            if shipment.reached:
                self.checkpoints.unpack(job.id, shipment.reached)
                self.sent_checkpoints[job.id] = self.checkpoints.version(job.id)
            self.ended[job.id] = threading.Event()
            self.runner.handle(DoJob(here, staging))
            self.ended[job.id].wait()
            del self.ended[job.id]
            result = self.results.pop(job.id)
            self.progress.pop(job.id, None)
            reached = self.checkpoints.pack(job.id)
            if isinstance(result, GivenBack) and result.changed:
                # This node's copy is damaged: the next job that needs it brings another.
                result.changed.unlink(missing_ok=True)
                result = GivenBack(job, files_by_sha256(job).get(result.changed.name))
            return Delivery(replace(result, job=job), _read_folder(staging), fetched, reached)
        except (JobError, OSError) as error:
            code = error.code if isinstance(error, JobError) else Reason.IO_ERROR
            failure = Failure(code, f"on a node: {error}")
            return Delivery(JobResult(job, "failed", device=self.device, error=failure), {})
        finally:
            self.checkpoints.drop(job.id)  # the daemon has it
            shutil.rmtree(staging, ignore_errors=True)

    def status(self) -> WorkerStatus:
        """How far the jobs here are; also a sign of life."""
        # Progress first: the checkpoint of a scale that it reports as finished is written by then.
        progress = list(self.progress.values())
        versions = {job: self.checkpoints.version(job) for job in list(self.ended)}
        new = [
            job for job, one in versions.items() if one and one != self.sent_checkpoints.get(job)
        ]
        self.sent_checkpoints = versions
        return WorkerStatus(progress, {job: self.checkpoints.pack(job) for job in new})

    def stop(self, message: Stop) -> None:
        """Cancel a job, or all."""
        self.runner.handle(message)

    def leave(self) -> None:
        """Cancel all jobs and remove the worker's files: it is about to end."""
        self.runner.stop(LEAVE_SECONDS)
        self.shared.leave()

    def _receive(self, message: Any) -> None:
        if isinstance(message, Progress):
            self.progress[message.job_id] = message
        elif isinstance(message, JobResult | GivenBack):
            self.results[message.job.id] = message
            self.ended[message.job.id].set()

    def _unpack(self, shipment: Shipment) -> tuple[Job, tuple[str, ...]]:
        """The job with all its paths on this node."""
        fetched = [sha for sha in shipment.files if self._fetch_file(sha, shipment.files[sha])]
        self.shared.trim()
        return with_local_paths(shipment.job, lambda sha: self.folder / sha), tuple(fetched)

    def _fetch_file(self, sha256: str, reference: Any) -> bool:
        """Fetch a file into the node's folder; returns False where it was there already."""
        path = self.folder / sha256
        with self.fetching:
            if path.is_file():
                with suppress(OSError):
                    os.utime(path)
                return False
            content = self.fetch(reference)
            if hashlib.sha256(content).hexdigest() != sha256:
                what = "a file was damaged on its way to the node"
                raise JobError(what, where=sha256[:12], code=Reason.IO_ERROR)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as half:
                half.write(content)
            Path(half.name).replace(path)  # another worker of the node may have been quicker
            return True


def files_by_sha256(job: Job) -> dict[str, Path]:
    """The files that a job reads, by their SHA-256."""
    return {job.sha256: job.path} | {sha: path for path, sha in job.recipe.files.items()}


def with_local_paths(job: Job, at: Callable[[str], Path]) -> Job:
    """The same job, with the same id, reading its files from elsewhere."""
    recipe = job.recipe
    images = tuple(StyleImage(at(i.sha256), i.weight, i.sha256) for i in recipe.images)
    transfer = recipe.transfer
    if recipe.init_sha256:
        transfer = transfer.model_copy(update={"init": str(at(recipe.init_sha256))})
    weights, enhance = recipe.weights, recipe.enhance
    if Path(weights) in recipe.files:
        weights = str(at(recipe.weights_sha256))
    if recipe.upscale_sha256:
        enhance = enhance.model_copy(update={"upscale_model": at(recipe.upscale_sha256)})
    there = replace(recipe, images=images, transfer=transfer, weights=weights, enhance=enhance)
    return replace(job, path=at(job.sha256), recipe=there)


def _prepare_engine(
    place: WorkerSettings, device: str, weights: str, threads: int
) -> tuple[Any, str]:
    """The function that does jobs, and the device's name; a node that has neither fails here.

    Raises:
        RuntimeError: Device, weights or package are missing here.
    """
    try:
        do, devices = prepare_engine(device, threads, place)
        if place.do is None and weights:
            from pipeline.render.self_check import check_weights

            check_weights(weights)
    except (PipelineError, ImportError) as error:
        raise RuntimeError(f"{error}") from None
    return do, devices[0][0]


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder).as_posix()): read_bounded(path, MOST_BYTES)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _run() -> str:
    """What names this node and this run: workers of both share a folder."""
    import ray

    context = ray.get_runtime_context()
    return f"{context.get_node_id()[:16]}-{context.get_job_id()}"


def _ray_get(reference: Any) -> bytes:
    import ray

    content: bytes = ray.get(reference)
    return content
