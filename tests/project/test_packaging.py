"""The wheel: complete without the clone, the same bytes each time, its name free."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from support import ROOT

import pipeline
from pipeline import errors

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build(folder: Path) -> Path:
    """A wheel, built from a copy of what git knows."""
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "pipeline", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run(
        [*command, "-w", str(folder), str(source)],
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000", "PIP_NO_INDEX": "1"},
        check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "pipeline"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split()
    assert inside == set(tracked)


@pytest.mark.slow
def test_the_same_sources_make_the_same_wheel(wheel, tmp_path):
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_installed_wheel_works_far_from_the_clone(wheel, tmp_path):
    """In an environment of its own, with this one's libraries: a new folder, and a picture."""
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # as pip does; the network is not needed for it
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))

    def call(*words: str) -> str:
        done = subprocess.run(
            [home / "bin/python", "-P", "-m", "pipeline", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=200,
            env={"PATH": os.defpath, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import pipeline; print(pipeline.__file__)"
    found = subprocess.run(
        [home / "bin/python", "-P", "-c", where], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert found.startswith(str(site))
    assert call("--version").startswith(f"pipeline {pipeline.__version__} (engine ")
    call("init", "studio")
    photo = tmp_path / "studio/inbox/cup.jpg"
    photo.write_bytes((ROOT / "inbox/coffee.jpg").read_bytes())
    config = tmp_path / "studio/config.yaml"
    small = "transfer: {size: 32, scales: [32], steps: [2], depths: [5]}\nfirst: full\n"
    text = re.sub(r"(?m)^(first|transfer):.*\n", "", config.read_text())
    config.write_text(text + (small if "first" in _keys() else small.partition("first")[0]))
    call("run", "--config", "studio/config.yaml")
    assert (tmp_path / "studio/outbox/cup--mosaic.enhanced.png").exists()
    assert (tmp_path / "studio/outbox/index.html").exists()


def _keys() -> set[str]:
    from pipeline.config.model import Config

    return set(Config.model_fields)


def test_extras_are_installed_by_the_name_of_the_distribution(tmp_path, monkeypatch):
    assert PROJECT["name"] == errors.DISTRIBUTION
    assert errors.install_command("mp4") == 'python -m pip install -e ".[mp4]"'
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "pipeline/errors.py"))
    assert errors.install_command("mp4") == f'python -m pip install "{PROJECT["name"]}[mp4]"'


def test_the_version_and_the_changelog_are_in_step():
    """The newest release in the changelog is this version, or it is still to come."""
    headings = re.findall(r"(?m)^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text())
    assert headings[0] == "Unreleased"
    released = [tuple(map(int, heading.split("."))) for heading in headings[1:]]
    assert released == sorted(released, reverse=True)
    this = str(pipeline.__version__)
    version = tuple(map(int, this.split(".")))
    assert all(version >= release for release in released)
