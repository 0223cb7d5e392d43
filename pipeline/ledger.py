"""What was seen, tried and done; survives kill -9 and power cuts.

One process writes, any number read. The life of a pair, and what a crash leaves to the next start:

    begin      the attempt is counted before the work starts      running: made again
    stage      pictures, final name and log line are settled      staged: published, not made again
    (Outbox.publish)
    finish     done; the log line waits in the table ``log``      staged, or done
    flush_log  the line stands in runs.jsonl, forgotten here      appended once, see RunLog.append

``begin`` and ``stage`` reach the disk before they return. ``finish`` need not: if a power cut
takes it back, publishing and finishing the staged pair again comes to the same end.
"""

import json
import os
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

from pipeline.database import Database, Row
from pipeline.errors import OutputError, Reason, StateError
from pipeline.jobs import Failure, Job, JobResult, JobState, Known, Output
from pipeline.records import Pair, Sighting, Staged, pair_of, sighting_of, staged_of

Line = Mapping[str, object]  # one object of the run log
Taken = Callable[[str], bool]  # whether a stranger's file stands under a name in the outbox


class Ledger:
    """The jobs database; a context manager.

    Args:
        path: The database file; it and its folder are made if missing.
        read_only: For looking: creates and changes nothing, and works beside a running writer.
        clock: The time of day in seconds since 1970.

    Raises:
        StateError: From every method, when the database is damaged, foreign, busy, on a full disk.
    """

    def __init__(
        self, path: Path, *, read_only: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._db = Database(path, read_only=read_only)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; a second time does nothing."""
        self._db.close()

    # --- a pair's life ------------------------------------------------------------------

    def begin(self, job: Job) -> Job:
        """Count an attempt at a job, before any work on it; returns the job with its attempt."""
        with self._db.write():
            row = self._row(job.content, job.style)
            same = row is not None and row["job"] == job.id
            before, faults = (row["attempt"], row["faults"]) if row and same else (0, 0)
            counted = replace(job, attempt=before + 1, caution=faults)
            # Its last failure is kept while it runs: two of a kind count as such.
            kept = {"code": row["code"], "message": row["message"]} if row and faults else {}
            self._put(counted, JobState.RUNNING, faults=faults, **kept)
        return counted

    def stage(self, result: JobResult, line: Line, stems: Iterable[str], taken: Taken) -> Staged:
        """Settle what a finished rendering will be published as.

        Args:
            result: Its outputs lie in the staging folder.
            line: The run log line of the finished job; :meth:`finish` fills in ``outputs``.
            stems: Names in the outbox, best first; a name given to the pair before precedes them.
            taken: Whether a stranger's file stands under a name.
        """
        job = result.job
        waiting = {"outputs": [asdict(output) for output in result.outputs], "line": dict(line)}
        with self._db.write():
            running = self._change(
                *(job.content, job.style, job.id, JobState.RUNNING),
                state=JobState.STAGED,
                staged=json.dumps(waiting),
                losses=json.dumps(dict(result.losses)),
                seconds=result.seconds,
                device=result.device,
            )
            if not running:
                raise StateError(f"job {job.id} is not running", where=str(self._db.path))
            return self._named(self._staged_pair(job.content, job.style), stems, taken)

    def rename(self, staged: Staged, stems: Iterable[str], taken: Taken) -> Staged:
        """Name a staged pair anew if a stranger has taken its name in the meantime."""
        with self._db.write():
            return self._named(staged, stems, taken)

    def finish(self, staged: Staged, outputs: Sequence[Output]) -> dict[str, Any] | None:
        """The pair is done: ``outputs`` stand in the outbox.

        Returns:
            The run log line; None if it was done before, and nothing changed.
        """
        shown = [asdict(output) for output in outputs]
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        with self._db.write(synced=False):
            row = self._row(staged.content, staged.style)
            done = {"state": JobState.DONE, "outputs": json.dumps(shown), "staged": "{}"}
            well = {"code": "", "message": "", "faults": 0}
            if row is None or not self._change(*key, **done, **well):
                return None
            line: dict[str, Any] = json.loads(row["staged"])["line"] | {"outputs": shown}
            self._log(line)
        return line

    def settle(self, result: JobResult, line: Line) -> None:
        """A pair that ended without pictures: failed or skipped. It need not have begun."""
        error = result.error
        with self._db.write():
            self._put(
                result.job,
                JobState(result.status),
                seconds=result.seconds,
                device=result.device,
                code=error.code if error else "",
                message=error.message if error else "",
            )
            self._log(line)

    def give_back(self, job: Job) -> None:
        """An attempt was interrupted through no fault of the job: it does not count."""
        attempt = max(job.attempt - 1, 0)
        key = (job.content, job.style, job.id, JobState.RUNNING)
        with self._db.write():
            self._change(*key, state=JobState.QUEUED, attempt=attempt)

    def failures(self, job: Job | Staged, code: Reason) -> int:
        """How often in a row a job has failed for this reason so far."""
        row = self._row(job.content, job.style)
        name = job.id if isinstance(job, Job) else job.job
        same = row is not None and (row["job"], row["code"]) == (name, code)
        return int(row["faults"]) if row and same else 0

    def postpone(self, job: Job, failure: Failure, times: int, next_at: float) -> None:
        """A job failed and will be tried again, not before a time of day."""
        told = {"code": failure.code, "message": failure.message}
        with self._db.write():
            self._put(job, JobState.QUEUED, **told, faults=times, next_at=next_at)

    def waits(self) -> dict[str, float]:
        """The time of day before which jobs that failed are not tried again."""
        sql = "SELECT job, next_at FROM pairs WHERE state = 'queued' AND next_at > 0"
        return {row["job"]: row["next_at"] for row in self._db.all(sql)}

    def redo(self, staged: Staged, failure: Failure | None = None, times: int = 0) -> None:
        """What was staged cannot be published (a crash damaged it): the pair is made again."""
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        told = {"code": failure.code, "message": failure.message} if failure else {}
        with self._db.write():
            self._change(*key, state=JobState.QUEUED, staged="{}", faults=times, **told)

    def reject(self, staged: Staged, failure: Failure) -> dict[str, Any] | None:
        """What was staged cannot be published, and making it again is no use.

        Returns:
            The run log line; None if the pair was not staged any more.
        """
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        told = {"code": failure.code, "message": failure.message}
        with self._db.write():
            row = self._row(staged.content, staged.style)
            end = {"state": JobState.FAILED, "staged": "{}", **told}
            if row is None or not self._change(*key, **end):
                return None
            line: dict[str, Any] = json.loads(row["staged"])["line"]
            line |= {"event": "job_failed", "status": "failed", "outputs": [], "error": told}
            self._log(line)
        return line

    def retry(self, jobs: Collection[str] | None = None) -> int:
        """Put jobs and files back into the queue, with all their attempts; returns how many.

        Args:
            jobs: Ids of failed or skipped jobs, or of done ones whose pictures are wanted again;
                or files (relative to the inbox) that failed, themselves or with some style.
                None: everything that failed.
        """
        ended = (JobState.FAILED, JobState.SKIPPED, JobState.DONE)
        fresh = {"attempt": 0, "faults": 0, "next_at": 0, "code": "", "message": ""}
        chosen = [
            pair
            for pair in self.pairs(*ended)
            if (pair.state is JobState.FAILED and (jobs is None or pair.content in jobs))
            or (jobs is not None and pair.job in jobs)
        ]
        with self._db.write():
            return self._forget_failed(jobs) + sum(
                self._change(
                    *(pair.content, pair.style, pair.job, pair.state),
                    state=JobState.QUEUED,
                    **fresh,
                )
                for pair in chosen
            )

    def _forget_failed(self, files: Collection[str] | None) -> int:
        """Files that failed are examined like new ones; returns how many."""
        sql = "DELETE FROM seen WHERE status = 'failed'"
        if files is None:
            return self._db.change(sql)
        named = f"{sql} AND content = ?"
        return sum(self._db.change(named, os.fsencode(file)) for file in files)

    # --- after a crash ------------------------------------------------------------------

    def interrupted(self) -> list[Pair]:
        """Pairs that a crash cut short; they go back into the queue, and their attempt counts."""
        cut = self.pairs(JobState.RUNNING)
        with self._db.write():
            for pair in cut:
                key = (pair.content, pair.style, pair.job, JobState.RUNNING)
                self._change(*key, state=JobState.QUEUED)
        return cut

    def staged(self) -> list[Staged]:
        """Pairs that were rendered and not yet seen published, oldest first."""
        rows = self._db.all("SELECT * FROM pairs WHERE state = 'staged' ORDER BY updated")
        return [staged_of(row) for row in rows]

    # --- files seen ---------------------------------------------------------------------

    def cached_hash(self, content: str, stamp: str) -> str | None:
        """SHA-256 of this version of a file, if it was ever read."""
        sql = "SELECT sha256 FROM seen WHERE content = ? AND stamp = ? AND sha256 <> ''"
        row = self._db.one(sql, os.fsencode(content), stamp)
        return row["sha256"] if row else None

    def hashes(self) -> dict[tuple[str, str], str]:
        """The SHA-256 of every file read so far, by (content, stamp): for many files at once."""
        rows = self._db.all("SELECT content, stamp, sha256 FROM seen WHERE sha256 <> ''")
        return {(os.fsdecode(raw), stamp): sha256 for raw, stamp, sha256 in rows}

    def remember(self, content: str, stamp: str, sha256: str) -> None:
        """Keep the SHA-256 of this version of a file, which is good: no refusal of it stands."""
        good = {"status": "", "code": "", "message": ""}
        with self._db.write(synced=False):
            self._see(content, stamp, sha256=sha256, **good)

    def refused_before(self, content: str, stamp: str, code: Reason) -> bool:
        """Whether this version of a file was refused, and logged, for this reason."""
        sql = "SELECT 1 FROM seen WHERE content = ? AND stamp = ? AND code = ?"
        return self._db.one(sql, os.fsencode(content), stamp, code) is not None

    def refuse(
        self,
        content: str,
        stamp: str,
        status: Literal["failed", "skipped"],
        failure: Failure,
        line: Line,
    ) -> bool:
        """Account for a file that is not processed; False if that was done for this version."""
        if self.refused_before(content, stamp, failure.code):
            return False
        with self._db.write(synced=False):
            self._see(content, stamp, status=status, code=failure.code, message=failure.message)
            self._log(line)
        return True

    # --- the run log --------------------------------------------------------------------

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

    # --- reading ------------------------------------------------------------------------

    def known(self) -> dict[tuple[str, str], Known]:
        """What the plan needs of every pair, by (content, style)."""
        states = {state.value: state for state in JobState}
        pairs = {}
        for row in self._db.all("SELECT content, style, job, sha256, recipe, state FROM pairs"):
            raw, style, job, sha256, recipe, state = row
            content = os.fsdecode(raw)
            pairs[content, style] = Known(job, sha256, recipe, states[state], content)
        return pairs

    def finished(self) -> dict[tuple[str, str, str], str]:
        """Content of a finished result, by (sha256, style, recipe digest)."""
        sql = "SELECT sha256, style, recipe, content FROM pairs WHERE state = 'done'"
        return {(sha, style, made): os.fsdecode(raw) for sha, style, made, raw in self._db.all(sql)}

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

    def sighting(self, content: str) -> Sighting | None:
        """What is known of one file of the inbox."""
        row = self._db.one("SELECT * FROM seen WHERE content = ?", os.fsencode(content))
        return sighting_of(row) if row else None

    def refusals(self) -> list[Sighting]:
        """All files that were refused, by name."""
        rows = self._db.all("SELECT * FROM seen WHERE code <> '' ORDER BY content")
        return [sighting_of(row) for row in rows]

    # --- inside a transaction -----------------------------------------------------------

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

    def _see(self, content: str, stamp: str, **columns: str) -> None:
        """Note something about a version of a file; what was known of an older one goes."""
        raw = os.fsencode(content)
        self._db.change("DELETE FROM seen WHERE content = ? AND stamp <> ?", raw, stamp)
        self._upsert("seen", ("content",), {"content": raw, "stamp": stamp, **columns})

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

    def _staged_pair(self, content: str, style: str) -> Staged:
        row = self._row(content, style)
        if row is None or row["state"] != JobState.STAGED:
            raise StateError(f"{style} of {content!a} is not staged", where=str(self._db.path))
        return staged_of(row)

    def _log(self, line: Line) -> None:
        self._db.change("INSERT INTO log (line) VALUES (?)", _as_json(line))

    def _named(self, staged: Staged, stems: Iterable[str], taken: Taken) -> Staged:
        """Give a pair the first name that no other pair holds and no stranger's file has.

        What will be published is noted as the pair's own before it is, so that it is known for
        ours whatever happens next.
        """
        given = [staged.target] if staged.target else []
        key = (os.fsencode(staged.content), staged.style)
        free = (s for s in chain(given, stems) if not self._held(s, key) and not taken(s))
        stem = next(free, None)
        if stem is None:
            raise OutputError("every name in the outbox is taken", where=staged.content)
        ours = dict.fromkeys((*staged.previous, *(output.under(stem) for output in staged.outputs)))
        self._change(
            *(staged.content, staged.style, staged.job, JobState.STAGED),
            target=os.fsencode(stem),
            target_key=_folded(stem),
            outputs=json.dumps([asdict(output) for output in ours]),
        )
        return replace(staged, target=stem, previous=tuple(ours))

    def _held(self, stem: str, key: tuple[bytes, str]) -> bool:
        """Whether another pair's files, x.png and x.enhanced.png, would meet this one's."""
        name = _folded(stem)
        rivals = (name, name + b".enhanced", name.removesuffix(b".enhanced"))
        # "<> x''" lets SQLite use the index, which leaves out pairs without a name.
        sql = """
            SELECT 1 FROM pairs
            WHERE target_key IN (?, ?, ?) AND target_key <> x'' AND (content, style) <> (?, ?)
            """
        return self._db.one(sql, *rivals, *key) is not None


def _folded(stem: str) -> bytes:
    """A name as file systems see it that ignore case and Unicode spelling (NFC, NFD)."""
    plain = unicodedata.normalize("NFC", stem).casefold()
    return os.fsencode(unicodedata.normalize("NFC", plain))


def _as_json(line: Line) -> str:
    """One ASCII line; a number that JSON does not know (NaN, infinity) becomes null."""
    text = json.dumps(line)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text
