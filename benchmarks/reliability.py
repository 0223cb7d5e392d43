"""The cost of reliability: per job, per file, and per second of doing nothing.

Per job counts all that the daemon does for one, measured in whole ticks of the service: the attempt
counted, a staging folder made, both pictures hashed, their names settled, published, verified,
finished, written to the run log, cleared away, and the next job found and begun. Not counted: the
pictures painted, encoded and synced, as any program would; and the gallery, which has its own row.

Decoding counts what a child process adds to decoding the same file here, in a warm process, as its
asker sees it. The child was made ready before, while the other side decoded: so it is in the
daemon, where a worker decodes a photo, then paints it in all its styles. What a photo costs where
one comes right behind the other, making ready included, is the row on examining.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.idle import Idle
from benchmarks.rows import median_of, seconds
from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest
from pipeline.config.sections import Limits
from pipeline.daemon.service import Service
from pipeline.gallery.writer import Gallery
from pipeline.imaging.decode import DEFAULT_LIMITS, decode_file
from pipeline.imaging.sandbox import Decoder
from pipeline.inbox.examiner import examine
from pipeline.inbox.scanner import Found, Inbox
from pipeline.jobs.job import Job, JobResult, Kind
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.view import View
from pipeline.render.staging import staged_output
from pipeline.system.file_version import Stamp, hash_file
from pipeline.system.malloc import keep_freed_memory
from pipeline.workers.executor import Event

JOBS, FILES, IDLE_SECONDS, TICKS_A_SECOND = 100, 10_000, 60, 4
PAIRS = 61  # of decoding there and here
# A telephone's photo has 4000 px: what is between the two sides stays the same, as long as there is
# memory ready, and is lost in the noise of decoding itself, which takes four times as long.
SIDE = 1600
KINDS: tuple[Kind, ...] = ("stylized", "enhanced")
CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}}
match: []
limits: {free_bytes: 0}
"""
JOBS_CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}}
limits: {free_bytes: 0}
"""


def report() -> Iterator[tuple[str, str, str]]:
    """Rows: what, measured, aim."""
    with _folder() as root:
        bookkeeping, busy, shown = _per_job(root / "jobs")
        yield "bookkeeping, staging and publishing, per job", _ms(bookkeeping), "5 ms"
        yield "of the bookkeeping: processor time", _ms(busy), ""
        yield "of the bookkeeping: waiting for the disk (4 fsyncs)", _ms(_fsyncs(root, 4)), ""
        yield "the gallery's part beside it, per job", _ms(shown), "50 ms"
        photo = _photo(root)
        apart = _decoder(photo)
        yield "decoding in a process of its own instead of here", _ms(apart), "5 ms"
        together = bookkeeping + max(apart, 0.0)
        yield "both together, per job of a photo in one style", _ms(together), "5 ms"
        examined = _examined(photo)
        yield "examining a new photo beyond its hash, once, beside the jobs", _ms(examined), ""
        first, again, idle = _scans(root)
        yield f"first scan of {FILES} files, per file", _ms(first), "1 ms"
        yield f"each further scan of {FILES} files, per file", _ms(again), "1 ms"
        yield f"idle daemon on {FILES} files, of a core", f"{idle:.2%}", "1 %"


class Watch:
    """How long something took in all, by the clock and of this thread's processor time."""

    def __init__(self) -> None:
        self.wall, self.cpu = 0.0, 0.0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Counts what happens within."""
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.thread_time() - cpu


class Timed(Gallery):
    """A gallery that knows how long it took."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.watch = Watch()

    def take_copies(self, *what: Any) -> None:
        with self.watch.on():
            super().take_copies(*what)

    def update(self) -> int:
        with self.watch.on():
            return super().update()


class Painter(Idle):
    """Replaces a worker: two pictures as large as those of 512 px, written and synced."""

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self.watch = Watch()  # what is not bookkeeping
        self._result: JobResult | None = None

    def free(self) -> int:
        """One place, taken until the result was received."""
        return 0 if self._result else 1

    def running(self) -> list[tuple[str, Job]]:
        """The one job."""
        return [("cpu", self._result.job)] if self._result else []

    def poll(self, _timeout: float) -> list[Event]:
        """It is done by now."""
        result, self._result = self._result, None
        return [result] if result else []

    def submit(self, job: Job, staging: Path) -> None:
        """Paint at once."""
        with self.watch.on():
            paths = [_written(staging / f"{kind}.png") for kind in KINDS]
        outputs = tuple(map(staged_output, KINDS, paths, (1, 1), (1, 1)))
        self._result = JobResult(job, "done", 1.0, "cpu", outputs)


def _written(path: Path) -> Path:
    with path.open("wb") as file:
        file.write(os.urandom(200_000))
        file.flush()
        os.fsync(file.fileno())
    return path


