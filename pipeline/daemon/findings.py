"""Findings of inbox and plan on their way into the ledger: recorded once, also on a full disk."""

from collections import deque
from pathlib import Path

from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.daemon.planner import Findings
from pipeline.inbox.intake import Accepted
from pipeline.inbox.mount_guard import remember
from pipeline.inbox.scanner import Refused


class FindingsRecorder:
    """Keeps findings until the ledger has them.

    Args:
        inbox: The folder.
        bookkeeping: Records them in ledger, run log and dashboard.
    """

    def __init__(self, inbox: Path, bookkeeping: Bookkeeping) -> None:
        self._inbox, self._bookkeeping = inbox, bookkeeping
        self._waiting: deque[Findings] = deque()

    def add(self, findings: Findings, wall: float) -> None:
        """Record findings, after those that still wait.

        Raises:
            StateError, OutputError: As :meth:`record_waiting`.
        """
        self._waiting.append(findings)
        self.record_waiting(wall)

    def record_waiting(self, wall: float) -> None:
        """Record what waits. After an error the next call goes on with what is not recorded yet.

        Raises:
            StateError, OutputError: The disk is full, or the database is busy.
        """
        while self._waiting:
            findings = self._waiting[0]
            if findings.recognised:
                remember(self._inbox, self._bookkeeping.ledger)
            if findings.gone:
                self._bookkeeping.record_gone(findings.gone, wall)
                findings.gone = None
            while findings.files:
                self._record(findings.files[0], wall)
                findings.files.popleft()
            self._waiting.popleft()

    def _record(self, file: Accepted | Refused, wall: float) -> None:
        if isinstance(file, Accepted):
            files = self._bookkeeping.ledger.files
            files.record_hash(file.content, file.version, file.sha256)
            self._bookkeeping.view.tally.accept(file.content)
        else:
            self._bookkeeping.refuse(file, wall)
