"""`status`, `explain` and `styles`: what the ledger and the manifest say, in words."""

import os
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.daemon import hold as holding
from pipeline.inbox.backlog import census
from pipeline.system.clock import MACHINE
from pipeline.config.model import BUILTIN
from pipeline.daemon.preview import planned
from pipeline.daemon.gate import next_opening
from pipeline.inbox.scanner import Inbox
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.daemon.instance import holder
from pipeline.config.manifest import starter_styles
from pipeline.monitoring.health import ailment
from pipeline.inbox.quarantine import Held, held
from pipeline.ledger.records import Pair, Sighting, Version
from pipeline.inbox.tree import content_of
from pipeline.cli.retry import lies_there
from pipeline.config.loading import Loaded
from pipeline.system.text import visible
from pipeline.system.text import span

Report = dict[str, Any]
RECENT = 10
# What the running instance says of its work; null while there is none.
_OF_THE_QUEUE = (
    *("queued", "settling", "slots", "left_out", "busy", "per_hour", "seconds_left", "ticked"),
)


def status(loaded: Loaded) -> Report:
    """Jobs by state, now running, last results, what waits, files refused, files put aside."""
    with _ledger(loaded) as ledger:
        found = census(loaded.config, ledger)
        counts = ledger.counts()
        refusals, failed = _still_there(loaded, ledger, found.trouble)
        counts[JobState.FAILED] = len(failed)
        instance = holder(loaded.config.state)
        lanes = _lanes(instance)
        return {
            "version": __version__,
            "inbox": str(loaded.config.inbox),
            "outbox": str(loaded.config.outbox),
            "instance": instance,
            "health": ailment(instance, time.time()) or "well",
            "held": _why_held(loaded, instance),
            "next_opening": next_opening(loaded.config.schedule, time.time()),
            "queue": {key: (instance or {}).get(key) for key in _OF_THE_QUEUE},
            "waiting": {"files": found.waiting, "at_least": not found.whole},
            "trouble": "; ".join(filter(None, (found.trouble, _trouble(instance)))),
            "jobs": {state.value: counts.get(state, 0) for state in JobState},
            "running": [
                _pair(p) | {"progress": lanes.get(p.job)} for p in ledger.pairs(JobState.RUNNING)
            ],
            "recent": [_pair(p) for p in ledger.pairs(JobState.DONE, limit=RECENT)],
            "failed": [_pair(pair) for pair in failed],
            "refused": [
                {"content": _safe(r.content), "status": r.status, "error": _failure(r.failure)}
                for r in refusals
            ],
            "quarantine": [_held(one) for one in held(loaded.config.quarantine)],
            "versions": dict(zip(("count", "bytes"), ledger.kept_size(), strict=True)),
        }


def _still_there(loaded: Loaded, ledger: Ledger, trouble: str) -> tuple[list[Sighting], list[Pair]]:
    """What was refused and what failed, without what people have taken away since."""
    refusals, failed = ledger.refusals(), ledger.pairs(JobState.FAILED)
    if trouble:  # the inbox cannot be read: nothing is taken for gone
        return refusals, failed
    there = partial(lies_there, loaded.config, held(loaded.config.quarantine))
    gone = {seen.content for seen in refusals if seen.status == "failed"}
    gone = {content for content in gone if not there(content)}
    kept = [seen for seen in refusals if seen.content not in gone]
    return kept, [pair for pair in failed if there(pair.content)]


def _why_held(loaded: Loaded, instance: Report | None) -> str | None:
    """Why nothing is begun now: what the running instance says, or a pause that waits for one."""
    told = instance and (instance.get("paused") or instance.get("closed"))
    wall, schedule = time.time(), loaded.config.schedule
    found = holding.held(loaded.config.state, wall)
    zone = schedule.zone if schedule else MACHINE
    return told or (found.words(wall, zone) if found else None)


def _trouble(instance: Report | None) -> str:
    """What the running instance cannot do just now, while it does the rest."""
    return str((instance or {}).get("trouble") or "")


def health(loaded: Loaded, within: float) -> str:
    """What is wrong with the running instance; "" when it is well. Reads no database."""
    return ailment(holder(loaded.config.state), time.time(), within)


def _lanes(instance: Report | None) -> dict[str, Report]:
    """What the running instance says of each job it makes."""
    lanes = (instance or {}).pop("lanes", None)
    return {lane["job"]: lane for lane in lanes} if isinstance(lanes, list) else {}


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
    elif report["held"]:
        lines.append(report["held"])
    if instance and report["health"] != "well":
        lines.append(f"not well: {report['health']}")
    queue = report["queue"]
    if queue["seconds_left"]:
        rate = f", {queue['per_hour']:.0f} an hour" if queue["per_hour"] else ""
        lines.append(f"{span(queue['seconds_left'])} left for the whole queue{rate}")
    if queue["left_out"]:
        lines.append(f"left out: {queue['left_out']}")
    if instance and instance.get("watching"):
        lines.append(f"new files are noticed by {instance['watching']}")
    if report["trouble"]:
        lines.append(report["trouble"])
    lines += ["  ".join(f"{count} {state}" for state, count in report["jobs"].items())]
    waiting = report["waiting"]
    if waiting["files"]:
        least = "at least " if waiting["at_least"] else ""
        lines.append(f"in the inbox and not begun: {least}{waiting['files']} files")
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
    if report["quarantine"]:
        lines += ["", f"in quarantine: {len(report['quarantine'])}; `retry FILE` brings one back:"]
        lines += [f"  {_held_line(file)}" for file in report["quarantine"]]
    if (kept := report["versions"])["count"]:
        size = _size(kept["bytes"])
        lines += ["", f"earlier versions kept: {kept['count']}, {size}; see `explain FILE`"]
    return "\n".join(map(visible, lines))


