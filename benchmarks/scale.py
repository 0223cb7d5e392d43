"""What handing out work costs: idle engines, two workers, a cluster, a fleet in virtual time."""

import heapq
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import bulk
from benchmarks.rows import Row
from pipeline.config.enhancement import Enhance
from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest, starter_styles
from pipeline.config.transfer import Transfer
from pipeline.daemon.service import Service
from pipeline.jobs.job import Job, JobResult, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.view import View
from pipeline.render.staging import staged_output
from pipeline.system.cores import count_usable_cores
from pipeline.workers.executor import Event, WorkerSettings
from pipeline.workers.local import LocalExecutor

STUB_SECONDS, STUB_JOBS, REAL_JOBS = 0.2, 40, 5
ROW_SECONDS = 60.0
FLEET, FLEET_JOBS, FLEET_SECONDS = 64, 10_000, 100.0
RAY_JOBS = 40
SPANS = "SCALE_SPANS"  # workspace: the file that engines write their times to
CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""


def report() -> Iterator[Row]:
    """Rows: what, measured, aim."""
    name = f"engine idle between {STUB_SECONDS:g} s jobs (stub)"
    yield _row(name, partial(idle, stub, STUB_JOBS), "<= 2 %")
    name = "engine idle between jobs of 128 px (real engine)"
    yield _row(name, partial(idle, timed_run_job, REAL_JOBS), "<= 2 %")
    yield _row("two CPU workers, of the ideal (stub)", partial(two, burn, STUB_JOBS), ">= 0.90")
    name = "two CPU workers, of the ideal (real engine, 128 px)"
    yield _row(name, partial(two, timed_run_job, REAL_JOBS), ">= 0.90")
    yield _row("overhead per job on a warm local Ray", ray_overhead, "<= 50 ms")
    yield _row(f"{FLEET} slots in virtual time: least busy", fleet, ">= 95 %")


def _row(name: str, measure: Callable[[], str], aim: str) -> Row:
    """A row; where it cannot be measured, why."""
    try:
        return Row(name, measure(), aim)
    except Exception as error:  # whatever it is: the other rows are still wanted
        return Row(name, f"not measured: {' '.join(str(error).split())[:100] or error!r}", aim)


class Deadline:
    """A row that takes longer is given up."""

    def __init__(self, seconds: float = ROW_SECONDS) -> None:
        self.seconds, self.at = seconds, time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self.at:
            raise TimeoutError(f"not done within {self.seconds:g} s")


# --- jobs -----------------------------------------------------------------------------------


def stub(job: Job, workspace: Workspace, _progress: Any, _should_stop: Any, turn: Any) -> JobResult:
    """A job of known length; its pictures are written after its turn, as the worker's are."""
    with turn, _span():
        time.sleep(STUB_SECONDS)
    return _painted(job, workspace.staging)


stub.takes_turns = True  # type: ignore[attr-defined]


def burn(job: Job, workspace: Workspace, *_: Any) -> JobResult:
    """A job that takes a known amount of one core."""
    until = time.thread_time() + STUB_SECONDS
    while time.thread_time() < until:
        sum(range(1000))
    return _painted(job, workspace.staging)


def nothing(job: Job, *_: Any) -> JobResult:
    """No work at all."""
    return JobResult(job, "done")


def timed_run_job(*job_and_rest: Any) -> JobResult:
    """The real job; when the device works, painting or enhancing, is written down."""
    from pipeline.render import run_job as worker

    if not hasattr(worker, "_timed"):
        worker._timed = True  # type: ignore[attr-defined]
        worker._stylize = _noted(worker._stylize)
        worker._enhance = _noted(worker._enhance)
    return worker.run_job(*job_and_rest)


def _noted(work: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*parts: Any) -> Any:
        with _span():
            return work(*parts)

    return noted


timed_run_job.takes_turns = True  # type: ignore[attr-defined]


def _painted(job: Job, staging: Path) -> JobResult:
    outputs = []
    for kind in ("stylized", "enhanced"):
        path = staging / f"{kind}.png"
        path.write_bytes(os.urandom(100_000))
        outputs.append(staged_output(kind, path, 1, 1))  # type: ignore[arg-type]
    return JobResult(job, "done", STUB_SECONDS, "cpu", tuple(outputs))


@contextmanager
def _span() -> Iterator[None]:
    began = time.monotonic()
    yield
    with Path(os.environ[SPANS]).open("a") as file:
        file.write(f"{began} {time.monotonic()}\n")


# --- one slot -------------------------------------------------------------------------------


def idle(do: Callable[..., Any], count: int) -> str:
    """Share of a run in which no engine works."""
    with _folder() as root:
        return f"{_idle_of_service(root / 'project', do, count):.2%}"


