"""What is to be done next: the inbox is read, and a plan is made of it. Nothing is written here.

The service acts on what is returned, in two steps. `Planner.look_at_inbox` and
`Planner.take_answers` return `Findings`, which go into the ledger; only then `Planner.make_plan`
returns a `Plan`: what is due, refused, a duplicate or ended. `run`, `run --dry-run` and `explain`
(see `pipeline.daemon.preview`) differ in what they do with it, not in how it is made.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.daemon.recipe_files import RecipeFiles
from pipeline.daemon.replacements import Replacing, replacing
from pipeline.errors import Failure, PlaceError, Reason
from pipeline.inbox.examiner import Examination
from pipeline.inbox.intake import Accepted, Intake
from pipeline.inbox.originals import Ending, Originals
from pipeline.inbox.quarantine import quarantined_photos
from pipeline.inbox.scanner import Found, Refused, Scan
from pipeline.jobs.job import Job, JobResult, JobState, Photo
from pipeline.jobs.plan import Planned, plan_jobs
from pipeline.jobs.recipe import forget_digest
from pipeline.jobs.retry_policy import MACHINE_REASONS
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.monitoring.estimate import work_of

# Between two plans while many new files are examined; for a queue of a thousand twice as long, and
# so on: the more waits, the less does it matter what comes behind it, and the longer a plan takes.
PLAN_SECONDS, PLAN_PAIRS = 1.0, 1000

_ENDED = frozenset({"done", "failed before"})

Finished = dict[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Gone:
    """What people have taken out of the inbox since the last look."""

    present: Collection[str]  # everything that lies in the inbox now
    files: Collection[str] = ()  # refused as failures before, and not put aside by us
    pairs: Collection[Pair] = ()  # the same of pairs


@dataclass(slots=True)
class Findings:
    """What was found in the inbox, for the ledger."""

    recognised: bool = False  # files were seen for the first time: this disk is the inbox's
    gone: Gone | None = None
    files: deque[Accepted | Refused] = field(default_factory=deque)  # in the order of finding
    unexamined: list[Found] = field(default_factory=list)
    fault: PlaceError | None = None  # the machine is at fault: nothing can be examined now


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about every photo that is examined, and what is not to be done."""

    pairs: list[Planned]  # all of them, each with its reason
    due: list[Job]  # pictures to be made
    accepted: list[Accepted]  # refused before, and now planned
    refused: list[Refused]  # photos that nothing gives a style, and those with a wrong side file
    duplicates: list[JobResult]  # pairs to be linked to the pictures of the same photo
    returned: set[tuple[str, str]]  # photos (content, SHA-256) that had left, and are back
    ended: list[str]  # photos all of whose pairs have ended: what becomes of the original?
    replaced: Replacing | None = None  # of the first plan: finished pictures that it replaces


