"""Scripts of the project, as modules."""

import importlib
import sys

import pytest
from support import ROOT


@pytest.fixture(scope="session")
def package_map():
    """scripts/package_map.py."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("package_map")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
