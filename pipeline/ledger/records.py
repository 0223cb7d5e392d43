"""Rows of the ledger as plain, frozen values."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from pipeline.errors import Failure, Reason
from pipeline.jobs.job import JobState, Output
from pipeline.ledger.database import Row


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
    def summary(self) -> str:
        """How it was made, in a few words; the pictures themselves record all of it."""
        plain = next((o for o in self.outputs if o.kind == "stylized"), None)
        size = [f"{plain.width} x {plain.height} px"] if plain else []
        options = self.line.get("options", {})
        style = options.get("styles", {}).get(self.style, {})
        paintings = ", ".join(PurePath(image).name for image in style.get("images", {}))
        steps = style.get("transfer", {}).get("steps")
        return ", ".join([
            self.style + (f" ({paintings})" if paintings else ""),
            *size,
            *([f"steps {'/'.join(map(str, steps))}"] if steps else []),
            *([f"seed {options['seed']}"] if "seed" in options else []),
            *([f"recipe {self.recipe}"] if self.recipe else []),
        ])  # fmt: skip


@dataclass(frozen=True, slots=True)
class SeenFile:
    """One file of the inbox as last examined; ``failure`` where it was refused."""

    content: str
    stamp: str
    sha256: str
    status: Literal["", "failed", "skipped"]
    failure: Failure | None


def published_of(row: Row) -> tuple[Output, ...]:
    """What a pair has published, or is about to."""
    return _outputs(json.loads(row["outputs"]))


def pair_of(row: Row) -> Pair:
    return Pair(
        content=os.fsdecode(row["content"]),
        style=row["style"],
        job=row["job"],
        sha256=row["sha256"],
        recipe=row["recipe"],
        state=JobState(row["state"]),
        attempt=row["attempt"],
        target=os.fsdecode(row["target"]),
        outputs=published_of(row),
        losses=json.loads(row["losses"]),
        seconds=row["seconds"],
        device=row["device"],
        failure=_failure(row),
        updated=row["updated"],
        restored=row["restored"],
        closed=bool(row["closed"]),
    )


def staged_of(row: Row) -> Staged:
    waiting = json.loads(row["staged"])
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
    return Version(
        id=row["id"],
        content=os.fsdecode(row["content"]),
        style=row["style"],
        job=row["job"],
        sha256=row["sha256"],
        recipe=row["recipe"],
        made=row["made"],
        kept=row["kept"],
        outputs=_outputs(json.loads(row["outputs"])),
        line=json.loads(row["line"]),
        life=row["life"],
    )


def seen_file_of(row: Row) -> SeenFile:
    content = os.fsdecode(row["content"])
    return SeenFile(content, row["stamp"], row["sha256"], row["status"], _failure(row))


def _failure(row: Row) -> Failure | None:
    return Failure(Reason(row["code"]), row["message"]) if row["code"] else None


def _outputs(values: list[dict[str, Any]]) -> tuple[Output, ...]:
    return tuple(Output(**value) for value in values)
