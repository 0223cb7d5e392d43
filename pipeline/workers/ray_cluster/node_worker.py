"""A worker on a node of a Ray cluster: it has a device and runs jobs.

A node can access neither inbox nor outbox: photo, paintings and weights arrive as objects and are
stored in a folder on the node by their SHA-256, so that each is shipped once per node. Pictures go
back as bytes; only the daemon publishes.
"""

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import Failure, JobError, PipelineError, Reason
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, Progress
from pipeline.jobs.recipe import Region, StyleImage
from pipeline.system.safe_files import read_bounded
from pipeline.workers.messages import DoJob, GivenBack, Stop, WorkerSettings
from pipeline.workers.ray_cluster.node_folder import NodeFolder
from pipeline.workers.worker_process import JobRunner, prepare_engine

MAX_BYTES = 4 << 30  # of one file of a result
LEAVE_SECONDS = 2.0  # for a job to finish its present step

Fetch = Callable[[Any], bytes]  # ray.get


@dataclass(frozen=True, slots=True)
class Shipment:
    """A job on its way to a node, with references to its files by their SHA-256."""

    job: Job
    files: Mapping[str, Any]
    reached: bytes = b""  # the checkpoint of an earlier attempt


@dataclass(frozen=True, slots=True)
class Delivery:
    """What comes back: the result, and the files of its staging folder by relative path."""

    result: JobResult | GivenBack
    files: Mapping[str, bytes]
    fetched: tuple[str, ...] = ()  # files that the node did not have
    reached: bytes = b""  # the checkpoint of an unfinished job


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """Progress of the jobs of a worker, and checkpoints that are new since the last status."""

    progress: Sequence[Progress]
    reached: Mapping[str, bytes]  # by job


class Worker:
    """A worker on a node, which Ray turns into an actor.

    Args:
        place: Limits of the jobs; its ``state`` folder is not on this node.
        device: Its name on this node; ``auto``: the device that Ray assigned.
        weights: The source of VGG-19, checked now; "" when shipped with jobs.
        threads: How many cores it computes on.
        fetch: Turns a reference into bytes.

    Raises:
        RuntimeError: The node cannot be used.
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
        self.shared = NodeFolder(_name_node_and_run())
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
        """Return the device, once the worker has started."""
        return self.device

    def do(self, shipment: Shipment) -> Delivery:
        """Run a job; two may run at once, see `pipeline.workers.worker_process`."""
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
                # The copy on this node is damaged: the next job that needs the file ships it again.
                result.changed.unlink(missing_ok=True)
                result = GivenBack(job, files_by_sha256(job).get(result.changed.name))
            return Delivery(replace(result, job=job), _read_folder(staging), fetched, reached)
        except (JobError, OSError) as error:
            code = error.code if isinstance(error, JobError) else Reason.IO_ERROR
            failure = Failure(code, f"on a node: {error}")
            return Delivery(JobResult(job, "failed", device=self.device, error=failure), {})
        finally:
            self.checkpoints.drop(job.id)  # the daemon has stored it
            shutil.rmtree(staging, ignore_errors=True)

    def status(self) -> WorkerStatus:
        """The progress of the jobs; the response also shows that the worker is alive."""
        # Progress first: the checkpoint of a scale that it reports as finished is written by then.
        progress = list(self.progress.values())
        versions = {job: self.checkpoints.version(job) for job in list(self.ended)}
        new = [
            job for job, one in versions.items() if one and one != self.sent_checkpoints.get(job)
        ]
        self.sent_checkpoints = versions
        return WorkerStatus(progress, {job: self.checkpoints.pack(job) for job in new})

    def stop(self, message: Stop) -> None:
        """Cancel a job, or all jobs."""
        self.runner.handle(message)

    def leave(self) -> None:
        """Cancel all jobs and remove the files of the worker before it ends."""
        self.runner.stop(LEAVE_SECONDS)
        self.shared.leave()

    def _receive(self, message: Any) -> None:
        if isinstance(message, Progress):
            self.progress[message.job_id] = message
        elif isinstance(message, JobResult | GivenBack):
            self.results[message.job.id] = message
            self.ended[message.job.id].set()

    def _unpack(self, shipment: Shipment) -> tuple[Job, tuple[str, ...]]:
        """Fetch the files of a job; return the job with paths on this node."""
        fetched = [sha for sha in shipment.files if self._fetch_file(sha, shipment.files[sha])]
        self.shared.trim()
        return with_local_paths(shipment.job, lambda sha: self.folder / sha), tuple(fetched)

    def _fetch_file(self, sha256: str, reference: Any) -> bool:
        """Fetch a file into the node's folder; return False if it existed."""
        path = self.folder / sha256
        with self.fetching:
            if path.is_file():
                with suppress(OSError):
                    os.utime(path)
                return False
            content = self.fetch(reference)
            if hashlib.sha256(content).hexdigest() != sha256:
                what = "a file was damaged in transit to the node"
                raise JobError(what, where=sha256[:12], code=Reason.IO_ERROR)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as half:
                half.write(content)
            Path(half.name).replace(path)  # another worker of the node may have been faster
            return True


def files_by_sha256(job: Job) -> dict[str, Path]:
    """The files that a job reads, by their SHA-256."""
    return {job.sha256: job.path} | {sha: path for path, sha in job.recipe.files.items()}


def with_local_paths(job: Job, at: Callable[[str], Path]) -> Job:
    """The same job, with the same id and other paths of its files.

    Pictures record the names that the files have at home: here, each is named by its SHA-256.
    """
    recipe = job.recipe
    images = _images_at(recipe.images, at)
    regions = tuple(_region_at(region, at) for region in recipe.regions)
    transfer = recipe.transfer
    if recipe.init_sha256:
        transfer = transfer.model_copy(update={"init": str(at(recipe.init_sha256))})
    weights, enhance = recipe.weights, recipe.enhance
    if Path(weights) in recipe.files:
        weights = str(at(recipe.weights_sha256))
    if recipe.upscale_sha256:
        enhance = enhance.model_copy(update={"upscale_model": at(recipe.upscale_sha256)})
    there = replace(
        recipe,
        images=images,
        transfer=transfer,
        weights=weights,
        enhance=enhance,
        regions=regions,
        names=recipe.recorded_names,
    )
    return replace(job, path=at(job.sha256), recipe=there)


def _images_at(images: Iterable[StyleImage], at: Callable[[str], Path]) -> tuple[StyleImage, ...]:
    return tuple(
        replace(image, path=at(image.sha256), name=image.recorded_name) for image in images
    )


def _region_at(region: Region, at: Callable[[str], Path]) -> Region:
    mask = None if region.mask is None else at(region.mask_sha256)
    images = _images_at(region.images, at)
    return replace(region, images=images, mask=mask, mask_name=region.recorded_mask)


def _prepare_engine(
    place: WorkerSettings, device: str, weights: str, threads: int
) -> tuple[Any, str]:
    """Return the function that runs jobs, and the name of the device.

    Raises:
        RuntimeError: Device, weights or package are missing on this node.
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
        str(path.relative_to(folder).as_posix()): read_bounded(path, MAX_BYTES)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _name_node_and_run() -> str:
    """A name for this node and this run: workers that share both share a folder."""
    import ray

    context = ray.get_runtime_context()
    return f"{context.get_node_id()[:16]}-{context.get_job_id()}"


def _ray_get(reference: Any) -> bytes:
    import ray

    content: bytes = ray.get(reference)
    return content
