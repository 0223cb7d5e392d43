"""Runs the service for `run` and `watch`: lock, ledger, processes, dashboard, signals, reload."""

import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from pipeline.config.loading import Loaded, load
from pipeline.config.model import Config, changed_at_start
from pipeline.daemon.instance import InstanceRecord, instance_lock, outbox_lock
from pipeline.daemon.observers import Observers
from pipeline.daemon.paintings.folders import PaintingFolders, report_change
from pipeline.daemon.planned_pauses import PlannedPauses
from pipeline.daemon.run_statistics import describe_results, describe_summary
from pipeline.daemon.service import Service
from pipeline.daemon.signals import StopRequests, stop_requests
from pipeline.errors import BusyError, ConfigError, DiskFullError, PipelineError
from pipeline.inbox.mount_guard import worked_before
from pipeline.inbox.watcher import Watcher
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import FILE as LEDGER
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.estimate import Estimate
from pipeline.monitoring.journal import note
from pipeline.monitoring.live import LivePublisher
from pipeline.monitoring.terminal.dashboard import Dashboard
from pipeline.monitoring.view import View
from pipeline.system.file_version import Stamp
from pipeline.system.paths import is_folder
from pipeline.system.safe_files import error_text
from pipeline.system.stdout import StdoutWriter
from pipeline.system.text import join_words
from pipeline.workers.executor import Executor, WorkerSettings, open_executor

TICK_SECONDS = 0.25
BUSY_SECONDS = 1.0  # a tick waits this long for another program that holds the jobs database
RELOAD_SECONDS = 5.0  # a refused config is tried again after this time
LAST_LINES_SECONDS = 2.0  # after a stop, the reader of standard output has this long


def run(
    loaded: Loaded,
    *,
    as_json: bool,
    keep_going: bool,
    limit: int | None = None,
    until: float | None = None,
    anyway: bool = False,
    plain: bool = False,
) -> int:
    """Run the service; returns the exit code.

    Args:
        loaded: The config.
        as_json: Print events as JSON lines instead of a dashboard.
        keep_going: Watch for new photos until a signal; otherwise end when nothing is left to do.
        limit: Begin at most this many jobs.
        until: Begin no job after this time, in seconds since 1970.
        anyway: Ignore the hours of the schedule.
        plain: Print plain lines instead of a dashboard, also on a terminal.
    """
    config = loaded.config
    command = "watch" if keep_going else "run"
    _prepare_inbox(config, keep_going)
    out, view = StdoutWriter(sys.stdout), _new_view(config, keep_going)
    with (
        stop_requests() as stop,  # around all the others: their ends must not be cut short
        instance_lock(config.state, command) as record,
        outbox_lock(config.outbox) as lock,
        Observers(config, record, command) as observers,
        _ledger(config, stop, record) as ledger,
        _executor(config, stop, keep_going) as executor,
        Dashboard(silent=as_json, plain=out, draw=not plain) as dashboard,
    ):
        report = partial(_print_line, out) if as_json else _silent
        planned_pauses = PlannedPauses(
            config.state, config.schedule, bulk=not keep_going, until=until, anyway=anyway
        )
        service = Service(
            config,
            loaded.manifest,
            ledger,
            executor,
            view,
            observers.with_reports(report),
            limit,
            patient=keep_going,
            planned_pauses=planned_pauses,
            on_run=report if as_json else lambda event: print_run_event(event, dashboard),
            lock=lock,
        )
        with _closing(service):
            _run_loop(Loop(service, loaded, stop, dashboard, record, observers), keep_going)
        summary = _report_end(service, view, stop, dashboard, keep_going)
    if as_json:
        _print_line(out, {"event": "run_ended", **summary, "held": service.pause_reason or None})
    code = _exit_code(view, stop, keep_going)
    if service.held_back and not keep_going:
        code = ConfigError.exit_code  # a painting or a place is gone: its pairs are not done
    return _finish_output(out, code, stop)


def _report_end(
    service: Service, view: View, stop: StopRequests, dashboard: Dashboard, keep_going: bool
) -> dict[str, Any]:
    """Show how the run ended; returns its summary."""
    if not keep_going:
        service.statistics.start(service.works())  # reports also that nothing is to be done
    summary = service.statistics.summary()
    for line in describe_summary(summary):
        dashboard.line(line)
    if service.originals.trouble:
        dashboard.line(service.originals.trouble)
    view.message = _final_message(service, view, stop)
    dashboard.update(view, time.time())
    return summary


def _prepare_inbox(config: Config, keep_going: bool) -> None:
    """Make the inbox at the first start; later its absence is a disk that is missing.

    Only the folder itself is made: a parent that does not exist is a typing error, or a disk that
    is not mounted.
    """
    if is_folder(config.inbox):
        return
    if worked_before(config):
        if keep_going:
            return  # waits until it is back
        hint = "mount its disk, or create the folder again; no photo counts as deleted"
        raise ConfigError("no such folder", where=f"inbox: {config.inbox}", hint=hint)
    try:
        config.inbox.mkdir()
    except OSError as error:
        hint = "create it, or name another folder"
        what = f"cannot be created ({error_text(error)})"
        raise ConfigError(what, where=f"inbox: {config.inbox}", hint=hint) from None


