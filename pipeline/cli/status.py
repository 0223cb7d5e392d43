"""`status`: what is running, waiting, done, failed and refused, as JSON and for people."""

import time
from functools import partial

from pipeline import __version__
from pipeline.cli.report_rows import (
    Report,
    failure_row,
    format_size,
    open_ledger,
    pair_line,
    pair_row,
    quarantine_line,
    quarantine_row,
)
from pipeline.cli.retry import still_exists
from pipeline.config.loading import Loaded
from pipeline.daemon.instance import read_instance
from pipeline.daemon.planned_pauses import next_opening, read_user_pause
from pipeline.daemon.preview import preview
from pipeline.errors import PipelineError
from pipeline.inbox.backlog import count_backlog, count_not_taken
from pipeline.inbox.quarantine import quarantined_photos
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair, SeenFile
from pipeline.monitoring.counts import count_all, planned_facts
from pipeline.monitoring.health import find_trouble
from pipeline.system.clock import MACHINE_ZONE
from pipeline.system.text import encodable, format_count, format_duration, visible

MAX_RECENT = 10
# What the running instance reports about its queue; null while no instance runs.
QUEUE_KEYS = (
    "queued",
    "waiting",
    "settling",
    "slots",
    "left_out",
    "busy",
    "per_hour",
    "seconds_left",
    "ticked",
)


def status_report(loaded: Loaded) -> Report:
    """Jobs by state, running jobs, last results, waiting files, refused and quarantined files."""
    with open_ledger(loaded) as ledger:
        backlog = count_backlog(loaded.config, ledger)
        states = ledger.counts()
        refusals, failed = _find_current_failures(loaded, ledger, backlog.trouble)
        instance = read_instance(loaded.config.state)
        planned = instance if instance or not backlog.whole else _plan(loaded, ledger)
        states[JobState.SKIPPED] += states[JobState.FAILED] - len(failed)  # their photos are gone
        states[JobState.FAILED] = len(failed)
        refused = [seen.content for seen in refusals]
        not_taken = count_not_taken(ledger, refused, loaded.config.quarantine)
        counts = count_all(states, not_taken, planned, ledger.history.count_drafts())
        pictures, photos, styles = ledger.history.count_pictures()
        progress = _take_progress(instance)
        begun = ledger.pairs(JobState.RUNNING)
        version_count, version_bytes = ledger.history.size_of_earlier()
        return {
            "version": __version__,
            "inbox": str(loaded.config.inbox),
            "outbox": str(loaded.config.outbox),
            "instance": instance,
            "health": find_trouble(instance, time.time()) or "ok",
            "held": _find_pause(loaded, instance),
            "next_opening": next_opening(loaded.config.schedule, time.time()),
            "queue": {key: (instance or {}).get(key) for key in QUEUE_KEYS},
            "waiting": {"files": backlog.waiting, "at_least": not backlog.whole},
            "trouble": "; ".join(filter(None, (backlog.trouble, _get_trouble(instance)))),
            "jobs": counts.by_state(states[JobState.STAGED]),
            "counts": counts.words(),
            "pictures": {"pictures": pictures, "photos": photos, "styles": styles},
            "running": [
                pair_row(pair, ledger) | {"progress": (progress or {}).get(pair.job)}
                for pair in begun
                if progress is None or pair.job in progress
            ],
            "recent": [pair_row(p, ledger) for p in ledger.pairs(JobState.DONE, limit=MAX_RECENT)],
            "failed": [pair_row(pair, ledger) for pair in failed],
            "refused": [
                {
                    "content": encodable(file.content),
                    "status": file.status,
                    "error": failure_row(file.failure),
                }
                for file in refusals
            ],
            "quarantine": [
                quarantine_row(file)
                for file in quarantined_photos(loaded.config.quarantine, ledger)
            ],
            "versions": {"count": version_count, "bytes": version_bytes},
        }


def _plan(loaded: Loaded, ledger: Ledger) -> Report | None:
    """What the next `run` will find to do, of the photos examined so far; None: it cannot start."""
    begun = {(p.content, p.style) for p in ledger.pairs(JobState.RUNNING, JobState.STAGED)}
    try:
        found = preview(loaded, only="").plan  # reads no photo
    except PipelineError:
        return None
    due = sum((p.content, p.style) not in begun for p in found.pairs if p.due)
    return planned_facts(due, found.waiting, found.again)


