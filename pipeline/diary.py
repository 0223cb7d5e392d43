"""Lines for the run log that wait in the ledger until they stand in ``runs.jsonl``."""

import json
from collections.abc import Callable, Mapping, Sequence

from pipeline.ledger.tables import Tables

Line = Mapping[str, object]  # one object of the run log


class Diary(Tables):
    """The part of the ledger that the run log is written from."""

    def note(self, line: Line) -> None:
        """A line for the run log that belongs to no pair and no file."""
        with self._db.write(synced=False):
            self._log(line)

    def flush_log(self, append: Callable[[Sequence[str], int], int]) -> int:
        """Hand the waiting lines to ``append(lines, confirmed end)``; returns how many.

        ``append`` (``RunLog.append``) skips lines that stand behind the confirmed end already, so
        a crash between its write and the commit here doubles nothing.
        """
        rows = self._db.all("SELECT id, line FROM log ORDER BY id")
        if not rows:
            return 0
        (confirmed,) = self._db.all("SELECT bytes FROM log_end")[0]
        end = append([row["line"] for row in rows], confirmed)
        with self._db.write(synced=False):
            self._db.change("DELETE FROM log WHERE id <= ?", rows[-1]["id"])
            self._db.change("UPDATE log_end SET bytes = ?", end)
        return len(rows)

    def _log(self, line: Line) -> None:
        self._db.change("INSERT INTO log (line) VALUES (?)", _as_json(line))


def _as_json(line: Line) -> str:
    """One ASCII line; a number that JSON does not know (NaN, infinity) becomes null."""
    text = json.dumps(line)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return text
