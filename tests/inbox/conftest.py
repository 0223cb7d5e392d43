"""An empty inbox, and what scans it."""

from pathlib import Path

import pytest
from support.inbox_stock import SETTLE

from pipeline.inbox.scanner import Inbox


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def inbox(root: Path) -> Inbox:
    return Inbox(root, SETTLE)
