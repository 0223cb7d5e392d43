"""What being careful costs: per job, per file, and per second of doing nothing."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from pipeline.accounts import Accounts
from pipeline.chain import Enhance
from pipeline.codec import DEFAULT_LIMITS, decode_file
from pipeline.config import load_config
from pipeline.decoder import Decoder
from pipeline.inbox import Inbox
from pipeline.jobs import Job, JobResult, Recipe
from pipeline.ledger import Ledger
from pipeline.manifest import load_manifest
from pipeline.options import Transfer
from pipeline.outbox import Outbox, staged_output
from pipeline.sections import Limits
from pipeline.service import Service
from pipeline.stamp import Stamp
from pipeline.view import View

JOBS, FILES, IDLE_SECONDS, TICKS_A_SECOND = 100, 10_000, 60, 4
CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}}
match: []
limits: {free_bytes: 0}
"""


class Nobody:
    """An executor that never has anything to do."""

    def free(self) -> int:
        return 1

    def running(self) -> list[tuple[str, Job]]:
        return []

    def poll(self, _timeout: float) -> list[object]:
        return []

    def submit(self, _job: Job, _staging: Path) -> None:
        raise AssertionError

    def interrupt(self) -> None: ...


def report() -> Iterator[tuple[str, str, str]]:
    """Rows: what, measured, aim."""
    with _folder() as root:
        yield "books, staging and publishing, per job", _ms(_per_job(root)), "5 ms"
        yield "of which waiting for the disk (5 fsyncs)", _ms(_fsyncs(root, 5)), ""
        yield "decoding in a process of its own instead of here", _ms(_decoder(root)), ""
        first, again, idle = _scans(root)
        yield f"first look at {FILES} files, per file", _ms(first), "1 ms"
        yield f"next look at {FILES} files, per file", _ms(again), "1 ms"
        yield f"idle daemon on {FILES} files, of a core", f"{idle:.2%}", "1 %"


def _per_job(root: Path) -> float:
    outbox = Outbox(root / "outbox")
    outbox.prepare()
    job = Job("a.jpg", root, "5" * 64, "mosaic", Recipe((), Transfer(), Enhance(), "embedded", 0))
    with Ledger(root / "state" / "jobs.sqlite3") as ledger:
        accounts = Accounts(ledger, outbox, View(), lambda _: None)
        seconds = []
        for number in range(JOBS):
            began = time.perf_counter()
            begun = ledger.begin(Job(f"{number}.jpg", *_rest(job)))
            staging = outbox.stage(begun)
            seconds.append(time.perf_counter() - began)
            outputs = []
            for kind in ("stylized", "enhanced"):
                # The worker writes its pictures anyway, and syncs them: that is part of encoding.
                path = staging / f"{kind}.png"
                with path.open("wb") as file:
                    file.write(os.urandom(200_000))
                    file.flush()
                    os.fsync(file.fileno())
                outputs.append(path)
            began = time.perf_counter()
            made = tuple(
                staged_output(kind, path, 1, 1)
                for kind, path in zip(("stylized", "enhanced"), outputs, strict=True)
            )
            accounts.stage(JobResult(begun, "done", 1.0, "cpu", made), 0.0)
            accounts.publish_all(0.0)
            accounts.flush(float(number))
            seconds[-1] += time.perf_counter() - began
    return sorted(seconds)[JOBS // 2]


def _rest(job: Job) -> tuple[Path, str, str, Recipe]:
    return job.path, job.sha256, job.style, job.recipe


def _fsyncs(root: Path, count: int) -> float:
    def once() -> None:
        for _ in range(count):
            with (root / "x").open("ab") as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())

    return _median(once)


def _decoder(root: Path) -> float:
    path = root / "photo.jpg"
    Image.effect_noise((1600, 1200), 60).convert("RGB").save(path)
    decoder = Decoder(Limits())
    try:
        decoder.decode(path, 512)
        there = _median(lambda: decoder.decode(path, 512))
    finally:
        decoder.close()
    return there - _median(lambda: decode_file(path, 512, DEFAULT_LIMITS))


def _scans(root: Path) -> tuple[float, float, float]:
    """Seconds per file of the first look and of a later one; share of a core when idle."""
    inbox = root / "inbox"
    inbox.mkdir()
    for number in range(FILES):
        (inbox / f"{number:05}.jpg").write_bytes(b"x")
    later = time.time() + 1000
    looker = Inbox(inbox, 2.0)
    first = _once(lambda: looker.scan(0.0, later))
    again = _median(lambda: looker.scan(1.0, later))
    return first / FILES, again / FILES, _idle(root, inbox)


def _idle(root: Path, inbox: Path) -> float:
    (root / "config.yaml").write_text(CONFIG)
    config = load_config(root / "config.yaml")
    with Ledger(config.state / "jobs.sqlite3") as ledger:
        for path in inbox.iterdir():
            ledger.remember(path.name, str(Stamp.of(path.stat())), "0" * 64)
        service = Service(config, load_manifest(config), ledger, Nobody(), View())  # type: ignore[arg-type]
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


def _median(what: Callable[[], object], times: int = 15) -> float:
    return sorted(_once(what) for _ in range(times))[times // 2]


def _once(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


@contextmanager
def _folder() -> Iterator[Path]:
    # Beside the code and not in /tmp, which may lie in memory, where waiting costs nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        yield Path(name)
