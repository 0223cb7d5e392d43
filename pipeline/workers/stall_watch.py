"""How long a worker may be silent before it counts as stalled."""

from collections.abc import Callable

from pipeline.workers.messages import Beat

# A worker may be silent ten times as long as it has been before: large pictures have long steps,
# and ten times the limit where it computes all the while.
STALL_FACTOR = 10.0


BEAT_LOST_SECONDS = 30.0  # without a sign of life; a beat comes every second


LONGEST_LOOK = 5.0  # s; of a time when nobody listened (Ctrl-Z, a slow disk) only so much counts


class Silence:
    """How long a process has been silent, as far as somebody was there to hear it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self.beat = self.word = self.longest = 0.0
        self.busy = False

    def new_job(self) -> None:
        """What a job says is measured from here."""
        self.word = self.longest = 0.0

    def heard(self, word: object) -> None:
        """Something was heard: any word is a sign of life, all but a beat tell of the job."""
        self.beat = 0.0
        if isinstance(word, Beat):
            self.busy = word.busy
        else:
            self.longest = max(self.longest, self.word)
            self.word = 0.0

    def look(self) -> None:
        """Time has gone by."""
        now = self._clock()
        passed = min(max(0.0, now - self._at), LONGEST_LOOK)
        self._at = now
        self.beat += passed
        self.word += passed

    def too_long(self, stall_seconds: float) -> str:
        """What is wrong, in words; "" when nothing is."""
        if self.beat > BEAT_LOST_SECONDS:
            return f"gave no sign of life for {self.beat:.0f} s"
        patience = STALL_FACTOR if self.busy else 1.0
        if self.word > max(patience * stall_seconds, STALL_FACTOR * self.longest):
            return f"said nothing of its job for {self.word:.0f} s"
        return ""
