"""What is to be done next: the inbox looked at, the plan made, the queue kept."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.daemon.blame import Holds
from pipeline.daemon.bookkeeping import Accounts
from pipeline.daemon.job_queue import Waiting
from pipeline.daemon.recipe_files import Ingredients
from pipeline.daemon.replacements import Replacing, replacing
from pipeline.errors import Failure, PlaceError, Reason
from pipeline.inbox.examiner import PASSING, Examiner
from pipeline.inbox.intake import Intake
from pipeline.inbox.originals import Originals
from pipeline.inbox.quarantine import held
from pipeline.inbox.scanner import EMPTY, Refused
from pipeline.jobs.job import Job, JobResult, JobState, Photo
from pipeline.jobs.plan import Planned, plan_jobs
from pipeline.jobs.recipe import forget_digest
from pipeline.jobs.retry_policy import OF_THE_PLACE
from pipeline.monitoring.estimate import work_of

# Between two plans while many new files are examined; for a queue of a thousand twice as long, and
# so on: the more waits, the less does it matter what comes behind it, and the longer a plan takes.
PLAN_SECONDS, PLAN_PAIRS = 1.0, 1000
# These resolve themselves or are resolved beside the photo: it stays where it is.
_STAYS = PASSING | {Reason.SIDECAR_INVALID}

_ENDED = frozenset({"done", "failed before"})

Finished = dict[tuple[str, str, str], str]


class Planner:
    """Turns what lies in the inbox into a queue of jobs.

    Args:
        config, manifest: What is wanted.
        accounts: What was done, and where refusals go.
        examiner: Looks into new files.
        on_replace: Told once, before any job of the first plan is begun, which finished pictures
            that plan takes the place of.
    """

    def __init__(
        self,
        config: Config,
        manifest: Manifest,
        accounts: Accounts,
        examiner: Examiner,
        on_replace: Callable[[Replacing], None] = lambda _: None,
    ) -> None:
        self._on_replace: Callable[[Replacing], None] | None = on_replace
        self.config, self.manifest, self.accounts = config, manifest, accounts
        self.examiner = examiner
        self.intake = Intake(config, manifest, accounts.ledger, examiner)
        self.ingredients = Ingredients(config.watch.settle_seconds)
        self.originals = Originals(config)
        self.holds = Holds()
        self.queue = Waiting(config.queue)
        self.twins: set[str] = set()  # photos on whose results the same photo elsewhere waits
        self.settling = 0
        self.held_back = False  # whether a job waits until a file of its recipe is still
        self.missing = ""  # a painting that is gone
        self.next_scan = 0.0
        self.stale = True  # a plan is wanted, whatever the next look finds
        self._basis: object = None
        self._looked_after: set[tuple[str, str]] = set()  # versions of photos all done, seen to
        self._planned_at = float("-inf")

    @property
    def waiting(self) -> bool:
        """Whether anything is still to be looked at, planned or handed out."""
        ready = any(job not in self.holds for job in self.queue)
        coming = self.settling or self.twins or self.stale or self.examiner.pending
        return bool(ready or coming or self.held_back)

    @property
    def trouble(self) -> str:
        """Which styles wait for their paintings or for the engine, and why; "" when none does."""
        return "; ".join(filter(None, (self.missing, self.holds.words)))

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
        self.ingredients.doubt(path)
        self.wake(stale=True)

    def look(self, now: float, wall: float, running: Collection[str], scan_seconds: float) -> None:
        """Read the inbox, and plan anew if it, the ledger or a painting has changed.

        Args:
            now: Monotonic seconds.
            wall: Seconds since 1970.
            running: Ids of jobs that must not be planned a second time.
            scan_seconds: When to look again at the latest.

        Raises:
            StateError: When the inbox is not there.
        """
        scan = self.intake.scan(now, wall)
        self.next_scan = min(now + scan_seconds, scan.next_look or float("inf"))
        self.settling = len(scan.unsettled)
        for refused in scan.refused:
            self._refuse(refused, wall)
        if scan.changed and scan.whole:
            self._leave(scan.names, wall)
        # A style whose painting was taken away waits until it is back; the others go on.
        recipes = [self.intake.recipes.usable(s) for s in self.manifest.styles.values()]
        self.missing = self.intake.recipes.trouble
        self.ingredients.look(filter(None, recipes), now)
        self.next_scan = min(self.next_scan, self.ingredients.still_at)
        digests = [recipe and recipe.digest for recipe in recipes]
        basis = (digests, self.ingredients.moving, self.accounts.ledger.revision()[0])
        if self.stale or scan.changed or basis != self._basis:
            self._plan(now, wall, running)
            self._basis = basis

    def _leave(self, names: Collection[str], wall: float) -> None:
        """What failed and was taken away is no failure any more; what we put aside still is."""
        files = [seen.content for seen in self.intake.left if seen.status == "failed"]
        failed = self.accounts.ledger.pairs(JobState.FAILED)
        pairs = [pair for pair in failed if pair.content not in names]
        if files or pairs:
            aside = {one.content for one in held(self.config.quarantine)}
            files = [content for content in files if content not in aside]
            pairs = [pair for pair in pairs if pair.content not in aside]
            self.accounts.leave(files, pairs, wall)

    def learn(self, now: float, wall: float, running: Collection[str], timeout: float) -> None:
        """Take in what the examiner found, and plan with it now and then.

        Raises:
            PlaceError: Nothing can be examined now; what waits is asked for again.
        """
        answers = self.examiner.answers(timeout) if self.examiner.pending else []
        blamed = [a.failure for a in answers if a.failure and a.failure.code in OF_THE_PLACE]
        if blamed:
            self.examiner.drop()
        for answer in answers:
            if answer.failure in blamed:
                continue
            refused = self.intake.learn(answer)
            if refused is not None:
                self._refuse(refused, wall)
            elif not answer.sha256:
                self.wake()  # changed while it was looked at
        pause = PLAN_SECONDS * (1 + len(self.queue) / PLAN_PAIRS)
        soon = not self.queue or now >= self._planned_at + pause
        if answers and (soon or not self.examiner.pending):
            self._plan(now, wall, running)
        elif answers:
            self.stale = True
        if blamed:
            self.stale = True
            raise PlaceError(blamed[0].message, code=blamed[0].code)

    def works(self) -> Counter[str]:
        """How many jobs of each kind of work there are, also those of photos not yet examined."""
        works = +self.queue.works
        if self.examiner.pending:
            refused = {seen.content for seen in self.accounts.ledger.files.refusals()}
            for content in self.intake.files:
                if content not in refused and self.intake.photo(content) is None:
                    styles = self.manifest.styles_for(content)
                    waits = self.intake.recipes.troubles
                    works.update(work_of(s.transfer) for s in styles if s.name not in waits)
        return works

    def ended(self, content: str) -> None:
        """A job of this photo has ended: those that wait for its result are planned anew."""
        if content in self.twins:
            self.wake(stale=True)

    def done(self, content: str) -> None:
        """A pair of this photo has ended: what becomes of the original?"""
        photo = self.intake.photo(content)
        if photo is not None and (self.config.after, self.config.failed) != ("keep", "leave"):
            self._see_to_original(photo)

    # --- planning -----------------------------------------------------------------------

    def _plan(self, now: float, wall: float, running: Collection[str]) -> None:
        self._planned_at, self.stale = now, False
        photos, refused = self.intake.photos()
        for file in refused:
            self._refuse(file, wall)
        finished = self.accounts.ledger.finished()
        plan = self._planned(photos, finished)
        self._announce(plan)
        due = [p.job for p in plan if p.due and p.job and p.job.id not in running]
        ready = [job for job in due if not self.ingredients.holds_back(job)]
        self.held_back = len(ready) < len(due)
        self.queue.fill(ready, self.intake.files, self.accounts.ledger.retry_times())
        self.holds.keep({pair.job.recipe.digest for pair in plan if pair.job})
        self.twins = set()
        self.intake.accepted({pair.content for pair in plan if pair.style})
        for pair in plan:
            if pair.why == "no match":
                self._no_match(pair.content, wall)
            elif pair.why == "duplicate" and pair.job:
                self._twin(pair, pair.job, finished, wall)
        self._reopen(photos)
        self._look_after(plan)

    def _announce(self, plan: list[Planned]) -> None:
        told = self._on_replace
        if told is not None and self.intake.files:
            self._on_replace = None
            ledger, kept = self.accounts.ledger, self.config.bounds is not None
            replaced = replacing(plan, ledger.history, self.config.outbox, kept=kept)
            if replaced.pictures:
                told(replaced)

    def _reopen(self, photos: list[Photo]) -> None:
        """Photos that came back with the bytes they had: a change in their place is theirs again.

        Not so while the same photo is gone under another name, where these pictures are kept.
        """
        if closed := self.accounts.ledger.closed():
            present = {(photo.content, photo.sha256) for photo in photos}
            gone = {sha256 for _, sha256 in closed - present}
            self.accounts.ledger.reopen_photos(
                {one for one in closed & present if one[1] not in gone}
            )

    def _look_after(self, plan: list[Planned]) -> None:
        """See to originals that were done with before: a kill may have fallen in between.

        Once for each in the life of a planner, for what stays has its reason: pictures that were
        removed or spoiled are not read again and again.
        """
        if (self.config.after, self.config.failed) == ("keep", "leave"):
            return
        ended = {(pair.content, self.intake.version(pair.content)) for pair in plan}
        ended -= {(p.content, self.intake.version(p.content)) for p in plan if p.why not in _ENDED}
        for content, version in sorted(ended - self._looked_after):
            self._looked_after.add((content, version))
            self.done(content)

    def _planned(self, photos: list[Photo], finished: Finished) -> list[Planned]:
        known = self.accounts.ledger.known()
        return plan_jobs(photos, self.manifest, self.intake.recipes.usable, known, finished)

    def _no_match(self, content: str, wall: float) -> None:
        failure = Failure(Reason.NO_MATCH, "no match rule of the config gives it a style")
        found = self.intake.files[content]
        self._refuse(Refused(content, found.path, failure, "skipped", str(found.stamp)), wall)

    def _twin(self, pair: Planned, job: Job, finished: Finished, wall: float) -> None:
        """The same photo under another name: linked to the earlier result once there is one."""
        if (job.sha256, job.style, job.recipe.digest) not in finished:
            self.twins.add(pair.same_as)
            return
        failure = Failure(Reason.DUPLICATE, f"the same photo as {pair.same_as}")
        earlier = self.accounts.known(pair.same_as, job.style, job.sha256)
        outputs = earlier.outputs if earlier else ()
        self.accounts.settle(JobResult(job, "skipped", outputs=outputs, error=failure), wall)
        self.done(job.content)

    def _refuse(self, refused: Refused, wall: float) -> None:
        self.accounts.refuse(refused, wall)
        self.intake.refused(refused)
        stays = refused.failure == EMPTY or refused.failure.code in _STAYS
        if refused.status == "failed" and refused.version and not stays:
            self._put_aside(refused.content, refused.version, "", refused.failure)

    def _put_aside(self, content: str, version: str, sha256: str, failure: Failure) -> None:
        if self.config.failed != "leave":
            with self._leaving(content, sha256):
                self.originals.failed(content, version, sha256, failure)

    @contextmanager
    def _leaving(self, content: str, sha256: str) -> Iterator[None]:
        """A photo is taken out of the inbox: what gets its name next is another photo.

        The ledger knows before it happens, so that a crash in between costs no picture.
        """
        self.accounts.ledger.close_photo(content, sha256)
        yield
        photo = self.intake.photo(content)
        if photo is not None and self.intake.standing(content) == self.intake.version(content):
            self.accounts.ledger.reopen_photos({(content, photo.sha256)})

    def _see_to_original(self, photo: Photo) -> None:
        ledger = self.accounts.ledger  # of this photo alone: a batch ends ten thousand of them
        before, finished = ledger.known(photo.content), ledger.finished(photo.sha256)
        pairs = plan_jobs([photo], self.manifest, self.intake.recipes.usable, before, finished)
        whys = {pair.why for pair in pairs}
        # For a twin the pictures of the other name stand.
        known = [self.accounts.known(p.same_as or p.content, p.style, photo.sha256) for p in pairs]
        version = self.intake.version(photo.content)
        if whys == {"done"}:
            made = [pair for pair in known if pair is not None]
            if self.config.after != "keep":
                with self._leaving(photo.content, photo.sha256):
                    self.originals.processed(photo.content, version, made)
        elif whys == {"done", "failed before"} or whys == {"failed before"}:
            failed = next(p for p in known if p is not None and p.state == "failed")
            if failed.failure and failed.failure.code not in _STAYS:
                self._put_aside(photo.content, version, photo.sha256, failed.failure)