def _find_current_failures(
    loaded: Loaded, ledger: Ledger, trouble: str
) -> tuple[list[SeenFile], list[Pair]]:
    """Refused files and failed pairs, without those whose photo was removed since."""
    refusals, failed = ledger.files.refusals(), ledger.pairs(JobState.FAILED)
    if trouble:  # the inbox cannot be read, so no file counts as removed
        return refusals, failed
    exists = partial(
        still_exists, loaded.config, quarantined_photos(loaded.config.quarantine, ledger)
    )
    gone = {seen.content for seen in refusals}
    gone = {content for content in gone if not exists(content)}
    kept = [seen for seen in refusals if seen.content not in gone]
    return kept, [pair for pair in failed if exists(pair.content)]


def _find_pause(loaded: Loaded, instance: Report | None) -> str | None:
    """Why no job is started now, as the running instance reports it or as `pause` recorded it."""
    reported = instance and (instance.get("paused") or instance.get("closed"))
    wall, schedule = time.time(), loaded.config.schedule
    found = read_user_pause(loaded.config.state, wall)
    zone = schedule.zone if schedule else MACHINE_ZONE
    return reported or (found.describe(wall, zone) if found else None)


def _get_trouble(instance: Report | None) -> str:
    """What the running instance cannot do at the moment, while it does the rest."""
    return str((instance or {}).get("trouble") or "")


def find_health_problem(loaded: Loaded, within: float) -> str:
    """What is wrong with the running instance; "" when it works. Reads no database."""
    return find_trouble(read_instance(loaded.config.state), time.time(), within)


def _take_progress(instance: Report | None) -> dict[str, Report] | None:
    """Remove the progress of running jobs from the instance's record; return it by job id.

    None: no instance reports which of the pairs that have begun are running.
    """
    lanes = (instance or {}).pop("lanes", None)
    return {lane["job"]: lane for lane in lanes} if isinstance(lanes, list) else None


def status_text(report: Report) -> str:
    """The report for people."""
    instance = report["instance"]
    running = (
        f"`pipeline {instance['command']}` is running (process {instance['pid']})"
        if instance and "pid" in instance
        else "no `run` or `watch` is running"
    )
    lines = [f"{report['inbox']} -> {report['outbox']}; {running}"]
    if instance and instance.get("paused"):
        lines.append(f"paused: {instance['paused']}")
    elif report["held"]:
        lines.append(report["held"])
    if instance and report["health"] != "ok":
        lines.append(f"not healthy: {report['health']}")
    queue = report["queue"]
    if queue["seconds_left"]:
        rate = f", {queue['per_hour']:.0f} an hour" if queue["per_hour"] else ""
        lines.append(f"{format_duration(queue['seconds_left'])} left for the whole queue{rate}")
    if queue["left_out"]:
        lines.append(f"left out: {queue['left_out']}")
    if instance and instance.get("watching"):
        lines.append(f"new files are detected by {instance['watching']}")
    if report["trouble"]:
        lines.append(report["trouble"])
    lines.append(report["counts"])
    if (pictures := report["pictures"])["pictures"]:
        parts = [format_count(pictures[f"{noun}s"], noun) for noun in ("picture", "photo", "style")]
        lines.append(f"{parts[0]} of {parts[1]} in {parts[2]}")
    waiting = report["waiting"]
    if waiting["files"]:
        least = "at least " if waiting["at_least"] else ""
        lines.append(f"waiting in the inbox: {least}{waiting['files']} files")
    for title, key in (("running", "running"), ("last results", "recent"), ("failed", "failed")):
        if report[key]:
            lines += ["", f"{title}:"]
            lines += [f"  {pair_line(pair)}" for pair in report[key]]
    if report["refused"]:
        lines += ["", "files not taken:"]
        lines += [
            f"  {file['status']:8}{file['content']}  {file['error']['code']}: "
            f"{file['error']['message']}"
            for file in report["refused"]
        ]
    if report["quarantine"]:
        lines += ["", f"in quarantine: {len(report['quarantine'])}; `retry FILE` tries one again:"]
        lines += [f"  {quarantine_line(file)}" for file in report["quarantine"]]
    if (kept := report["versions"])["count"]:
        size = format_size(kept["bytes"])
        lines += ["", f"earlier versions kept: {kept['count']}, {size}; see `explain FILE`"]
    return "\n".join(map(visible, lines))
