"""Garbage in the header of the jobs database: it is reported as damaged, or does no harm."""

import re
from pathlib import Path

import pytest
from support.stock import make, make_job

from pipeline.errors import StateError
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.sqlite3"


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    outbox = Outbox(tmp_path / "outbox")
    outbox.prepare()
    return outbox


# (offset, bytes) of every field of the header of a SQLite file; all of it; and the first page.
HEADER = (
    *((0, 16), (16, 2), (18, 1), (19, 1), (20, 1), (21, 1), (22, 1), (23, 1)),
    *((at, 4) for at in range(24, 100, 4)),
    *((0, 100), (16, 84), (40, 40), (60, 12), (0, 4096)),
)


@pytest.mark.parametrize("garbage", [b"\0", b"\1", b"\x7f", b"\xff", b"\xa5\x17\xc3\x08"])
@pytest.mark.parametrize(("at", "size"), HEADER)
@pytest.mark.slow
def test_garbage_in_any_part_of_the_header_is_recognised_or_does_no_harm(
    path, outbox, at, size, garbage
):
    with Ledger(path) as ledger:
        make(ledger, outbox, make_job())
        before = ledger.pairs()
    whole = path.read_bytes()
    block = (garbage * size)[:size]
    path.write_bytes(whole[:at] + block + whole[at + size :])
    for read_only in (True, False):
        pairs, refusal = before, ""
        try:
            with Ledger(path, read_only=read_only) as ledger:
                pairs = ledger.pairs()
        except StateError as error:
            refusal = str(error)
        assert pairs == before
        assert re.search("^$|damaged.*move it away|newer version.*upgrade", refusal)
    path.unlink()
    with Ledger(path) as ledger:
        assert ledger.pairs() == []
