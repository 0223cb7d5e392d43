"""How long a worker may be silent before it counts as stalled."""

from collections.abc import Callable

from pipeline.workers.messages import Heartbeat

# A worker may be silent ten times as long as it has been before: large pictures have long steps,
# and ten times the limit where it computes all the while.
STALL_FACTOR = 10.0
HEARTBEAT_LOST_SECONDS = 30.0  # without a sign of life; a heartbeat comes every second
LONGEST_TICK = 5.0  # s; of a time when nobody listened (Ctrl-Z, a slow disk) only so much counts


class StallWatch:
    """Measures how long a process has been silent, while this process was there to listen."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self.since_heartbeat = self.since_message = self.longest_gap = 0.0
        self.busy = False

    def job_started(self) -> None:
        """Messages of a job are timed from here."""
        self.since_message = self.longest_gap = 0.0

    def message_received(self, message: object) -> None:
        """Any message is a sign of life; all but a heartbeat are about the job."""
        self.since_heartbeat = 0.0
        if isinstance(message, Heartbeat):
            self.busy = message.busy
        else:
            self.longest_gap = max(self.longest_gap, self.since_message)
            self.since_message = 0.0

    def tick(self) -> None:
        """Count the time since the last call."""
        now = self._clock()
        passed = min(max(0.0, now - self._at), LONGEST_TICK)
        self._at = now
        self.since_heartbeat += passed
        self.since_message += passed

    def diagnose(self, stall_seconds: float) -> str:
        """What is wrong, in words; "" when nothing is."""
        if self.since_heartbeat > HEARTBEAT_LOST_SECONDS:
            return f"gave no sign of life for {self.since_heartbeat:.0f} s"
        patience = STALL_FACTOR if self.busy else 1.0
        if self.since_message > max(patience * stall_seconds, STALL_FACTOR * self.longest_gap):
            return f"sent no progress of its job for {self.since_message:.0f} s"
        return ""
