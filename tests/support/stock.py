"""What several test files make: jobs, pictures, results. No test stands here."""

import json
import os
import random
from collections import deque
from pathlib import Path

from PIL import Image

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import Transfer
from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.daemon.restore import stage_version
from pipeline.jobs.job import Job, JobResult, Output
from pipeline.jobs.recipe import Recipe
from pipeline.ledger.ledger import Ledger, Staged
from pipeline.ledger.records import Version
from pipeline.monitoring.view import View
from pipeline.outbox.names import RUN_LOG, VERSIONS, candidate_names
from pipeline.outbox.publisher import Outbox, staged_output
from pipeline.outbox.run_log import RunLog, run_log_line
from pipeline.outbox.versions import Versions


def make_recipe(seed: int = 0) -> Recipe:
    return Recipe((), Transfer(), Enhance(), "embedded", seed)


def make_job(content: str = "a.jpg", style: str = "mosaic", sha: str = "5" * 64, seed=0) -> Job:
    return Job(content, Path("/inbox") / content, sha, style, make_recipe(seed))


def render(outbox: Outbox, job: Job, mark: str = "") -> JobResult:
    """Stands for the worker: two files, complete and told apart by their mark."""
    outputs = stage_texts(outbox.make_staging_folder(job), f"{job.id} {mark}")
    return JobResult(job, "done", 1.5, "cpu", outputs, {"total": 2.0})


def stage_texts(folder: Path, text: str) -> tuple[Output, ...]:
    """What stands for the two pictures of a pair: files that hold the text."""
    outputs = []
    for kind in ("stylized", "enhanced"):
        path = folder / f"{kind}.png"
        path.write_text(f"{text} {kind} END")
        outputs.append(staged_output(kind, path, 64, 48))
    return tuple(outputs)


def line_of(result: JobResult) -> dict[str, object]:
    return run_log_line(result, "run-1", "2026-01-01T00:00:00Z")


def stage(ledger: Ledger, outbox: Outbox, result: JobResult) -> Staged:
    """Settle a rendering, as the service does."""
    job = result.job
    return ledger.stage(
        result,
        line_of(result),
        candidate_names(job.content, job.style),
        lambda stem, before: outbox.is_taken(stem, result.outputs, before),
    )


def complete(ledger: Ledger, outbox: Outbox, staged: Staged) -> tuple[Output, ...]:
    """Publish, finish, log and clear away, as the service does."""
    published = outbox.publish(staged.outputs, staged.target, staged.previous)
    ledger.finish(staged, published)
    ledger.log.flush(RunLog(outbox.root / RUN_LOG).append)
    outbox.discard(staged.job, staged.attempt)
    return published


def recover(ledger: Ledger, outbox: Outbox) -> None:
    """What a service does first."""
    books(ledger, outbox).clean_up_after_crash()
    publish(books(ledger, outbox))


def make(ledger: Ledger, outbox: Outbox, job: Job, mark: str = "") -> tuple[Output, ...]:
    """One job's whole way, as the service goes it."""
    begun = ledger.begin(job)
    accounts = books(ledger, outbox)
    accounts.stage(render(outbox, begun, mark or f"attempt-{begun.attempt}"), 0.0)
    publish(accounts)
    pair = accounts.known(job.content, job.style)
    assert pair is not None
    return pair.outputs


def bring_back(ledger: Ledger, outbox: Outbox, version: Version) -> None:
    """An earlier version's whole way, as `restore` goes it."""
    accounts = books(ledger, outbox)
    stage_version(accounts, version)
    publish(accounts)


def books(ledger: Ledger, outbox: Outbox, **options) -> Bookkeeping:
    return Bookkeeping(ledger, outbox, View(), lambda _: None, **options)


def publish(accounts: Bookkeeping) -> None:
    deque(accounts.publish_all(0.0))
    accounts.flush(0.0, force=True)


def read_log(outbox: Outbox) -> list[dict]:
    path = outbox.root / RUN_LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def plain_picture(path: Path, seed: int) -> Path:
    """A small picture, another one for each seed and all of one size in bytes."""
    Image.frombytes("RGB", (24, 18), random.Random(seed).randbytes(24 * 18 * 3)).save(path, "BMP")
    return path


def swap(path: Path, other: Path) -> None:
    """Put other bytes into a file, of the same size and under the same time, as `cp -p` can."""
    before = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def pictures(outbox: Outbox) -> list[str]:
    """Everything under a final name, relative to the outbox."""
    found = []
    for folder, _, names in os.walk(outbox.root):
        inside = Path(folder).relative_to(outbox.root)
        if not {".staging", ".versions"} & set(inside.parts):
            found += [str(inside / name) for name in names if name.endswith(".png")]
    return sorted(found)


def amiss_among_versions(outbox: Outbox, ledger: Ledger) -> list[str]:
    """Every earlier picture that the ledger names is there whole, and no file besides."""
    outputs = [output for version in ledger.history.earlier() for output in version.outputs]
    found = [f"damaged: {o.path}" for o in outputs if not Versions(outbox.root).is_intact(o)]
    standing = {
        path.relative_to(outbox.root).as_posix()
        for path in (outbox.root / VERSIONS).rglob("*")
        if path.is_file()
    }
    if standing != {output.path for output in outputs}:
        found.append(f"files of versions: {standing}, not {[output.path for output in outputs]}")
    return found