def _per_job(root: Path) -> tuple[float, float, float]:
    """Seconds per job: of the bookkeeping, of its processor time, and of the gallery."""
    (root / "inbox").mkdir(parents=True)
    (root / "config.yaml").write_text(JOBS_CONFIG)
    config, painter = load_config(root / "config.yaml"), Painter()
    ticks = []
    with Ledger(config.state / "jobs.sqlite3") as ledger:
        for number in range(JOBS):
            path = config.inbox / f"{number:03}.jpg"
            path.write_bytes(b"\xff\xd8\xff\xd9")
            ledger.files.record_hash(path.name, str(Stamp.of(path.stat())), f"{number:064x}")
        service = Service(config, load_manifest(config), ledger, painter, View())
        service.bookkeeping._gallery = gallery = Timed(config.outbox)
        wall = time.time() + 1000  # all are still
        with closing(service):
            service.start()
            service.tick(0.0, wall)
            while not service.idle:
                tick = painter.watch, gallery.watch = Watch(), Watch()
                whole = Watch()
                with whole.on():
                    # A second later each time: every job waits for its line in the run log.
                    service.tick(float(len(ticks) + 1), wall)
                ticks.append((whole, *tick))
    assert len(ticks) >= JOBS, len(ticks)
    return (
        median(whole.wall - paint.wall - shown.wall for whole, paint, shown in ticks),
        median(whole.cpu - paint.cpu - shown.cpu for whole, paint, shown in ticks),
        median(shown.wall for _, _, shown in ticks),
    )


def _fsyncs(root: Path, count: int) -> float:
    def once() -> None:
        for _ in range(count):
            with (root / "x").open("ab") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())

    return median_of(once, 15)


def _photo(root: Path) -> Path:
    """Shapes of all sizes in colour, and a little noise: a byte for every four pixels."""
    height, rng = SIDE * 3 // 4, np.random.default_rng(0)
    waves = Image.effect_noise((40, 30), 120).resize((SIDE, height), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 5, (height, SIDE, 3))
    pixels = np.asarray(waves)[..., None] * np.array([1.0, 0.9, 0.7]) + grain
    path = root / "photo.jpg"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def _decoder(path: Path) -> float:
    decoder = Decoder(Limits())
    # The stricter comparison: what is decoded here has its memory ready, too.
    with closing(decoder), keep_freed_memory():
        decoder.decode(path, 512)
        decode_file(path, 512, DEFAULT_LIMITS)
        # By turns, so that a busy moment of the machine counts on both sides.
        return median(
            seconds(lambda: decoder.decode(path, 512))
            - seconds(lambda: decode_file(path, 512, DEFAULT_LIMITS))
            for _ in range(PAIRS)
        )


def _examined(path: Path) -> float:
    """Seconds beyond hashing it, one photo right behind the other."""
    decoder = Decoder(Limits(), preallocated=0)  # as the examiner has it
    found = Found(path.name, path, Stamp.of(path.stat()))
    with closing(decoder):
        assert examine(found, decoder).sha256
        whole = median_of(lambda: examine(found, decoder), PAIRS)
    return whole - median_of(lambda: hash_file(path), PAIRS)


def _scans(root: Path) -> tuple[float, float, float]:
    """Seconds per file of the first look and of a later one; share of a core when idle."""
    inbox = root / "inbox"
    inbox.mkdir()
    for number in range(FILES):
        (inbox / f"{number:05}.jpg").write_bytes(b"x")
    later = time.time() + 1000
    looker = Inbox(inbox, 2.0)
    first = seconds(lambda: looker.scan(0.0, later))
    again = median_of(lambda: looker.scan(1.0, later), 15)
    return first / FILES, again / FILES, _idle(root, inbox)


def _idle(root: Path, inbox: Path) -> float:
    (root / "config.yaml").write_text(CONFIG)
    config = load_config(root / "config.yaml")
    with Ledger(config.state / "jobs.sqlite3") as ledger:
        for path in inbox.iterdir():
            ledger.files.record_hash(path.name, str(Stamp.of(path.stat())), "0" * 64)
        service = Service(config, load_manifest(config), ledger, Idle(capacity=1), View())
        service.start()
        wall = time.time() + 1000
        for tick in range(8):
            service.tick(tick, wall)
        began = time.process_time()
        for tick in range(IDLE_SECONDS * TICKS_A_SECOND):
            service.tick(1000 + tick / TICKS_A_SECOND, wall)
        spent = time.process_time() - began
        service.close()
    return spent / IDLE_SECONDS


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


@contextmanager
def _folder() -> Iterator[Path]:
    # Beside the code and not in /tmp, which may lie in memory, where waiting costs nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        yield Path(name)
