"""Rows of the jobs database, written and read within a transaction. The ledger is made of these."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from pipeline.database import BUSY_SECONDS, Database, Row
from pipeline.jobs import Job, JobState


class Tables:
    """The open database; a context manager."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._db = Database(path, read_only=read_only, busy_seconds=busy_seconds)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; a second time does nothing."""
        self._db.close()

    def _put(self, job: Job, state: JobState, **columns: object) -> None:
        """Write a pair's row for this job; name and published pictures of earlier jobs stay."""
        fresh = {
            "seconds": 0.0,
            "device": "",
            "code": "",
            "message": "",
            "staged": "{}",
            "losses": "{}",
            "faults": 0,
            "next_at": 0.0,
            "restored": "",
        }
        values: dict[str, object] = {
            "content": os.fsencode(job.content),
            "style": job.style,
            "job": job.id,
            "sha256": job.sha256,
            "recipe": job.recipe.digest,
            "state": state,
            "attempt": job.attempt,
            "updated": self._clock(),
            **(fresh | columns),
        }
        self._upsert("pairs", ("content", "style"), values)

    def _upsert(self, table: str, key: tuple[str, ...], values: Mapping[str, object]) -> None:
        sets = ", ".join(f"{name} = excluded.{name}" for name in values if name not in key)
        self._db.change(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) "  # noqa: S608  # of our own words
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}",
            *values.values(),
        )

    def _change(
        self, content: str, style: str, job: str, was: JobState, /, **columns: object
    ) -> int:
        """Change a pair, if it is still about this job and in this state; 1 if it was."""
        columns["updated"] = self._clock()
        sets = ", ".join(f"{name} = ?" for name in columns)
        return self._db.change(
            f"UPDATE pairs SET {sets} WHERE content = ? AND style = ? AND job = ? AND state = ?",  # noqa: S608  # of our own words
            *(*columns.values(), os.fsencode(content), style, job, was),
        )

    def _row(self, content: str, style: str) -> Row | None:
        sql = "SELECT * FROM pairs WHERE content = ? AND style = ?"
        return self._db.one(sql, os.fsencode(content), style)
