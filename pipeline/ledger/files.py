"""What is known of each file of the inbox: its digest, or why it is refused."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pipeline.errors import Failure, Reason
from pipeline.ledger.records import Sighting, sighting_of
from pipeline.ledger.tables import Diary, Line


class Sightings(Diary):
    """The part of the ledger that knows files, whatever becomes of them."""

    def cached_hash(self, content: str, stamp: str) -> str | None:
        """SHA-256 of this version of a file, if it was ever read."""
        sql = "SELECT sha256 FROM seen WHERE content = ? AND stamp = ? AND sha256 <> ''"
        row = self._db.one(sql, os.fsencode(content), stamp)
        return row["sha256"] if row else None

    def hashes(self) -> dict[tuple[str, str], str]:
        """The SHA-256 of every file read so far, by (content, stamp): for many files at once."""
        rows = self._db.all("SELECT content, stamp, sha256 FROM seen WHERE sha256 <> ''")
        return {(os.fsdecode(raw), stamp): sha256 for raw, stamp, sha256 in rows}

    def remember(self, content: str, stamp: str, sha256: str) -> None:
        """Keep the SHA-256 of this version of a file, which is good: no refusal of it stands."""
        good = {"status": "", "code": "", "message": ""}
        with self._db.write(synced=False):
            self._see(content, stamp, sha256=sha256, **good)

    def refused_before(self, content: str, stamp: str, failure: Failure) -> bool:
        """Whether this version of a file was refused, and logged, for this reason.

        What a side file says wrong may change while the photo stays the same.
        """
        sql = "SELECT message FROM seen WHERE content = ? AND stamp = ? AND code = ?"
        row = self._db.one(sql, os.fsencode(content), stamp, failure.code)
        if row is None:
            return False
        return failure.code is not Reason.SIDECAR_INVALID or row["message"] == failure.message

    def refuse(
        self,
        content: str,
        stamp: str,
        status: Literal["failed", "skipped"],
        failure: Failure,
        line: Line,
    ) -> bool:
        """Account for a file that is not processed; False if that was done for this version."""
        if self.refused_before(content, stamp, failure):
            return False
        with self._db.write(synced=False):
            self._see(content, stamp, status=status, code=failure.code, message=failure.message)
            self._log(line)
        return True

    def forget_refusals(self, present: Collection[str]) -> list[Sighting]:
        """Forget refusals of files that are gone, all but the present ones; returns them."""
        gone = [seen for seen in self.refusals() if seen.content not in present]
        if gone:
            with self._db.write(synced=False):
                for seen in gone:
                    raw = os.fsencode(seen.content)
                    self._db.change("DELETE FROM seen WHERE content = ?", raw)
        return gone

    def note(self, line: Line) -> None:
        """Keep a line for the run log that changes nothing else."""
        with self._db.write(synced=False):
            self._log(line)

    def files(self) -> set[str]:
        """Every file of which anything is known."""
        rows = self._db.all("SELECT content FROM seen UNION SELECT content FROM pairs")
        return {os.fsdecode(raw) for (raw,) in rows}

    def versions(self) -> dict[str, str]:
        """The version of every file that was read or refused."""
        rows = self._db.all("SELECT content, stamp FROM seen")
        return {os.fsdecode(raw): stamp for raw, stamp in rows}

    def inbox_mount(self, root: Path) -> str | None:
        """The mount on which files were last seen in an inbox; None if they never were."""
        row = self._db.one("SELECT mount FROM inboxes WHERE root = ?", os.fsencode(root))
        return row["mount"] if row else None

    def remember_inbox(self, root: Path, mount: str) -> None:
        """Keep on which mount an inbox lies."""
        with self._db.write():
            self._upsert("inboxes", ("root",), {"root": os.fsencode(root), "mount": mount})

    def sighting(self, content: str) -> Sighting | None:
        """What is known of one file of the inbox."""
        row = self._db.one("SELECT * FROM seen WHERE content = ?", os.fsencode(content))
        return sighting_of(row) if row else None

    def refusals(self) -> list[Sighting]:
        """All files that were refused, by name."""
        rows = self._db.all("SELECT * FROM seen WHERE code <> '' ORDER BY content")
        return [sighting_of(row) for row in rows]

    def _see(self, content: str, stamp: str, **columns: str) -> None:
        """Note something about a version of a file; what was known of an older one goes."""
        raw = os.fsencode(content)
        self._db.change("DELETE FROM seen WHERE content = ? AND stamp <> ?", raw, stamp)
        self._upsert("seen", ("content",), {"content": raw, "stamp": stamp, **columns})

    def _forget_failed(self, files: Collection[str] | None) -> int:
        """Files that failed are examined like new ones; returns how many."""
        sql = "DELETE FROM seen WHERE status = 'failed'"
        if files is None:
            return self._db.change(sql)
        named = f"{sql} AND content = ?"
        return sum(self._db.change(named, os.fsencode(file)) for file in files)
