"""Rows of reports that `status` and `explain` share: pairs, failures, versions, quarantined files.

Functions that end in ``_row`` return plain data for JSON; those that end in ``_line`` format such a
row as text.
"""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config.accepted import yaml_value
from pipeline.config.loading import Loaded
from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.inbox.quarantine import QuarantinedPhoto
from pipeline.jobs.job import JobState
from pipeline.jobs.recipe import Region
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.ledger.records import Pair, Version
from pipeline.system.redaction import strip_folders
from pipeline.system.text import encodable, format_duration

Report = dict[str, Any]


def open_ledger(loaded: Loaded) -> Ledger:
    """Open the ledger for reading only."""
    return Ledger(loaded.config.state / FILE, read_only=True)


def failure_row(failure: Any) -> Report | None:
    """Code and message of a failure; None when there is none."""
    return {"code": failure.code, "message": encodable(failure.message)} if failure else None


def pair_row(pair: Pair, ledger: Ledger) -> Report:
    """A pair of photo and style as the ledger has it."""
    return {
        "job": pair.job,
        "content": encodable(pair.content),
        "style": pair.style,
        "state": pair.state.value,
        "attempt": pair.attempt,
        "recipe": pair.recipe,
        "draft": pair.state is JobState.DONE and ledger.history.is_draft(pair),
        "seconds": round(pair.seconds, 3),
        "device": pair.device,
        "outputs": [asdict(output) | {"path": encodable(output.path)} for output in pair.outputs],
        "losses": dict(pair.losses),
        "error": failure_row(pair.failure),
        "updated": pair.updated,
        "closed": pair.closed,
    }


def pair_line(pair: Report) -> str:
    """A pair with its progress, its result or its failure."""
    state = "draft" if pair["draft"] else pair["state"]
    head = f"{pair['job']}  {state:8}{pair['content']} x {pair['style']}"
    if pair["error"]:
        return f"{head}  {pair['error']['code']}: {pair['error']['message']}"
    if progress := pair.get("progress"):
        seconds, phase = progress.get("seconds_left"), progress.get("phase")
        left = f", {format_duration(seconds)} left" if seconds else ""
        left += ", finishing" if phase == "finishing" else ""
        return f"{head}  {progress.get('fraction', 0):.0%} on {progress['device']}{left}"
    if pair["state"] == "running":
        return head.rstrip()  # a slot has taken it in advance and has not begun it
    outputs = ", ".join(output["path"] for output in pair["outputs"])
    gone = "  (its photo has left the inbox; these pictures stay)" if pair["closed"] else ""
    return f"{head}  {pair['seconds']:.0f} s  {outputs}{gone}".rstrip()


def options_row(transfer: Transfer, preset: str) -> Report:
    """The transfer options that differ from those of the preset."""
    usual = resolve_transfer(preset).model_dump(mode="json")
    found = strip_folders(transfer.model_dump(mode="json"))
    return {key: value for key, value in found.items() if value != usual[key]}


def options_line(options: Report) -> str:
    """The options of a style, as in YAML."""
    return "options: " + ", ".join(f"{key} {yaml_value(value)}" for key, value in options.items())


def region_row(region: Region) -> Report:
    """A region of a recipe; keys that are null are as in the rest of the picture."""
    return {
        "name": region.name,
        "paintings": [encodable(image.path.name) for image in region.images],
        "strength": region.strength,
        "colors": region.colors,
        "color_strength": region.color_strength,
        "mask": encodable(region.mask.name) if region.mask else None,
        "color": region.color,
    }


def region_line(region: Report) -> str:
    """A region, and what is different in it."""
    parts = [f"painted with {' and '.join(region['paintings'])}"] if region["paintings"] else []
    keys = ("strength", "colors", "color_strength", "mask", "color")
    parts += [f"{key} {region[key]}" for key in keys if region[key] is not None]
    return f"region {region['name']}: {', '.join(parts)}"


def quarantine_row(file: QuarantinedPhoto) -> Report:
    """A file in quarantine, and why it is there."""
    error = {"code": file.code, "message": encodable(file.message)} if file.code else None
    return {"content": encodable(file.content), "path": encodable(str(file.path)), "error": error}


def quarantine_line(file: Report) -> str:
    """Where a quarantined file is, and why."""
    error = file["error"]
    return f"{file['path']}" + (f"  {error['code']}: {error['message']}" if error else "")


def version_row(outbox: Path, version: Version) -> Report:
    """An earlier version of a pair's pictures, and which of its files still exist."""
    existing = [o for o in version.outputs if os.path.lexists(outbox / o.path)]
    return {
        "version": version.id,
        "style": version.style,
        "made": version.made,
        "replaced": version.kept,
        "job": version.job or None,
        "recipe": version.recipe or None,
        "summary": encodable(version.summary),
        "bytes": version.bytes,
        "outputs": [asdict(output) | {"path": encodable(output.path)} for output in existing],
        "missing": [encodable(o.path) for o in version.outputs if o not in existing],
    }


def version_line(version: Report) -> str:
    """When a version was made, how, and which files it has."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version["made"]))
    size = format_size(version["bytes"])
    files = ", ".join(output["path"] for output in version["outputs"]) or "files are gone"
    return f"{version['version']}  {when}  {version['summary']}  {size}  {files}"


def format_size(count: int) -> str:
    """A number of bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
