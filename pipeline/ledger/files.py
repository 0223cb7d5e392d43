"""The part of the ledger about files of the inbox: their SHA-256, or why they are refused."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pipeline.errors import Failure, Reason
from pipeline.ledger.database import Database
from pipeline.ledger.log_queue import Line, LogQueue
from pipeline.ledger.records import SeenFile, seen_file_of


class Files:
    """Files of the inbox, whether or not they have pairs."""

    def __init__(self, db: Database, log: LogQueue) -> None:
        self._db = db
        self._log = log

    # --- reading ------------------------------------------------------------------------

    def find(self, content: str) -> SeenFile | None:
        """What is known of one file of the inbox."""
        row = self._db.one("SELECT * FROM seen WHERE content = ?", os.fsencode(content))
        return seen_file_of(row) if row else None

    def names(self) -> set[str]:
        """Every file that the ledger knows."""
        rows = self._db.all("SELECT content FROM seen UNION SELECT content FROM pairs")
        return {os.fsdecode(raw) for (raw,) in rows}

    def stamps(self) -> dict[str, str]:
        """The stamp (version) of every file that was read or refused."""
        rows = self._db.all("SELECT content, stamp FROM seen")
        return {os.fsdecode(raw): stamp for raw, stamp in rows}

    def hashes(self) -> dict[tuple[str, str], str]:
        """The SHA-256 of every file read so far, by (content, stamp)."""
        rows = self._db.all("SELECT content, stamp, sha256 FROM seen WHERE sha256 <> ''")
        return {(os.fsdecode(raw), stamp): sha256 for raw, stamp, sha256 in rows}

    def refusals(self) -> list[SeenFile]:
        """All files that were refused, by name."""
        rows = self._db.all("SELECT * FROM seen WHERE code <> '' ORDER BY content")
        return [seen for row in rows if (seen := seen_file_of(row))]

    def mount_of(self, inbox: Path) -> str | None:
        """The mount on which files were last seen in an inbox; None if they never were."""
        row = self._db.one("SELECT mount FROM inboxes WHERE root = ?", os.fsencode(inbox))
        return row["mount"] if row else None

    # --- writing ------------------------------------------------------------------------

    def record_hash(self, content: str, stamp: str, sha256: str) -> None:
        """Record the SHA-256 of a version of a file that can be decoded; ends its refusal."""
        good = {"status": "", "code": "", "message": ""}
        with self._db.write(synced=False):
            self._record(content, stamp, sha256=sha256, **good)

    def refuse(
        self,
        content: str,
        stamp: str,
        status: Literal["failed", "skipped"],
        failure: Failure,
        line: Line,
    ) -> bool:
        """Record a refused file; False if this version was refused before."""
        if self._was_refused(content, stamp, failure):
            return False
        with self._db.write(synced=False):
            self._record(content, stamp, status=status, code=failure.code, message=failure.message)
            self._log.insert(line)
        return True

    def forget_refusals(
        self, present: Collection[str], lines: Mapping[str, Line] = MappingProxyType({})
    ) -> list[SeenFile]:
        """Forget refusals of files that are gone, all but the present ones; returns them."""
        gone = [seen for seen in self.refusals() if seen.content not in present]
        if gone:
            with self._db.write(synced=False):
                for seen in gone:
                    raw = os.fsencode(seen.content)
                    self._db.change("DELETE FROM seen WHERE content = ?", raw)
                    if seen.content in lines:
                        self._log.insert(lines[seen.content])
        return gone

    def forget_failed(self, files: Collection[str] | None) -> int:
        """Forget failed files, within a transaction: they are examined again. Returns how many."""
        sql = "DELETE FROM seen WHERE status = 'failed'"
        if files is None:
            return self._db.change(sql)
        named = f"{sql} AND content = ?"
        return sum(self._db.change(named, os.fsencode(file)) for file in files)

    def record_mount(self, inbox: Path, mount: str) -> None:
        """Record on which mount an inbox is."""
        with self._db.write():
            self._db.upsert("inboxes", ("root",), {"root": os.fsencode(inbox), "mount": mount})

    def _was_refused(self, content: str, stamp: str, failure: Failure) -> bool:
        """Whether this version of a file was refused, and logged, for this reason.

        For a side file the message counts too: it may change while the photo stays the same.
        """
        sql = "SELECT message FROM seen WHERE content = ? AND stamp = ? AND code = ?"
        row = self._db.one(sql, os.fsencode(content), stamp, failure.code)
        if row is None:
            return False
        return failure.code is not Reason.SIDECAR_INVALID or row["message"] == failure.message

    def _record(self, content: str, stamp: str, **columns: str) -> None:
        """Write columns of a version of a file; the row of an older version is deleted."""
        raw = os.fsencode(content)
        self._db.change("DELETE FROM seen WHERE content = ? AND stamp <> ?", raw, stamp)
        self._db.upsert("seen", ("content",), {"content": raw, "stamp": stamp, **columns})
