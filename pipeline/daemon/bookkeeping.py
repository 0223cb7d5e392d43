"""Records every result once in each place: ledger, outbox, run log, gallery, dashboard, hooks."""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.sections import Versions as VersionLimits
from pipeline.daemon.blame import WaitingPairs
from pipeline.daemon.planner import Gone
from pipeline.errors import Failure, OutputError, Reason
from pipeline.gallery.writer import Gallery
from pipeline.inbox.scanner import Refused
from pipeline.jobs.job import Job, JobResult, Output, outputs_as_json
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair, Staged, Version
from pipeline.monitoring.journal import note
from pipeline.monitoring.view import Result, View
from pipeline.outbox.names import RUN_LOG, candidate_names, staging_name
from pipeline.outbox.publisher import Outbox
from pipeline.outbox.run_log import RunLog, run_log_line
from pipeline.outbox.thumbnails import STAGED
from pipeline.outbox.versions import Versions, relative_paths
from pipeline.system.redaction import Redactor
from pipeline.system.text import timestamp

Line = dict[str, Any]
FLUSH_SECONDS = 1.0  # between two writes of the run log: each waits for the disk
DEFAULT_LIMITS = VersionLimits()  # the defaults
NAMES_TRIED = 5  # while other programs keep taking the names of a result
_DISK_REASONS = frozenset({Reason.DISK_FULL, Reason.IO_ERROR})


