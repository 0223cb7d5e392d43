"""Summarizes a batch: all results from the first photo until the queue is empty."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal

from pipeline.monitoring.counts import PairKey, Tally, count_codes, count_ended
from pipeline.monitoring.estimate import pairs_per_hour
from pipeline.monitoring.view import View
from pipeline.system.text import timestamp

MAX_FAILED = 10  # failures listed in a digest
MAX_TEXT = 200  # characters of a name or a message

Why = Literal["drained", "run_ended", "stopped"]
Digest = dict[str, Any]


class Batch:
    """Notes when results come, and returns a digest once the queue has been empty for a while.

    Args:
        quiet_seconds: How long it must be empty (``hooks.batch_seconds``).
    """

    def __init__(self, quiet_seconds: float) -> None:
        self.quiet_seconds = quiet_seconds
        self._mark = 0  # of the tally, at the end of the batch before
        self._reset()

    def _reset(self) -> None:
        self._pictures = 0
        self._failures: dict[PairKey, Digest] = {}
        self._began: float | None = None
        self._ended = 0.0
        self._idle_since: float | None = None
        self._run = ""

    def add_line(self, line: Mapping[str, Any], wall: float) -> None:
        """Note a line of the run log. ``wall``: seconds since 1970."""
        if line.get("draft") and line["status"] == "done":
            return  # its full picture is still to come
        if self._began is None:
            self._began = wall - float(line["seconds"])
        self._ended, self._idle_since, self._run = wall, None, line["run"]
        self._pictures += line["status"] == "done"
        if line["status"] == "failed":
            self._failures[line["content"], line["style"] or ""] = _failure(line)

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
        quiet = now - self._idle_since >= self.quiet_seconds
        return self.end("drained", view.tally, wall) if quiet else None

    def end(self, why: Why, tally: Tally, wall: float) -> Digest | None:
        """End the batch and return its digest; None when nothing was rendered or failed.

        Args:
            why: Why it ends.
            tally: How the pairs and files of the run have ended.
            wall: Seconds since 1970.
        """
        ends = tally.since(self._mark) if self._began is not None else []
        if self._began is None or not any(end.status in ("done", "failed") for end in ends):
            return None
        self._mark = tally.mark
        failed = [(end.content, end.style) for end in ends if end.status == "failed"]
        found = (self._failures[pair] for pair in failed if pair in self._failures)
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
            **count_ended(ends).ended(),
            "failures": count_codes(ends),
            "first_failed": list(islice(found, MAX_FAILED)),
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