class Planner:
    """Turns what lies in the inbox into plans.

    Args:
        config, manifest: What is wanted.
        ledger: What was done. It is only read.
    """

    def __init__(self, config: Config, manifest: Manifest, ledger: Ledger) -> None:
        self.config, self.manifest, self.ledger = config, manifest, ledger
        self.intake = Intake(config, manifest, ledger)
        self.recipe_files = RecipeFiles(config.watch.settle_seconds)
        self.settling = 0
        self.missing_files = ""  # which styles wait for files that are gone
        self.next_scan = 0.0
        self.stale = True  # a plan is wanted, whatever the next look finds
        self._twins: set[str] = set()  # photos for whose results the same photo elsewhere waits
        self._held_back = False  # whether a job waits until a file of its recipe is still
        self._first_plan = True
        self._basis: object = None
        self._ended: set[tuple[str, str]] = set()  # versions of photos that were given as ended
        self._planned_at = float("-inf")

    @property
    def unfinished(self) -> bool:
        """Whether another look or plan may find more to do."""
        return bool(self.settling or self._twins or self.stale or self._held_back)

    def wake(self, stale: bool = False) -> None:
        """Look at the inbox at the next tick."""
        self.next_scan = 0.0
        self.stale = self.stale or stale

    def doubt(self, job: Job, path: Path) -> None:
        """A job found something else in a file than was planned with: it is read again."""
        if path == job.path:
            self.intake.doubt(job.content)
        else:
            forget_digest(path)
        self.recipe_files.doubt(path)
        self.wake(stale=True)

    def job_ended(self, content: str) -> None:
        """A job of this photo has ended: those that wait for its result are planned again."""
        if content in self._twins:
            self.wake(stale=True)

    # --- what there is ------------------------------------------------------------------

    def look_at_inbox(self, now: float, wall: float, scan_seconds: float) -> Findings:
        """Read the inbox. A plan is wanted if it, the ledger or a painting has changed.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            scan_seconds: When to look again at the latest.

        Raises:
            StateError: When the inbox is not there.
        """
        before = self.intake.recognised
        scan = self.intake.scan(now, wall)
        self.next_scan = min(now + scan_seconds, scan.next_look or float("inf"))
        self.settling = len(scan.unsettled)
        # A style whose painting was taken away waits until it is back; the others go on.
        recipes = [self.intake.recipes.recipe_if_readable(s) for s in self.manifest.styles.values()]
        self.missing_files = self.intake.recipes.trouble
        self.recipe_files.compare(filter(None, recipes), now)
        self.next_scan = min(self.next_scan, self.recipe_files.still_at)
        digests = [recipe and recipe.digest for recipe in recipes]
        basis = (digests, self.recipe_files.moving, self.ledger.revision()[0])
        self.stale = self.stale or scan.changed or basis != self._basis
        self._basis = basis
        return Findings(
            recognised=self.intake.recognised and not before,
            gone=self._gone(scan) if scan.changed and scan.whole else None,
            files=deque(scan.refused),
            unexamined=self.intake.unexamined(),
        )

    def take_answers(self, answers: Iterable[Examination]) -> Findings:
        """Take in what the examiner found; what a fault of the machine hides is asked again."""
        findings = Findings()
        for answer in answers:
            failure = answer.failure
            if failure and failure.code in MACHINE_REASONS:
                findings.fault = findings.fault or PlaceError(failure.message, code=failure.code)
                continue
            found = self.intake.take_answer(answer)
            if found is None:
                self.wake()  # changed while it was examined
            else:
                findings.files.append(found)
        return findings

    def plan_is_due(self, now: float, queued: int, examining: int) -> bool:
        """Whether to plan with what was found, or to wait for more of it.

        Args:
            now: Monotonic seconds.
            queued: How many jobs wait.
            examining: How many files are still to be examined.
        """
        pause = PLAN_SECONDS * (1 + queued / PLAN_PAIRS)
        return not queued or not examining or now >= self._planned_at + pause

    def unexamined_works(self) -> Counter[str]:
        """How many jobs of each kind of work the photos not yet examined will come to."""
        works: Counter[str] = Counter()
        refused = {seen.content for seen in self.ledger.files.refusals()}
        for content in self.intake.files:
            if content not in refused and self.intake.photo(content) is None:
                styles = self.manifest.styles_for(content)
                waits = self.intake.recipes.troubles
                works.update(work_of(s.transfer) for s in styles if s.name not in waits)
        return works

    def _gone(self, scan: Scan) -> Gone:
        """What failed and was taken away is no failure any more; what we put aside still is."""
        names = scan.names
        refused = [seen for seen in self.ledger.files.refusals() if seen.status == "failed"]
        files = [seen.content for seen in refused if seen.content not in names]
        pairs = [p for p in self.ledger.pairs(JobState.FAILED) if p.content not in names]
        if files or pairs:
            aside = {one.content for one in quarantined_photos(self.config.quarantine)}
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
        recipe_of, known = self.intake.recipes.recipe_if_readable, self.ledger.known()
        pairs = plan_jobs(photos, self.manifest, recipe_of, known, finished)
        wanted = [p.job for p in pairs if p.due and p.job and p.job.id not in running]
        due = [job for job in wanted if not self.recipe_files.holds_back(job)]
        self._held_back = len(due) < len(wanted)
        refused += [self.intake.refuse_unmatched(p.content) for p in pairs if p.why == "no match"]
        plan = Plan(
            pairs=pairs,
            due=due,
            accepted=self.intake.accept_matched({pair.content for pair in pairs if pair.style}),
            refused=refused,
            duplicates=self._duplicates(pairs, finished),
            returned=self._returned(photos),
            ended=self._newly_ended(pairs),
            replaced=self._replaced(pairs),
        )
        self._planned_at, self.stale = now, False
        return plan

    def ending_of(self, content: str) -> Ending | None:
        """How all pairs of a photo have ended; None while one has not, or has for another reason.

        Reads the ledger for this photo alone: a batch ends ten thousand of them.
        """
        photo = self.intake.photo(content) if Originals.wanted(self.config) else None
        if photo is None:
            return None
        before, finished = self.ledger.known(content), self.ledger.finished(photo.sha256)
        pairs = plan_jobs(
            [photo], self.manifest, self.intake.recipes.recipe_if_readable, before, finished
        )
        whys = {pair.why for pair in pairs}
        if not whys or not whys <= _ENDED:
            return None
        # For a twin the pictures of the other name stand.
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
        kept = self.config.bounds is not None
        replaced = replacing(pairs, self.ledger.history, self.config.outbox, kept=kept)
        return replaced if replaced.pictures else None

    def _returned(self, photos: list[Photo]) -> set[tuple[str, str]]:
        """Photos that came back with the bytes they had: a change in their place is theirs again.

        Not so while the same photo is gone under another name, where these pictures are kept.
        """
        closed = self.ledger.closed()
        present = {(photo.content, photo.sha256) for photo in photos} if closed else set()
        gone = {sha256 for _, sha256 in closed - present}
        return {one for one in closed & present if one[1] not in gone}

    def _newly_ended(self, pairs: list[Planned]) -> list[str]:
        """Photos that have ended, also before: a kill may have left their originals behind.

        Each once in the life of a planner, for what stays has its reason: pictures that were
        removed or spoiled are not read again and again.
        """
        if not Originals.wanted(self.config):
            return []
        version = self.intake.version
        ended = {(pair.content, version(pair.content)) for pair in pairs}
        ended -= {(p.content, version(p.content)) for p in pairs if p.why not in _ENDED}
        new = sorted(ended - self._ended)
        self._ended.update(new)
        return [content for content, _ in new]

    def _duplicates(self, pairs: list[Planned], finished: Finished) -> list[JobResult]:
        """The same photo under another name: linked to the earlier result once there is one."""
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
