"""What a worker process says: all that its jobs have to tell, and that it is alive."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pipeline.jobs.job import Progress

BEAT_SECONDS = 1.0
BUSY_SHARE = 0.5  # of a core: a process that computes so much is at a long step, not hung


@dataclass(frozen=True, slots=True)
class Beat:
    """The process is alive; whether it has computed since the last beat."""

    busy: bool


class Voice(threading.Thread):
    """Says everything that the process has to say, so that no job waits for a daemon that is busy.

    Of several looks at one job that could not be said yet only the last one is.
    """

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._words: list[Any] = []
        self._some = threading.Condition()
        self._at, self._cpu = time.monotonic(), time.process_time()

    def say(self, word: Any) -> None:
        """Say it as soon as it can be said; never waits."""
        with self._some:
            if isinstance(word, Progress):
                self._words = [w for w in self._words if not _same_job(w, word)]
            self._words.append(word)
            self._some.notify()

    def run(self) -> None:
        with suppress(OSError, ValueError):  # the parent is gone
            while True:
                with self._some:
                    self._some.wait_for(lambda: self._words, BEAT_SECONDS)
                    words, self._words = self._words, []
                for word in [*words, *self._beat()]:
                    self._pipe.send(word)

    def _beat(self) -> list[Beat]:
        now, cpu = time.monotonic(), time.process_time()
        if now - self._at < BEAT_SECONDS:
            return []
        busy = cpu - self._cpu > BUSY_SHARE * (now - self._at)
        self._at, self._cpu = now, cpu
        return [Beat(busy)]


def _same_job(word: Any, progress: Progress) -> bool:
    return isinstance(word, Progress) and word.job_id == progress.job_id
