"""Examines each new file before it is planned: computes its SHA-256 and tries to decode it.

A mask is examined together with its photo, whose proportions it must have.

This is step 4 of the rules in `pipeline.inbox.intake`. A thread does it, because a large file takes
a while and a damaged one may use up its time limit; the decoding itself happens in a process of its
own (`pipeline.imaging.sandbox`).
"""

import queue
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from pipeline.config.regions.mask_files import MAP, mask_name
from pipeline.config.sections import Limits
from pipeline.errors import ChangedError, Failure, InputError, JobError, Reason
from pipeline.imaging.masks import Colors, check_mask
from pipeline.imaging.sandbox import Decoder
from pipeline.inbox.scanner import Found
from pipeline.jobs.retry_policy import MACHINE_REASONS
from pipeline.system.file_version import hash_file

# An overloaded machine may be the cause instead of the file: decoded a second time at once.
TWICE = frozenset({Reason.DECODE_CRASH, Reason.DECODE_TIMEOUT})
# Not a property of the file: it is examined again after the next scan.
PASSING = MACHINE_REASONS | {Reason.UNREADABLE, Reason.OUT_OF_MEMORY, Reason.VANISHED}


@dataclass(frozen=True, slots=True)
class Examination:
    """The result for one file: its SHA-256, or a failure; neither if the file changed meanwhile."""

    found: Found
    sha256: str = ""
    failure: Failure | None = None
    colors: Colors = ()  # of a map of regions


class Examiner:
    """Examines files one after the other, in the order they were given."""

    def __init__(self, limits: Limits) -> None:
        self._decoder = Decoder(limits, preallocated=0)
        self._asked: queue.SimpleQueue[Found | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Examination] = queue.SimpleQueue()
        self._pending: set[Found] = set()
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> int:
        """How many files are still to be examined."""
        return len(self._pending)

    def ask(self, found: Found) -> None:
        """Have a file examined, unless it is waiting already."""
        if found in self._pending:
            return
        self._pending.add(found)
        self._asked.put(found)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="examiner", daemon=True)
            self._thread.start()

    def answers(self, timeout: float = 0.0) -> list[Examination]:
        """Results since the last call; waits up to ``timeout`` s if there are none yet."""
        answers: list[Examination] = []
        try:
            while self._pending:
                answer = self._answers.get(timeout=0 if answers else timeout)
                self._pending.discard(answer.found)
                answers.append(answer)
        except queue.Empty:
            pass
        return answers

    def drop(self) -> None:
        """Forget the files that wait; the caller asks for them again."""
        self._pending.clear()
        while not self._asked.empty():
            self._asked.get()

    def close(self) -> None:
        """Stop at once; calling it again does nothing."""
        thread, self._thread = self._thread, None
        while not self._asked.empty():
            self._asked.get()
        self._asked.put(None)
        self._decoder.close()  # aborts what it decodes now
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while found := self._asked.get():
            self._answers.put(examine(found, self._decoder))


def examine(found: Found, decoder: Decoder) -> Examination:
    """Hash a file and decode all of it. Never raises."""
    try:
        digest = hash_file(found.path, found.stamp, decoder.limits.bytes)
        if digest is None:
            return Examination(found)
        if found.photo is not None:
            return Examination(
                found, digest, colors=_check_mask(found, found.photo, decoder, digest)
            )
        _probe(found, decoder, digest)
        return Examination(found, digest)
    except ChangedError:
        return Examination(found)
    except JobError as error:
        return Examination(found, failure=Failure(error.code, _describe(error)))
    except Exception as error:
        return Examination(
            found, failure=Failure(Reason.UNREADABLE, f"cannot be examined: {error}")
        )


def examine_masks(masks: Iterable[Found], limits: Limits) -> list[Examination]:
    """Examine masks, each with its photo."""
    with closing(Decoder(limits, preallocated=0)) as decoder:  # starts with the first mask
        return [examine(mask, decoder) for mask in masks]


def _check_mask(mask: Found, photo: Found, decoder: Decoder, sha256: str) -> Colors:
    name = mask_name(mask.content)
    is_map = name is not None and name.region == MAP
    below = mask.content.count("/") + 1
    return check_mask(
        decoder, mask.path, photo.path, is_map=is_map, below=(below, below), sha256=sha256
    )


def _probe(found: Found, decoder: Decoder, sha256: str) -> None:
    below = found.content.count("/") + 1
    try:
        decoder.probe(found.path, below, sha256)
    except InputError as error:
        if error.code not in TWICE:
            raise
        decoder.probe(found.path, below, sha256)


def _describe(error: JobError) -> str:
    """The message without the file's path, which is shown beside it everywhere."""
    return f"{error.what} ({error.hint})" if error.hint else error.what
