"""Rows of the table of pairs, written within a transaction of the ledger; and a pair's name.

A name of the inbox may be used again for another photo. Column ``life`` numbers the photos that had
the name: 0 is the one that has it now, 1 the first that had it and left pictures, and so on.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain

from pipeline.errors import OutputError
from pipeline.jobs.job import MARKS, Job, JobState, Output, outputs_as_json
from pipeline.ledger.database import Database, Row
from pipeline.ledger.records import Staged
from pipeline.system.file_names import fold_name

# Whether another program's file has a name in the outbox, given what a pair has published before.
Taken = Callable[[str, Sequence[Output]], bool]

_PRESENT = "content = ? AND style = ? AND life = 0"


class PairRows:
    """Reads and writes single rows of pairs; each write is part of the caller's transaction."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock

    def find(self, content: str, style: str, job: str = "", life: int = 0) -> Row | None:
        """The row of a job, even if another photo has the name now; without a job, of a life."""
        which, value = ("job = ?", job) if job else ("life = ?", life)
        sql = f"SELECT * FROM pairs WHERE content = ? AND style = ? AND {which}"  # noqa: S608  # of our own words
        return self._db.one(sql, os.fsencode(content), style, value)

    def count_lives(self, content: str, style: str) -> int:
        """How many photos with pictures had this name before the present one."""
        sql = "SELECT max(life) FROM pairs WHERE content = ? AND style = ?"
        row = self._db.one(sql, os.fsencode(content), style)
        return int(row[0] or 0) if row else 0

    def life_of(self, job: Job) -> int | None:
        """Which of the photos that had this name is the job's; None: a new one."""
        sql = "SELECT life FROM pairs WHERE content = ? AND style = ? AND ? IN (sha256, restored)"
        row = self._db.one(sql, os.fsencode(job.content), job.style, job.sha256)
        return row["life"] if row else None

    def put(self, job: Job, state: JobState, **columns: object) -> None:
        """Write a pair's row for this job; keeps name and pictures of earlier jobs."""
        self._make_way(job)
        reset = {
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
            **(reset | columns),
        }
        self._db.upsert("pairs", ("content", "style", "life"), values)

    def change(
        self, content: str, style: str, job: str, was: JobState, /, **columns: object
    ) -> int:
        """Change a pair, if it is still about this job and in this state; 1 if it was."""
        columns["updated"] = self._clock()
        sets = ", ".join(f"{name} = ?" for name in columns)
        return self._db.change(
            f"UPDATE pairs SET {sets} WHERE content = ? AND style = ? AND job = ? AND state = ?",  # noqa: S608  # of our own words
            *(*columns.values(), os.fsencode(content), style, job, was),
        )

    def assign_name(
        self,
        pair: Staged,
        names: Iterable[str],
        taken: Taken,
        was: JobState,
        /,
        **columns: object,
    ) -> Staged:
        """Give a pair the first name that no other pair and no other file has.

        The pictures are recorded as the pair's own before they are published, so that after a crash
        they are known to be the program's.
        """
        given = [pair.target] if pair.target else []
        key = (os.fsencode(pair.content), pair.style, pair.job)
        free = (name for name in chain(given, names) if not self._is_assigned(name, key))
        target = next((name for name in free if not taken(name, pair.previous)), None)
        if target is None:
            raise OutputError("every name in the outbox is taken", where=pair.content)
        ours = dict.fromkeys(
            (*pair.previous, *(output.with_stem(target) for output in pair.outputs))
        )
        self.change(
            pair.content,
            pair.style,
            pair.job,
            was,
            target=os.fsencode(target),
            target_key=fold_name(target),
            outputs=json.dumps(outputs_as_json(ours)),
            **columns,
        )
        return replace(pair, target=target, previous=tuple(ours))

    def _is_assigned(self, name: str, key: tuple[bytes, str, str]) -> bool:
        """Whether another pair's files, such as x.png and x.enhanced.png, would meet this one's."""
        key_name, marks = fold_name(name), [fold_name(mark) for mark in MARKS.values()]
        rivals = {(key_name + mark).removesuffix(other) for mark in marks for other in marks}
        # "<> x''" lets SQLite use the index, which leaves out pairs without a name.
        sql = f"""
            SELECT 1 FROM pairs
            WHERE target_key IN ({", ".join("?" * len(rivals))}) AND target_key <> x''
                AND (content, style, job) <> (?, ?, ?)
            """  # noqa: S608  # of our own words
        return self._db.one(sql, *rivals, *key) is not None

    def _make_way(self, job: Job) -> None:
        """Make the present row of a pair (life 0) the one of this photo.

        A closed row of another photo that has pictures in the outbox gets a life number of its own.
        If this photo had left the inbox before, its row becomes the present one again.
        """
        present = self.find(job.content, job.style)
        if present is None or job.sha256 in (present["sha256"], present["restored"]):
            return
        key = (os.fsencode(job.content), job.style)
        own = self.life_of(job)
        if own is None and not present["closed"]:
            return  # the photo was edited in place, and its pictures will be replaced
        if present["target"]:
            # A queued or running pair has lost its photo; a staged one will be published.
            state = "CASE WHEN state IN ('queued', 'running') THEN 'skipped' ELSE state END"
            sql = f"UPDATE pairs SET life = ?, closed = 1, state = {state} WHERE "  # noqa: S608  # of our own words
            last = self.count_lives(job.content, job.style) + 1
            self._db.change(f"{sql}{_PRESENT}", last, *key)
            self._db.change(f"UPDATE versions SET life = ? WHERE {_PRESENT}", last, *key)  # noqa: S608  # of our own words
        else:
            self._db.change(f"DELETE FROM pairs WHERE {_PRESENT}", *key)  # noqa: S608  # of our own words
        if own is not None:
            for table in ("pairs", "versions"):
                sql = f"UPDATE {table} SET life = 0 WHERE content = ? AND style = ? AND life = ?"  # noqa: S608  # of our own words
                self._db.change(sql, *key, own)