def _new_view(config: Config, keep_going: bool) -> View:
    return View(
        inbox=str(config.inbox),
        outbox=str(config.outbox),
        device=", ".join(_devices(config)),
        preset=config.preset,
        started_at=time.time(),
        message="watching" if keep_going else "",
    )


def _run_loop(loop: "Loop", keep_going: bool) -> None:
    """Start the service, run its loop, and finish it."""
    service, stop = loop.service, loop.stop
    once_free(service.start, stop, loop.record)
    loop.report_findings()
    loop.watch() if keep_going else loop.until_idle()
    with suppress(Stopped):  # what is not written yet stays in the jobs database
        once_free(service.finish, stop, loop.record)
    loop.live.close()
    loop.observers.finish(service, bool(stop.count), lambda: stop.count > 1)


@contextmanager
def _closing(service: Service) -> Iterator[None]:
    """Close a service however its work ends: also after an error, or a second signal."""
    with closing(service):
        try:
            yield
        finally:
            service.give_back_running()


class Loop:
    """Calls the service's tick until nothing is left to do, or until a signal."""

    def __init__(
        self,
        service: Service,
        loaded: Loaded,
        stop: StopRequests,
        dashboard: Dashboard,
        record: InstanceRecord,
        observers: Observers,
    ) -> None:
        self.service, self.loaded, self.stop, self.dashboard = service, loaded, stop, dashboard
        self.record, self.observers = record, observers
        self.stamp = loaded.stamp
        self.refused, self.reload_at = "", float("inf")  # why a changed config is not applied
        self.paintings = PaintingFolders(loaded.config)
        self.live = LivePublisher(loaded.config.state)

    def until_idle(self) -> None:
        self._tick()
        while not self.stop.count and not self.service.idle:
            self._wait()
            self._tick()
        self._wind_down()

    def watch(self) -> None:
        watcher = Watcher(self.service.config.inbox)
        try:
            while not self.stop.count:
                self.reload_config(time.monotonic(), time.time())
                watcher.start_if_needed(time.monotonic())
                self.service.polling = watcher.polling
                self.record.update(watching=watcher.mode)
                if watcher.woken(0):
                    self.service.wake()
                self._tick()
                self._wait()
        finally:
            watcher.stop()
        self._wind_down()

    def _tick(self) -> None:
        self.service.tick(time.monotonic(), time.time(), TICK_SECONDS)
        paused, closed = self.service.fault_pause, self.service.planned_pause
        self.record.update(
            paused=paused and paused.why,
            closed=closed and closed.why,
            trouble="; ".join(filter(None, self._troubles())),
        )
        self.dashboard.update(self.service.view, time.time())
        self.live.publish(self.service.view, time.time())
        self.observers.update(self.service, time.monotonic(), time.time())

    def _troubles(self) -> tuple[str, ...]:
        service = self.service
        trouble = service.originals.trouble, service.planned_pauses.trouble
        return service.held_back, self.refused, *trouble

    def _wait(self) -> None:
        # While a job runs or a file is examined, the tick itself waits for the next event.
        if not (self.service.executor.running() or self.service.examiner.pending):
            self.stop.wait(TICK_SECONDS)

    def _wind_down(self) -> None:
        if not self.stop.count:
            return
        self.service.view.message = "stopping; press Ctrl-C again to stop at once"
        self.observers.report_stopping()
        self.service.stop()
        self._tick()  # records the jobs that a worker gave back at once
        while self.service.executor.running() and self.stop.count < 2:
            self._tick()

    def reload_config(self, now: float, wall: float) -> None:
        """Apply a changed config or folder of paintings; report an invalid one, and keep the old.

        An invalid one is tried again later: a painting that it names, or a disk, may return.
        """
        stamp = Stamp.at(self.loaded.path)
        changed = self.paintings.have_changed(now, wall)
        self.report_findings()
        if stamp == self.stamp and not changed and now < self.reload_at:
            return
        self.stamp, self.reload_at = stamp, float("inf")
        try:
            loaded = load(self.loaded.path, without=self.paintings.unsettled)
            self.stamp = loaded.stamp
            fixed = changed_at_start(self.loaded.config, loaded.config)
            if fixed:
                self._refuse_reload(f"{join_words(fixed)} change only at the next start")
                return
        except PipelineError as error:
            self.reload_at = now + RELOAD_SECONDS
            self._refuse_reload(str(error))
            return
        before, self.loaded, self.refused = self.loaded, loaded, ""
        self.service.configure(loaded.config, loaded.manifest)
        self.paintings.follow(loaded.config)
        self.dashboard.line(f"config reloaded{report_change(before.manifest, loaded.manifest)}")

    def report_findings(self) -> None:
        """Report what lies in folders of paintings and is ignored, each once."""
        for words in self.paintings.findings:
            self.dashboard.line(words)
            note("paintings", logging.WARNING, what=words)
        self.paintings.findings.clear()

    def _refuse_reload(self, why: str) -> None:
        """Say once why a changed config is not applied; `status` shows the newest reason."""
        words = f"config not reloaded: {why}"
        if words != self.refused:
            self.refused = words
            self.dashboard.line(words)
            note("reload_refused", why=why)


