"""Reads the inbox and plans what to do next. Nothing is written here.

The service acts on the results in two steps. `Planner.look_at_inbox` and `Planner.take_answers`
return `Findings`, which are recorded in the ledger; then `Planner.make_plan` returns a `Plan`: the
jobs that are due, and the photos that are refused, duplicates or done with. `run`, `run --dry-run`
and `explain` (see `pipeline.daemon.preview`) make the same plan, and use it differently.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.daemon.paintings.replacements import Replacing, replacing
from pipeline.daemon.paintings.unwanted import Unwanted, list_unwanted
from pipeline.daemon.recipe_files import RecipeFiles
from pipeline.errors import Failure, PlaceError, Reason
from pipeline.inbox.examiner import Examination
from pipeline.inbox.intake import Accepted, Intake
from pipeline.inbox.originals import Ending, Originals
from pipeline.inbox.quarantine import quarantined_photos
from pipeline.inbox.scanner import Found, Refused, Scan
from pipeline.jobs.job import Job, JobResult, JobState, Photo
from pipeline.jobs.plan import DraftStands, KnownPair, Planned, draft_first, plan_jobs
from pipeline.jobs.rates import Work, work_of
from pipeline.jobs.recipe import forget_digest
from pipeline.jobs.retry_policy import MACHINE_REASONS
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.monitoring.counts import DRAFT, EndState, PairKey

# Seconds between two plans while many new files are examined; twice as long for a queue of 1000
# jobs, and so on: with a long queue a plan takes longer, and new jobs are less urgent.
PLAN_SECONDS, PLAN_PAIRS = 1.0, 1000

# With more pairs to do than this, first pictures are rendered in full, also with `first: draft`:
# the drafts would delay the last full picture by minutes.
MOST_FOR_DRAFTS = 50

_ENDED = frozenset({"done", "failed before"})

Finished = dict[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Gone:
    """What users have removed from the inbox since the last look."""

    present: Collection[str]  # all files in the inbox now, and those that may be in it
    files: Collection[str] = ()  # removed files that had been refused as failures
    pairs: Collection[Pair] = ()  # failed pairs of removed photos


@dataclass(slots=True)
class Findings:
    """What was found in the inbox, to be recorded in the ledger."""

    recognised: bool = False  # first files seen: the mount of the inbox is to be recorded
    gone: Gone | None = None
    files: deque[Accepted | Refused] = field(default_factory=deque)  # in the order of finding
    left: tuple[str, ...] = ()  # photos that a crash left under a private name
    unexamined: list[Found] = field(default_factory=list)
    fault: PlaceError | None = None  # the machine is at fault: nothing can be examined now


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what not to do, about every examined photo."""

    pairs: list[Planned]  # all of them, each with its reason
    due: list[Job]  # to be rendered
    accepted: list[Accepted]  # refused before, and now planned
    refused: list[Refused]  # photos without a style, and those with an invalid side file
    duplicates: list[JobResult]  # pairs to be linked to the pictures of the same photo
    returned: set[tuple[str, str]]  # photos (content, SHA-256) that had left, and are back
    ended: list[str]  # photos whose pairs have all ended: their originals are to be handled
    again: dict[PairKey, EndState]  # pairs to do that have ended before, and how
    waiting: int = 0  # pairs that wait for their style, and have not ended
    replaced: Replacing | None = None  # of the first plan: finished pictures that it replaces
    unwanted: Unwanted | None = None  # of the first plan: finished pictures that no rule wants


