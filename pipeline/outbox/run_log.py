"""Writes ``runs.jsonl``: one JSON object per line, appended whole and once, never rewritten."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.config.transfer import SIZED
from pipeline.errors import Reason
from pipeline.jobs.job import Job, JobResult, outputs_as_json
from pipeline.jobs.recipe import Region, StyleImage, non_default_options, source_of
from pipeline.system.redaction import strip_folders
from pipeline.system.safe_files import disk_errors, open_regular

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT
# After a crash, only the last block of lines may be unconfirmed; only this much is searched.
MAX_SEARCHED = 16 << 20
STYLE_NAME = 64  # characters that the name of a style may have


class RunLog:
    """The run log of an outbox."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, lines: Sequence[str], confirmed: int = 0) -> int:
        """Append lines that the log does not hold yet and sync it to disk; return its size.

        Args:
            lines: JSON texts in ASCII, without line ends; all are written in one call.
            confirmed: The size returned last time. Lines that follow it already were written just
                before a crash, and are not written again.

        Raises:
            OutputError: The disk is full, or the log is not a writable file.
        """
        with disk_errors(self.path, Reason.IO_ERROR):
            fd = open_regular(self.path, _APPEND)
            try:
                return _append(fd, lines, confirmed)
            finally:
                os.close(fd)


def _append(fd: int, lines: Sequence[str], confirmed: int) -> int:
    end = os.fstat(fd).st_size
    searched = MAX_SEARCHED + sum(map(len, lines))
    # A log shorter than the confirmed size was moved away or cut by someone: search all of it.
    tail = _read(fd, max(confirmed if confirmed <= end else 0, end - searched), end)
    missing = _list_missing([line.encode("ascii") for line in lines], tail)
    if missing:
        # A crash may have cut the last line: leave it, and start on a new line.
        is_cut = end > 0 and os.pread(fd, 1, end - 1) != b"\n"
        block = b"".join(line + b"\n" for line in missing)
        if is_cut:
            block = b"\n" + block
        if os.write(fd, block) < len(block):
            os.ftruncate(fd, end)  # no half line stays in the middle of the log
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(fd)
    return os.fstat(fd).st_size


def _list_missing(lines: Sequence[bytes], tail: bytes) -> list[bytes]:
    """Lines that the tail of the log does not hold; equal lines are counted."""
    present = Counter(tail.split(b"\n"))
    missing = []
    for line in lines:
        present[line] -= 1
        if present[line] < 0:
            missing.append(line)
    return missing


def _read(fd: int, start: int, end: int) -> bytes:
    blocks = []
    while start < end and (block := os.pread(fd, end - start, start)):
        blocks.append(block)
        start += len(block)
    return b"".join(blocks)


def run_log_line(result: JobResult, run: str, ts: str) -> dict[str, object]:
    """One line of ``runs.jsonl``, with keys as docs/run-log.md lists them."""
    job = result.job
    notes = {"notes": list(result.notes)} if result.notes else {}
    draft = {"draft": True} if job.draft else {}
    target = {"target": dict(result.target)} if result.target else {}
    within = {"within": dict(result.within)} if result.within else {}
    return (
        notes
        | draft
        | target
        | within
        | {
            "ts": ts,
            "run": run,
            "job": job.id,
            "event": f"job_{result.status}",
            "content": job.content,
            "content_sha256": job.sha256,
            "style": job.style,
            "recipe": job.recipe.digest,
            "attempt": job.attempt,
            "status": result.status,
            "seconds": round(result.seconds, 3),
            "device": result.device,
            "outputs": outputs_as_json(result.outputs),
            "losses": dict(result.losses),
            "curve": [list(point) for point in result.curve],
            "enhanced": [dict(step) for step in result.enhanced],
            "options": _options(_used_job(result)),
            "error": asdict(result.error) if result.error else None,
        }
    )


def _used_job(result: JobResult) -> Job:
    """The job with the options that were found for its target and its time."""
    job, used = result.job, dict[str, object]()
    if result.target:
        used |= {"strength": result.target["strength"], "target": None}
    if result.within:
        used |= {name: result.within[name] for name in SIZED} | {"within": None}
    transfer = job.recipe.transfer.model_copy(update=used)
    return replace(job, recipe=replace(job.recipe, transfer=transfer)) if used else job


def _options(job: Job) -> dict[str, object]:
    """The job in the form of config.yaml; files by name only, because folders are private."""
    recipe = job.recipe
    style: dict[str, object] = {
        "images": _images(recipe.images),
        "transfer": recipe.transfer.model_dump(mode="json", exclude_none=True),
    }
    own = _name_styles(job)
    styles: dict[str, object] = {
        own[region.name]: {"images": _images(region.images)}
        for region in recipe.regions
        if region.images
    }
    match = {"match": [{"inbox": "**", "styles": [job.style]}]} if styles else {}
    regions = {region.name: _region(region, own.get(region.name)) for region in recipe.regions}
    if regions := {name: options for name, options in regions.items() if options}:
        style["regions"] = regions
    everywhere = {
        "enhance": recipe.enhance.model_dump(mode="json"),
        "output": non_default_options(recipe.output),
        "weights": recipe.weights,
        "seed": recipe.seed,
    }
    options = {"styles": styles | {job.style: style}, **match, **everywhere}
    found: dict[str, object] = strip_folders(options)
    return found


def _images(images: Iterable[StyleImage]) -> dict[str, float]:
    """The share of each painting; a blend may name one file twice, as a link and itself."""
    shares: dict[str, float] = {}
    for image in images:
        source = source_of(image.path)
        shares[source] = shares.get(source, 0.0) + image.weight
    return shares


def _name_styles(job: Job) -> dict[str, str]:
    """By region with paintings of its own, the name of the style that stands for them.

    No two are equal, and none is the name of the job's style.
    """
    names: dict[str, str] = {}
    for region in job.recipe.regions:
        if region.images:
            title, number = f"region {region.name}", 2
            name = title[:STYLE_NAME]
            while name in (job.style, *names.values()):
                name = f"{title[: STYLE_NAME - 4]} {number}"
                number += 1
            names[region.name] = name
    return names


def _region(region: Region, style: str | None) -> dict[str, object]:
    """The options of a region; a mask lies beside the photo, and is none of them."""
    found = {
        "styles": [style] if style else None,
        "strength": region.strength,
        "colors": region.colors,
        "color_strength": region.color_strength,
        "color": region.color,
    }
    return {key: value for key, value in found.items() if value is not None}
