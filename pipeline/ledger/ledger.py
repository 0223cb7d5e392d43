"""The ledger: files seen, attempts and results, kept so that kill -9 and power cuts lose nothing.

One process writes, any number may read. The methods that change a pair's state, and the state that
the next start finds if the program is killed then:

    begin      the attempt is counted before the work starts      running: rendered again
    stage      pictures, final name and log line are decided      staged: published, not rendered
    (Outbox.publish)
    finish     done; the log line waits in the table ``log``      staged, or done
    log.flush  the line stands in runs.jsonl and is deleted here  appended once, see RunLog.append

``begin`` and ``stage`` reach the disk before they return. ``finish`` need not: if a power cut
takes it back, publishing and finishing the staged pair again has the same result.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pipeline.errors import Failure, Reason, StateError
from pipeline.jobs.job import Job, JobResult, JobState, Output, outputs_as_json
from pipeline.jobs.plan import KnownPair
from pipeline.ledger.database import BUSY_SECONDS, Database, Row
from pipeline.ledger.files import Files
from pipeline.ledger.history import History
from pipeline.ledger.log_queue import Line, LogQueue
from pipeline.ledger.pair_rows import PairRows, Taken
from pipeline.ledger.records import (
    Pair,
    Staged,
    pair_of,
    published_of,
    staged_of,
    state_of,
)
from pipeline.ledger.repair import repair

FILE = "jobs.sqlite3"  # in the state folder


class Ledger:
    """The jobs database; a context manager.

    Its own methods are about pairs; each is one transaction. ``files`` is about the files of the
    inbox, ``history`` about current and earlier sets of pictures, ``log`` about lines for the run
    log.

    Args:
        path: The database file; it and its folder are made if missing.
        read_only: Creates and changes nothing, and works beside a running writer.
        clock: The time of day in seconds since 1970.
        busy_seconds: How long one statement waits for another program that holds the database.

    Raises:
        StateError: From every method, when the database is damaged, foreign, busy, on a full disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._db = Database(path, read_only=read_only, busy_seconds=busy_seconds)
        self._rows = PairRows(self._db, clock)
        self.log = LogQueue(self._db)
        self.files = Files(self._db, self.log)
        self.history = History(self._db, self._rows, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; a second time does nothing."""
        self._db.close()

    def revision(self) -> tuple[int, int]:
        """Changes whenever a process, this one included, has written to the ledger."""
        return self._db.revision()

    # --- the states of a pair -----------------------------------------------------------

    def begin(self, job: Job) -> Job | None:
        """Count an attempt at a job, before any work on it.

        Returns:
            The job with its attempt; None where another process (`restore`) has asked for an
            earlier version in its place since this was planned.
        """
        with self._db.write():
            present = self._rows.find(job.content, job.style)
            if present is not None and _restored(present, job.sha256):
                return None
            row = self._rows.find(job.content, job.style, job.id)
            same = row is not None
            before, faults = (row["attempt"], row["faults"]) if row and same else (0, 0)
            counted = replace(job, attempt=before + 1, caution=faults)
            # Its last failure is kept while it runs, to be compared with the next one.
            kept = {"code": row["code"], "message": row["message"]} if row and faults else {}
            self._rows.put(counted, JobState.RUNNING, faults=faults, **kept)
        return counted

    def stage(self, result: JobResult, line: Line, names: Iterable[str], taken: Taken) -> Staged:
        """Decide the names under which a finished rendering will be published.

        Args:
            result: Its outputs lie in the staging folder.
            line: The run log line of the finished job; :meth:`finish` fills in ``outputs``.
            names: Without suffix, best first; a name given to the pair before precedes them.
            taken: Whether a file that is not ours has a name in the outbox.
        """
        job = result.job
        waiting = {"outputs": outputs_as_json(result.outputs), "line": dict(line)}
        ended = {
            "state": JobState.STAGED,
            "staged": json.dumps(waiting),
            "losses": json.dumps(dict(result.losses)),
            "seconds": result.seconds,
            "device": result.device,
        }
        with self._db.write():
            row = self._rows.find(job.content, job.style, job.id)
            if row is None or row["state"] != JobState.RUNNING:
                raise StateError(f"job {job.id} is not running", where=str(self._db.path))
            name, before = os.fsdecode(row["target"]), published_of(row)
            key = (job.content, job.style, job.id, row["attempt"])
            staged = Staged(*key, name, result.outputs, before)
            return self._rows.assign_name(staged, names, taken, JobState.RUNNING, **ended)

    def rename(self, staged: Staged, names: Iterable[str], taken: Taken) -> Staged:
        """Give a staged pair another name if another file has taken its own in the meantime."""
        with self._db.write():
            return self._rows.assign_name(staged, names, taken, JobState.STAGED)

    def finish(
        self, staged: Staged, outputs: Sequence[Output], kept: Sequence[Output] = ()
    ) -> dict[str, Any] | None:
        """Record a pair as done: ``outputs`` stand in the outbox.

        Args:
            staged: What was published.
            outputs: The pictures that stand now.
            kept: Those they replaced, where they are now; none: they are gone.

        Returns:
            The run log line; None if it was done before, and nothing changed.
        """
        published = outputs_as_json(outputs)
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        with self._db.write(synced=False):
            row = self._rows.find(staged.content, staged.style, staged.job)
            done = {"state": JobState.DONE, "outputs": json.dumps(published), "staged": "{}"}
            no_failure = {"code": "", "message": "", "faults": 0}
            if row is None or not self._rows.change(*key, **done, **no_failure):
                return None
            line: dict[str, Any] = json.loads(row["staged"])["line"] | {"outputs": published}
            self.history.record(
                staged, row["sha256"], row["recipe"], line, outputs, kept, row["life"]
            )
            self.log.insert(line)
        return line

    def settle(self, result: JobResult, line: Line) -> None:
        """Record that a pair ended without pictures: failed or skipped. It need not have begun."""
        error = result.error
        with self._db.write():
            self._rows.put(
                result.job,
                JobState(result.status),
                seconds=result.seconds,
                device=result.device,
                code=error.code if error else "",
                message=error.message if error else "",
            )
            self.log.insert(line)

    def give_back(self, job: Job) -> None:
        """Put a job back that was interrupted through no fault of its own; it costs no attempt."""
        attempt = max(job.attempt - 1, 0)
        key = (job.content, job.style, job.id, JobState.RUNNING)
        with self._db.write():
            self._rows.change(*key, state=JobState.QUEUED, attempt=attempt)

    def postpone(self, job: Job, failure: Failure, times: int, next_at: float) -> None:
        """Record that a job failed and will be tried again, not before a time of day."""
        error = {"code": failure.code, "message": failure.message}
        with self._db.write():
            self._rows.put(job, JobState.QUEUED, **error, faults=times, next_at=next_at)

    def redo(self, staged: Staged) -> None:
        """Queue a pair again, because its staged pictures are lost; it costs no attempt."""
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        attempt = max(staged.attempt - 1, 0)
        with self._db.write():
            self._rows.change(*key, state=JobState.QUEUED, staged="{}", attempt=attempt)

    def skip_removed(self, pair: Pair, failure: Failure, line: Line) -> None:
        """Record a failed pair as skipped, because its photo was taken out of the inbox."""
        key = (pair.content, pair.style, pair.job, JobState.FAILED)
        columns = {"code": failure.code, "message": failure.message, "attempt": 0, "faults": 0}
        with self._db.write():
            if self._rows.change(*key, state=JobState.SKIPPED, **columns):
                self.log.insert(line)

    def prune(self, pair: Pair, kept: Sequence[Output], failure: Failure, line: Line) -> None:
        """Record that the pictures of a pair were removed, because no rule wants them any more.

        The pair keeps its name in the outbox. If a rule wants it again, it is painted again.

        Args:
            pair: The pair; another process has changed it meanwhile: nothing is recorded.
            kept: Its pictures where they are now, as an earlier version; none: they are gone.
            failure: Why.
            line: For the run log.
        """
        key = (pair.content, pair.style, pair.job, pair.state)
        reason = {"code": failure.code, "message": failure.message, "attempt": 0, "faults": 0}
        empty = {"outputs": "[]", "staged": "{}", "restored": ""}
        with self._db.write():
            if self._rows.change(*key, state=JobState.SKIPPED, **reason, **empty):
                self.history.retire(pair, kept)
                self.log.insert(line)

    def retry(self, jobs: Collection[str] | None = None) -> int:
        """Put jobs and files back into the queue, with all their attempts; returns how many.

        Args:
            jobs: Ids of failed or skipped jobs, or of done ones whose pictures are wanted again;
                or files (relative to the inbox) that failed, themselves or with some style, or
                of which an earlier version was restored. None: everything that failed.
        """
        ended = (JobState.FAILED, JobState.SKIPPED, JobState.DONE)
        reset = {
            "attempt": 0,
            "faults": 0,
            "next_at": 0,
            "code": "",
            "message": "",
            "restored": "",
        }
        chosen = [
            pair
            for pair in self.pairs(*ended)
            if (pair.state is JobState.FAILED and (jobs is None or pair.content in jobs))
            or (jobs is not None and pair.job in jobs)
            or (jobs is not None and pair.restored and pair.content in jobs)
        ]
        with self._db.write():
            count = self.files.forget_failed(jobs)
            for pair in chosen:
                key = (pair.content, pair.style, pair.job, pair.state)
                count += self._rows.change(*key, state=JobState.QUEUED, **reset)
        return count

    # --- photos that leave the inbox, and names that are used again ---------------------

    def close_photo(self, content: str, sha256: str) -> None:
        """Record that a photo leaves the inbox: its pictures stay whatever gets its name next.

        So do those of the same photo under another name, which may be all that there is of it.
        Call it before the photo leaves; :meth:`reopen_photos` undoes it if the photo stayed.
        """
        with self._db.write():
            sql = "UPDATE pairs SET closed = 1 WHERE closed = 0 AND"
            self._db.change(f"{sql} content = ?", os.fsencode(content))
            self._db.change(f"{sql} sha256 = ? AND sha256 <> ''", sha256)

    def close_missing(self, present: Collection[str]) -> int:
        """The same for photos that people took out of the inbox: all but those present."""
        rows = self._db.all("SELECT DISTINCT content FROM pairs WHERE closed = 0")
        gone = [raw for (raw,) in rows if os.fsdecode(raw) not in present]
        if gone:
            with self._db.write():
                for raw in gone:
                    self._db.change("UPDATE pairs SET closed = 1 WHERE content = ?", raw)
        return len(gone)

    def reopen_photos(self, photos: Collection[tuple[str, str]]) -> None:
        """Record that these photos (content, sha256) lie in the inbox: changes are theirs."""
        with self._db.write(synced=False):
            for content, sha256 in photos:
                sql = """
                    UPDATE pairs SET closed = 0
                    WHERE content = ? AND life = 0 AND ? IN (sha256, restored)
                    """
                self._db.change(sql, os.fsencode(content), sha256)

    # --- after a crash ------------------------------------------------------------------

    def repair(self) -> list[str]:
        """Correct rows that cannot be understood; returns what was done about each."""
        return repair(self._db)

    def requeue_interrupted(self) -> list[Pair]:
        """Queue pairs that a crash interrupted again; their attempt counts. Returns them."""
        cut = self.pairs(JobState.RUNNING)
        with self._db.write():
            for pair in cut:
                key = (pair.content, pair.style, pair.job, JobState.RUNNING)
                self._rows.change(*key, state=JobState.QUEUED)
        return cut

    # --- reading ------------------------------------------------------------------------

    def known(self, content: str | None = None) -> dict[tuple[str, str], KnownPair]:
        """What the plan needs of every pair, or of those of one photo, by (content, style)."""
        pairs: dict[tuple[str, str], KnownPair] = {}
        sql = """
            SELECT content, style, life, closed, job, sha256, recipe, state, restored,
                outputs <> '[]'
            FROM pairs
            """
        of_one = () if content is None else (os.fsencode(content),)
        where = " WHERE content = ?" * len(of_one)
        for row in self._db.all(f"{sql}{where} ORDER BY content, style, life", *of_one):
            raw, style, life, closed, job, sha256, recipe, state, restored, pictured = row
            name, flags = os.fsdecode(raw), (bool(closed), bool(pictured))
            one = KnownPair(job, sha256, recipe, state_of(state), name, restored, *flags)
            if not life:
                pairs[name, style] = one
            elif present := pairs.get((name, style)):
                present.earlier.update({photo: one for photo in (sha256, restored) if photo})
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

    def counts(self) -> dict[JobState, int]:
        """How many pairs there are in each state; one with a draft only is still queued."""
        rows = self._db.all("SELECT state, count(*) FROM pairs GROUP BY state")
        counts = dict.fromkeys(JobState, 0)
        for state, count in rows:
            counts[state_of(state)] += count
        drafts = self.history.count_drafts()
        counts[JobState.DONE] -= drafts
        counts[JobState.QUEUED] += drafts
        return counts

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

    def count_lives(self, content: str, style: str) -> int:
        """How many photos had this name before the present one, and left pictures."""
        return self._rows.count_lives(content, style)

    def failures(self, job: Job | Staged, code: Reason) -> int:
        """How often in a row a job has failed for this reason so far."""
        name = job.id if isinstance(job, Job) else job.job
        row = self._rows.find(job.content, job.style, name)
        same = row is not None and row["code"] == code
        return int(row["faults"]) if row and same else 0

    def retry_times(self) -> dict[str, float]:
        """The time of day before which jobs that failed are not tried again."""
        sql = "SELECT job, next_at FROM pairs WHERE state = 'queued' AND next_at > 0"
        return {row["job"]: row["next_at"] for row in self._db.all(sql)}

    def staged(self) -> list[Staged]:
        """Pairs that were rendered and not yet seen published, oldest first."""
        rows = self._db.all("SELECT * FROM pairs WHERE state = 'staged' ORDER BY updated")
        return [staged for row in rows if (staged := staged_of(row))]


def _restored(row: Row, photo: str) -> bool:
    """Whether an earlier version stands, or is about to, in place of what this photo would get."""
    if row["state"] == JobState.STAGED:
        staged = staged_of(row)
        return bool(staged and staged.restores)
    here = (row["restored"], row["sha256"])
    return bool(row["state"] == JobState.DONE and row["restored"] and photo in here)