class Planner:
    """Turns what lies in the inbox into plans.

    Args:
        config, manifest: What is wanted.
        ledger: What was done. It is only read.
        drafts: Whether drafts may be rendered first, if the config says so.
    """

    def __init__(
        self, config: Config, manifest: Manifest, ledger: Ledger, *, drafts: bool = True
    ) -> None:
        self.config, self.manifest, self.ledger = config, manifest, ledger
        bulk = config.schedule is not None and bool(config.schedule.runs)
        self._drafts = drafts and config.first == "draft" and not bulk
        self._full: set[tuple[str, str]] = set()  # pairs that get no draft: they came with many
        self.intake = Intake(config, manifest, ledger)
        self.recipe_files = RecipeFiles(config.watch.settle_seconds)
        self.settling = 0
        self.missing_files = ""  # which styles wait for files that are gone
        self.next_scan = 0.0
        self.stale = True  # a plan is wanted, whatever the next look finds
        self._twins: set[str] = set()  # photos whose results the same photo elsewhere waits for
        self._jobs_wait = False  # whether a job waits until a file of its recipe has settled
        self._first_plan = True
        self._basis: object = None
        self._ended: set[tuple[str, str]] = set()  # versions of photos that were given as ended
        self._planned_at = float("-inf")
        self._are_drafts: dict[str, bool] = {}  # by job, of finished pairs

    def is_unfinished(self, held: Collection[str] = ()) -> bool:
        """Whether another look or plan may find more to do.

        Args:
            held: Photos that wait for a repair; so do the same photos elsewhere.
        """
        twins = self._twins.difference(held)
        return bool(self.settling or twins or self.stale or self._jobs_wait)

    @property
    def files(self) -> Mapping[str, Found]:
        """The settled photos of the last look, by their path in the inbox."""
        return self.intake.files

    def version(self, content: str) -> str:
        """The version of a photo as of the last look; "" where it has not settled or is gone."""
        return self.intake.version(content)

    def wake(self, stale: bool = False) -> None:
        """Read the inbox at the next tick."""
        self.next_scan = 0.0
        self.stale = self.stale or stale

    def doubt(self, job: Job, path: Path) -> None:
        """Read a file again, because a job found another content than planned in it."""
        if path == job.path:
            self.intake.doubt(job.content)
        else:
            forget_digest(path)
            self.intake.doubt_mask(path)
        self.recipe_files.doubt(path)
        self.wake(stale=True)

    def job_ended(self, content: str) -> None:
        """Plan again if the same photo elsewhere waits for the result of this one."""
        if content in self._twins:
            self.wake(stale=True)

    # --- what there is ------------------------------------------------------------------

    def look_at_inbox(self, now: float, wall: float, scan_seconds: float) -> Findings:
        """Read the inbox. If it, the ledger or a painting has changed, the plan is stale.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            scan_seconds: Look again after this time at the latest.

        Raises:
            StateError: When the inbox is not there.
        """
        before = self.intake.recognised
        scan = self.intake.scan(now, wall)
        self.next_scan = min(now + scan_seconds, scan.next_look or float("inf"))
        self.settling = len(scan.unsettled)
        # A style without its painting waits until the file is back; the others go on.
        recipes = [self.intake.recipe_of(style) for style in self.manifest.styles.values()]
        self.missing_files = self.intake.missing_files
        self.recipe_files.compare(filter(None, recipes), now, wall)
        self.next_scan = min(self.next_scan, self.recipe_files.settled_at)
        digests = [recipe and recipe.digest for recipe in recipes]
        basis = (digests, self.recipe_files.unsettled, self.ledger.revision()[0])
        self.stale = self.stale or scan.changed or basis != self._basis
        self._basis = basis
        return Findings(
            recognised=self.intake.recognised and not before,
            gone=self._gone(scan) if scan.changed else None,
            files=deque(scan.refused),
            left=scan.left,
            unexamined=self.intake.unexamined(),
        )

    def take_answers(self, answers: Iterable[Examination]) -> Findings:
        """Take the examiner's results; files that a fault of the machine hides are asked again."""
        findings = Findings()
        for answer in answers:
            failure = answer.failure
            if failure and failure.code in MACHINE_REASONS:
                findings.fault = findings.fault or PlaceError(failure.message, code=failure.code)
                continue
            if answer.found.photo is not None:
                if not self.intake.take_mask_answer(answer):
                    self.wake()
                continue
            found = self.intake.take_answer(answer)
            if found is None:
                self.wake()  # changed while it was examined
            else:
                findings.files.append(found)
        return findings

    def plan_is_due(self, now: float, queued: int, examining: int) -> bool:
        """Whether to plan with the results so far, or to wait for more.

        Args:
            now: Monotonic seconds.
            queued: How many jobs wait.
            examining: How many files are still to be examined.
        """
        interval = PLAN_SECONDS * (1 + queued / PLAN_PAIRS)
        return not queued or not examining or now >= self._planned_at + interval

    def unexamined_works(self) -> Counter[tuple[Work, ...]]:
        """How many jobs of each kind of work the photos not yet examined will give."""
        works: Counter[tuple[Work, ...]] = Counter()
        refused = {seen.content for seen in self.ledger.files.refusals()}
        for content in self.intake.files:
            if content not in refused and self.intake.photo(content) is None:
                styles = self.manifest.styles_for(content)
                waits = self.intake.waiting_styles
                works.update((work_of(s.transfer),) for s in styles if s.name not in waits)
        return works

    def _gone(self, scan: Scan) -> Gone:
        """Failed files and pairs whose photos users removed; those in quarantine do not count."""
        names = scan.present(self.ledger.files.names() if scan.hidden else ())
        refused = [seen for seen in self.ledger.files.refusals() if seen.status == "failed"]
        files = [seen.content for seen in refused if seen.content not in names]
        pairs = [p for p in self.ledger.pairs(JobState.FAILED) if p.content not in names]
        if files or pairs:
            found = quarantined_photos(self.config.quarantine, self.ledger)
            aside = {one.content for one in found}
            # Without its note, a photo in quarantine is recognised by what the ledger knows of it.
            names |= {one.content for one in found if not one.has_note}
            files = [content for content in files if content not in aside]
            pairs = [pair for pair in pairs if pair.content not in aside]
        return Gone(names, files, pairs)

    # --- what is to be done -------------------------------------------------------------

    def make_plan(self, now: float, running: Collection[str] = ()) -> Plan:
        """Plan every photo that is examined.

        Args:
            now: Monotonic seconds.
            running: Ids of jobs that must not be planned a second time.
        """
        photos, refused = self.intake.photos()
        finished = self.ledger.finished()
        known = self.ledger.known()
        pairs = self._plan_pairs(photos, known, finished)
        if self._drafts:
            pairs = draft_first(pairs, self._without_draft(pairs))
        wanted = [p.job for p in pairs if p.due and p.job and p.job.id not in running]
        due = [job for job in wanted if not self.recipe_files.must_wait(job)]
        self._jobs_wait = len(due) < len(wanted)
        refused += [self.intake.refuse_unmatched(p.content) for p in pairs if p.why == "no match"]
        plan = Plan(
            pairs=pairs,
            due=due,
            accepted=self.intake.accept_matched({pair.content for pair in pairs if pair.style}),
            refused=refused,
            duplicates=self._duplicates(pairs, finished),
            returned=self._returned(photos),
            ended=self._newly_ended(pairs),
            again=self._to_do_again(pairs, known),
            waiting=self._count_waiting(pairs, known),
            replaced=self._replaced(pairs),
            unwanted=self._unwanted(pairs, known),
        )
        self._planned_at, self.stale = now, False
        return plan

    def _plan_pairs(
        self,
        photos: Iterable[Photo],
        known: Mapping[tuple[str, str], KnownPair],
        finished: Finished,
    ) -> list[Planned]:
        stands: DraftStands | None = self._draft_stands if self.config.first == "draft" else None
        return plan_jobs(photos, self.manifest, self.intake.recipe_of, known, finished, stands)

    def _to_do_again(
        self, pairs: Iterable[Planned], known: Mapping[PairKey, KnownPair]
    ) -> dict[PairKey, EndState]:
        """How the pairs that are due, or whose draft waits for its style, have ended before."""
        again: dict[PairKey, EndState] = {}
        for pair in pairs:
            before = known.get((pair.content, pair.style))
            if pair.job and before:
                before = before.for_photo(pair.job.sha256)
            state = self._ended_as(before) if before else None
            if state and (pair.due or (pair.why == "style waits" and state == DRAFT)):
                again[pair.content, pair.style] = state
        return again

    def _count_waiting(self, pairs: Iterable[Planned], known: Mapping[PairKey, KnownPair]) -> int:
        """How many pairs wait for their style; one that is done or has failed does not."""
        waiting = [pair for pair in pairs if pair.why == "style waits"]
        before = [(pair, known.get((pair.content, pair.style))) for pair in waiting]
        return sum(not one or self._ended_as(one) in (None, DRAFT) for pair, one in before)

    def _ended_as(self, before: KnownPair) -> EndState | None:
        if before.state is JobState.FAILED:
            return "failed"
        if before.state is JobState.SKIPPED:
            return "skipped"
        if before.state is not JobState.DONE:
            return None
        if before.job not in self._are_drafts:  # all at once: after a new recipe they are many
            self._are_drafts |= {before.job: False} | self.ledger.history.are_drafts()
        return DRAFT if self._are_drafts[before.job] else "done"

    def _draft_stands(self, job: Job) -> bool:
        """Whether the draft that a job replaces is in the outbox; a result deleted stays so."""
        draft = self.ledger.history.replaced_by(job)
        outputs = draft.outputs if draft else ()
        return any((self.config.outbox / output.path).is_file() for output in outputs)

    def _without_draft(self, pairs: list[Planned]) -> set[tuple[str, str]]:
        """Pairs whose first picture is no draft, because too many pairs waited at a time."""
        due = {(pair.content, pair.style) for pair in pairs if pair.due}
        many = len(due) + len(self.intake.unexamined()) > MOST_FOR_DRAFTS
        self._full = due if many else self._full & due
        return self._full

    def ending_of(self, content: str) -> Ending | None:
        """How all pairs of a photo have ended, done or failed; None if one has not.

        Reads the ledger for this photo alone: a batch may have ten thousand.
        """
        if not Originals.wanted(self.config):
            return None
        if failure := self.intake.failure(content):
            return Ending(content, self.intake.version(content), "", failure=failure)
        photo = self.intake.photo(content)
        if photo is None:
            return None
        before, finished = self.ledger.known(content), self.ledger.finished(photo.sha256)
        pairs = self._plan_pairs([photo], before, finished)
        whys = {pair.why for pair in pairs}
        if not whys or not whys <= _ENDED:
            return None
        # A duplicate has the pictures of the same photo under its other name.
        known = [self.ledger.pair(p.same_as or p.content, p.style, photo.sha256) for p in pairs]
        ended = tuple(pair for pair in known if pair is not None)
        version = self.intake.version(content)
        if whys == {"done"}:
            return Ending(content, version, photo.sha256, ended)
        failed = next(pair for pair in ended if pair.state is JobState.FAILED)
        if failed.failure is None:
            return None
        return Ending(content, version, photo.sha256, failure=failed.failure)

    def _replaced(self, pairs: list[Planned]) -> Replacing | None:
        if not self._first_plan or not self.intake.files:
            return None
        self._first_plan = False
        kept = self.config.version_limits is not None
        replaced = replacing(pairs, self.ledger.history, self.config.outbox, kept=kept)
        return replaced if replaced.pictures else None

    def _unwanted(
        self, pairs: list[Planned], known: Mapping[PairKey, KnownPair]
    ) -> Unwanted | None:
        if self._planned_at > float("-inf"):
            return None
        styles, outbox = self.manifest.styles, self.config.outbox
        return list_unwanted(pairs, known, styles, self.ledger, outbox)

    def _returned(self, photos: list[Photo]) -> set[tuple[str, str]]:
        """Photos that left the inbox and are back with the same bytes: their pairs open again.

        Not if the same photo is also gone under another name: then the pictures are kept there.
        """
        closed = self.ledger.closed()
        present = {(photo.content, photo.sha256) for photo in photos} if closed else set()
        gone = {sha256 for _, sha256 in closed - present}
        return {one for one in closed & present if one[1] not in gone}

    def _newly_ended(self, pairs: list[Planned]) -> list[str]:
        """Photos that have ended, also in earlier runs: a kill may have left their originals.

        Each is reported once by a planner. If its original stays, there is a reason (pictures that
        were removed or changed), and the pictures need not be read again and again.
        """
        if not Originals.wanted(self.config):
            return []
        version = self.intake.version
        ended = {(pair.content, version(pair.content)) for pair in pairs}
        ended -= {(p.content, version(p.content)) for p in pairs if p.why not in _ENDED}
        ended |= {(name, version(name)) for name in self.intake.files if self.intake.failure(name)}
        new = sorted(ended - self._ended)
        self._ended.update(new)
        return [content for content, _ in new]

    def _duplicates(self, pairs: list[Planned], finished: Finished) -> list[JobResult]:
        """Pairs of a photo that exists twice: linked to the result of the other one."""
        self._twins, duplicates = set(), []
        for pair in pairs:
            if pair.why != "duplicate" or pair.job is None:
                continue
            job = pair.job
            if (job.sha256, job.style, job.recipe.digest) not in finished:
                self._twins.add(pair.same_as)
                continue
            failure = Failure(Reason.DUPLICATE, f"the same photo as {pair.same_as}")
            earlier = self.ledger.pair(pair.same_as, job.style, job.sha256)
            outputs = earlier.outputs if earlier else ()
            duplicates.append(JobResult(job, "skipped", outputs=outputs, error=failure))
        return duplicates
