"""Lines for the run log that wait in the database until they stand in ``runs.jsonl``."""

import json
from collections.abc import Callable, Mapping, Sequence

from pipeline.ledger.database import Database

Line = Mapping[str, object]  # one object of the run log


class LogQueue:
    """The part of the ledger that holds lines for the run log."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, line: Line) -> None:
        """Queue a line that belongs to no change of a pair or a file."""
        with self._db.write(synced=False):
            self.insert(line)

    def insert(self, line: Line) -> None:
        """The same within a transaction, so that a change and its line are written together."""
        self._db.change("INSERT INTO log (line) VALUES (?)", as_json_line(line))

    def flush(self, append: Callable[[Sequence[str], int], int]) -> int:
        """Hand the waiting lines to ``append(lines, confirmed end)``; returns how many.

        ``append`` (``RunLog.append``) skips lines that stand behind the confirmed end already, so
        a crash between its write and the commit here doubles nothing.
        """
        rows = self._db.all("SELECT id, line FROM log ORDER BY id")
        if not rows:
            return 0
        row = self._db.one("SELECT bytes FROM log_end")
        confirmed = row["bytes"] if row else 0
        lines = (restored_line(row["line"]) for row in rows)
        end = append([line for line in lines if line], confirmed)
        with self._db.write(synced=False):
            self._db.change("DELETE FROM log WHERE id <= ?", rows[-1]["id"])
            self._db.change("UPDATE log_end SET bytes = ?", end)
        return len(rows)


def as_json_line(line: Line) -> str:
    """One ASCII line; a number that JSON does not know (NaN, infinity) becomes null."""
    text = json.dumps(line)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text


def restored_line(text: str) -> str | None:
    """A waiting line as it was queued, or as it should have been; None where it is no object."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict):
        return None
    return text if text.isascii() and "\n" not in text else as_json_line(line)
