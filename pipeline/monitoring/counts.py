"""Counts pairs and files by state, for all that show them: each word means the same everywhere.

All of a studio (`count_all`): `status` and the metrics' gauges. What a run has ended (`Tally`):
dashboard, plain lines, live page, the service manager's line, the log's `stop`, and, from a mark
on, the summary of a bulk run and the digest of a batch. In the first run of a studio both are the
same numbers.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pipeline.jobs.job import JobState, Status
from pipeline.jobs.plan import Planned
from pipeline.system.text import format_count

PairKey = tuple[str, str]  # content and style
EndState = Literal["done", "failed", "skipped", "draft"]
DRAFT: Final = "draft"  # the state of a finished pair that has a draft only


@dataclass(frozen=True, slots=True)
class Counts:
    """Each pair is counted once, by its latest state; a file that became no pair is not taken.

    A pause changes no count: what it holds up is queued.
    """

    queued: int = 0  # not begun, to be tried again, taken in advance, or with a draft only
    running: int = 0  # being rendered, enhanced or written
    done: int = 0  # painted in full, also where someone has deleted the picture since
    failed: int = 0  # with the photo still there
    # Ended without a picture of its own: the same photo as another one, a photo that was removed
    # after it had failed, a draft that was deleted or whose photo is gone.
    skipped: int = 0
    waiting: int = 0  # not begun, and the style cannot be used now: its painting is gone
    settling: int = 0  # files that are still being written
    not_taken: int = 0  # files in inbox or quarantine that were refused, with or without a failure

    def parts(self) -> list[tuple[int, str]]:
        """Numbers with their words; queued, running and done always, others if not zero."""
        always = [(self.queued, "queued"), (self.running, "running"), (self.done, "done")]
        now = [(self.waiting, "waiting for a style"), (self.settling, "settling")]
        return [*always, *self._more(), *(part for part in now if part[0])]

    def words(self) -> str:
        """All of them in one line."""
        return ", ".join(f"{number} {word}" for number, word in self.parts())

    def results(self) -> str:
        """Those that have ended, in one line; "" where none has."""
        ended = [*[(self.done, "done")] * (self.done > 0), *self._more()]
        return ", ".join(f"{number} {word}" for number, word in ended)

    def ended(self) -> dict[str, int]:
        """Those that have ended, by name: for events in JSON and the log."""
        names = ("done", "failed", "skipped", "not_taken")
        return {name: getattr(self, name) for name in names}

    def by_state(self, staged: int = 0) -> dict[str, int]:
        """All pairs by the name of their state; ``staged``: those that are being written."""
        ended = {"done": self.done, "failed": self.failed, "skipped": self.skipped}
        begun = {"running": max(0, self.running - staged), "staged": staged}
        return {"queued": self.queued, **begun, **ended, "waiting": self.waiting}

    def _more(self) -> list[tuple[int, str]]:
        files = format_count(self.not_taken, "file").partition(" ")[2]
        more = [
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.not_taken, f"{files} not taken"),
        ]
        return [part for part in more if part[0]]


# --- all pairs of a studio ------------------------------------------------------------------


def count_all(
    states: Mapping[JobState, int], not_taken: int, now: Mapping[str, Any] | None, drafts: int = 0
) -> Counts:
    """Count all pairs.

    Args:
        states: The pairs in the ledger; those with a draft only are queued there.
        not_taken: Files refused so far.
        now: What the plan knows and the ledger does not, as the running instance reports it or as
            `planned_facts` finds it; None: no plan.
        drafts: How many pairs in the ledger have a draft only.
    """
    now = now or {}
    running = states[JobState.RUNNING] + states[JobState.STAGED]
    queued, again = states[JobState.QUEUED], now.get("again")
    if isinstance(now.get("queued"), int):
        queued = now["queued"]
    if isinstance(now.get("busy"), int):
        running = now["busy"]
    if not isinstance(again, Mapping):
        again, drafts = {}, 0
    ended = {
        state: max(0, states[state] - again.get(state.value, 0))
        for state in (JobState.DONE, JobState.FAILED, JobState.SKIPPED)
    }
    return Counts(
        queued=queued,
        running=running,
        done=ended[JobState.DONE],
        failed=ended[JobState.FAILED],
        # Nothing will replace the drafts that are not due.
        skipped=ended[JobState.SKIPPED] + max(0, drafts - again.get(DRAFT, 0)),
        waiting=now.get("waiting") or 0,
        settling=now.get("settling") or 0,
        not_taken=not_taken,
    )


def planned_facts(queued: int, waiting: int, again: Mapping[PairKey, EndState]) -> dict[str, Any]:
    """What a plan knows of the pairs and the ledger does not, for `count_all`.

    Args:
        queued: How many pairs wait to be painted.
        waiting: How many wait for their style.
        again: Those among both that have ended before, and how.
    """
    return {"queued": queued, "waiting": waiting, "again": dict(Counter(again.values()))}


# --- the results of one run -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """How a pair, or a file that never became one (its ``style`` is empty), ended last."""

    content: str
    style: str
    status: EndState
    number: int  # of the change, from 1
    code: str = ""


class Tally:
    """How each pair and each file of a run ended last, however often it was painted or read."""

    def __init__(self) -> None:
        self._ends: dict[PairKey, Ended] = {}
        self._before: list[Ended] = []  # pairs of photos whose names other photos have now
        self._totals: Counter[tuple[bool, str]] = Counter()  # by whether it is a file, and status
        self._drafts: set[PairKey] = set()
        self.mark = 0  # the number of the last change

    def add(self, content: str, style: str, status: EndState, code: str = "") -> None:
        """Store how a pair ended, or a file without ``style``, in place of how it ended before."""
        key = (content, style)
        self._remove(key)
        self.mark += 1
        self._ends[key] = Ended(content, style, status, self.mark, code)
        self._totals[not style, status] += 1
        if status == DRAFT:
            self._drafts.add(key)

    def correct(self, content: str, style: str, status: Status) -> None:
        """Store another end of a pair, if one is known: its photo was removed, for example."""
        if (content, style) in self._ends:
            self.add(content, style, status)

    def follow_plan(self, pairs: Collection[Planned]) -> None:
        """Forget the ends of pairs that are queued again; count drafts without a future."""
        for pair in pairs:
            if pair.due:
                self._reopen(pair)
        self._end_drafts({(p.content, p.style) for p in pairs if p.due or p.why == "style waits"})

    def accept(self, content: str) -> None:
        """Forget that a file was refused: it is a photo now, or gone."""
        self._remove((content, ""))

    def keep_files(self, present: Collection[str], gone: Collection[str]) -> None:
        """Forget the refused files that are gone: failed ones if listed, others if not present."""
        for (content, style), end in list(self._ends.items()):
            skipped = end.status == "skipped" and content not in present
            if not style and (skipped or content in gone):
                self.accept(content)

    def counts(self) -> Counts:
        """The results of the whole run."""
        return _counts(self._totals)

    @property
    def any_failed(self) -> bool:
        """Whether a pair or a file counts as failed."""
        return bool(self._totals[False, "failed"] or self._totals[True, "failed"])

    def since(self, mark: int) -> list[Ended]:
        """What has ended after a mark and was not forgotten since, in this order."""
        every = (*self._before, *self._ends.values())
        return sorted((end for end in every if end.number > mark), key=lambda end: end.number)

    def _reopen(self, pair: Planned) -> None:
        """Forget how a pair ended, because it is to be painted again.

        The pictures of another photo that had the same name before still count.
        """
        key, another = (pair.content, pair.style), pair.why == "new"
        before, draft = self._ends.get(key), key in self._drafts
        if before is None or (draft and not another):
            return
        self._remove(key)
        if another and (draft or before.status == "done"):
            kept = replace(before, status="skipped") if draft else before
            self._before.append(kept)
            self._totals[False, kept.status] += 1

    def _end_drafts(self, pairs: Collection[PairKey]) -> None:
        """Count drafts as skipped, except of pairs whose full pictures are still to come."""
        for key in self._drafts:
            end, status = self._ends[key], _state_of_draft(key in pairs)
            if end.status != status:
                self.mark += 1
                self._totals[False, end.status] -= 1
                self._totals[False, status] += 1
                self._ends[key] = replace(end, status=status, number=self.mark)

    def _remove(self, key: PairKey) -> None:
        end = self._ends.pop(key, None)
        if end is not None:
            self._totals[not end.style, end.status] -= 1
            self._drafts.discard(key)


def count_ended(ends: Iterable[Ended]) -> Counts:
    """The results among some ends."""
    return _counts(Counter((not end.style, end.status) for end in ends))


def count_codes(ends: Iterable[Ended]) -> dict[str, int]:
    """How many pairs and files have failed by reason code, the most frequent first."""
    codes = Counter(end.code for end in ends if end.status == "failed")
    return dict(codes.most_common())


def _state_of_draft(goes_on: bool) -> EndState:
    return DRAFT if goes_on else "skipped"


def _counts(totals: Mapping[tuple[bool, str], int]) -> Counts:
    pairs = {status: totals.get((False, status), 0) for status in ("done", "failed", "skipped")}
    files = totals.get((True, "failed"), 0) + totals.get((True, "skipped"), 0)
    return Counts(**pairs, not_taken=files)
