"""What happened, brought once into every book: ledger, outbox, run log, dashboard, hooks."""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.sections import Versions as Bounds
from pipeline.daemon.planner import Gone
from pipeline.errors import Failure, OutputError, Reason
from pipeline.gallery.writer import Gallery
from pipeline.inbox.scanner import Refused
from pipeline.jobs.job import JobResult, Output
from pipeline.jobs.retry_policy import wait_seconds
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair, Staged
from pipeline.monitoring.journal import note
from pipeline.monitoring.view import Result, View
from pipeline.outbox.names import RUN_LOG, candidate_names
from pipeline.outbox.publisher import Outbox
from pipeline.outbox.run_log import RunLog, run_log_line
from pipeline.outbox.thumbnails import STAGED
from pipeline.outbox.versions import Versions, relative_paths
from pipeline.system.redaction import Redactor
from pipeline.system.text import timestamp

Line = dict[str, Any]
FLUSH_SECONDS = 1.0  # between two writings of the run log: each waits for the disk
USUAL = Bounds()  # the defaults
NAMES_TRIED = 5  # when strangers keep taking the names of a result
_OF_THE_DISK = frozenset({Reason.DISK_FULL, Reason.IO_ERROR})


class Bookkeeping:
    """Keeps the books of one run.

    Args:
        ledger: The one that counts; whatever it does not hold yet may be brought in again.
        outbox: Where pictures and run log stand.
        view: The dashboard's.
        tell: Called with each line of the run log as it happens.
        bounds: How much is kept of pictures that are replaced; None: nothing.
        roots: Folders that no message in the run log is to name, besides the outbox.
    """

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        view: View,
        tell: Callable[[Line], None],
        bounds: Bounds | None = USUAL,
        roots: Iterable[Path] = (),
    ) -> None:
        self._redactor = Redactor([outbox.root, *roots])
        self.bounds, self._versions = bounds, Versions(outbox.root)
        self._kept_some = True  # whether there may be more earlier pictures than the bounds allow
        self._revision: tuple[int, int] | None = None
        self.ledger, self.outbox, self.view, self._tell = ledger, outbox, view, tell
        self.run_id = uuid.uuid4().hex[:12]
        self.unpublished = True  # whether the ledger may hold results that are not in the outbox
        self._log = RunLog(outbox.root / RUN_LOG)
        self._gallery = Gallery(outbox.root)
        self.trouble = ""
        self._flushed_at = float("-inf")

    def known(self, content: str, style: str, sha256: str = "") -> Pair | None:
        """What the ledger holds of a pair, of the photo with these bytes if that is known."""
        return self.ledger.pair(content, style, sha256)

    def refuse(self, refused: Refused, wall: float) -> None:
        """A file is not processed; told once for each version of it."""
        failure, status = refused.failure, refused.status
        line = self._redactor.redact_line(_file_line(refused, self.run_id, wall))
        if self.ledger.files.refuse(refused.content, refused.version, status, failure, line):
            code, message = failure.code, failure.message
            self.view.add_result(
                Result(wall, refused.content, "", status, code=code, message=message)
            )
            self._tell(line)

    def record_gone(self, gone: Gone, wall: float) -> None:
        """What was taken out of the inbox is closed; what of it had failed is a failure no more."""
        self.ledger.close_missing(gone.present)
        self.ledger.files.forget_refusals(gone.present)
        for content in gone.files:
            self.ledger.log.add(_file_line(_left(content), self.run_id, wall))
        for pair in gone.pairs:
            line = _file_line(_left(pair.content), self.run_id, wall) | {
                "event": "job_skipped",
                "job": pair.job,
                "style": pair.style,
                "content_sha256": pair.sha256,
                "recipe": pair.recipe,
            }
            self.ledger.skip_removed(pair, _LEFT, line)

    def settle(self, result: JobResult, wall: float) -> None:
        """A pair ended without pictures."""
        line = self._redactor.redact_line(run_log_line(result, self.run_id, timestamp(wall)))
        self.ledger.settle(result, line)
        self.view.end_job(result, wall)
        self._tell(line)

    def stage(self, result: JobResult, wall: float) -> None:
        """A pair is rendered: what it will be published as is settled."""
        job = result.job
        self.ledger.stage(
            result,
            run_log_line(result, self.run_id, timestamp(wall)),
            self._stems(job.content, job.style),
            lambda stem, before: self.outbox.is_taken(stem, result.outputs, before),
        )
        self.unpublished = True

    def publish_all(self, wall: float) -> Iterator[tuple[Staged, bool]]:
        """Publish what the ledger holds as rendered: of now, of a crash, of before a pause.

        Yields each pair once it has come to its end, and whether that is to be made again because
        it could not be published. Who does not go on asking publishes no more.

        Raises:
            OutputError: The disk is full or fails; what is staged is kept and may be tried again.
        """
        for staged in self.ledger.staged():
            again = False
            try:
                self._publish(staged, wall)
            except OutputError as error:
                if error.code in _OF_THE_DISK:
                    raise
                again = self._unpublishable(staged, error, wall)
            yield staged, again
        self.unpublished = False

    def look_for_restored(self) -> None:
        """See whether another process (`restore`) has asked for an earlier version."""
        revision = self.ledger.revision()
        others = self._revision is None or revision[0] != self._revision[0]
        self._revision = revision
        self.unpublished = self.unpublished or (others and bool(self.ledger.staged()))

    def sweep(self) -> None:
        """Remove what a crash left among the earlier pictures."""
        self._versions.sweep(self.ledger.history.current_ids())

    def flush(self, now: float, force: bool = False) -> None:
        """Write the run log, at most once in a while."""
        if force or now >= self._flushed_at + FLUSH_SECONDS:
            self._flushed_at = now
            self.ledger.log.flush(self._log.append)
            self._prune()
            with self._showing():
                self._gallery.update()
                if force:
                    self._gallery.remove_unused_copies(self._kept_pictures())

    def _kept_pictures(self) -> Iterator[str]:
        """SHA-256 of all earlier pictures; read only if somebody wants to know them."""
        for version in self.ledger.history.earlier():
            yield from (output.sha256 for output in version.outputs)

    def _prune(self) -> None:
        """Let the oldest pictures go that are beyond the bounds."""
        if self._kept_some and self.bounds is not None:
            wanted = {staged.restores for staged in self.ledger.staged()}
            for version in self.ledger.history.surplus(self.bounds.per_pair, self.bounds.bytes):
                if version.id not in wanted:
                    self._versions.remove(version.outputs)
                    self.ledger.history.forget(version)
        self._kept_some = False

    def _keep(self, staged: Staged) -> tuple[Output, ...]:
        """Keep the pictures that are about to be replaced, where that is wanted."""
        new = {output.sha256 for output in staged.outputs}
        standing = self.ledger.history.current(staged.content, staged.style, staged.life)
        earlier = tuple(output for output in staged.previous if output.sha256 not in new)
        before = standing.outputs if standing else earlier
        if self.bounds is None or {output.sha256 for output in before} <= new:
            return ()
        self._kept_some = True
        return self._versions.keep(before, standing.id if standing else staged.job)

    def _publish(self, staged: Staged, wall: float) -> None:
        kept = self._keep(staged)
        for left in reversed(range(NAMES_TRIED)):
            try:
                outputs = self.outbox.publish(staged.outputs, staged.target, staged.previous)
                break
            except OutputError as error:
                if error.code is not Reason.PUBLISH_CONFLICT or not left:
                    raise
                staged = self._renamed(staged)
        if not staged.restores:
            with self._showing():
                shown = {output.sha256 for output in (*outputs, *kept)}
                replaced = {output.sha256 for output in staged.previous} - shown
                self._gallery.take_copies(Path(staged.outputs[0].path).parent / STAGED, replaced)
        line = self.ledger.finish(staged, outputs, kept)
        self._cleared(staged)
        if line is None:
            return
        if staged.restores:
            note("restored", content=staged.content, style=staged.style, job=staged.job)
        else:
            self._ended(staged, line, wall)

    @contextmanager
    def _showing(self) -> Iterator[None]:
        """The gallery never costs a picture: what it cannot do now it says, and does later."""
        try:
            yield
        except OutputError as error:
            self.trouble = f"gallery: {error}"
        else:
            self.trouble = ""

    def _renamed(self, staged: Staged) -> Staged:
        """A stranger has taken the name since it was settled."""
        return self.ledger.rename(
            staged,
            self._stems(staged.content, staged.style),
            lambda stem, before: self.outbox.is_taken(stem, staged.outputs, before),
        )

    def _stems(self, content: str, style: str) -> Iterator[str]:
        folder, lives = self.outbox.folder_of(content), self.ledger.count_lives(content, style)
        return candidate_names(content, style, lives, folder)

    def _unpublishable(self, staged: Staged, error: OutputError, wall: float) -> bool:
        """Staged pictures are damaged or their place is unfit; whether they are made again."""
        if staged.restores:
            note("restore_failed", logging.WARNING, content=staged.content, why=str(error))
            self.ledger.cancel_restore(staged)
            return True
        failure = Failure(error.code, str(error))
        times = self.ledger.failures(staged, error.code) + 1
        again = wait_seconds(error.code, times, staged.job) is not None
        line = None
        if again:
            self.ledger.redo(staged, failure, times)
        else:
            message = self._redactor.redact_text(failure.message)
            line = self.ledger.reject(staged, replace(failure, message=message))
        self._cleared(staged)
        if line is not None:
            self._ended(staged, line, wall)
        return again

    def _cleared(self, staged: Staged) -> None:
        if staged.restores:
            self._versions.remove(relative_paths(self.outbox.root, staged.outputs))
        self.outbox.discard(staged.job, staged.attempt)
        self.view.remove_job(staged.job)

    def _ended(self, staged: Staged, line: Line, wall: float) -> None:
        error = line["error"] or {}
        self.view.add_result(
            Result(
                at=wall,
                content=staged.content,
                style=staged.style,
                status=line["status"],
                seconds=line["seconds"],
                outputs=tuple(output["path"] for output in line["outputs"]),
                code=error.get("code", ""),
                message=error.get("message", ""),
                job=staged.job,
            )
        )
        self._tell(line)


_LEFT = Failure(Reason.VANISHED, "it failed, and was taken out of the inbox")


def _left(content: str) -> Refused:
    return Refused(content, Path(content), _LEFT, "skipped")


def _file_line(refused: Refused, run: str, wall: float) -> Line:
    return {
        "ts": timestamp(wall),
        "run": run,
        "job": None,
        "event": f"file_{refused.status}",
        "content": refused.content,
        "content_sha256": None,
        "style": None,
        "recipe": None,
        "attempt": 0,
        "status": refused.status,
        "seconds": 0.0,
        "device": "",
        "outputs": [],
        "losses": {},
        "error": {"code": refused.failure.code, "message": refused.failure.message},
    }
