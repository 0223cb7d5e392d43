"""An empty ledger and an empty outbox."""

from pathlib import Path

import pytest

from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.sqlite3"


@pytest.fixture
def ledger(path: Path):
    with Ledger(path) as ledger:
        yield ledger


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    outbox = Outbox(tmp_path / "outbox")
    outbox.prepare()
    return outbox
