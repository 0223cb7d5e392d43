"""What being careful costs: per job, per file, and per second of doing nothing."""

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.idle import Idle
from pipeline.accounts import Accounts
from pipeline.chain import Enhance
from pipeline.codec import DEFAULT_LIMITS, decode_file
from pipeline.config import load_config
from pipeline.decoder import Decoder
from pipeline.gallery import Gallery
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


def report() -> Iterator[tuple[str, str, str]]:
    """Rows: what, measured, aim."""
    with _folder() as root:
        books, shown = _per_job(root)
        yield "books, staging and publishing, per job", _ms(books), "5 ms"
        yield "the gallery's part beside it, per job", _ms(shown), "50 ms"
        yield "of the books: waiting for the disk (4 fsyncs)", _ms(_fsyncs(root, 4)), ""
        yield "decoding in a process of its own instead of here", _ms(_decoder(root)), "5 ms"
        first, again, idle = _scans(root)
        yield f"first look at {FILES} files, per file", _ms(first), "1 ms"
        yield f"next look at {FILES} files, per file", _ms(again), "1 ms"
        yield f"idle daemon on {FILES} files, of a core", f"{idle:.2%}", "1 %"


class Timed(Gallery):
    """A gallery that knows how long it took."""

    seconds = 0.0

    def keep(self, *what: Any) -> None:
        began = time.perf_counter()
        super().keep(*what)
        self.seconds += time.perf_counter() - began

    def update(self) -> int:
        began = time.perf_counter()
        told = super().update()
        self.seconds += time.perf_counter() - began
        return told


def _per_job(root: Path) -> tuple[float, float]:
    """Seconds per job: of the books, and of the gallery."""
    outbox = Outbox(root / "outbox")
    outbox.prepare()
    job = Job("a.jpg", root, "5" * 64, "mosaic", Recipe((), Transfer(), Enhance(), "embedded", 0))
    with Ledger(root / "state" / "jobs.sqlite3") as ledger:
        accounts = Accounts(ledger, outbox, View(), lambda _: None)
        accounts._gallery = gallery = Timed(outbox.root)
        seconds, shown = [], []
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
            began, gallery.seconds = time.perf_counter(), 0.0
            made = tuple(
                staged_output(kind, path, 1, 1)
                for kind, path in zip(("stylized", "enhanced"), outputs, strict=True)
            )
            accounts.stage(JobResult(begun, "done", 1.0, "cpu", made), 0.0)
            deque(accounts.publish_all(0.0))
            accounts.flush(float(number))
            shown.append(gallery.seconds)
            seconds[-1] += time.perf_counter() - began - gallery.seconds
    return sorted(seconds)[JOBS // 2], sorted(shown)[JOBS // 2]


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
        # By turns, so that a busy moment of the machine counts on both sides.
        both = [
            (
                _once(lambda: decoder.decode(path, 512)),
                _once(lambda: decode_file(path, 512, DEFAULT_LIMITS)),
            )
            for _ in range(31)
        ]
    finally:
        decoder.close()
    return sorted(there - here for there, here in both)[len(both) // 2]


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
        service = Service(config, load_manifest(config), ledger, Idle(places=1), View())
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
