"""Decides when a silent worker counts as stalled."""

from collections.abc import Callable

from pipeline.workers.messages import Heartbeat

# A worker may be silent ten times as long as its longest silence so far, because large pictures
# have long steps, and ten times the limit while it is computing.
STALL_FACTOR = 10.0
HEARTBEAT_LOST_SECONDS = 30.0  # a heartbeat comes every second
LONGEST_TICK = 5.0  # s; if this process was stopped (Ctrl-Z, a slow disk), only this much counts


class StallWatch:
    """Measures how long a process has been silent while this process was listening."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self.since_heartbeat = self.since_message = self.longest_gap = 0.0
        self.busy = False

    def job_started(self) -> None:
        """Start to time the messages of a job."""
        self.since_message = self.longest_gap = 0.0

    def message_received(self, message: object) -> None:
        """Record a message: any one shows life; all except heartbeats show progress of the job."""
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
        """What is wrong, as text; "" when nothing is."""
        if self.since_heartbeat > HEARTBEAT_LOST_SECONDS:
            return f"sent no heartbeat for {self.since_heartbeat:.0f} s"
        patience = STALL_FACTOR if self.busy else 1.0
        if self.since_message > max(patience * stall_seconds, STALL_FACTOR * self.longest_gap):
            return f"reported no progress for {self.since_message:.0f} s"
        return ""
