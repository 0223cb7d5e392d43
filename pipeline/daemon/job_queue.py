"""The queue of jobs, in the order in which they are to begin.

Photos with a higher priority come first. Among equals the folders take turns, at each level of the
tree, so that a large folder does not hold up the others. Within a folder the configured order
applies. All jobs of one photo stay together, because they share computed features. Only drafts
come before the full pictures of all photos of the same priority.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from pipeline.config.patterns import matches
from pipeline.config.sections import Queue
from pipeline.inbox.scanner import Found
from pipeline.jobs.job import Job
from pipeline.jobs.rates import Work, works_of
from pipeline.jobs.retry_policy import is_due


class JobQueue:
    """A queue that remembers across plans whose turn it is.

    Args:
        options: The configured order.
    """

    def __init__(self, options: Queue) -> None:
        self.options = options
        self.works: Counter[tuple[Work, ...]] = Counter()  # how many jobs there are of each work
        self._jobs: deque[Job] = deque()
        self._later: dict[str, tuple[float, Job]] = {}  # by id: failed, not before a time of day
        self._served: dict[str, int] = {}  # folder -> when it had its last turn, in turns
        self._photo = ""  # whose jobs are begun at present
        self._turns = 0

    def __len__(self) -> int:
        return len(self._jobs) + len(self._later)

    def __iter__(self) -> Iterator[Job]:
        yield from self._jobs
        yield from (job for _, job in self._later.values())

    def fill(
        self, jobs: Iterable[Job], files: Mapping[str, Found], waits: Mapping[str, float]
    ) -> None:
        """Replace all jobs in the queue.

        Args:
            jobs: The new ones; those of one photo follow one another.
            files: The photos' files, for their age and size.
            waits: By id, the times before which jobs must not begin (seconds since 1970).
        """
        photos: dict[str, list[Job]] = {}
        for job in jobs:
            photos.setdefault(job.content, []).append(job)
        order = ordered(list(photos), files, self.options, self._served)
        if self._photo in photos:  # its other styles before all other photos
            order.remove(self._photo)
            order.insert(0, self._photo)
        in_order = [job for content in order for job in photos[content]]
        self._jobs = deque(drafts_first(in_order, self.options, lambda job: job))
        self._later = {}
        if waits:
            for job in [job for job in self._jobs if job.id in waits]:
                self.postpone(job, waits[job.id])
            self._jobs = deque(job for job in self._jobs if job.id not in self._later)
        self._count()

    def next(
        self,
        wall: float,
        busy: Collection[tuple[str, str]],
        must_wait: Callable[[Job, float], bool] = lambda _job, _wall: False,
    ) -> Job | None:
        """The first job that may begin; None where there is none.

        Args:
            wall: Seconds since 1970.
            busy: Pairs (content, style) with a job whose result is not recorded yet.
            must_wait: Says whether a job waits for another reason.
        """
        for until, job in list(self._later.values()):
            if is_due(until, wall):
                del self._later[job.id]
                self._jobs.appendleft(job)
        return next(
            (
                job
                for job in self._jobs
                if (job.content, job.style) not in busy and not must_wait(job, wall)
            ),
            None,
        )

    def take(self, job: Job) -> None:
        """Remove a job that begins."""
        self._jobs.remove(job)
        self.works[works_of(job)] -= 1
        if job.content != self._photo:
            self._photo = job.content
            self._turns += 1
            self._served |= dict.fromkeys(_folders(job.content), self._turns)

    def postpone(self, job: Job, until: float) -> None:
        """Let a failed job wait until a time (seconds since 1970)."""
        self._later[job.id] = until, job
        self.works[works_of(job)] += 1

    def _count(self) -> None:
        kinds: dict[int, tuple[Work, ...]] = {}  # few recipes, many jobs
        self.works = Counter(
            kinds.get(id(job.recipe)) or kinds.setdefault(id(job.recipe), works_of(job))
            for job in self
        )


def ordered(
    contents: Sequence[str], files: Mapping[str, Found], options: Queue, served: Mapping[str, int]
) -> list[str]:
    """Photos in the order in which their jobs are to begin.

    Args:
        contents: Paths relative to the inbox, sorted by name.
        files: Their files.
        options: The configured order.
        served: The number of each folder's last turn; folders that had none come first.
    """
    best_first = sorted(contents, key=_key(files, options.order))
    classes: dict[int, list[str]] = {}
    for content in best_first:
        classes.setdefault(_priority(content, options.folders), []).append(content)
    together = [classes[priority] for priority in sorted(classes, reverse=True)]
    if options.fair:
        together = [_in_turns(equals, "", served) for equals in together]
    return [content for equals in together for content in equals]


T = TypeVar("T")


def drafts_first(pairs: list[T], options: Queue, job_of: Callable[[T], Job | None]) -> list[T]:
    """The same pairs with drafts before full pictures of the same priority."""
    jobs = [job for job in map(job_of, pairs) if job is not None]
    if not any(job.draft for job in jobs):
        return pairs

    def place(pair: T) -> tuple[int, bool]:
        job = job_of(pair)
        return (
            (0, True) if job is None else (-_priority(job.content, options.folders), not job.draft)
        )

    return sorted(pairs, key=place)


def _key(files: Mapping[str, Found], order: str) -> Callable[[str], int]:
    def key(content: str) -> int:
        found = files.get(content)
        if found is None or order == "name":
            return 0  # sorting is stable
        if order == "smallest":
            return found.stamp.size
        return found.stamp.mtime_ns if order == "oldest" else -found.stamp.mtime_ns

    return key


def _priority(content: str, folders: Mapping[str, int]) -> int:
    return next((value for pattern, value in folders.items() if matches(content, pattern)), 0)


def _in_turns(contents: list[str], folder: str, served: Mapping[str, int]) -> list[str]:
    """The photos below a folder: one of each of its folders in turn, and so on downward."""
    groups: dict[str, list[str]] = {}
    for content in contents:
        below, slash, _ = content[len(folder) :].partition("/")
        # The files that lie in the folder itself take turns as one.
        groups.setdefault(f"{folder}{below if slash else ''}/", []).append(content)
    own = f"{folder}/"
    lists = [
        (served.get(name, 0), group if name == own else _in_turns(group, name, served))
        for name, group in groups.items()
    ]
    lists.sort(key=lambda pair: pair[0])  # stable: who never had a turn, by their best photo
    turns = [
        (place, number) for number, (_, group) in enumerate(lists) for place in range(len(group))
    ]
    turns.sort()
    return [lists[number][1][place] for place, number in turns]


def _folders(content: str) -> list[str]:
    """The names under which a photo's folders take turns."""
    *parts, _ = content.split("/")
    paths = ["".join(f"{part}/" for part in parts[: depth + 1]) for depth in range(len(parts))]
    return [*paths, f"{''.join(paths[-1:])}/"]