def _idle_of_service(root: Path, do: Callable[..., Any], count: int) -> float:
    """Share of the time from the first job's begin to the last one's end with no engine at work.

    With the whole service: bookkeeping, publishing, the photo decoded and its pictures written.
    """
    deadline = Deadline()
    (root / "inbox").mkdir(parents=True)
    for number in range(count):
        Image.effect_noise((800, 600), 40 + number).convert("RGB").save(
            root / "inbox" / f"{number:03}.jpg"
        )
    path = root / "config.yaml"
    path.write_text(CONFIG + "preset: draft\ntransfer: {size: 128}\n")
    config = load_config(path)
    os.environ[SPANS] = str(root / "spans")
    executor = LocalExecutor(["cpu"], WorkerSettings(config.limits, config.state, do=do))
    try:
        with Ledger(config.state / "jobs.sqlite3") as ledger:
            service = Service(config, load_manifest(config, path), ledger, executor, View())
            service.start()
            service.tick(time.monotonic(), time.time())
            while not service.idle:
                service.tick(time.monotonic(), time.time(), 0.25)
                deadline.check()
            service.finish()
            service.close()
    finally:
        executor.close(force=True)
    if service.view.done < count:
        raise RuntimeError(f"{service.view.done} of {count} jobs done")
    spans = [tuple(map(float, line.split())) for line in (root / "spans").read_text().splitlines()]
    whole = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return 1.0 - sum(end - begin for begin, end in spans) / whole


# --- two slots ------------------------------------------------------------------------------


def two(do: Callable[..., Any], count: int) -> str:
    """Throughput of two workers of one core over twice that of one worker of one core."""
    if count_usable_cores() < 2:
        raise RuntimeError("this machine gives us one core")
    with _folder() as root:
        one, both = (_rate(root / str(slots), do, slots, slots * count) for slots in (1, 2))
    return f"{both / (2 * one):.2f} ({one:.2f} and {both:.2f} jobs/s)"


def _rate(root: Path, do: Callable[..., Any], slots: int, count: int) -> float:
    """Jobs a second, once every worker has done one."""
    root.mkdir()
    photo = root / "photo.jpg"
    Image.effect_noise((800, 600), 60).convert("RGB").save(photo)
    os.environ[SPANS] = str(root / "spans")
    executor = LocalExecutor(["cpu"] * slots, WorkerSettings(state=root / "state", do=do))
    for slot in executor._slots:
        slot.threads = 1
    try:
        _rounds(executor, root, photo, slots, 0)
        began = time.monotonic()
        _rounds(executor, root, photo, count, 1)
        return count / (time.monotonic() - began)
    finally:
        executor.close(force=True)


def _rounds(executor: Any, root: Path, photo: Path, count: int, kind: int) -> None:
    begun, ended, deadline = 0, 0, Deadline()
    while ended < count:
        deadline.check()
        while begun < count and executor.free():
            job = _job(photo, f"{kind}-{begun}")
            staging = root / f"{job.id}.1"
            staging.mkdir()
            executor.submit(job, staging)
            begun += 1
        for event in executor.poll(0.25):
            if isinstance(event, JobResult):
                if event.status != "done":
                    raise RuntimeError(event.error)
                ended += 1


def _job(photo: Path, name: str) -> Job:
    transfer = Transfer(size=128, steps=(20, 10))
    mosaic = starter_styles()["mosaic"]
    image = StyleImage(mosaic, 1.0, digest(mosaic))
    recipe = Recipe((image,), transfer, Enhance(), "embedded", 0)
    return Job(name, photo, digest(photo), "mosaic", recipe, 1)


# --- a cluster ------------------------------------------------------------------------------


def ray_overhead() -> str:
    """Median of the time from submitting a job that does nothing to having its result."""
    from pipeline.workers.ray_cluster.executor import open_cluster

    os.environ["PYTHONPATH"] = str(Path.cwd())  # for the nodes to find `nothing`
    with _folder() as root:
        (root / "config.yaml").write_text(
            CONFIG + "engine: ray\nray: {address: local, workers: 1}\n"
        )
        executor = open_cluster(load_config(root / "config.yaml"), WorkerSettings(do=nothing))
        try:
            deadline = Deadline()
            while not executor.free():
                executor.poll(0.1)
                deadline.check()
            seconds = [_one_on_ray(executor, root, number) for number in range(RAY_JOBS)]
        finally:
            executor.close()
    return f"{statistics.median(seconds[3:]) * 1000:.1f} ms"


