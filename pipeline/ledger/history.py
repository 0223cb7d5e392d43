"""Finished sets of pictures of each pair: the current one, and earlier ones that were kept."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import StateError
from pipeline.jobs.job import Job, JobState, Output, outputs_as_json
from pipeline.ledger.database import Database
from pipeline.ledger.pair_rows import PairRows, Taken
from pipeline.ledger.records import JOB_COLUMNS, Pair, Staged, Version, published_of, version_of

# Long parts of a line of the run log that a list of versions does not need.
_LONG = frozenset({"curve", "enhanced", "outputs", "error"})


class History:
    """The part of the ledger about current and earlier sets of pictures (versions)."""

    def __init__(self, db: Database, rows: PairRows, clock: Callable[[], float]) -> None:
        self._db = db
        self._rows = rows
        self._clock = clock

    def current(self, content: str, style: str, life: int = 0) -> Version | None:
        """The set of a pair that is in the outbox now."""
        sql = "SELECT * FROM versions WHERE content = ? AND style = ? AND life = ? AND kept = 0"
        row = self._db.one(sql, os.fsencode(content), style, life)
        return version_of(row) if row else None

    def count_drafts(self) -> int:
        """How many finished pairs have a draft only."""
        sql = """
            SELECT count(*) FROM versions JOIN pairs USING (content, style, life, job)
            WHERE kept = 0 AND state = 'done' AND instr(line, '"draft": true')
            """
        ((count,),) = self._db.all(sql)
        return int(count)

    def are_drafts(self) -> dict[str, bool]:
        """Of the jobs of all current sets, whether each is a draft."""
        sql = """SELECT job, instr(line, '"draft": true') > 0 FROM versions WHERE kept = 0"""
        return {job: bool(draft) for job, draft in self._db.all(sql)}

    def count_pictures(self) -> tuple[int, int, int]:
        """How many current sets there are, of how many photos, in how many styles."""
        sql = """
            SELECT count(*), count(DISTINCT content), count(DISTINCT style)
            FROM versions WHERE kept = 0
            """
        ((sets, photos, styles),) = self._db.all(sql)
        return sets, photos, styles

    def is_draft(self, pair: Pair) -> bool:
        """Whether the pictures of a finished pair are a draft."""
        sql = "SELECT * FROM versions WHERE content = ? AND style = ? AND kept = 0 AND job = ?"
        row = self._db.one(sql, os.fsencode(pair.content), pair.style, pair.job)
        return row is not None and version_of(row).draft

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
        """Delete the row of an earlier set whose files were removed."""
        with self._db.write(synced=False):
            self._db.change("DELETE FROM versions WHERE id = ? AND kept > 0", version.id)

    def current_ids(self) -> set[str]:
        """Ids of all sets that are in the outbox now."""
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
        """Record, within a transaction, the new current set of a pair; ``kept``: the one before."""
        self.retire(replace(staged, life=life), kept)
        pair = {"content": os.fsencode(staged.content), "style": staged.style, "life": life}
        published = json.dumps(outputs_as_json(outputs))
        if staged.restores:
            sql = "UPDATE versions SET kept = 0, outputs = ?, bytes = 0 WHERE id = ?"
            self._db.change(sql, published, staged.restores)
            return
        short = {name: value for name, value in line.items() if name not in _LONG}
        self._insert(
            _id(staged, str(line.get("ts", ""))),
            **pair,
            job=staged.job,
            sha256=photo,
            recipe=recipe,
            made=self._clock(),
            kept=0.0,
            outputs=published,
            bytes=0,
            line=json.dumps(short),
        )

    def retire(self, pair: Pair | Staged, kept: Sequence[Output]) -> None:
        """Record, within a transaction, that the current set of a pair is in the outbox no more.

        Args:
            pair: The pair.
            kept: Its pictures where they are now, as an earlier version; none: they are gone.
        """
        now, last = self._clock(), self._db.one("SELECT max(kept) AS kept FROM versions")
        if last is not None and last["kept"]:
            now = max(now, last["kept"] + 1e-6)  # in order, even if the clock was set back
        before = self.current(pair.content, pair.style, pair.life)
        size, pictures = sum(output.bytes for output in kept), json.dumps(outputs_as_json(kept))
        if before and kept:
            sql = "UPDATE versions SET kept = ?, outputs = ?, bytes = ? WHERE id = ?"
            self._db.change(sql, now, pictures, size, before.id)
        elif before:
            self._db.change("DELETE FROM versions WHERE id = ?", before.id)
        elif kept:  # a set that was staged by a version of the program without this table
            key = {"content": os.fsencode(pair.content), "style": pair.style, "life": pair.life}
            unknown = {"job": "", "sha256": "", "recipe": ""}
            columns = key | unknown | {"made": now, "kept": now, "outputs": pictures}
            self._insert(_id(pair, "before"), **columns, bytes=size)

    def _insert(self, version: str, **columns: object) -> None:
        self._db.upsert("versions", ("id",), {"id": version, **columns})

    def restore(
        self,
        version: Version,
        files: Sequence[Output],
        line: Mapping[str, Any],
        names: Iterable[str],
        taken: Taken,
    ) -> Staged:
        """Stage an earlier version of a pair, to be published in place of the present one.

        From then on it is published like every staged pair, also after a crash or a pause. Once it
        is done, the planner leaves the pair alone until `retry`, or until the photo changes.

        Args:
            version: The earlier version.
            files: Its pictures at their present absolute paths.
            line: For the run log.
            names: As for `Ledger.stage`.
            taken: As for `Ledger.stage`.
        """
        with self._db.write():
            row = self._rows.find(version.content, version.style, life=version.life)
            if row is None or row["state"] == JobState.STAGED:
                where = f"{version.content} x {version.style}"
                what = "its pictures are being published now"
                raise StateError(what, where=where, hint="try again in a moment")
            before = {name: row[name] for name in JOB_COLUMNS}
            if row["state"] == JobState.RUNNING:
                before["state"] = JobState.QUEUED
            waiting = {
                "outputs": outputs_as_json(files),
                "line": dict(line),
                "restores": version.id,
                "before": before,
            }
            columns = {
                "state": JobState.STAGED,
                "staged": json.dumps(waiting),
                "job": version.job or version.id,
                "sha256": version.sha256,
                "recipe": version.recipe,
                "attempt": 0,
                "seconds": line.get("seconds", 0.0),
                "device": line.get("device", ""),
                "losses": json.dumps(line.get("losses", {})),
                "restored": row["restored"] or row["sha256"],
            }
            name, ours = os.fsdecode(row["target"]), published_of(row)
            key = (version.content, version.style, row["job"], 0)
            pair = Staged(*key, name, tuple(files), ours, version.id)
            pair = self._rows.assign_name(pair, names, taken, JobState(row["state"]), **columns)
            return replace(pair, job=version.job or version.id)

    def cancel_restore(self, staged: Staged) -> None:
        """Undo :meth:`restore`: the earlier version cannot be published."""
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        with self._db.write():
            row = self._rows.find(staged.content, staged.style, staged.job)
            if row is not None:
                self._rows.change(*key, staged="{}", **json.loads(row["staged"])["before"])


def _id(pair: Pair | Staged, when: str) -> str:
    """12 hexadecimal digits; the same however often a staged set is finished."""
    key = "\0".join((pair.content, pair.style, pair.job, when))
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
