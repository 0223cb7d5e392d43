"""Rows of the ledger as plain, frozen values."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from pipeline.errors import Failure, Reason
from pipeline.jobs.job import JobState, Output
from pipeline.ledger.database import Row

Values = Row | Mapping[str, Any]  # the columns of a row


@dataclass(frozen=True, slots=True)
class Pair:
    """All that the ledger holds of one content image and one style."""

    content: str
    style: str
    job: str
    sha256: str
    recipe: str
    state: JobState
    attempt: int
    target: str  # stem in the outbox; "" until the first result
    outputs: tuple[Output, ...]  # as last published; while staged, also what is about to be
    losses: Mapping[str, float]
    seconds: float
    device: str
    failure: Failure | None
    updated: float  # seconds since 1970
    restored: str = ""  # SHA-256 of the photo for which an earlier version was restored
    closed: bool = False  # the photo has left the inbox
    life: int = 0  # which of the photos that had this name; 0: the present one


@dataclass(frozen=True, slots=True)
class Staged:
    """A rendered pair to be published: ``outputs`` as ``target``.

    ``previous`` is all that this pair may have published before.
    """

    content: str
    style: str
    job: str
    attempt: int
    target: str
    outputs: tuple[Output, ...]
    previous: tuple[Output, ...]
    restores: str = ""  # id of the earlier version that is restored
    life: int = 0  # which of the photos that had this name; 0: the present one


@dataclass(frozen=True, slots=True)
class Version:
    """One finished set of pictures of a pair: the current one, or an earlier one."""

    id: str
    content: str
    style: str
    job: str  # "" (as the next two) where a set is older than this record
    sha256: str  # of the photo
    recipe: str
    made: float  # seconds since 1970
    kept: float  # when it was replaced; 0: it stands in the outbox
    outputs: tuple[Output, ...]  # relative to the outbox
    line: Mapping[str, Any]  # of the run log
    life: int = 0  # which of the photos that had this name; 0: the present one

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(output.bytes for output in self.outputs)

    @property
    def draft(self) -> bool:
        """Whether it is a draft, which the full picture replaces."""
        return self.line.get("draft") is True

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the photo was not used as it is, a broken profile for example."""
        notes = self.line.get("notes")
        return tuple(map(str, notes)) if isinstance(notes, list) else ()

    @property
    def summary(self) -> str:
        """How it was made, in a few words; the pictures themselves record all of it."""
        options = _within(self.line, "options")
        style = _within(options, "styles", self.style)
        paintings = ", ".join(PurePath(image).name for image in _within(style, "images"))
        parts = [f"{self.style} ({paintings})" if paintings else self.style]
        plain = next((output for output in self.outputs if output.kind == "stylized"), None)
        if plain:
            parts.append(f"{plain.width} x {plain.height} px")
        steps = _within(style, "transfer").get("steps")
        if isinstance(steps, list):
            parts.append(f"steps {'/'.join(map(str, steps))}")
        if "seed" in options:
            parts.append(f"seed {options['seed']}")
        if self.recipe:
            parts.append(f"recipe {self.recipe}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SeenFile:
    """One file of the inbox as last examined; ``failure`` where it was refused."""

    content: str
    stamp: str
    sha256: str
    status: Literal["", "failed", "skipped"]
    failure: Failure | None


def _within(value: Any, *names: str) -> Mapping[str, Any]:
    """An object within others; empty where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


# Whatever a value that was damaged raises where it is read.
DAMAGED = (ValueError, TypeError, KeyError, RecursionError)

# Columns of a pair that are about its job: put back if an earlier version cannot be restored.
JOB_COLUMNS = (
    "state",
    "job",
    "sha256",
    "recipe",
    "attempt",
    "seconds",
    "device",
    "losses",
    "code",
    "message",
    "restored",
)
_NUMBERS = {"attempt", "seconds"}
# What every line of the run log has, among others.
OF_A_LINE = {"ts", "event", "content", "status", "seconds", "outputs", "error"}


# Each of the following reads a row that may be damaged (by hand, or by an odd upgrade): what cannot
# be understood is read as `correct_pair` and `correct_version` would write it.


def published_of(row: Row) -> tuple[Output, ...]:
    """What a pair has published, or is about to."""
    try:
        return parse_outputs(row["outputs"])
    except DAMAGED:
        return ()


def pair_of(row: Row) -> Pair:
    try:
        return _pair(row)
    except DAMAGED:
        return _pair({**row} | correct_pair(row))


def staged_of(row: Row) -> Staged | None:
    """What a pair's row says is to be published; None where it cannot be understood."""
    try:
        waiting = parse_staged(row["staged"])
    except DAMAGED:
        return None
    return Staged(
        content=os.fsdecode(row["content"]),
        style=row["style"],
        job=row["job"],
        attempt=row["attempt"],
        target=os.fsdecode(row["target"]),
        outputs=_outputs(waiting["outputs"]),
        previous=published_of(row),
        restores=waiting.get("restores", ""),
        life=row["life"],
    )


def version_of(row: Row) -> Version:
    try:
        return _version(row)
    except DAMAGED:
        return _version({**row} | correct_version(row))


def seen_file_of(row: Row) -> SeenFile | None:
    """What is known of a file; None where it cannot be understood."""
    content = os.fsdecode(row["content"])
    if row["status"] not in ("", "failed", "skipped"):
        return None
    try:
        return SeenFile(content, row["stamp"], row["sha256"], row["status"], _failure(row))
    except DAMAGED:
        return None


def correct_pair(row: Row) -> dict[str, object]:
    """The columns to change so that a pair's row can be understood; none where it can be.

    What is not known for certain any more is planned again.
    """
    changes: dict[str, object] = {}
    state, again = row["state"], "skipped" if row["life"] else "queued"
    lost = state == JobState.STAGED and not _is_good(parse_staged, row["staged"])
    if lost or state not in set(JobState):
        changes |= {"state": again, "staged": "{}"}
    if not _is_good(parse_outputs, row["outputs"]):
        changes["outputs"] = "[]"
        if state == JobState.DONE:
            changes["state"] = again
    if not _is_good(_losses, row["losses"]):
        changes["losses"] = "{}"
    if not _is_good(_failure, row):
        changes |= {"code": "", "message": ""}
        if state in (JobState.FAILED, JobState.SKIPPED):
            changes["state"] = again
    return changes


def correct_version(row: Row) -> dict[str, object]:
    """The same for a set of pictures. Without ``outputs`` there is nothing left of it."""
    changes: dict[str, object] = {}
    if not _is_good(parse_outputs, row["outputs"]):
        changes["outputs"] = "[]"
    if not _is_good(parse_object, row["line"]):
        changes["line"] = "{}"
    return changes


def parse_outputs(text: str) -> tuple[Output, ...]:
    """Pictures of a row. Raises one of ``DAMAGED``, as the next two."""
    return _outputs(json.loads(text))


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    found: dict[str, Any] = _checked(json.loads(text), dict)
    return found


def parse_staged(text: str) -> dict[str, Any]:
    """What waits to be published, all of it present and of the right kind."""
    waiting = parse_object(text)
    line = _checked(waiting["line"], dict)
    if not _outputs(waiting["outputs"]) or not line.keys() >= OF_A_LINE:
        raise ValueError("incomplete")
    _checked(line["status"], str)
    _checked(line["seconds"], float, int)
    _checked(line["error"] or {}, dict)
    if "restores" in waiting:
        before = _checked(waiting["before"], dict)
        _checked(waiting["restores"], str)
        if not before.keys() <= set(JOB_COLUMNS):
            raise ValueError("other columns")
        JobState(before["state"])
        for name, value in before.items():
            kinds = (int, float) if name in _NUMBERS else (str,)
            _checked(value, *kinds)
    return waiting


def _is_good(parse: Callable[[Any], object], value: object) -> bool:
    try:
        parse(value)
    except DAMAGED:
        return False
    return True


def state_of(text: str) -> JobState:
    """The state of a pair: one that is not known is planned again."""
    return JobState(text) if text in set(JobState) else JobState.QUEUED


def _pair(row: Values) -> Pair:
    return Pair(
        content=os.fsdecode(row["content"]),
        style=row["style"],
        job=row["job"],
        sha256=row["sha256"],
        recipe=row["recipe"],
        state=JobState(row["state"]),
        attempt=row["attempt"],
        target=os.fsdecode(row["target"]),
        outputs=parse_outputs(row["outputs"]),
        losses=_losses(row["losses"]),
        seconds=row["seconds"],
        device=row["device"],
        failure=_failure(row),
        updated=row["updated"],
        restored=row["restored"],
        closed=bool(row["closed"]),
        life=row["life"],
    )


def _version(row: Values) -> Version:
    return Version(
        id=row["id"],
        content=os.fsdecode(row["content"]),
        style=row["style"],
        job=row["job"],
        sha256=row["sha256"],
        recipe=row["recipe"],
        made=row["made"],
        kept=row["kept"],
        outputs=parse_outputs(row["outputs"]),
        line=parse_object(row["line"]),
        life=row["life"],
    )


def _failure(row: Values) -> Failure | None:
    return Failure(Reason(row["code"]), row["message"]) if row["code"] else None


def _losses(text: str) -> dict[str, float]:
    return {name: _checked(value, float, int) for name, value in parse_object(text).items()}


def _outputs(values: Any) -> tuple[Output, ...]:
    outputs = tuple(Output(**_checked(value, dict)) for value in _checked(values, list))
    for output in outputs:
        for text in (output.kind, output.path, output.sha256):
            _checked(text, str)
        for number in (output.bytes, output.width, output.height):
            _checked(number, int)
    return outputs


def _checked(value: Any, *kinds: type) -> Any:
    """The value, if it is of one of the kinds that are expected."""
    if type(value) not in kinds:
        raise TypeError(f"{value!r:.40} is not one of {kinds}")
    return value
