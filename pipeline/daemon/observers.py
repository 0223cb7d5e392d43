"""Reports on the running service: journal, metrics, service manager, instance record, batch hook.

No error in a report can stop the service.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from typing import Any, Self

from pipeline import __version__
from pipeline.config.model import Config
from pipeline.daemon.fault_pauses import measure_space
from pipeline.daemon.instance import InstanceRecord
from pipeline.daemon.service import Service
from pipeline.inbox.backlog import count_not_taken
from pipeline.jobs.job import JobState
from pipeline.monitoring.counts import Counts, count_all, planned_facts
from pipeline.monitoring.digest import Batch, Digest, Why
from pipeline.monitoring.health import HealthMonitor
from pipeline.monitoring.journal import Journal, note
from pipeline.monitoring.systemd import Notifier
from pipeline.monitoring.view import Lane, View

Line = dict[str, Any]
RECORD_SECONDS = 2.0
STATUS_SECONDS = 5.0
# Of the digest, for the journal.
BATCH_FACTS = ("why", "done", "failed", "skipped", "not_taken", "failures", "pairs_per_hour")

STOP_SECONDS = 5.0  # that hooks may still take after a stop signal; then they are ended


class Observers:
    """Update all reports after each tick, and with each line of the run log. A context manager.

    Args:
        config: Says which reports are wanted.
        record: The instance's record, for `status`.
        command: ``run`` or ``watch``.
        notifier: The connection to the service manager.
    """

    def __init__(
        self, config: Config, record: InstanceRecord, command: str, notifier: Notifier | None = None
    ) -> None:
        self.config, self.record, self.command = config, record, command
        self.notifier = notifier or Notifier()
        self.health = HealthMonitor(config.limits.stall_seconds)
        self.batch = Batch(config.hooks.batch_seconds)
        self.journal = Journal(config.log, config.state)
        self.exporter = _exporter(config)
        self._opened = ExitStack()
        self._known: dict[str, str] = {}
        self._ready = False
        self._next_record = self._next_status = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self.journal)
            if self.exporter:
                opened.enter_context(self.exporter)
            self._opened = opened.pop_all()
        config = self.config
        note(
            "start",
            command=self.command,
            version=__version__,
            process=os.getpid(),
            inbox=config.inbox,
            outbox=config.outbox,
            device=config.device,
        )
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            words = f"{type(error).__name__}: {error}"
            note("end", logging.ERROR, command=self.command, error=words)
        self._opened.close()

    def with_reports(self, on_line: Callable[[Line], None]) -> Callable[[Line], None]:
        """A function that adds a line of the run log to the reports, then calls ``on_line``."""

        def both(line: Line) -> None:
            self.add_line(line, time.time())
            on_line(line)

        return both

    def add_line(self, line: Mapping[str, Any], wall: float) -> None:
        """Add a line of the run log to all reports."""
        with self._errors_noted():
            self.health.add_line(line)
            self.batch.add_line(line, wall)
            if self.exporter:
                self.exporter.count_line(line, wall)

    def update(self, service: Service, now: float, wall: float) -> None:
        """Update all reports after a tick.

        Args:
            service: What is reported on.
            now: Monotonic seconds.
            wall: Seconds since 1970.
        """
        with self._errors_noted():
            self._update(service, now, wall)

    @contextmanager
    def _errors_noted(self) -> Iterator[None]:
        """Write an error in a report into the journal; the service goes on."""
        try:
            yield
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            self._changed("fault", words, "observer_failed", logging.ERROR, what=words)

    def _update(self, service: Service, now: float, wall: float) -> None:
        view = service.view
        if service.config is not self.config:
            self.configure(service.config)
        self.health.observe(view.running, now)
        stuck = self.health.find_stuck(now)
        if not self._ready:
            self._ready = True
            self.notifier.notify_ready()
            self._remember_success(service)
        if not stuck:
            self.notifier.notify_alive(now)
        if now >= self._next_status:
            self._next_status = now + STATUS_SECONDS
            self.notifier.notify_status(stuck or _status(view))
        self._note_changes(service, stuck)
        if self.exporter:
            self._export(service, not (stuck or self.health.find_failing()), now, wall)
        if now >= self._next_record:
            self._next_record = now + RECORD_SECONDS
            self.record.update(
                **_work_facts(service, wall), stuck=stuck, failing=self.health.find_failing()
            )
        self._notify(service, self.batch.check(view, bool(service.pause_reason), now, wall))

    def configure(self, config: Config) -> None:
        """Apply another config, which differs only in keys that take effect at once."""
        self.config = config
        self.batch.quiet_seconds = config.hooks.batch_seconds
        if self.exporter:
            self.exporter.preset = config.preset
        note("reload", device=config.device, preset=config.preset)

    def report_stopping(self) -> None:
        """Report that the service was asked to stop."""
        self.notifier.notify_stopping()
        note("stopping", command=self.command)

    def finish(
        self,
        service: Service,
        stopped: bool,
        hurry: Callable[[], bool],
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        """Report the end of the loop; wait for hooks until ``hurry`` says not to.

        After a stop only for ``stop_seconds``: a system that stops the program does not wait
        longer. Closing the service ends a hook that still runs.
        """
        why: Why = "stopped" if stopped else "run_ended"
        with self._errors_noted():
            self._notify(service, self.batch.end(why, service.view.tally, time.time()))
        longest = service.hooks.timeout_seconds + 1
        until = time.monotonic() + (min(longest, stop_seconds) if stopped else longest)
        while service.hooks.busy and time.monotonic() < until and not hurry():
            service.hooks.step(time.monotonic())
            time.sleep(0.02)  # nothing else is left to do
        with self._errors_noted():
            if self.exporter:
                self._export(service, True, float("inf"), time.time())
        facts: dict[str, Any] = service.view.counts.ended()
        note("stop", command=self.command, why=why, **facts, lost_lines=self.journal.lost)

    def _notify(self, service: Service, digest: Digest | None) -> None:
        if digest:
            facts: dict[str, Any] = {key: digest[key] for key in BATCH_FACTS}
            note("batch", **facts)
            service.hooks.queue_batch(digest | {"outbox": str(self.config.outbox)})

    def _note_changes(self, service: Service, stuck: str) -> None:
        """Write a line into the journal for each state that has changed."""
        why = service.pause_reason
        self._changed("pause", why, "pause" if why else "resume", why=why)
        watching = str(self.record.facts.get("watching") or "")
        self._changed("watching", watching, "watching", how=watching)
        for name, words in (
            ("stuck", stuck),
            ("failing", self.health.find_failing()),
            ("hook", service.hooks.trouble),
            ("originals", service.originals.trouble),
            ("metrics", self.exporter.trouble if self.exporter else ""),
        ):
            self._changed(name, words, name, logging.WARNING, what=words or "over")

    def _changed(
        self, key: str, words: str, event: str, level: int = logging.INFO, **facts: Any
    ) -> None:
        # A change of figures alone (free bytes, seconds of silence) is not worth a line.
        without_figures = re.sub(r"[\d.]+", "#", words)
        if self._known.get(key, "") != without_figures:
            self._known[key] = without_figures
            note(event, level, **facts)

    def _remember_success(self, service: Service) -> None:
        done = service.ledger.pairs(JobState.DONE, limit=1)
        if self.exporter and done:
            self.exporter.success.set(done[0].updated)

    def _export(self, service: Service, healthy: bool, now: float, wall: float) -> None:
        exporter = self.exporter
        assert exporter is not None  # noqa: S101  # asked before
        exporter.slots.set(service.executor.slots)
        exporter.healthy.set(healthy)
        exporter.set_pause(
            service.fault_pause.cause if service.fault_pause else _planned_cause(service)
        )
        if now < float("inf"):
            exporter.update(service.view, now, wall)
        if exporter.is_due(now):
            counts, staged = count_studio(service)
            exporter.update_totals(counts, _free(self.config), staged)


def _exporter(config: Config) -> Any:
    """The exporter, if the config asks for metrics; its library is imported only then."""
    if not (config.metrics.file or config.metrics.listen):
        return None
    from pipeline.monitoring.metrics import Exporter

    return Exporter(config.metrics, config.preset)


def _planned_cause(service: Service) -> str | None:
    return service.planned_pause.cause if service.planned_pause else None


def _free(config: Config) -> dict[str, float]:
    found = {}
    for name in ("inbox", "outbox", "state"):
        with suppress(OSError):
            found[name] = float(measure_space(getattr(config, name))[0])
    return found


def _status(view: View) -> str:
    return view.counts.words() + (f"; {view.message}" if view.message else "")


def _work_facts(service: Service, wall: float) -> dict[str, Any]:
    """The facts about the work for the instance's record."""
    view, pace = service.view, service.view.pace
    return {
        "version": __version__,
        "ticked": round(wall, 1),
        **asdict(view.counts),
        **_planned_facts(service),
        "slots": service.executor.slots,
        "left_out": service.executor.trouble,
        "busy": view.counts.running,
        "per_hour": pace.per_hour and round(pace.per_hour, 1),
        "seconds_left": None if pace.seconds_left is None else round(pace.seconds_left, 1),
        "lanes": [describe_lane(lane) for lane in view.working],
    }