# --- the jobs database ----------------------------------------------------------------------

T = TypeVar("T")


class Stopped(PipelineError):
    """A stop was requested while the start, or the end, waited for database or disk."""


def once_free(do: Callable[[], T], stop: StopRequests, record: InstanceRecord) -> T:
    """Call ``do``, again and again while another program holds the jobs database.

    `watch` waits for space on a full disk too, as it does once it has started.

    Raises:
        DiskFullError: The disk is full, and this is `run`.
        Stopped: A stop was requested first.
    """
    reported = ""
    while True:
        try:
            done = do()
        except (BusyError, DiskFullError) as error:
            watching, full = record.facts["command"] == "watch", isinstance(error, DiskFullError)
            if full and not watching:
                raise
            if stop.count:
                what = "the disk was full" if full else "another program held the jobs database"
                raise _stopped(what, stop, watching) from error
            if not reported:
                reported = str(error)
                record.update(paused=reported)
                note("pause", why=reported)
            stop.wait(BUSY_SECONDS)
            continue
        if reported:
            record.update(paused=None)
            note("resume", why="")
        return done


def _stopped(what: str, stop: StopRequests, watching: bool) -> Stopped:
    stopped = Stopped(f"stopped while {what}")
    stopped.exit_code = 0 if _is_clean_stop(stop, watching) else 130
    return stopped


@contextmanager
def _ledger(config: Config, stop: StopRequests, record: InstanceRecord) -> Iterator[Ledger]:
    path = config.state / LEDGER
    with once_free(lambda: Ledger(path, busy_seconds=BUSY_SECONDS), stop, record) as ledger:
        yield ledger


# --- the executor ---------------------------------------------------------------------------


@contextmanager
def _executor(config: Config, stop: StopRequests, watching: bool) -> Iterator[Executor]:
    place = WorkerSettings(config.limits, config.state, timelapse=config.timelapse)
    try:
        executor = open_executor(config, place, lambda: stop.count)
    except PipelineError as error:
        if not stop.count:
            raise
        raise _stopped("the workers were started", stop, watching) from error
    try:
        yield executor
    finally:
        executor.close(force=bool(executor.running()))


def _devices(config: Config) -> list[str]:
    return [config.device] if isinstance(config.device, str) else list(config.device)


# --- messages and the exit code -------------------------------------------------------------


def _final_message(service: Service, view: View, stop: StopRequests) -> str:
    if stop.count:
        return "stopped"
    if service.held_back:
        return service.held_back
    if service.planned_pause:
        waits = service.works().total()
        return f"{service.pause_reason}; {waits} pair{'s' * (waits != 1)} left"
    if view.results:
        return ""
    ledger = service.ledger
    files = sum(file.status == "failed" for file in ledger.files.refusals())
    found = Counts(failed=ledger.counts()[JobState.FAILED], not_taken=files).results()
    earlier = f"; earlier: {found} (see `status`, `retry`)" if found else ""
    return f"nothing to do: the outbox is up to date{earlier}"


def _exit_code(view: View, stop: StopRequests, keep_going: bool) -> int:
    if stop.count and not _is_clean_stop(stop, keep_going):
        return 130
    return 1 if view.tally.any_failed else 0


def _is_clean_stop(stop: StopRequests, keep_going: bool) -> bool:
    """Whether `watch` was stopped by a service manager or a closed terminal, not by Ctrl-C."""
    return keep_going and stop.number != signal.SIGINT


def print_run_event(event: dict[str, Any], dashboard: Dashboard) -> None:
    """Print the estimate or the summary of a run, or what a plan replaces or does not want."""
    kind = event.pop("event")
    if kind in ("replaces", "unwanted"):
        dashboard.line(event["words"])
        return
    if kind == "run_started":
        found = Estimate(**event)
        if found.pairs:
            dashboard.line(found.words())
        return
    for line in (f"bulk run ended: {describe_results(event)}", *describe_summary(event)):
        dashboard.line(line)


def _silent(_: object) -> None: ...


def _print_line(out: StdoutWriter, line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


def _finish_output(out: StdoutWriter, code: int, stop: StopRequests) -> int:
    """The exit code, after standard output was flushed; lines that were lost are reported."""
    until = time.monotonic() + (LAST_LINES_SECONDS if stop.count else float("inf"))
    out.drain(lambda: time.monotonic() < until)
    trouble = out.trouble
    if not trouble:
        return code
    with suppress(OSError):
        print(f"{trouble}; all results are in runs.jsonl", file=sys.stderr, flush=True)
    # A reader that closed the pipe (`| head -1`) wants no more. Otherwise lines are missing.
    return code if out.gone else code or 1
