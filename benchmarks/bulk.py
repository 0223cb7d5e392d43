"""Ten thousand photos in three styles: planning them, and finding that nothing is to be done."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.idle import Idle
from benchmarks.rows import Row
from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest
from pipeline.config.model import Config, MatchRule
from pipeline.daemon.service import Service
from pipeline.inbox.scanner import Inbox
from pipeline.jobs.job import Job, JobResult, Workspace
from pipeline.jobs.recipe import Recipes
from pipeline.ledger.database import Database
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.view import View
from pipeline.render.staging import staged_output
from pipeline.system.file_version import Stamp
from pipeline.workers.executor import WorkerSettings
from pipeline.workers.local import LocalExecutor

PHOTOS, FOLDERS = 10_000, 40
STUBS, STUB_SECONDS = 60, 0.1
ONE_STYLE = (MatchRule(inbox="**", styles=("mosaic",)),)
CONFIG = """
styles:
  mosaic: {image: "builtin:mosaic"}
  waves: {image: "builtin:woodcut_waves"}
  hatching: {image: "builtin:ink_hatching"}
match:
  - {inbox: "0/**", styles: [waves, mosaic, hatching]}
  - {inbox: "**", styles: [mosaic, waves, hatching]}
queue: {order: newest, folders: {"1/**": 5}}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""


def report() -> Iterator[Row]:
    """Rows: what, measured, aim."""
    with project() as root:
        planned = json.loads(
            _program(root, f"from benchmarks.bulk import plan; plan({str(root)!r})")
        )
        yield Row(f"planning {PHOTOS} photos x 3 styles", f"{planned['seconds']:.1f} s", "10 s")
        yield Row("memory of the process that does", f"{planned['bytes'] / 1e6:.0f} MB", "300 MB")
        yield Row("the same queue, planned again", f"{planned['again']:.2f} s")
        yield Row("an idle tick over it", f"{planned['tick'] * 1000:.2f} ms")
        yield Row(
            f"device idle between jobs of {STUB_SECONDS} s", f"{_idle(root):.1%}", "2 % at most"
        )
        finish(root)
        seconds = _timed(root, "import runpy; runpy.run_module('pipeline', run_name='__main__')")
        yield Row(f"a run over {PHOTOS} photos that are all done", f"{seconds:.1f} s", "5 s")


def plan(root: str) -> None:
    """Plan everything and print what that took: called in a process of its own."""
    os.chdir(root)
    config = load_config(Path("config.yaml"))
    with Ledger(config.state / "jobs.sqlite3") as ledger:
        service = Service(config, load_manifest(config), ledger, Idle(capacity=0), View())
        with closing(service):
            service.start()
            began = time.perf_counter()
            service.tick(0.0, time.time())
            seconds = time.perf_counter() - began
            assert len(service.queue) == 3 * PHOTOS, len(service.queue)
            service.planner.wake(stale=True)
            again = _once(lambda: service.tick(1.0, time.time()))
            tick = _once(lambda: [service.tick(1.0, time.time()) for _ in range(100)]) / 100
    print(json.dumps({"seconds": seconds, "bytes": _peak(), "again": again, "tick": tick}))


