"""Rows that cannot be understood: the program starts, and what they were about is made good."""

import sqlite3
from contextlib import closing

import pytest
from support.stock import pictures, read_log
from support.studio import CONFIG, Studio

from pipeline.cli.explain import explain_report, explain_text
from pipeline.cli.status import status_report
from pipeline.config.loading import load
from pipeline.errors import Reason
from pipeline.ledger.database import MIGRATIONS

VALUES = (
    '', 'null', '[]', '[null]', '["x"]', '[{}]', '[1', '{"a":1}', '{"a":', '{}', '1', '"text"',
    'NaN', '\x00', '[' * 100_000, '{"outputs": [], "line": {}}', '{"outputs": 1, "line": 2}',
    '{"options": 1}', '{"options": {"styles": []}}', '{"total": "much"}', "more\n{}", "ä",
    '[{"kind":1,"path":2,"sha256":3,"bytes":"4","width":5,"height":6}]',
)  # fmt: skip
# Each column that holds JSON, or one word of a list.
COLUMNS = (
    *(("pairs", name) for name in ("outputs", "staged", "losses", "state", "code")),
    *(("versions", name) for name in ("outputs", "line")),
    *(("seen", name) for name in ("status", "code")),
    ("log", "line"),
)


def change(studio: Studio, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(studio.root / ".state" / "jobs.sqlite3")) as db, db:
        db.execute(sql, values)


@pytest.fixture
def studio(tmp_path):
    """Pairs in each state: replaced and done, staged, failed; a refused file, a waiting line."""
    studio = Studio(tmp_path, CONFIG)
    studio.put("done.png", 1)
    studio.until_idle()
    studio.configure(CONFIG + "seed: 1\n")
    studio.again()
    studio.put("broken.png", 3).write_bytes(b"\x89PNG\r\n\x1a\nno more")
    studio.until_idle()
    studio.put("failed.png", 2)
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    studio.put("staged.png", 4)
    studio.until_running()
    yield studio
    studio.close()


def stop_when_staged(studio: Studio) -> None:
    """The process is gone after the pair was staged, and before its pictures were published."""
    studio.executor.end()
    events = studio.executor.poll(0)
    studio.service.events.extend(events)
    for outcome in studio.service.outcomes.settle(studio.wall):
        assert outcome
    studio.ledger.log.add(read_log(studio.outbox)[0] | {"event": "waits"})
    studio.close()


def test_every_column_that_is_decoded_is_in_the_table():
    """A new column of text is either plain, or is damaged below."""
    plain = {
        *("content", "style", "job", "sha256", "recipe", "device", "message", "restored"),
        *("stamp", "id", "mount", "root", "target", "target_key"),
    }
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript("".join(MIGRATIONS))
        tables = [
            name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        found = {
            (table, name)
            for table in tables
            for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})")
            if kind == "TEXT" and name not in plain
        }
    assert found == set(COLUMNS)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
@pytest.mark.slow
def test_a_damaged_value_in_any_column_is_corrected_at_the_start(studio, table, column):
    stop_when_staged(studio)
    values = ("", "null", "odd") if column in ("state", "status", "code") else VALUES
    for value in values:
        change(studio, f"UPDATE {table} SET {column} = ?", value)
        loaded = load(studio.root / "config.yaml")
        for name in ("done.png", "failed.png", "staged.png", "broken.png"):
            assert explain_text(explain_report(loaded, studio.inbox / name))
        assert status_report(loaded)
        studio.open()
        studio.until_idle()
        assert studio.ledger.repair() == []
        states = studio.states()
        assert states["done.png"] == states["staged.png"] == "done"
        made = {f"{name}--mosaic.png" for name in ("done", "staged")}
        assert made <= set(pictures(studio.outbox))
        assert all({"ts", "content", "status"} <= line.keys() for line in read_log(studio.outbox))
        studio.close()
    studio.open()
    studio.good_one_survives()
