"""Metrics for Prometheus: a text file, always replaced whole, and an address on this machine.

Labels come from short fixed lists (states, codes, presets, sizes, devices), never from file names.
"""

import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)

from pipeline import __version__
from pipeline.config.sections import Metrics
from pipeline.errors import ConfigError, Reason
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.view import View
from pipeline.system.safe_files import error_text, opened, write_whole

SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200)
SIZES = (256, 512, 1024, 2048, 4096, 8192)
MAX_DEVICES = 64  # further ones are summed up as "other"
CAUSES = ("disk", "inbox", "outbox", "database", "machine", "person", "schedule")
STATUSES = ("done", "failed", "skipped")
MARK = b"# HELP pipeline_"  # the start of every metrics file of this program
# What only ever grows counts lines, not pairs.
OF_LINES = "since the start: lines of the run log; a pair painted again and a refused file count."
FOREIGN = "a file that this program did not write has this name"


class Exporter:
    """Collects and exports the metrics of a run. A context manager.

    Args:
        options: The metrics options of the config.
        preset: The config's preset, a label of job times.

    Raises:
        ConfigError: On entering, when it cannot listen on the address, or the metrics file exists
            and this program did not write it.
    """

    def __init__(self, options: Metrics, preset: str) -> None:
        self.options, self.preset = options, preset
        self.trouble = ""
        self._server: Any = None
        self._next = self._last = 0.0
        self._devices: set[str] = set()
        # A separate registry, so that two runs in one process do not share metrics.
        self.registry = registry = CollectorRegistry()
        self.jobs = _gauge("jobs", "Pairs of photo and style, by state.", registry, "state")
        self.not_taken = _gauge("files_not_taken", "Files refused, that became no pair.", registry)
        self.results = _counter("results", f"Results {OF_LINES}", registry, "status")
        self.failures = _counter("failures", f"Failures {OF_LINES}", registry, "code")
        self.seconds = Histogram(
            "pipeline_job_duration_seconds",
            "Time to paint a pair; size is the long side, rounded up.",
            ("preset", "size"),
            buckets=SECONDS,
            registry=registry,
        )
        self.queue = _gauge("queue_length", "Pairs that wait for a device.", registry)
        self.settling = _gauge("settling_files", "Files still being written.", registry)
        self.running = _gauge("running_jobs", "Pairs being painted.", registry)
        self.slots = _gauge("slots", "Pairs that can be painted at the same time.", registry)
        self.remaining = _gauge(
            "queue_remaining_seconds", "Estimated time left for the queue.", registry
        )
        self.busy = _counter(
            "device_busy_seconds", "Time that slots spent on jobs.", registry, "device"
        )
        self.free = _gauge("disk_free_bytes", "Free space.", registry, "folder")
        self.paused = _gauge("paused", "1 while work is paused, by cause.", registry, "cause")
        self.healthy = _gauge("healthy", "0 if a worker is stuck or jobs keep failing.", registry)
        self.success = _gauge(
            "last_success_timestamp_seconds", "When the last pair was finished.", registry
        )
        self.ticked = _gauge("last_tick_timestamp_seconds", "When the loop last ran.", registry)
        build = _gauge(
            "build_info", "Always 1; the labels hold the versions.", registry, "version", "python"
        )
        build.labels(__version__, platform.python_version()).set(1)
        for status in STATUSES:
            self.results.labels(status)

    def __enter__(self) -> Self:
        self._refuse_foreign_file()
        if self.options.address is None:
            return self
        host, port = self.options.address
        try:
            self._server, self._thread = start_http_server(port, host, self.registry)
        except (OSError, OverflowError) as error:
            what = f"cannot listen on this address: {getattr(error, 'strerror', None) or error}"
            where = f"metrics.listen: {self.options.listen}"
            hint = "choose another port, or stop the program that uses it"
            raise ConfigError(what, where=where, hint=hint) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._write()

    @property
    def port(self) -> int | None:
        """The port that it listens on, which the config may leave open with 0."""
        return self._server.server_port if self._server else None

    def count_line(self, line: Mapping[str, Any], wall: float) -> None:
        """Count a line of the run log; a draft counts when its full picture is finished."""
        if line.get("draft") and line["status"] == "done":
            return
        self.results.labels(line["status"]).inc()
        if line["status"] == "failed":
            self.failures.labels(_code_label(line["error"]["code"])).inc()
        if line["status"] == "done" and line["outputs"]:
            side = max(max(output["width"], output["height"]) for output in line["outputs"])
            self.seconds.labels(self.preset, _size_label(side)).observe(line["seconds"])
            self.success.set(wall)

    def update(self, view: View, now: float, wall: float) -> None:
        """Update after a tick. ``now``: monotonic seconds; ``wall``: seconds since 1970."""
        passed, self._last = max(0.0, now - self._last) if self._last else 0.0, now
        for lane in view.working:
            self.busy.labels(self._device_label(lane.device)).inc(passed)
        self.queue.set(view.counts.queued)
        self.settling.set(view.settling)
        self.running.set(view.counts.running)
        self.remaining.set(view.pace.seconds_left or 0.0)
        self.ticked.set(wall)

    def is_due(self, now: float) -> bool:
        """Whether it is time to query ledger and disks and to write the file."""
        if now < self._next:
            return False
        self._next = now + self.options.seconds
        return True

    def update_totals(self, counts: Counts, free: Mapping[str, float], staged: int = 0) -> None:
        """Set the counts of all pairs and the free space, and write the file.

        Args:
            counts: All pairs and files of the studio.
            free: Free bytes by folder.
            staged: Pairs among the running ones that are being written.
        """
        for state, number in counts.by_state(staged).items():
            self.jobs.labels(state).set(number)
        self.not_taken.set(counts.not_taken)
        for folder, space in free.items():
            self.free.labels(folder).set(space)
        self._write()

    def set_pause(self, cause: str | None) -> None:
        """Set why no job is started, one of CAUSES; None: no pause."""
        for known in CAUSES:
            self.paused.labels(known).set(known == cause)

    def _write(self) -> None:
        if self.options.file is None:
            return
        trouble = ""
        try:
            if _is_foreign(self.options.file):
                trouble = FOREIGN
            else:
                write_whole(self.options.file, generate_latest(self.registry))
        except OSError as error:
            trouble = error_text(error)
        self.trouble = trouble and f"metrics.file: {self.options.file}: {trouble}"

    def _refuse_foreign_file(self) -> None:
        """At the start a foreign file is a config error; later, it is only reported as trouble."""
        file = self.options.file
        with suppress(OSError):
            if file is not None and _is_foreign(file):
                hint = "choose another name, or move that file away"
                raise ConfigError(FOREIGN, where=f"metrics.file: {file}", hint=hint)

    def _device_label(self, name: str) -> str:
        if name not in self._devices and len(self._devices) >= MAX_DEVICES:
            return "other"
        self._devices.add(name)
        return name


def _is_foreign(path: Path) -> bool:
    """Whether the file exists and this program did not write it, and so must not replace it.

    Raises:
        OSError: It is no regular file, or cannot be read.
    """
    try:
        with opened(path) as file:
            return file.read(len(MARK)) not in (b"", MARK)
    except FileNotFoundError:
        return False


def _gauge(name: str, words: str, registry: CollectorRegistry, *labels: str) -> Gauge:
    return Gauge(f"pipeline_{name}", words, labels, registry=registry)


def _counter(name: str, words: str, registry: CollectorRegistry, *labels: str) -> Counter:
    return Counter(f"pipeline_{name}", words, labels, registry=registry)


def _code_label(code: str) -> str:
    with suppress(ValueError):
        return Reason(code).value
    return "other"


def _size_label(side: int) -> str:
    return next((str(size) for size in SIZES if side <= size), "larger")
