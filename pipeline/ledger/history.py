"""Finished sets of pictures of each pair: the current one, and earlier ones that were kept."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.jobs.job import Job, Output, outputs_as_json
from pipeline.ledger.database import Database
from pipeline.ledger.pair_rows import PairRows
from pipeline.ledger.records import Staged, Version, version_of

# Most of a line of the run log, and of no use in a list of versions.
_LONG = frozenset({"curve", "enhanced", "outputs", "error"})


class History:
    """The part of the ledger that knows current and earlier versions."""

    def __init__(self, db: Database, rows: PairRows, clock: Callable[[], float]) -> None:
        self._db = db
        self._rows = rows
        self._clock = clock

    def current(self, content: str, style: str, life: int = 0) -> Version | None:
        """The set of a pair that stands in the outbox."""
        sql = "SELECT * FROM versions WHERE content = ? AND style = ? AND life = ? AND kept = 0"
        row = self._db.one(sql, os.fsencode(content), style, life)
        return version_of(row) if row else None

    def replaced_by(self, job: Job) -> Version | None:
        """The set that a job's pictures would replace."""
        return self.current(job.content, job.style, self._rows.life_of(job) or 0)

    def earlier(self, content: str | None = None) -> list[Version]:
        """Earlier sets that were kept, of one photo or of all; latest first."""
        of_one = () if content is None else (os.fsencode(content),)
        test = " AND content = ?" * len(of_one)
        sql = f"SELECT * FROM versions WHERE kept > 0{test} ORDER BY kept DESC, id"  # noqa: S608  # of our own words
        return [version_of(row) for row in self._db.all(sql, *of_one)]

    def size_of_earlier(self) -> tuple[int, int]:
        """How many earlier sets there are, and their bytes."""
        sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM versions WHERE kept > 0"
        ((count, size),) = self._db.all(sql)
        return count, size

    def surplus(self, per_pair: int, most_bytes: int) -> list[Version]:
        """Earlier sets beyond a bound for each pair and for the bytes of all, oldest first."""
        sql = """
            SELECT * FROM (
                SELECT *,
                    row_number() OVER (PARTITION BY content, style, life ORDER BY kept DESC, id)
                        AS place,
                    sum(bytes) OVER (ORDER BY kept DESC, id) AS total
                FROM versions WHERE kept > 0)
            WHERE place > ? OR total > ? ORDER BY kept, id DESC
            """
        return [version_of(row) for row in self._db.all(sql, per_pair, most_bytes)]

    def forget(self, version: Version) -> None:
        """An earlier set has been removed."""
        with self._db.write(synced=False):
            self._db.change("DELETE FROM versions WHERE id = ? AND kept > 0", version.id)

    def current_ids(self) -> set[str]:
        """Ids of all sets that stand in the outbox."""
        return {row["id"] for row in self._db.all("SELECT id FROM versions WHERE kept = 0")}

    def record(
        self,
        staged: Staged,
        photo: str,
        recipe: str,
        line: Mapping[str, Any],
        outputs: Sequence[Output],
        kept: Sequence[Output],
        life: int,
    ) -> None:
        """Within a transaction: a pair has a new current set; the one before it was kept or not."""
        now, last = self._clock(), self._db.one("SELECT max(kept) AS kept FROM versions")
        if last is not None and last["kept"]:
            now = max(now, last["kept"] + 1e-6)  # in order, even if the clock was set back
        key = (os.fsencode(staged.content), staged.style)
        before = self.current(staged.content, staged.style, life)
        if before and kept:
            size = sum(output.bytes for output in kept)
            sql = "UPDATE versions SET kept = ?, outputs = ?, bytes = ? WHERE id = ?"
            self._db.change(sql, now, json.dumps(outputs_as_json(kept)), size, before.id)
        elif before:
            self._db.change("DELETE FROM versions WHERE id = ?", before.id)
        elif kept:  # a set that was staged by a version of the program without this table
            values = {"content": key[0], "style": key[1], "job": "", "sha256": "", "recipe": "",
                      "life": life}  # fmt: skip
            self._db.upsert(
                "versions",
                ("id",),
                {"id": _id(staged, "before"), **values, "made": now, "kept": now,
                 "outputs": json.dumps(outputs_as_json(kept)), "bytes": sum(o.bytes for o in kept)},
            )  # fmt: skip
        published = json.dumps(outputs_as_json(outputs))
        if staged.restores:
            sql = "UPDATE versions SET kept = 0, outputs = ?, bytes = 0 WHERE id = ?"
            self._db.change(sql, published, staged.restores)
            return
        short = {name: value for name, value in line.items() if name not in _LONG}
        values = {"content": key[0], "style": key[1], "job": staged.job, "sha256": photo,
                  "life": life}  # fmt: skip
        self._db.upsert(
            "versions",
            ("id",),
            {"id": _id(staged, str(line.get("ts", ""))), **values, "recipe": recipe,
             "made": self._clock(), "kept": 0.0, "outputs": published, "bytes": 0,
             "line": json.dumps(short)},
        )  # fmt: skip


def _id(staged: Staged, when: str) -> str:
    """12 hexadecimal digits; the same however often a staged set is finished."""
    key = "\0".join((staged.content, staged.style, staged.job, when))
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
