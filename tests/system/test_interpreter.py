"""No code from the current folder: not in the program, not in its workers, not in its decoders."""

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image
from support.fake_work import paint
from support.stock import make_job
from support.worker_runs import outcome, staging

from pipeline.config.sections import Limits
from pipeline.imaging.sandbox import Decoder
from pipeline.system import interpreter
from pipeline.workers.executor import WorkerSettings
from pipeline.workers.local import LocalExecutor

pytestmark = pytest.mark.slow

# Python itself loads these for `-m` before it has found the program: only `-P`, or the installed
# `pipeline`, keeps them out.
LOADED_FOR_DASH_M = {
    *("collections", "contextlib", "functools", "importlib", "keyword", "operator"),
    *("reprlib", "runpy", "types", "warnings"),
}
TRAP = "import os\nos.close(os.open(os.environ['TRAPPED'] + '/' + __name__, os.O_CREAT))\n"
CONFIG = """
preset: draft
transfer: {size: 64, steps: [1], scales: [64]}
watch: {settle_seconds: 0}
styles: {mosaic: {image: "builtin:mosaic"}}
"""


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """A folder with a module for every name that Python or a library may ask for."""
    folder, trapped = tmp_path / "Downloads", tmp_path / "trapped"
    folder.mkdir()
    trapped.mkdir()
    libraries = {name for name in packages_distributions() if name.isidentifier()}
    names = set(sys.stdlib_module_names) | libraries | {"sitecustomize", "usercustomize"}
    for name in sorted(names - {"pipeline"}):
        (folder / f"{name}.py").write_text(TRAP)
    for name in ("PIL", "encodings", "multiprocessing", "json", "torch"):  # folders come first
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(TRAP)
    monkeypatch.setenv("TRAPPED", str(trapped))
    monkeypatch.chdir(folder)
    return folder


def trapped() -> set[str]:
    return {path.name for path in Path(os.environ["TRAPPED"]).iterdir()}


def spare(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / f"{name}.py").unlink()


def photo(path: Path) -> Path:
    Image.effect_noise((64, 48), 60).convert("RGB").save(path)
    return path


def pipeline(*words: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-m", "pipeline", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_decoder_runs_no_code_of_the_current_folder(downloads, tmp_path):
    decoder = Decoder(Limits())
    try:
        assert decoder.decode(photo(tmp_path / "a.png"), None).rgb.shape == (48, 64, 3)
    finally:
        decoder.close()
    assert trapped() == set()


def test_a_worker_runs_no_code_of_the_current_folder(downloads, tmp_path):
    executor = LocalExecutor(["cpu"], WorkerSettings(do=paint))
    try:
        executor.submit(make_job(), staging(tmp_path))
        assert outcome(executor).status == "done"
    finally:
        executor.close(force=True)
    assert trapped() == set()


@pytest.mark.parametrize("flags", [(), ("-P",)], ids=["-m", "-P -m"])
def test_no_command_runs_code_of_the_current_folder(downloads, flags):
    (downloads / "inbox").mkdir()
    photo(downloads / "inbox/a.png")
    (downloads / "config.yaml").write_text(CONFIG)
    spare(downloads, LOADED_FOR_DASH_M if not flags else set())
    commands = ["run --json", "status", "explain inbox/a.png"] if flags else ["check"]
    for words in [*commands, "styles", "--help"]:
        done = pipeline(*words.split(), flags=flags)
        assert done.returncode == 0, done.stderr
    assert trapped() == set()
    assert not flags or (downloads / "outbox/a--mosaic.png").exists()


def test_an_empty_part_of_pythonpath_does_not_lead_a_child_to_the_current_folder(
    downloads, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", f":{downloads.parent}")
    monkeypatch.setattr(sys, "path", ["", str(downloads), str(downloads.parent), *sys.path])
    found = interpreter.search_path()
    assert "" not in found
    assert str(downloads) not in found
    assert str(downloads.parent) in found


def test_a_current_folder_that_pythonpath_names_is_meant(downloads, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f":{downloads}")
    monkeypatch.setattr(sys, "path", [str(downloads), *sys.path])
    assert str(downloads) in interpreter.search_path()


def test_a_clone_that_is_not_installed_works_from_within(monkeypatch):
    clone = str(Path(str(files("pipeline"))).parent)
    assert interpreter.package_root() == clone
    monkeypatch.chdir(clone)
    monkeypatch.setattr(sys, "path", [clone, *(entry for entry in sys.path if entry != clone)])
    interpreter.leave_current_folder()
    assert sys.path[0] == clone
    assert "-P" not in interpreter.module_command("pipeline")


def test_a_child_finds_what_only_the_path_of_this_process_leads_to(tmp_path, monkeypatch):
    """As with PYTHONPATH, `pip install --target` and libraries that LD_LIBRARY_PATH leads to."""
    (tmp_path / "only_here.py").write_text("import json, os\nprint(json.dumps(dict(os.environ)))\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nix/store/lib")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    child = subprocess.run(
        interpreter.python_command("import only_here"),
        env=interpreter.untrusted_environment(), cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    seen = json.loads(child.stdout)
    assert seen["LD_LIBRARY_PATH"] == "/nix/store/lib"
    assert not {"RAY_AUTH_TOKEN", "PYTHONPATH"} & seen.keys()