def _planned_facts(service: Service) -> dict[str, Any]:
    """What `count_all` needs of the plan, besides the view's counts."""
    if service.again is None:
        return {}
    view = service.view
    return planned_facts(view.counts.queued, view.waiting, service.again)


def count_studio(service: Service) -> tuple[Counts, int]:
    """All pairs and files of the studio; and how many pairs are being written."""
    ledger, config = service.ledger, service.config
    states, drafts = ledger.counts(), ledger.history.count_drafts()
    facts = {**_planned_facts(service), "busy": service.view.counts.running}
    refused = [seen.content for seen in ledger.files.refusals()]
    not_taken = count_not_taken(ledger, refused, config.quarantine)
    return count_all(states, not_taken, facts, drafts), states[JobState.STAGED]


def describe_lane(lane: Lane) -> dict[str, Any]:
    """A job and how far it is, for the instance's record."""
    now = lane.progress
    facts: dict[str, Any] = {"job": lane.job, "device": lane.device}
    if now:
        facts |= {
            "phase": lane.phase,
            "fraction": round(lane.fraction, 3),
            "rate": round(lane.rate, 2),
        }
        facts |= {"scale": now.scale, "scales": now.scales, "side": now.side}
        facts |= {"step": now.step, "steps": now.steps, "seconds_left": round(now.seconds_left, 1)}
    return facts