def _one_on_ray(executor: Any, root: Path, number: int) -> float:
    import hashlib

    content = root / "photo"
    content.write_bytes(b"x" * 300_000)
    sha256 = hashlib.sha256(content.read_bytes()).hexdigest()
    job = Job(str(number), content, sha256, "s", Recipe((), Transfer(), Enhance(), "embedded", 0))
    began = time.perf_counter()
    executor.submit(job, root)
    while not any(isinstance(event, JobResult) for event in executor.poll(1.0)):
        pass
    return time.perf_counter() - began


# --- a fleet in virtual time ----------------------------------------------------------------


class Fleet:
    """Slots whose jobs end in virtual time; a slot takes its next job in advance."""

    trouble = ""

    def __init__(self, slots: int, seconds: Callable[[], float]) -> None:
        self.slots, self.seconds, self.now = slots, seconds, 0.0
        self.queues: list[list[tuple[Job, Path]]] = [[] for _ in range(slots)]
        self.busy = [0.0] * slots  # seconds of the jobs begun
        self.until = [0.0] * slots  # when the last job begun ends
        self.ends: list[tuple[float, int]] = []

    def free(self) -> int:
        return sum(2 - len(queue) for queue in self.queues)

    def running(self) -> list[tuple[str, Job]]:
        return [(str(n), job) for n, queue in enumerate(self.queues) for job, _ in queue]

    def submit(self, job: Job, staging: Path) -> None:
        slot = min(range(self.slots), key=lambda number: len(self.queues[number]))
        self.queues[slot].append((job, staging))
        if len(self.queues[slot]) == 1:
            self._begin(slot, self.now)

    def poll(self, _timeout: float) -> list[Event]:
        events: list[Event] = []
        while self.ends and self.ends[0][0] <= self.now:
            ended, slot = heapq.heappop(self.ends)
            job, staging = self.queues[slot].pop(0)
            events.append(_painted_small(job, staging))
            if self.queues[slot]:
                self._begin(slot, ended)  # the process has its next job already
        return events

    def interrupt(self) -> None: ...

    def pass_by(self, seconds: float) -> None:
        """So much time has gone by, and nothing more happens until the next job ends."""
        self.now = max(self.now + seconds, self.ends[0][0] if self.ends else 0.0)

    def busy_until(self, moment: float, slot: int) -> float:
        """Share of the time up to a moment in which a slot worked."""
        return (self.busy[slot] - max(0.0, self.until[slot] - moment)) / moment

    def _begin(self, slot: int, at: float) -> None:
        seconds = self.seconds()
        self.busy[slot] += seconds
        self.until[slot] = at + seconds
        heapq.heappush(self.ends, (self.until[slot], slot))


def _painted_small(job: Job, staging: Path) -> JobResult:
    path = staging / "stylized.png"
    path.write_bytes(job.id.encode())
    return JobResult(job, "done", 1.0, "cpu", (staged_output("stylized", path, 1, 1),))


def fleet(slots: int = FLEET, jobs: int = FLEET_JOBS, seconds: float = FLEET_SECONDS) -> str:
    """The real service hands jobs of 5 to 60 s to a fleet; the time it takes itself counts, too.

    Bookkeeping and publishing are done for every job. How busy the slots are is measured
    until the queue is empty (after that no order could keep all of them busy), or for at most so
    many seconds. In memory where there is a place for it: what a disk takes has a row of its own.
    """
    length = partial(random.Random(0).uniform, 5.0, 60.0)
    memory = Path("/dev/shm")  # a folder of our own in it
    with bulk.project(jobs, memory if os.access(memory, os.W_OK) else None) as root:
        config = load_config(root / "config.yaml").model_copy(update={"match": bulk.ONE_STYLE})
        simulated = Fleet(slots, length)
        with Ledger(config.state / "jobs.sqlite3") as ledger:
            manifest, wall = load_manifest(config), time.time() + 1000
            service = Service(config, manifest, ledger, simulated, View())  # type: ignore[arg-type]
            service.start()
            while not service.begun:  # planning: once, before the work
                service.tick(0.0, wall)
            began = time.perf_counter()
            while service.queue and time.perf_counter() < began + seconds:
                spent = time.perf_counter()
                service.tick(simulated.now, wall + simulated.now)
                simulated.pass_by(time.perf_counter() - spent)
            own = (time.perf_counter() - began) / service.begun
            shares = [simulated.busy_until(simulated.now, n) for n in range(slots)]
            service.close()
    least, mean = min(shares), statistics.mean(shares)
    bookkeeping = f"{own * 1000:.1f} ms each for bookkeeping"
    return f"{least:.1%} (mean {mean:.1%}; {service.begun} jobs, {bookkeeping})"


@contextmanager
def _folder() -> Iterator[Path]:
    # Beside the code and not in /tmp, which may lie in memory, where waiting costs nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        yield Path(name)
