"""Servers to visit: an open one, and one with a token."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gallery_visitor import TOKEN, Visitor

from pipeline.gallery.server.access import Guard


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visitor]:
    here = Visitor(tmp_path)
    yield here
    here.end()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Visitor]:
    here = Visitor(tmp_path, Guard(TOKEN, frozenset({"studio.example"}), "pipeline-1"))
    yield here
    here.end()
