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
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from pipeline.errors import Failure, OutputError, StateError
from pipeline.jobs.job import Job, JobResult, JobState, Output, told
from pipeline.ledger.database import Row
from pipeline.ledger.files import Sightings
from pipeline.ledger.history import History
from pipeline.ledger.queries import Lookup
from pipeline.ledger.records import Pair, Staged, Version, published_of
from pipeline.ledger.tables import Line
from pipeline.system.file_names import folded

FILE = "jobs.sqlite3"  # in the state folder

# What of a pair's row is about its job: it comes back where an earlier version cannot.
_OF_THE_JOB = (
    *("state", "job", "sha256", "recipe", "attempt", "seconds", "device", "losses"),
    *("code", "message", "restored"),
)

# Whether a stranger's file stands under a name in the outbox, where a pair has published before.
Taken = Callable[[str, Sequence[Output]], bool]


class Ledger(Sightings, Lookup, History):
    """The jobs database; a context manager.

    Args:
        path: The database file; it and its folder are made if missing.
        read_only: For looking: creates and changes nothing, and works beside a running writer.
        clock: The time of day in seconds since 1970.
        busy_seconds: How long one question waits for another program that holds the database.

    Raises:
        StateError: From every method, when the database is damaged, foreign, busy, on a full disk.
    """

    # --- a pair's life ------------------------------------------------------------------

    def begin(self, job: Job) -> Job | None:
        """Count an attempt at a job, before any work on it.

        Returns:
            The job with its attempt; None where an earlier version is wanted in its place, which
            another process (`restore`) has asked for since this was planned.
        """
        with self._db.write():
            present = self._row(job.content, job.style)
            if present is not None and _restored(present, job.sha256):
                return None
            row = self._row(job.content, job.style, job.id)
            same = row is not None
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
        waiting = {"outputs": told(result.outputs), "line": dict(line)}
        ended = {
            "state": JobState.STAGED,
            "staged": json.dumps(waiting),
            "losses": json.dumps(dict(result.losses)),
            "seconds": result.seconds,
            "device": result.device,
        }
        with self._db.write():
            row = self._row(job.content, job.style, job.id)
            if row is None or row["state"] != JobState.RUNNING:
                raise StateError(f"job {job.id} is not running", where=str(self._db.path))
            name, before = os.fsdecode(row["target"]), published_of(row)
            key = (job.content, job.style, job.id, row["attempt"])
            staged = Staged(*key, name, result.outputs, before)
            return self._named(staged, stems, taken, JobState.RUNNING, **ended)

    def rename(self, staged: Staged, stems: Iterable[str], taken: Taken) -> Staged:
        """Name a staged pair anew if a stranger has taken its name in the meantime."""
        with self._db.write():
            return self._named(staged, stems, taken, JobState.STAGED)

    def finish(
        self, staged: Staged, outputs: Sequence[Output], kept: Sequence[Output] = ()
    ) -> dict[str, Any] | None:
        """The pair is done: ``outputs`` stand in the outbox.

        Args:
            staged: What was published.
            outputs: The pictures that stand now.
            kept: Those they replaced, where they are now; none: they are gone.

        Returns:
            The run log line; None if it was done before, and nothing changed.
        """
        shown = told(outputs)
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        with self._db.write(synced=False):
            row = self._row(staged.content, staged.style, staged.job)
            done = {"state": JobState.DONE, "outputs": json.dumps(shown), "staged": "{}"}
            well = {"code": "", "message": "", "faults": 0}
            if row is None or not self._change(*key, **done, **well):
                return None
            line: dict[str, Any] = json.loads(row["staged"])["line"] | {"outputs": shown}
            self._stand(staged, row["sha256"], row["recipe"], line, outputs, kept, row["life"])
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

    def postpone(self, job: Job, failure: Failure, times: int, next_at: float) -> None:
        """A job failed and will be tried again, not before a time of day."""
        told = {"code": failure.code, "message": failure.message}
        with self._db.write():
            self._put(job, JobState.QUEUED, **told, faults=times, next_at=next_at)

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
            row = self._row(staged.content, staged.style, staged.job)
            end = {"state": JobState.FAILED, "staged": "{}", **told}
            if row is None or not self._change(*key, **end):
                return None
            line: dict[str, Any] = json.loads(row["staged"])["line"]
            line |= {"event": "job_failed", "status": "failed", "outputs": [], "error": told}
            self._log(line)
        return line

    # --- an earlier version -------------------------------------------------------------

    def restore(
        self, version: Version, files: Sequence[Output], line: Line, stems: Iterable[str],
        taken: Taken,
    ) -> Staged:  # fmt: skip
        """Settle that an earlier version of a pair is to be published in place of the present one.

        From here on it goes the way of every staged pair, through crashes and pauses. Once it is
        done the planner leaves it alone until `retry`, or until the photo changes.

        Args:
            version: Which.
            files: Its pictures where they lie now (absolute paths).
            line: For the run log.
            stems: As for :meth:`stage`.
            taken: The same.
        """
        with self._db.write():
            row = self._row(version.content, version.style, life=version.life)
            if row is None or row["state"] == JobState.STAGED:
                where = f"{version.content} x {version.style}"
                what = "its pictures are just being published"
                raise StateError(what, where=where, hint="try again in a moment")
            before = {name: row[name] for name in _OF_THE_JOB}
            if row["state"] == JobState.RUNNING:
                before["state"] = JobState.QUEUED
            waiting = {"outputs": told(files), "line": dict(line), "restores": version.id,
                       "before": before}  # fmt: skip
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
            pair = self._named(pair, stems, taken, JobState(row["state"]), **columns)
            return replace(pair, job=version.job or version.id)

    def withdraw(self, staged: Staged) -> None:
        """An earlier version cannot be brought back: the pair is what it was before."""
        key = (staged.content, staged.style, staged.job, JobState.STAGED)
        with self._db.write():
            row = self._row(staged.content, staged.style, staged.job)
            if row is not None:
                self._change(*key, staged="{}", **json.loads(row["staged"])["before"])

    def leave(self, pair: Pair, failure: Failure, line: Line) -> None:
        """The photo of a failed pair was taken out of the inbox: it is no failure any more."""
        key = (pair.content, pair.style, pair.job, JobState.FAILED)
        told = {"code": failure.code, "message": failure.message, "attempt": 0, "faults": 0}
        with self._db.write():
            if self._change(*key, state=JobState.SKIPPED, **told):
                self._log(line)

    def retry(self, jobs: Collection[str] | None = None) -> int:
        """Put jobs and files back into the queue, with all their attempts; returns how many.

        Args:
            jobs: Ids of failed or skipped jobs, or of done ones whose pictures are wanted again;
                or files (relative to the inbox) that failed, themselves or with some style, or
                of which an earlier version was brought back. None: everything that failed.
        """
        ended = (JobState.FAILED, JobState.SKIPPED, JobState.DONE)
        fresh = {"attempt": 0, "faults": 0, "next_at": 0, "code": "", "message": "",
                 "restored": ""}  # fmt: skip
        chosen = [
            pair
            for pair in self.pairs(*ended)
            if (pair.state is JobState.FAILED and (jobs is None or pair.content in jobs))
            or (jobs is not None and pair.job in jobs)
            or (jobs is not None and pair.restored and pair.content in jobs)
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

    # --- a name's life ------------------------------------------------------------------

    def close_photo(self, content: str, sha256: str) -> None:
        """A photo is about to leave the inbox: its pictures stay whatever gets its name next.

        So do those of the same photo under another name, which may be all that there is of it.
        To be said before it leaves, and taken back by :meth:`reopen` if it stayed after all.
        """
        with self._db.write():
            sql = "UPDATE pairs SET closed = 1 WHERE closed = 0 AND"
            self._db.change(f"{sql} content = ?", os.fsencode(content))
            self._db.change(f"{sql} sha256 = ? AND sha256 <> ''", sha256)

    def close_missing(self, present: Collection[str]) -> int:
        """The same for photos that people took out of the inbox: all but the present ones."""
        rows = self._db.all("SELECT DISTINCT content FROM pairs WHERE closed = 0")
        gone = [raw for (raw,) in rows if os.fsdecode(raw) not in present]
        if gone:
            with self._db.write():
                for raw in gone:
                    self._db.change("UPDATE pairs SET closed = 1 WHERE content = ?", raw)
        return len(gone)

    def reopen(self, photos: Collection[tuple[str, str]]) -> None:
        """These photos (content, sha256) lie in the inbox: a change in their place is theirs."""
        with self._db.write(synced=False):
            for content, sha256 in photos:
                sql = """
                    UPDATE pairs SET closed = 0
                    WHERE content = ? AND life = 0 AND ? IN (sha256, restored)
                    """
                self._db.change(sql, os.fsencode(content), sha256)

    # --- after a crash ------------------------------------------------------------------

    def interrupted(self) -> list[Pair]:
        """Pairs that a crash cut short; they go back into the queue, and their attempt counts."""
        cut = self.pairs(JobState.RUNNING)
        with self._db.write():
            for pair in cut:
                key = (pair.content, pair.style, pair.job, JobState.RUNNING)
                self._change(*key, state=JobState.QUEUED)
        return cut

    # --- names ---------------------------------------------------------------------------

    def _named(
        self,
        pair: Staged,
        names: Iterable[str],
        taken: Taken,
        was: JobState,
        /,
        **columns: object,
    ) -> Staged:
        """Give a pair the first name that no other pair holds and no stranger's file has.

        What will be published is noted as the pair's own before it is, so that it is known for
        ours whatever happens next.
        """
        given = [pair.target] if pair.target else []
        key = (os.fsencode(pair.content), pair.style, pair.job)
        free = (stem for stem in chain(given, names) if not self._held(stem, key))
        stem = next((name for name in free if not taken(name, pair.previous)), None)
        if stem is None:
            raise OutputError("every name in the outbox is taken", where=pair.content)
        ours = dict.fromkeys((*pair.previous, *(output.under(stem) for output in pair.outputs)))
        self._change(
            *(pair.content, pair.style, pair.job, was),
            target=os.fsencode(stem),
            target_key=folded(stem),
            outputs=json.dumps(told(ours)),
            **columns,
        )
        return replace(pair, target=stem, previous=tuple(ours))

    def _held(self, stem: str, key: tuple[bytes, str, str]) -> bool:
        """Whether another pair's files, x.png and x.enhanced.png, would meet this one's."""
        name = folded(stem)
        rivals = (name, name + b".enhanced", name.removesuffix(b".enhanced"))
        # "<> x''" lets SQLite use the index, which leaves out pairs without a name.
        sql = """
            SELECT 1 FROM pairs
            WHERE target_key IN (?, ?, ?) AND target_key <> x''
                AND (content, style, job) <> (?, ?, ?)
            """
        return self._db.one(sql, *rivals, *key) is not None


def _restored(row: Row, photo: str) -> bool:
    """Whether an earlier version stands, or is about to, in place of what this photo would get."""
    if row["state"] == JobState.STAGED:
        return "restores" in json.loads(row["staged"])
    here = (row["restored"], row["sha256"])
    return bool(row["state"] == JobState.DONE and row["restored"] and photo in here)
