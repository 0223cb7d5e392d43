"""Summarizes a batch: all results from the first photo until the queue is empty."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.monitoring.estimate import pairs_per_hour
from pipeline.monitoring.view import View
from pipeline.system.text import timestamp

MAX_FAILED = 10  # failures listed in a digest
MAX_TEXT = 200  # characters of a name or a message

Why = Literal["drained", "run_ended", "stopped"]
Digest = dict[str, Any]


class Batch:
    """Collects results, and returns a digest once the queue has been empty for a while.

    Args:
        quiet_seconds: How long it must be empty (``hooks.batch_seconds``).
    """

    def __init__(self, quiet_seconds: float) -> None:
        self.quiet_seconds = quiet_seconds
        self._reset()

    def _reset(self) -> None:
        self._counts: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._failed: list[Digest] = []
        self._pictures = 0
        self._began = self._ended = 0.0
        self._idle_since: float | None = None
        self._run = ""

    def add_line(self, line: Mapping[str, Any], wall: float) -> None:
        """Add a line of the run log. ``wall``: seconds since 1970."""
        if line.get("draft"):
            return  # its full picture is still to come
        if not self._counts:
            self._began = wall - float(line["seconds"])
        self._ended, self._idle_since, self._run = wall, None, line["run"]
        self._counts[line["status"]] += 1
        self._pictures += line["status"] == "done"
        if line["status"] == "failed":
            self._codes[line["error"]["code"]] += 1
            if len(self._failed) < MAX_FAILED:
                self._failed.append(_failure(line))

    def check(self, view: View, held: bool, now: float, wall: float) -> Digest | None:
        """Return the digest when the batch has just ended; otherwise None.

        Args:
            view: What is left to do.
            held: Whether work waits for a disk, an hour or a person: the batch continues then.
            now: Monotonic seconds.
            wall: Seconds since 1970.
        """
        if view.queued or view.running or view.settling or held:
            self._idle_since = None
            return None
        self._idle_since = now if self._idle_since is None else self._idle_since
        return self.end("drained", wall) if now - self._idle_since >= self.quiet_seconds else None

    def end(self, why: Why, wall: float) -> Digest | None:
        """End the batch and return its digest; None when nothing was rendered or failed."""
        if not (self._counts["done"] or self._counts["failed"]):
            return None
        lasted = max(self._ended - self._began, 0.001)
        rate = pairs_per_hour(self._pictures, lasted) or 0.0
        digest = {
            "event": "batch_ended",
            "why": why,
            "ts": timestamp(wall),
            "run": self._run,
            "began": timestamp(self._began),
            "ended": timestamp(self._ended),
            "seconds": round(lasted, 3),
            **{status: self._counts[status] for status in ("done", "failed", "skipped")},
            "failures": dict(self._codes.most_common()),
            "first_failed": self._failed,
            "pairs_per_hour": round(rate, 1),
        }
        self._reset()
        return digest


def _failure(line: Mapping[str, Any]) -> Digest:
    error = line["error"]
    return {
        "content": line["content"][:MAX_TEXT],
        "style": line["style"],
        "code": str(error["code"]),
        "message": error["message"][:MAX_TEXT],
    }
