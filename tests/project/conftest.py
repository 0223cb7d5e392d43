"""Scripts of the project, as modules."""

import importlib
import sys
from types import ModuleType

import pytest
from support import ROOT


def load_script(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def package_map() -> ModuleType:
    """scripts/package_map.py."""
    return load_script("package_map")


@pytest.fixture(scope="session")
def make_docs() -> ModuleType:
    """scripts/make_docs.py."""
    return load_script("make_docs")
