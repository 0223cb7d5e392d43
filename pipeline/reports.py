"""`status`, `explain`, `retry` and `styles`: what the ledger and the manifest say, in words."""

import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import BUILTIN
from pipeline.errors import UsageError
from pipeline.inbox import Inbox
from pipeline.jobs import JobState
from pipeline.ledger import Ledger
from pipeline.lock import holder, refuse_shared
from pipeline.manifest import starter_styles
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
    if instance and instance.get("paused"):
        lines.append(f"paused: {instance['paused']}")
    if instance and instance.get("watching"):
        lines.append(f"new files are noticed by {instance['watching']}")
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
        pairs = [
            _pair(pair) | {"deleted": _deleted(config.outbox, pair)}
            for pair in ledger.pairs(content=content)
        ]
        sighting = ledger.sighting(content)
    inbox = Inbox(config.inbox, config.watch.settle_seconds, config.watch.ignore)
    scan = inbox.scan(time.monotonic(), time.time())
    refusal = next((r for r in scan.refused if r.content == content), None)
    failure = refusal.failure if refusal else sighting.failure if sighting else None
    styles = [style.name for style in loaded.manifest.styles_for(content)]
    plan = [pair for pair in planned(loaded) if pair.content == content]
    return {
        "content": _safe(content),
        "there": os.path.lexists(config.inbox / content),
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
    elif not report["plan"] and not report["refused"]:
        lines.append(f"  the match rules give it: {', '.join(report['styles'])}")
    lines += [_plan_line(pair) for pair in report["plan"] if pair["style"]]
    lines += [f"  {_pair_line(pair)}" for pair in report["pairs"]]
    for pair in report["pairs"]:
        if pair["deleted"]:
            lines.append(
                f"  deleted from the outbox: {', '.join(pair['deleted'])}; "
                f"`retry {pair['job']}` makes it again"
            )
    return "\n".join(map(visible, lines))


def _plan_line(pair: Report) -> str:
    verb = "will be made" if pair["will_be_made"] else "not made again"
    same = f", the same photo as {pair['same_as']}" if pair["same_as"] else ""
    mend = "; `retry` tries again" if pair["why"] == "failed before" else ""
    return f"  {pair['style']}: {verb}: {pair['why']}{same}{mend}"


def _deleted(outbox: Path, pair: Pair) -> list[str]:
    """Pictures of a finished pair that somebody took away."""
    gone = [o.path for o in pair.outputs if not os.path.lexists(outbox / o.path)]
    return [_safe(path) for path in gone] if pair.state is JobState.DONE else []


def retry(loaded: Loaded, jobs: list[str] | None) -> int:
    """Put jobs and files back into the queue; returns how many. A running instance takes them up.

    Args:
        loaded: The config.
        jobs: Ids of jobs, or files of the inbox; None: all that failed.
    """
    refuse_shared(loaded.config.state)
    named = None if jobs is None else [*jobs, *_contents(loaded, jobs)]
    with Ledger(loaded.config.state / LEDGER) as ledger:
        return ledger.retry(named)


def _contents(loaded: Loaded, names: list[str]) -> list[str]:
    """Those names that may be files of the inbox, relative to it."""
    found = []
    for name in names:
        with suppress(UsageError):
            found.append(_content(loaded, Path(name)))
    return found


def styles(loaded: Loaded) -> Report:
    """The styles in force, and the starter styles to choose from."""
    return {
        "starters": [f"{BUILTIN}{name}" for name in starter_styles()],
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
        ],
    }


def styles_text(report: Report) -> str:
    """The report for people."""
    lines = []
    for style in report["styles"]:
        shares = [f"{image['origin']} ({image['weight']:.0%})" for image in style["images"]]
        only = len(shares) == 1
        origin = style["images"][0]["origin"] if only else ", ".join(shares)
        lines.append(f"{style['name']:20}{origin}")
    lines += ["", "starter styles that can be named in config.yaml:"]
    lines += [f"  {name}" for name in report["starters"]]
    return "\n".join(map(visible, lines))


def _ledger(loaded: Loaded) -> Ledger:
    return Ledger(loaded.config.state / LEDGER, read_only=True)


def _content(loaded: Loaded, file: Path) -> str:
    """The path relative to the inbox, of a path as seen from here or from the inbox."""
    root = loaded.config.inbox.resolve()
    # Parents are resolved, the name is not: a link in the inbox is itself what is asked about.
    places = [place.parent.resolve() / place.name for place in (file, root / file)]
    inside = [place for place in places if place.is_relative_to(root) and place != root]
    there = [place for place in inside if os.path.lexists(place)]
    if not inside:
        mend = f"the inbox is {loaded.config.inbox}"
        raise UsageError("is not in the inbox", where=str(file), mend=mend)
    return (there or inside)[0].relative_to(root).as_posix()


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
