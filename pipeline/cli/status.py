"""`status`, `explain` and `styles`: what the ledger and the manifest say, in words."""

import os
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pipeline import __version__
from pipeline.cli.report_rows import (
    Report,
    _failure,
    _held,
    _held_line,
    _ledger,
    _pair,
    _pair_line,
)
from pipeline.cli.retry import lies_there
from pipeline.config.loading import Loaded
from pipeline.daemon import hold as holding
from pipeline.daemon.gate import next_opening
from pipeline.daemon.instance import holder
from pipeline.inbox.backlog import count_backlog
from pipeline.inbox.quarantine import quarantined_photos
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair, SeenFile, Version
from pipeline.monitoring.health import find_trouble
from pipeline.system.clock import MACHINE_ZONE
from pipeline.system.text import encodable, format_duration, visible

RECENT = 10
# What the running instance says of its work; null while there is none.
_OF_THE_QUEUE = (
    *("queued", "settling", "slots", "left_out", "busy", "per_hour", "seconds_left", "ticked"),
)


def status(loaded: Loaded) -> Report:
    """Jobs by state, now running, last results, what waits, files refused, files put aside."""
    with _ledger(loaded) as ledger:
        found = count_backlog(loaded.config, ledger)
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
            "health": find_trouble(instance, time.time()) or "well",
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
                {"content": encodable(r.content), "status": r.status, "error": _failure(r.failure)}
                for r in refusals
            ],
            "quarantine": [_held(one) for one in quarantined_photos(loaded.config.quarantine)],
            "versions": dict(
                zip(("count", "bytes"), ledger.history.size_of_earlier(), strict=True)
            ),
        }


def _still_there(loaded: Loaded, ledger: Ledger, trouble: str) -> tuple[list[SeenFile], list[Pair]]:
    """What was refused and what failed, without what people have taken away since."""
    refusals, failed = ledger.files.refusals(), ledger.pairs(JobState.FAILED)
    if trouble:  # the inbox cannot be read: nothing is taken for gone
        return refusals, failed
    there = partial(lies_there, loaded.config, quarantined_photos(loaded.config.quarantine))
    gone = {seen.content for seen in refusals if seen.status == "failed"}
    gone = {content for content in gone if not there(content)}
    kept = [seen for seen in refusals if seen.content not in gone]
    return kept, [pair for pair in failed if there(pair.content)]


def _why_held(loaded: Loaded, instance: Report | None) -> str | None:
    """Why nothing is begun now: what the running instance says, or a pause that waits for one."""
    told = instance and (instance.get("paused") or instance.get("closed"))
    wall, schedule = time.time(), loaded.config.schedule
    found = holding.held(loaded.config.state, wall)
    zone = schedule.zone if schedule else MACHINE_ZONE
    return told or (found.words(wall, zone) if found else None)


def _trouble(instance: Report | None) -> str:
    """What the running instance cannot do just now, while it does the rest."""
    return str((instance or {}).get("trouble") or "")


def health(loaded: Loaded, within: float) -> str:
    """What is wrong with the running instance; "" when it is well. Reads no database."""
    return find_trouble(holder(loaded.config.state), time.time(), within)


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
        lines.append(f"{format_duration(queue['seconds_left'])} left for the whole queue{rate}")
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


def _version(outbox: Path, version: Version) -> Report:
    there = [o for o in version.outputs if os.path.lexists(outbox / o.path)]
    return {
        "version": version.id,
        "style": version.style,
        "made": version.made,
        "replaced": version.kept,
        "job": version.job or None,
        "recipe": version.recipe or None,
        "summary": encodable(version.summary),
        "bytes": version.bytes,
        "outputs": [asdict(output) | {"path": encodable(output.path)} for output in there],
        "missing": [encodable(o.path) for o in version.outputs if o not in there],
    }


def _version_line(version: Report) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version["made"]))
    size = _size(version["bytes"])
    files = ", ".join(output["path"] for output in version["outputs"]) or "files are gone"
    return f"{version['version']}  {when}  {version['summary']}  {size}  {files}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
