"""`status`, `explain`, `retry` and `styles`: what the ledger and the manifest say, in words."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.inbox import Inbox
from pipeline.jobs import JobState
from pipeline.ledger import Ledger
from pipeline.lock import holder
from pipeline.records import Pair
from pipeline.running import LEDGER, Loaded, planned
from pipeline.terminal import visible

Report = dict[str, Any]
RECENT = 10


def status(loaded: Loaded) -> Report:
    """Jobs by state, now running, last results, files refused."""
    with _ledger(loaded) as ledger:
        counts = ledger.counts()
        refusals = ledger.refusals()
        return {
            "inbox": str(loaded.config.inbox),
            "outbox": str(loaded.config.outbox),
            "instance": holder(loaded.config.state),
            "jobs": {state.value: counts.get(state, 0) for state in JobState},
            "running": [_pair(p) for p in ledger.pairs(JobState.RUNNING)],
            "recent": [_pair(p) for p in ledger.pairs(JobState.DONE, limit=RECENT)],
            "failed": [_pair(p) for p in ledger.pairs(JobState.FAILED)],
            "refused": [
                {"content": _safe(r.content), "status": r.status, "error": _failure(r.failure)}
                for r in refusals
            ],
        }


def status_text(report: Report) -> str:
    """The report for people."""
    instance = report["instance"]
    working = (
        f"`pipeline {instance['command']}` works on it (process {instance['pid']})"
        if instance and "pid" in instance
        else "nobody works on it now"
    )
    lines = [f"{report['inbox']} -> {report['outbox']}; {working}"]
    lines += ["  ".join(f"{count} {state}" for state, count in report["jobs"].items())]
    for title, key in (("running", "running"), ("last results", "recent"), ("failed", "failed")):
        if report[key]:
            lines += ["", f"{title}:"]
            lines += [f"  {_pair_line(pair)}" for pair in report[key]]
    if report["refused"]:
        lines += ["", "files not taken:"]
        lines += [
            f"  {file['status']:8}{file['content']}  {file['error']['code']}: "
            f"{file['error']['message']}"
            for file in report["refused"]
        ]
    return "\n".join(map(visible, lines))


def explain(loaded: Loaded, file: Path) -> Report:
    """Everything that decides about one file.

    Raises:
        UsageError: When the file lies outside the inbox.
    """
    content = _content(loaded, file)
    config = loaded.config
    with _ledger(loaded) as ledger:
        pairs = [_pair(pair) for pair in ledger.pairs(content=content)]
        sighting = ledger.sighting(content)
    scan = Inbox(config.inbox, config.watch.settle_seconds).scan(time.monotonic(), time.time())
    refusal = next((r for r in scan.refused if r.content == content), None)
    failure = refusal.failure if refusal else sighting.failure if sighting else None
    styles = [style.name for style in loaded.manifest.styles_for(content)]
    plan = [pair for pair in planned(loaded) if pair.content == content]
    return {
        "content": _safe(content),
        "there": (config.inbox / content).exists() or (config.inbox / content).is_symlink(),
        "still": any(found.content == content for found in scan.still),
        "refused": _failure(failure),
        "styles": styles,
        "pairs": pairs,
        "plan": [
            {"style": p.style, "why": p.why, "will_be_made": p.due, "same_as": _safe(p.same_as)}
            for p in plan
        ],
    }


def explain_text(report: Report) -> str:
    """The report for people."""
    lines = [report["content"]]
    if not report["there"]:
        lines.append("  is not in the inbox now")
    if report["refused"]:
        lines.append(f"  not taken: {report['refused']['code']}: {report['refused']['message']}")
    elif report["there"] and not report["still"]:
        lines.append("  still being written: taken once it has not changed for a while")
    if not report["styles"]:
        lines.append("  no match rule gives it a style")
    for pair in report["plan"]:
        if pair["style"]:
            verb = "will be made" if pair["will_be_made"] else "not made again"
            same = f" as {pair['same_as']}" if pair["same_as"] else ""
            lines.append(f"  {pair['style']}: {verb}: {pair['why']}{same}")
    lines += [f"  {_pair_line(pair)}" for pair in report["pairs"]]
    return "\n".join(map(visible, lines))


def retry(loaded: Loaded, jobs: list[str] | None) -> int:
    """Put jobs back into the queue; returns how many. A running instance takes them up."""
    with Ledger(loaded.config.state / LEDGER) as ledger:
        return ledger.retry(jobs)


def styles(loaded: Loaded) -> Report:
    """The styles in force."""
    return {
        "styles": [
            {
                "name": style.name,
                "images": [
                    {"origin": origin, "path": str(path), "weight": round(weight, 4)}
                    for origin, (path, weight) in zip(style.origins, style.images, strict=True)
                ],
                "transfer": style.transfer.model_dump(mode="json"),
            }
            for style in loaded.manifest.styles.values()
        ]
    }


def styles_text(report: Report) -> str:
    """The report for people."""
    lines = []
    for style in report["styles"]:
        shares = [f"{image['origin']} ({image['weight']:.0%})" for image in style["images"]]
        only = len(shares) == 1
        lines.append(
            f"{style['name']:20}{style['images'][0]['origin'] if only else ', '.join(shares)}"
        )
    return "\n".join(map(visible, lines))


def _ledger(loaded: Loaded) -> Ledger:
    return Ledger(loaded.config.state / LEDGER, read_only=True)


def _content(loaded: Loaded, file: Path) -> str:
    root = loaded.config.inbox
    for candidate in (file, root / file):
        # Parents are resolved, the name is not: a link in the inbox is itself what is asked about.
        full = candidate.parent.resolve() / candidate.name
        if full.is_relative_to(root.resolve()) and (candidate is not file or full.exists()):
            return full.relative_to(root.resolve()).as_posix()
    raise UsageError("is not in the inbox", where=str(file), mend=f"the inbox is {root}")


def _pair(pair: Pair) -> Report:
    return {
        "job": pair.job,
        "content": _safe(pair.content),
        "style": pair.style,
        "state": pair.state.value,
        "attempt": pair.attempt,
        "recipe": pair.recipe,
        "seconds": round(pair.seconds, 3),
        "device": pair.device,
        "outputs": [asdict(output) | {"path": _safe(output.path)} for output in pair.outputs],
        "losses": dict(pair.losses),
        "error": _failure(pair.failure),
        "updated": pair.updated,
    }


def _failure(failure: Any) -> Report | None:
    return {"code": failure.code, "message": _safe(failure.message)} if failure else None


def _pair_line(pair: Report) -> str:
    head = f"{pair['job']}  {pair['state']:8}{pair['content']} x {pair['style']}"
    if pair["error"]:
        return f"{head}  {pair['error']['code']}: {pair['error']['message']}"
    outputs = ", ".join(output["path"] for output in pair["outputs"])
    return f"{head}  {pair['seconds']:.0f} s  {outputs}".rstrip()


def _safe(text: str) -> str:
    """File names that are not UTF-8, made printable for JSON readers and terminals."""
    return text.encode("utf-8", "backslashreplace").decode()
