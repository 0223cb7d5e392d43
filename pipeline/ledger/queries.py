"""Questions to the ledger about pairs; nothing here changes anything."""

import os
from typing import Any

from pipeline.errors import Reason
from pipeline.jobs.job import Job, JobState
from pipeline.jobs.plan import Known
from pipeline.ledger.records import Pair, Staged, pair_of, staged_of
from pipeline.ledger.tables import Tables


class Lookup(Tables):
    """The part of the ledger that tells what is known of pairs."""

    def known(self, content: str | None = None) -> dict[tuple[str, str], Known]:
        """What the plan needs of every pair, or of those of one photo, by (content, style)."""
        states = {state.value: state for state in JobState}
        pairs: dict[tuple[str, str], Known] = {}
        sql = "SELECT content, style, life, closed, job, sha256, recipe, state, restored FROM pairs"
        of_one = () if content is None else (os.fsencode(content),)
        where = " WHERE content = ?" * len(of_one)
        for row in self._db.all(f"{sql}{where} ORDER BY content, style, life", *of_one):
            raw, style, life, closed, job, sha256, recipe, state, restored = row
            name = os.fsdecode(raw)
            one = Known(job, sha256, recipe, states[state], name, restored, bool(closed))
            if not life:
                pairs[name, style] = one
            elif present := pairs.get((name, style)):
                present.past.update({photo: one for photo in (sha256, restored) if photo})
        return pairs

    def closed(self) -> set[tuple[str, str]]:
        """Photos (content, SHA-256) that were the last of their name, and have left the inbox."""
        sql = """
            SELECT content, CASE restored WHEN '' THEN sha256 ELSE restored END FROM pairs
            WHERE closed = 1 AND life = 0
            """
        return {(os.fsdecode(raw), sha256) for raw, sha256 in self._db.all(sql)}

    def finished(self, sha256: str | None = None) -> dict[tuple[str, str, str], str]:
        """Content of each finished result, or of those of one photo, by (sha256, style, recipe)."""
        sql = "SELECT sha256, style, recipe, content FROM pairs WHERE state = 'done'"
        of_one = () if sha256 is None else (sha256,)
        rows = self._db.all(sql + " AND sha256 = ?" * len(of_one), *of_one)
        return {(sha, style, made): os.fsdecode(raw) for sha, style, made, raw in rows}

    def revision(self) -> tuple[int, int]:
        """Changes whenever anybody, here or in another process, has written to the ledger."""
        return self._db.revision()

    def counts(self) -> dict[JobState, int]:
        """How many pairs there are in each state."""
        rows = self._db.all("SELECT state, count(*) FROM pairs GROUP BY state")
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}

    def pairs(
        self, *states: JobState, content: str | None = None, limit: int | None = None
    ) -> list[Pair]:
        """Pairs in any of some states (none named: in all), latest change first."""
        tests, values = ["1"], list[Any](states)
        if states:
            tests.append(f"state IN ({', '.join('?' * len(states))})")
        if content is not None:
            tests.append("content = ?")
            values.append(os.fsencode(content))
        where = " AND ".join(tests)
        sql = f"SELECT * FROM pairs WHERE {where} ORDER BY updated DESC, content, style LIMIT ?"  # noqa: S608  # of our own words
        return [pair_of(row) for row in self._db.all(sql, *values, -1 if limit is None else limit)]

    def pair(self, content: str, style: str, sha256: str = "") -> Pair | None:
        """What is known of one pair: of the photo with these bytes, else of the present one."""
        sql = """
            SELECT * FROM pairs WHERE content = ? AND style = ?
            ORDER BY ? IN (sha256, restored) DESC, life LIMIT 1
            """
        row = self._db.one(sql, os.fsencode(content), style, sha256)
        return pair_of(row) if row else None

    def lives(self, content: str, style: str) -> int:
        """How many photos had this name before the present one, and left pictures."""
        return self._lives(os.fsencode(content), style)

    def failures(self, job: Job | Staged, code: Reason) -> int:
        """How often in a row a job has failed for this reason so far."""
        name = job.id if isinstance(job, Job) else job.job
        row = self._row(job.content, job.style, name)
        same = row is not None and row["code"] == code
        return int(row["faults"]) if row and same else 0

    def waits(self) -> dict[str, float]:
        """The time of day before which jobs that failed are not tried again."""
        sql = "SELECT job, next_at FROM pairs WHERE state = 'queued' AND next_at > 0"
        return {row["job"]: row["next_at"] for row in self._db.all(sql)}

    def staged(self) -> list[Staged]:
        """Pairs that were rendered and not yet seen published, oldest first."""
        rows = self._db.all("SELECT * FROM pairs WHERE state = 'staged' ORDER BY updated")
        return [staged_of(row) for row in rows]
