"""What is known of holes in what we depend on: the floors, and an audit that does not boast."""

import importlib.util
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from support import ROOT

# Package, the first version without it, and what it was. A floor below is a door left open.
HOLES = [
    ("pillow", "12.1.1", "CVE-2026-25990: PSD, writes out of bounds"),
    ("pillow", "12.2", "CVE-2026-40192: FITS bomb"),
    ("pillow", "12.3", "thirteen more of 2026, ImageCms among them"),
    ("pillow-heif", "1.7.0", "CVE-2026-84383: bundled libheif, runs code"),
    ("filelock", "3.20.3", "CVE-2025-68146 and CVE-2026-22701: symbolic link races"),
    ("joblib", "1.2.0", "CVE-2022-21797: evaluates text as code"),
    ("ray", "2.54", "CVE-2026-27482, and no token authentication (CVE-2023-48022)"),
]
ALWAYS = {"pillow", "filelock", "joblib"}  # the others only where an extra asks for them


def floors() -> dict[str, list[Version]]:
    """Every package that pyproject.toml asks for, with the lowest version each mention allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    found: dict[str, list[Version]] = {}
    for text in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        asked = Requirement(text)
        lowest = [Version(s.version) for s in asked.specifier if s.operator in (">=", "==", "~=")]
        found.setdefault(asked.name.lower().replace("_", "-"), []).append(
            max(lowest, default=Version("0"))
        )
    return found


@pytest.mark.parametrize(("package", "mended", "hole"), HOLES)
def test_no_version_with_a_known_hole_can_be_installed(package, mended, hole):
    asked = floors()
    assert set(asked) >= ALWAYS
    assert all(floor >= Version(mended) for floor in asked.get(package, [])), hole


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def audit():
    return load_script("audit")


def test_the_lowest_versions_are_the_floors_of_the_project_file():
    """Each package with a floor, once; read here by the library that pip itself uses."""
    script = load_script("lowest_versions")
    lowest = [Requirement(line) for line in script.find_lowest(script.read_requirements()).values()]
    found = {one.name.lower(): Version(next(iter(one.specifier)).version) for one in lowest}
    assert len(found) == len(lowest)
    assert found == {name: max(all_) for name, all_ in floors().items() if max(all_) > Version("0")}


def test_two_floors_of_one_package_are_refused():
    with pytest.raises(SystemExit, match="av has two floors"):
        load_script("lowest_versions").find_lowest(["av>=14,<19", "av>=15,<19"])


GOOD = {"name": "a", "version": "1", "vulns": []}
MISSED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited"}
HOLE = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([GOOD], 0, "1 packages looked up"),
        ([GOOD, MISSED], 2, "Not looked up: b"),
        ([MISSED], 2, "Nothing was checked"),
        ([], 2, "Nothing was checked"),
        ([GOOD, MISSED, HOLE], 1, "c 2: CVE-1, fixed in 3"),
    ],
)
def test_an_audit_that_looked_nothing_up_does_not_say_that_all_is_well(audit, found, code, words):
    said, lines = audit.verdict(found)
    assert said == code
    assert words in "\n".join(lines)
