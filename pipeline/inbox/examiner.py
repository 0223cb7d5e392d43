"""A look into each new file before it is planned: what it holds, and whether it can be decoded.

A thread does it, because a large file takes a while and a broken one may take its time limit; the
decoding itself happens in a process of its own (`pipeline.imaging.sandbox`).
"""

import queue
import threading
from dataclasses import dataclass

from pipeline.config.sections import Limits
from pipeline.errors import ChangedError, Failure, InputError, JobError, Reason
from pipeline.imaging.sandbox import Decoder
from pipeline.inbox.scanner import Found
from pipeline.jobs.retry_policy import MACHINE_REASONS
from pipeline.system.file_version import hash_file

# The machine's moment of weakness, perhaps, and not the file: these are looked at twice.
TWICE = frozenset({Reason.DECODE_CRASH, Reason.DECODE_TIMEOUT})
# Nothing about the file itself: looked at again with the next scan.
PASSING = MACHINE_REASONS | {Reason.UNREADABLE, Reason.OUT_OF_MEMORY, Reason.VANISHED}


@dataclass(frozen=True, slots=True)
class Examined:
    """What one look found: a digest, a failure, or neither where the file changed meanwhile."""

    found: Found
    sha256: str = ""
    failure: Failure | None = None


class Examiner:
    """Examines files one after the other, in the order they were given."""

    def __init__(self, limits: Limits) -> None:
        self._decoder = Decoder(limits, preallocated=0)
        self._asked: queue.SimpleQueue[Found | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Examined] = queue.SimpleQueue()
        self._pending: set[Found] = set()
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> int:
        """How many files are still to be looked at."""
        return len(self._pending)

    def ask(self, found: Found) -> None:
        """Have a file examined; one that waits already is not asked for twice."""
        if found in self._pending:
            return
        self._pending.add(found)
        self._asked.put(found)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="examiner", daemon=True)
            self._thread.start()

    def answers(self, timeout: float = 0.0) -> list[Examined]:
        """What was found since last asked; waits up to ``timeout`` s if there is nothing yet."""
        answers: list[Examined] = []
        try:
            while self._pending:
                answer = self._answers.get(timeout=0 if answers else timeout)
                self._pending.discard(answer.found)
                answers.append(answer)
        except queue.Empty:
            pass
        return answers

    def drop(self) -> None:
        """Forget what waits: who wants it examined asks again."""
        self._pending.clear()
        while not self._asked.empty():
            self._asked.get()

    def close(self) -> None:
        """Stop at once; a second time does nothing."""
        thread, self._thread = self._thread, None
        while not self._asked.empty():
            self._asked.get()
        self._asked.put(None)
        self._decoder.close()  # whatever it decodes now, and for good: nothing is tried again
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while found := self._asked.get():
            self._answers.put(examine(found, self._decoder))


def examine(found: Found, decoder: Decoder) -> Examined:
    """Read a file through and decode it to its end. Never raises."""
    try:
        digest = hash_file(found.path, found.stamp, decoder.limits.bytes)
        if digest is None:
            return Examined(found)
        _probe(found, decoder, digest)
        return Examined(found, digest)
    except ChangedError:
        return Examined(found)
    except JobError as error:
        return Examined(found, failure=Failure(error.code, _told(error)))
    except Exception as error:
        return Examined(found, failure=Failure(Reason.UNREADABLE, f"cannot be examined: {error}"))


def _probe(found: Found, decoder: Decoder, sha256: str) -> None:
    below = found.content.count("/") + 1
    try:
        decoder.probe(found.path, below, sha256)
    except InputError as error:
        if error.code not in TWICE:
            raise
        decoder.probe(found.path, below, sha256)


def _told(error: JobError) -> str:
    """The content's own path stands beside it wherever this is shown."""
    return f"{error.what} ({error.hint})" if error.hint else error.what
