"""Rows that cannot be understood, written by hand or by an odd upgrade: corrected at a start.

Readers take such rows as they would be corrected (`pipeline.ledger.records`), so no command fails
because of them. A service corrects them before anything else: what is not known for certain any
more is planned again. The list of a pair's pictures stands in its row and in that of their version,
so the one replaces the other.
"""

import os
from collections.abc import Iterator

from pipeline.jobs.job import JobState
from pipeline.ledger.database import Database, Row
from pipeline.ledger.log_queue import restored_line
from pipeline.ledger.records import (
    OF_A_LINE,
    correct_pair,
    correct_version,
    parse_object,
    seen_file_of,
)

_KEY = "content = ? AND style = ? AND life = ?"


def repair(db: Database) -> list[str]:
    """Correct every row that cannot be understood, in one transaction; says what was done."""
    with db.write():
        return [
            *_repair_pairs(db),
            *_repair_versions(db),
            *_repair_seen(db),
            *_repair_log(db),
        ]


def _repair_pairs(db: Database) -> Iterator[str]:
    for row in db.all("SELECT * FROM pairs"):
        changes = correct_pair(row)
        if not changes:
            continue
        standing = _standing(db, row) if "outputs" in changes else None
        if standing is not None:
            changes["outputs"] = standing
            if row["state"] == JobState.DONE:
                changes.pop("state", None)
        _update(db, "pairs", _KEY, (row["content"], row["style"], row["life"]), changes)
        again = "planned again" if changes.get("state") == JobState.QUEUED else "corrected"
        yield f"{_name(row)}: {', '.join(changes)}: {again}"


def _repair_versions(db: Database) -> Iterator[str]:
    """Pairs come before: where their list was damaged, it is the version's by now."""
    for row in db.all("SELECT * FROM versions"):
        changes = correct_version(row)
        if not changes:
            continue
        if "outputs" in changes:
            found = None if row["kept"] else _published(db, row)
            if found is None:
                db.change("DELETE FROM versions WHERE id = ?", row["id"])
                yield f"{_name(row)}, version {row['id']}: its files are unknown: forgotten"
                continue
            changes["outputs"] = found
        _update(db, "versions", "id = ?", (row["id"],), changes)
        yield f"{_name(row)}, version {row['id']}: {', '.join(changes)}: corrected"


def _repair_seen(db: Database) -> Iterator[str]:
    for row in db.all("SELECT * FROM seen WHERE code <> '' OR status <> ''"):
        if seen_file_of(row) is None:
            db.change("DELETE FROM seen WHERE content = ?", row["content"])
            yield f"{os.fsdecode(row['content'])}: why it was refused: examined again"


def _repair_log(db: Database) -> Iterator[str]:
    for row in db.all("SELECT id, line FROM log"):
        line = restored_line(row["line"])
        if line is None or not parse_object(line).keys() >= OF_A_LINE:
            db.change("DELETE FROM log WHERE id = ?", row["id"])
            yield f"line {row['id']} for the run log: left out"
    end = db.one("SELECT bytes FROM log_end")
    if end is None or end["bytes"] < 0:
        db.change("INSERT OR REPLACE INTO log_end VALUES (1, 0)")
        yield "end of the run log: searched again"


def _standing(db: Database, pair: Row) -> str | None:
    """The list of a pair's pictures that the row of their version holds."""
    sql = f"SELECT * FROM versions WHERE {_KEY} AND kept = 0"  # noqa: S608  # of our own words
    row = db.one(sql, pair["content"], pair["style"], pair["life"])
    return None if row is None or "outputs" in correct_version(row) else row["outputs"]


def _published(db: Database, version: Row) -> str | None:
    """The list of a version's pictures that its pair's row holds, if that is about nothing else."""
    sql = f"SELECT * FROM pairs WHERE {_KEY} AND state = 'done' AND outputs <> '[]'"  # noqa: S608  # of our own words
    row = db.one(sql, version["content"], version["style"], version["life"])
    return None if row is None else row["outputs"]


def _update(
    db: Database, table: str, where: str, key: tuple[object, ...], changes: dict[str, object]
) -> None:
    sets = ", ".join(f"{name} = ?" for name in changes)
    db.change(f"UPDATE {table} SET {sets} WHERE {where}", *changes.values(), *key)  # noqa: S608  # of our own words


def _name(row: Row) -> str:
    return f"{os.fsdecode(row['content'])} x {row['style']}"