class Bookkeeping:
    """Records the results of one run.

    Args:
        ledger: It decides: what it does not hold yet may be recorded again.
        outbox: Holds pictures and run log.
        view: The dashboard's.
        on_line: Called with each line of the run log as it happens.
        version_limits: How many replaced pictures are kept; None: none.
        roots: Folders that the run log must not name, besides the outbox.
    """

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        view: View,
        on_line: Callable[[Line], None],
        version_limits: VersionLimits | None = DEFAULT_LIMITS,
        roots: Iterable[Path] = (),
    ) -> None:
        self.outbox, self._versions = outbox, Versions(outbox.root)
        self.configure(version_limits, roots)
        self._kept_some = True  # whether there may be more earlier pictures than the limits allow
        self._revision: tuple[int, int] | None = None
        self.ledger, self.view, self._on_line = ledger, view, on_line
        self.run_id = uuid.uuid4().hex[:12]
        self.waiting = WaitingPairs()  # for their places in the outbox
        self._lost: set[str] = set()  # jobs whose staged pictures were damaged or gone
        self.unpublished = True  # whether the ledger may hold results that are not in the outbox
        self._log = RunLog(outbox.root / RUN_LOG)
        self._gallery = Gallery(outbox.root)
        self.trouble = ""
        self._flushed_at = float("-inf")

    def configure(self, version_limits: VersionLimits | None, roots: Iterable[Path]) -> None:
        """Use the folders and limits of another config from now on."""
        self.version_limits = version_limits
        self._redactor = Redactor([self.outbox.root, *roots])

    def known(self, content: str, style: str, sha256: str = "") -> Pair | None:
        """The ledger's record of a pair; of the photo with this SHA-256, if it is given."""
        return self.ledger.pair(content, style, sha256)

    def refuse(self, refused: Refused, wall: float) -> None:
        """Record that a file is not taken, once for each version of it."""
        failure, status = refused.failure, refused.status
        line = self._redactor.redact_line(_file_line(refused, self.run_id, wall))
        if self.ledger.files.refuse(refused.content, refused.version, status, failure, line):
            code, message = failure.code, failure.message
            self.view.add_result(
                Result(wall, refused.content, "", status, code=code, message=message)
            )
            self._on_line(line)

    def record_gone(self, gone: Gone, wall: float) -> None:
        """Close the pairs of removed photos; those that had failed count as failed no longer."""
        self.ledger.close_missing(gone.present)
        lines = {name: _file_line(_removed(name), self.run_id, wall) for name in gone.files}
        self.ledger.files.forget_refusals(gone.present, lines)
        self.view.tally.keep_files(gone.present, gone.files)
        for pair in gone.pairs:
            line = _pair_line(pair, _REMOVED, self.run_id, wall)
            self.ledger.skip_removed(pair, _REMOVED, line)
            self.view.tally.correct(pair.content, pair.style, "skipped")

    def settle(self, result: JobResult, wall: float) -> None:
        """Record that a pair has ended without pictures."""
        line = self._redactor.redact_line(run_log_line(result, self.run_id, timestamp(wall)))
        self.ledger.settle(result, line)
        self.view.end_job(result, wall)
        self._on_line(line)

    def stage(self, result: JobResult, wall: float) -> None:
        """Record that a pair is rendered, and decide the names of its pictures."""
        job = result.job
        self.ledger.stage(
            result,
            run_log_line(result, self.run_id, timestamp(wall)),
            self._stems(job.content, job.style),
            lambda stem, before: self.outbox.is_taken(stem, result.outputs, before),
        )
        self.unpublished = True

    def publish_all(self, wall: float) -> Iterator[tuple[Staged, bool]]:
        """Publish all staged pairs: new ones, and those of before a crash or a pause.

        Yields each pair once it has ended, and whether it must be rendered again: in full after a
        draft, or because its staged pictures are lost. The next pair is published when the caller
        asks for it. A pair whose place cannot be used stays staged and waits, and others go on.

        Raises:
            OutputError: The disk is full or fails; staged pairs are kept and may be tried again.
        """
        for staged in self.ledger.staged():
            if self.waiting.holds(staged.job, wall):
                continue
            try:
                again = self._publish(staged, wall)
            except OutputError as error:
                if error.code in _DISK_REASONS:
                    raise
                if not self._handle_unpublishable(staged, error, wall):
                    continue
                again = True
            else:
                self.waiting.remove(staged.job)
                self._lost.discard(staged.job)
            yield staged, again
        self.unpublished = False

    def remove_unwanted(self, pair: Pair, wall: float) -> None:
        """Remove the pictures of a pair that no rule wants, or make them an earlier version.

        The ledger forgets them last, so after a crash this may be repeated.

        Raises:
            OutputError: The disk fails, or a picture cannot be kept: then it is not removed.
        """
        standing = self.ledger.history.current(pair.content, pair.style, pair.life)
        kept = self._keep_set(standing.outputs if standing else pair.outputs, standing, pair.job)
        self.outbox.remove(pair.outputs)
        line = _unwanted_line(pair, self.run_id, wall)
        self.ledger.prune(pair, kept, _UNWANTED, line)
        with self._gallery_errors():
            gone = {output.sha256 for output in pair.outputs}
            self._gallery.remove_copies(gone.difference(output.sha256 for output in kept))
        self._on_line(line)

    def check_for_restores(self, wall: float) -> None:
        """Notice when there is something to publish that this process has not staged just now.

        Another process (`restore`) has asked for an earlier version, or a pair has waited for its
        place in the outbox and is tried again.
        """
        revision = self.ledger.revision()
        others = self._revision is None or revision[0] != self._revision[0]
        self._revision = revision
        others = others and bool(self.ledger.staged())
        self.unpublished = self.unpublished or others or self.waiting.any_due(wall)

    def give_back(self, job: Job) -> None:
        """Put a job back that ended through no fault of its own; it costs no attempt."""
        self.ledger.give_back(job)
        self.view.remove_job(job.id)
        self.outbox.discard(job.id, job.attempt)

    def wait_for_place(self, job: Job, why: str, wall: float) -> None:
        """Put a job back whose place in the outbox cannot be used; it is tried again later."""
        self.give_back(job)
        self.waiting.put(job.id, job.content, why, wall)

    def clean_up_after_crash(self) -> None:
        """Correct rows, queue interrupted jobs again, remove outbox files without an owner."""
        self.outbox.prepare()
        for words in self.ledger.repair():
            note("row_corrected", logging.WARNING, what=words)
        self.ledger.requeue_interrupted()
        self.sweep_staging()
        self._versions.sweep(self.ledger.history.current_ids())

    def sweep_staging(self) -> None:
        """Remove staging folders that belong to no staged pair."""
        kept = {staging_name(staged.job, staged.attempt) for staged in self.ledger.staged()}
        self.outbox.sweep(kept)

    def flush(self, now: float, force: bool = False) -> None:
        """Write run log and gallery, at most every FLUSH_SECONDS unless forced."""
        if force or now >= self._flushed_at + FLUSH_SECONDS:
            self._flushed_at = now
            self.ledger.log.flush(self._log.append)
            self._prune()
            with self._gallery_errors():
                self._gallery.update()
                if force:
                    self._gallery.remove_unused_copies(self._kept_pictures())

    def _kept_pictures(self) -> Iterator[str]:
        """SHA-256 of all earlier pictures; read lazily, because they are rarely needed."""
        for version in self.ledger.history.earlier():
            yield from (output.sha256 for output in version.outputs)

    def _prune(self) -> None:
        """Remove the oldest earlier pictures beyond the limits."""
        limits = self.version_limits
        if self._kept_some and limits is not None:
            wanted = {staged.restores for staged in self.ledger.staged()}
            for version in self.ledger.history.surplus(limits.per_pair, limits.bytes):
                if version.id not in wanted:
                    self._versions.remove(version.outputs)
                    self.ledger.history.forget(version)
        self._kept_some = False

    def _keep(self, staged: Staged) -> tuple[Output, ...]:
        """Keep the pictures that are about to be replaced, if the config says so."""
        new = {output.sha256 for output in staged.outputs}
        standing = self.ledger.history.current(staged.content, staged.style, staged.life)
        earlier = tuple(output for output in staged.previous if output.sha256 not in new)
        before = standing.outputs if standing else earlier
        if {output.sha256 for output in before} <= new:
            return ()
        return self._keep_set(before, standing, staged.job)

    def _keep_set(
        self, outputs: Sequence[Output], standing: Version | None, job: str
    ) -> tuple[Output, ...]:
        """Keep a set of pictures, if the config says so; drafts are never kept."""
        if self.version_limits is None or (standing is not None and standing.draft):
            return ()
        self._kept_some = True
        return self._versions.keep(outputs, standing.id if standing else job)

    def _publish(self, staged: Staged, wall: float) -> bool:
        """Publish a pair; returns whether it is a draft."""
        kept = self._keep(staged)
        for left in reversed(range(NAMES_TRIED)):
            try:
                outputs = self.outbox.publish(staged.outputs, staged.target, staged.previous)
                break
            except OutputError as error:
                if error.code is not Reason.PUBLISH_CONFLICT or not left:
                    raise
                staged = self._rename(staged)
        if not staged.restores:
            with self._gallery_errors():
                shown = {output.sha256 for output in (*outputs, *kept)}
                replaced = {output.sha256 for output in staged.previous} - shown
                self._gallery.take_copies(Path(staged.outputs[0].path).parent / STAGED, replaced)
        line = self.ledger.finish(staged, outputs, kept)
        self._clear(staged)
        if line is None:
            return False
        if staged.restores:
            note("restored", content=staged.content, style=staged.style, job=staged.job)
            self.view.tally.correct(staged.content, staged.style, "done")
        else:
            self._report(staged, line, wall)
        return bool(line.get("draft"))

    @contextmanager
    def _gallery_errors(self) -> Iterator[None]:
        """Report errors of the gallery as `trouble`: they fail no pair, and it is updated later."""
        try:
            yield
        except OutputError as error:
            self.trouble = f"gallery: {error}"
        else:
            self.trouble = ""

    def _rename(self, staged: Staged) -> Staged:
        """Give a pair another name: another program has taken its own since it was decided."""
        return self.ledger.rename(
            staged,
            self._stems(staged.content, staged.style),
            lambda stem, before: self.outbox.is_taken(stem, staged.outputs, before),
        )

    def _stems(self, content: str, style: str) -> Iterator[str]:
        folder, lives = self.outbox.folder_of(content), self.ledger.count_lives(content, style)
        return candidate_names(content, style, lives, folder)

    def _handle_unpublishable(self, staged: Staged, error: OutputError, wall: float) -> bool:
        """Handle staged pictures that cannot be published; returns whether to render them again.

        No photo is to blame for it. Either its place cannot be used: a link, a file, or names that
        other programs keep taking. Or the staged pictures are gone or damaged, which another
        program or the disk has done; if that happens twice, the pair waits too.
        """
        if staged.restores:
            note("restore_failed", logging.WARNING, content=staged.content, why=str(error))
            self.ledger.history.cancel_restore(staged)
            return True
        lost = error.where in {output.path for output in staged.outputs}
        if not lost or staged.job in self._lost:
            self.waiting.put(staged.job, staged.content, str(error), wall)
        if not lost:
            self.view.remove_job(staged.job)
            return False
        self._lost.add(staged.job)
        self.ledger.redo(staged)
        self._clear(staged)
        return True

    def _clear(self, staged: Staged) -> None:
        if staged.restores:
            self._versions.remove(relative_paths(self.outbox.root, staged.outputs))
        self.outbox.discard(staged.job, staged.attempt)
        self.view.remove_job(staged.job)

    def _report(self, staged: Staged, line: Line, wall: float) -> None:
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
                draft=bool(line.get("draft")),
            )
        )
        self._on_line(line)


_REMOVED = Failure(Reason.VANISHED, "it failed and was removed from the inbox")
_UNWANTED = Failure(Reason.NO_MATCH, "no rule wants it any more; `prune` removed its pictures")


def _removed(content: str) -> Refused:
    return Refused(content, Path(content), _REMOVED, "skipped")


def _unwanted_line(pair: Pair, run: str, wall: float) -> Line:
    removed = {"event": "job_pruned", "outputs": outputs_as_json(pair.outputs)}
    return _pair_line(pair, _UNWANTED, run, wall) | removed


def _pair_line(pair: Pair, failure: Failure, run: str, wall: float) -> Line:
    """The line of a pair that ends as skipped without another attempt."""
    refused = Refused(pair.content, Path(pair.content), failure, "skipped")
    return _file_line(refused, run, wall) | {
        "event": "job_skipped",
        "job": pair.job,
        "style": pair.style,
        "content_sha256": pair.sha256,
        "recipe": pair.recipe,
    }


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
