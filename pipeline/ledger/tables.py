"""Rows of the jobs database, written and read within a transaction. The ledger is made of these."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pipeline.jobs.job import Job, JobState
from pipeline.ledger.database import BUSY_SECONDS, Database, Row

_PRESENT = "content = ? AND style = ? AND life = 0"


def _photos(row: Row) -> tuple[str, str]:
    """The photo of a row, and the one for which an earlier version was brought back."""
    return row["sha256"], row["restored"]


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
        self._make_way(job)
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
            "life": 0,
            "closed": 0,
            **(fresh | columns),
        }
        self._upsert("pairs", ("content", "style", "life"), values)

    def _make_way(self, job: Job) -> None:
        """Let the present row of a pair be about this very photo.

        A closed row that is about another photo, and has pictures in the outbox, is kept aside;
        the photo's own row comes back if it was kept aside before.
        """
        present = self._row(job.content, job.style)
        if present is None or job.sha256 in _photos(present):
            return
        key = (os.fsencode(job.content), job.style)
        own = self._own_life(job)
        if own is None and not present["closed"]:
            return  # the photo was changed in its place, and its pictures will be replaced
        if present["target"]:
            # What waits in a queue or ran has no photo any more; what is staged will be published.
            state = "CASE WHEN state IN ('queued', 'running') THEN 'skipped' ELSE state END"
            sql = f"UPDATE pairs SET life = ?, closed = 1, state = {state} WHERE "  # noqa: S608  # of our own words
            last = self._lives(*key) + 1
            self._db.change(f"{sql}{_PRESENT}", last, *key)
            self._db.change(f"UPDATE versions SET life = ? WHERE {_PRESENT}", last, *key)  # noqa: S608  # of our own words
        else:
            self._db.change(f"DELETE FROM pairs WHERE {_PRESENT}", *key)  # noqa: S608  # of our own words
        if own is not None:
            for table in ("pairs", "versions"):
                sql = f"UPDATE {table} SET life = 0 WHERE content = ? AND style = ? AND life = ?"  # noqa: S608  # of our own words
                self._db.change(sql, *key, own)

    def _own_life(self, job: Job) -> int | None:
        """Which of the photos that had this name is the job's; None: it is a new one."""
        sql = "SELECT life FROM pairs WHERE content = ? AND style = ? AND ? IN (sha256, restored)"
        row = self._db.one(sql, os.fsencode(job.content), job.style, job.sha256)
        return row["life"] if row else None

    def _lives(self, raw: bytes, style: str) -> int:
        """How many photos had this name before the present one, and left pictures."""
        sql = "SELECT max(life) FROM pairs WHERE content = ? AND style = ?"
        row = self._db.one(sql, raw, style)
        return int(row[0] or 0) if row else 0

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

    def _row(self, content: str, style: str, job: str = "", life: int = 0) -> Row | None:
        """The present row of a pair, or that of a job, also where the name has passed on."""
        which, value = ("job = ?", job) if job else ("life = ?", life)
        sql = f"SELECT * FROM pairs WHERE content = ? AND style = ? AND {which}"  # noqa: S608  # of our own words
        return self._db.one(sql, os.fsencode(content), style, value)


Line = Mapping[str, object]  # one object of the run log


class Diary(Tables):
    """The part of the ledger that the run log is written from."""

    def note(self, line: Line) -> None:
        """A line for the run log that belongs to no pair and no file."""
        with self._db.write(synced=False):
            self._log(line)

    def flush_log(self, append: Callable[[Sequence[str], int], int]) -> int:
        """Hand the waiting lines to ``append(lines, confirmed end)``; returns how many.

        ``append`` (``RunLog.append``) skips lines that stand behind the confirmed end already, so
        a crash between its write and the commit here doubles nothing.
        """
        rows = self._db.all("SELECT id, line FROM log ORDER BY id")
        if not rows:
            return 0
        (confirmed,) = self._db.all("SELECT bytes FROM log_end")[0]
        end = append([row["line"] for row in rows], confirmed)
        with self._db.write(synced=False):
            self._db.change("DELETE FROM log WHERE id <= ?", rows[-1]["id"])
            self._db.change("UPDATE log_end SET bytes = ?", end)
        return len(rows)

    def _log(self, line: Line) -> None:
        self._db.change("INSERT INTO log (line) VALUES (?)", _as_json(line))


def _as_json(line: Line) -> str:
    """One ASCII line; a number that JSON does not know (NaN, infinity) becomes null."""
    text = json.dumps(line)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text