def _peak() -> int:
    """The most memory that this process had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts what its parent had when it was forked
        (kilobytes,) = (s.split()[1] for s in status.read_text().splitlines() if "VmHWM" in s)
        return int(kilobytes) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def finish(root: Path) -> None:
    """Fill the ledger as if all had been made."""
    config = load_config(root / "config.yaml")
    manifest, recipes = load_manifest(config), Recipes(config)
    made = {name: recipes.recipe_for(style) for name, style in manifest.styles.items()}
    rows = []
    for number, content in enumerate(_contents()):
        for style, recipe in made.items():
            job = Job(content, config.inbox / content, _digest(number), style, recipe)
            stem = f"{content}--{style}"
            outputs = [
                {"kind": kind, "path": f"{stem}.png", "sha256": "0" * 64, "bytes": 300_000}
                | {"width": 512, "height": 384}
                for kind in ("stylized", "enhanced")
            ]
            values = (job.sha256, recipe.digest, stem.encode(), json.dumps(outputs))
            rows.append((os.fsencode(content), style, job.id, *values))
    database = Database(config.state / "jobs.sqlite3")
    with database.write():
        for row in rows:
            database.change(
                "INSERT INTO pairs (content, style, job, sha256, recipe, state, attempt, target, "
                "target_key, outputs, updated) VALUES (?, ?, ?, ?, ?, 'done', 1, ?6, ?6, ?, 0)",
                *row,
            )
    database.close()


@contextmanager
def project(photos: int = PHOTOS, where: Path | None = None) -> Iterator[Path]:
    """A project whose photos were all examined before."""
    with tempfile.TemporaryDirectory(dir=where or Path.cwd(), prefix=".benchmark-") as name:
        root = Path(name)
        (root / "config.yaml").write_text(CONFIG)
        for content in _contents(photos):
            path = root / "inbox" / content
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\xff\xd8\xff\xd9")
        _remember(load_config(root / "config.yaml"))
        yield root


def _remember(config: Config) -> None:
    scan = Inbox(config.inbox, 0.0).scan(0.0, time.time() + 1000)
    Ledger(config.state / "jobs.sqlite3").close()
    database = Database(config.state / "jobs.sqlite3")
    numbers = {content: number for number, content in enumerate(_contents())}
    with database.write():
        for found in scan.settled:
            raw, stamp = os.fsencode(found.content), str(found.stamp)
            sha256 = _digest(numbers[found.content])
            database.change(
                "INSERT INTO seen (content, stamp, sha256) VALUES (?, ?, ?)", raw, stamp, sha256
            )
    database.close()


def _contents(photos: int = PHOTOS) -> list[str]:
    return [f"{number % FOLDERS}/{number:05}.jpg" for number in range(photos)]


def _digest(number: int) -> str:
    return f"{number:064x}"


def _program(root: Path, program: str) -> str:
    here = {"PYTHONPATH": str(Path.cwd())}
    arguments = [sys.executable, "-c", program, "run"]
    done = subprocess.run(
        arguments, cwd=root, env=os.environ | here, check=True, capture_output=True, text=True
    )
    return done.stdout


def stub(job: Job, workspace: Workspace, _progress: object, _should_stop: object) -> JobResult:
    """A job of known length; reports when it began and ended, on the clock all processes share."""
    began = time.monotonic()
    path = workspace.staging / "stylized.png"
    path.write_bytes(b"picture")
    time.sleep(max(0.0, began + STUB_SECONDS - time.monotonic()))
    outputs = (staged_output("stylized", path, 1, 1),)
    times = {"began": began, "ended": time.monotonic()}
    return JobResult(job, "done", STUB_SECONDS, workspace.device, outputs, times)


def _idle(root: Path) -> float:
    """Share of the time between the first stub's begin and the last one's end without a stub."""
    folders = {"inbox": root / "few", "outbox": root / "few-out", "state": root / "few-state"}
    config = load_config(root / "config.yaml")
    config = config.model_copy(update=folders | {"match": ONE_STYLE})
    config.inbox.mkdir()
    lines: list[dict[str, dict[str, float]]] = []
    with Ledger(config.state / "jobs.sqlite3") as ledger:
        for number in range(STUBS):
            path = config.inbox / f"{number:02}.jpg"
            path.write_bytes(b"\xff\xd8\xff\xd9")
            ledger.files.record_hash(path.name, str(Stamp.of(path.stat())), _digest(number))
        manifest = load_manifest(config)
        executor = LocalExecutor(["cpu"], WorkerSettings(config.limits, do=stub))
        service = Service(config, manifest, ledger, executor, View(), lines.append, limit=STUBS)
        with closing(service):
            service.start()
            while not service.idle:
                service.tick(time.monotonic(), time.time(), 0.25)
            service.finish()
        executor.close()
    times = sorted((line["losses"]["began"], line["losses"]["ended"]) for line in lines)
    worked = sum(ended - began for began, ended in times)
    return 1 - worked / (times[-1][1] - times[0][0])


def _timed(root: Path, program: str) -> float:
    return _once(lambda: _program(root, program))


def _once(what: object) -> float:
    began = time.perf_counter()
    what()  # type: ignore[operator]
    return time.perf_counter() - began