def explain(loaded: Loaded, file: Path) -> Report:
    """Everything that decides about one file.

    Raises:
        UsageError: When the file lies outside the inbox.
    """
    content = content_of(loaded.config.inbox, file)
    config = loaded.config
    with _ledger(loaded) as ledger:
        pairs = [
            _pair(pair) | {"deleted": _deleted(config.outbox, pair)}
            for pair in ledger.pairs(content=content)
        ]
        sighting = ledger.sighting(content)
        versions = [_version(config.outbox, version) for version in ledger.earlier(content)]
    inbox = Inbox(config.inbox, config.watch.settle_seconds, config.watch.ignore)
    scan = inbox.scan(time.monotonic(), time.time())
    refusal = next((r for r in scan.refused if r.content == content), None)
    failure = refusal.failure if refusal else sighting.failure if sighting else None
    styles = [style.name for style in loaded.manifest.styles_for(content)]
    plan = [pair for pair in planned(loaded) if pair.content == content]
    aside = [one for one in held(config.quarantine) if one.content == content]
    return {
        "content": _safe(content),
        "there": os.path.lexists(config.inbox / content),
        "still": any(found.content == content for found in scan.still),
        "refused": _failure(failure),
        "quarantine": [_held(one) for one in aside],
        "styles": styles,
        "pairs": pairs,
        "versions": versions,
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
    lines += [f"  in quarantine: {_held_line(file)}; `retry`" for file in report["quarantine"]]
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
    if report["versions"]:
        lines += ["", "  earlier versions; `restore VERSION` brings one back:"]
        lines += [f"  {_version_line(version)}" for version in report["versions"]]
    return "\n".join(map(visible, lines))


def _plan_line(pair: Report) -> str:
    if pair["why"] == "style waits":
        return f"  {pair['style']}: waits until its painting and its weights can be read"
    verb = "will be made" if pair["will_be_made"] else "not made again"
    same = f", the same photo as {pair['same_as']}" if pair["same_as"] else ""
    mend = {
        "failed before": "; `retry` tries again",
        "restored": ", an earlier version was brought back; `retry FILE` makes it as configured",
    }.get(pair["why"], "")
    return f"  {pair['style']}: {verb}: {pair['why']}{same}{mend}"


def _deleted(outbox: Path, pair: Pair) -> list[str]:
    """Pictures of a finished pair that somebody took away."""
    gone = [o.path for o in pair.outputs if not os.path.lexists(outbox / o.path)]
    return [_safe(path) for path in gone] if pair.state is JobState.DONE else []


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
    return Ledger(loaded.config.state / FILE, read_only=True)


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
        "closed": pair.closed,
    }


def _version(outbox: Path, version: Version) -> Report:
    there = [o for o in version.outputs if os.path.lexists(outbox / o.path)]
    return {
        "version": version.id,
        "style": version.style,
        "made": version.made,
        "replaced": version.kept,
        "job": version.job or None,
        "recipe": version.recipe or None,
        "summary": _safe(version.summary),
        "bytes": version.bytes,
        "outputs": [asdict(output) | {"path": _safe(output.path)} for output in there],
        "missing": [_safe(o.path) for o in version.outputs if o not in there],
    }


def _version_line(version: Report) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version["made"]))
    size = _size(version["bytes"])
    files = ", ".join(output["path"] for output in version["outputs"]) or "files are gone"
    return f"{version['version']}  {when}  {version['summary']}  {size}  {files}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _held(one: Held) -> Report:
    error = {"code": one.code, "message": _safe(one.message)} if one.code else None
    return {"content": _safe(one.content), "path": _safe(str(one.path)), "error": error}


def _held_line(file: Report) -> str:
    error = file["error"]
    return f"{file['path']}" + (f"  {error['code']}: {error['message']}" if error else "")


def _failure(failure: Any) -> Report | None:
    return {"code": failure.code, "message": _safe(failure.message)} if failure else None


def _pair_line(pair: Report) -> str:
    head = f"{pair['job']}  {pair['state']:8}{pair['content']} x {pair['style']}"
    if pair["error"]:
        return f"{head}  {pair['error']['code']}: {pair['error']['message']}"
    if progress := pair.get("progress"):
        left = f", {span(progress['seconds_left'])} left" if "seconds_left" in progress else ""
        return f"{head}  {progress.get('fraction', 0):.0%} on {progress['device']}{left}"
    if pair["state"] == "running":
        return head.rstrip()  # at hand for later
    outputs = ", ".join(output["path"] for output in pair["outputs"])
    gone = "  (its photo has left the inbox; these pictures stay)" if pair["closed"] else ""
    return f"{head}  {pair['seconds']:.0f} s  {outputs}{gone}".rstrip()


def _safe(text: str) -> str:
    """File names that are not UTF-8, made printable for JSON readers and terminals."""
    return text.encode("utf-8", "backslashreplace").decode()
