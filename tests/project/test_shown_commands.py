"""The door: commands shown work as printed, and the wrong Python says what to type instead."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, SUPPORT
from support.torch_loaded import caller

from pipeline.cli import wrong_python

pytestmark = pytest.mark.slow

# Its examples start `run` and `watch` themselves, and two cannot work in one folder: `make run`,
# which the other pages find at work, begins after it.
FIRST = "docs/commands.md"
PAGES = [FIRST, "README.md", "CONTRIBUTING.md"]
PAGES += sorted({str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")} - {FIRST})
SMALL = """
for _preset in PRESETS.values():  # this clone is a test's: any picture will do
    _preset.clear()
    _preset.update(size=32, steps=(2,), depths=(5,))
"""
# What cannot be run by a test, and why: of these the shell reads the words, no more.
NOT_HERE = {
    "git clone ": "has been done",
    "cd pipeline": "has been done",
    "make lint": "a clone made here has no tests to check",
    "sudo ": "changes the machine",
    "systemctl ": "needs a session of systemd",
    "loginctl ": "needs a session of systemd",
    "launchctl ": "is macOS' own",
    "docker ": "downloads images",
    "pipeline retry 3f2a9c1d7e60": "an id of your own list",
    "pipeline restore 3f2a9c1d7e60": "an id of your own list",
    "PIPELINE_FOLDER=/srv/pictures PIPELINE_USER=$(id -u):$(id -g) docker ": "downloads images",
}
# What goes on until Ctrl-C, and the word that says it is ready.
LASTING = dict.fromkeys(("make run", "pipeline watch"), "watching")
LASTING |= dict.fromkeys(("pipeline watch --config config.yaml",), "watching")
LASTING["pipeline serve"] = "http://"
# What paints, and so loads torch. The first of each kind begins as a reader's does, in a new
# interpreter; those after it begin with torch loaded.
PAINTING = re.compile(r"pipeline (stylize|sweep|try|tune|explain)\b.*?(--again|--layers|$)")
# These hold for the rest of the page, as they do in the reader's shell.
STICKY = re.compile(r"(\. |cd |export )")


# --- a fresh clone, and a shell in it -------------------------------------------------------


class Shell:
    """A new shell in the folder of a clone, without anything of this process's environment.

    Args:
        clone: Its folder.
        painter: The program that is `pipeline` with torch loaded, where there is one.
        met: What was painted so far, by folder and line; and the kinds of command that have begun
            in a new interpreter.
    """

    def __init__(self, clone: Path, painter: Path | None = None, met: set | None = None) -> None:
        self.clone, self.painter, self.met = clone, painter, set() if met is None else met
        self.before: list[str] = []
        path = os.defpath.replace(":" + os.curdir, "")
        self.env = {"PATH": path, "HOME": str(clone.parent / "home"), "OMP_NUM_THREADS": "1"}

    def start(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", "-c", "\n".join([*self.before, line])],
            cwd=self.clone, env=self.env, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, line: str) -> str:
        with self.start(self.with_torch(line)) as process:
            said = process.communicate(timeout=200)[0]
        assert process.returncode == 0, f"{line}\n{said}"
        if STICKY.match(line):
            self.before.append(line)
        return said

    def with_torch(self, line: str) -> str:
        """The line, or the same where `pipeline` is a function that calls the loaded one."""
        kind = PAINTING.match(line)
        if kind is None or self.painter is None:
            return line
        new = kind.groups() not in self.met
        self.met.add(kind.groups())
        return line if new else f'pipeline() {{ "{self.painter}" "$@"; }}\n{line}'

    def painted_before(self, line: str) -> bool:
        """Whether another page has had the very same painted, in the same folder."""
        here = (line, *filter(re.compile("cd ").match, self.before))
        kind = PAINTING.match(line)
        if kind is None or kind[1] == "explain":  # what it says depends on what was done before
            return False
        known = here in self.met
        self.met.add(here)
        return known

    def until_ctrl_c(self, line: str, word: str) -> None:
        """Started, ready, and ended as a terminal ends it: by a signal to all of it."""
        with self.start(f"exec {line}") as process:  # no terminal signals the shell itself
            ready(process, word)
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=60)[0]
        assert process.returncode in (0, 130), f"{line}\n{said}"
        assert "Traceback" not in said


def ready(process: subprocess.Popen[str], word: str) -> None:
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return
    raise AssertionError(f"ended without {word!r}: {''.join(lines)}")


def clone_into(folder: Path) -> Path:
    """What a clone of this tree would hold, with an environment as `make setup` leaves it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/pictures/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    options = folder / "pipeline" / "config" / "transfer.py"
    options.write_text(options.read_text() + SMALL)
    commands = folder / "pipeline" / "cli" / "picture_commands.py"  # of `try` and `tune`, too
    commands.write_text(commands.read_text().replace("Option = 192", "Option = 32"))
    config = folder / "config.yaml"  # a `serve` of this machine may have its usual port
    config.write_text(config.read_text() + "serve: {port: 0}\n")
    venv.create(folder / ".venv", symlinks=True)
    (packages,) = (folder / ".venv").glob("lib/python*/site-packages")
    ours = [str(folder), *(entry for entry in sys.path if entry.endswith("-packages"))]
    (packages / "clone.pth").write_text("\n".join(ours))
    command = folder / ".venv" / "bin" / "pipeline"  # as pip writes it
    module, _, name = project["project"]["scripts"]["pipeline"].partition(":")
    command.write_text(f"#!{folder}/.venv/bin/python\nimport {module}\n{module}.{name}()\n")
    command.chmod(0o755)
    for stamp in (".installed", ".runnable"):
        (folder / ".venv" / stamp).touch()
    return folder


@pytest.fixture(scope="module")
def painter(clone) -> Iterator[Path]:
    """The command `pipeline` of the clone, with torch loaded: `Shell` says for what."""
    python, listens = clone / ".venv/bin/python", clone.parent / "painter.socket"
    command = clone.parent / "painter"
    command.write_text(caller(str(python), str(listens)))
    command.chmod(0o755)
    server = [python, "-P", SUPPORT / "torch_loaded.py", listens]
    env = Shell(clone).env
    with subprocess.Popen(server, env=env, text=True, stdout=subprocess.PIPE) as process:
        try:
            ready(process, "ready")
            yield command
        finally:
            process.kill()


@pytest.fixture(scope="module")
def met() -> set:
    return set()


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("door")
    (folder / "home").mkdir()
    return clone_into(folder / "clone")


def painted(clone: Path, pairs: int) -> None:
    """Wait until so many pairs are done, those that were made again included."""
    log, end = clone / "outbox" / "runs.jsonl", time.monotonic() + 200
    while not log.exists() or log.read_text().count('"status": "done"') < pairs:
        assert time.monotonic() < end, "the pictures do not come"
        time.sleep(0.1)


def repaint(clone: Path) -> None:
    """What docs/files.md begins with: the pictures were made once more, with another seed."""
    config = clone / "config.yaml"
    config.write_text(config.read_text() + "seed: 1\n")
    painted(clone, pairs=8)


BEFORE = {"docs/files.md": repaint}


@pytest.fixture(scope="module")
def studio(clone) -> Iterator[Path]:
    """The clone while `make run` goes on in another terminal; it has painted what lay there."""
    with Shell(clone).start("exec make run") as process:
        try:
            ready(process, LASTING["make run"])
            painted(clone, pairs=4)
            yield clone
            os.killpg(process.pid, signal.SIGINT)
            said = process.communicate(timeout=60)[0]
            assert "Traceback" not in said
            assert process.returncode in (0, -signal.SIGINT), said  # some makes end by it too
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


# --- every command shown --------------------------------------------------------------------


def shown(page: str) -> list[str]:
    """The lines that a reader copies, in order; a line that goes on below is one."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", (ROOT / page).read_text(), re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip()]


def not_here(line: str) -> bool:
    missing = line.startswith("jq ") and not shutil.which("jq", path=os.defpath)
    return missing or line.startswith(tuple(NOT_HERE))


@pytest.mark.parametrize("page", [page for page in PAGES if shown(page)])
def test_every_command_works_as_printed_in_order_in_a_new_shell(request, page, painter, met):
    clone = request.getfixturevalue("clone" if page == FIRST else "studio")
    shell = Shell(clone, painter, met)
    BEFORE.get(page, lambda clone: None)(clone)
    for line in shown(page):
        line = line.replace("PATH-OF-THE-CLONE", str(clone))
        if line == "make run":
            continue  # in another terminal since the beginning
        if shell.painted_before(line):
            continue
        if not_here(line):
            subprocess.run(["/bin/sh", "-n", "-c", line], check=True, timeout=20)
        elif line in LASTING:
            shell.until_ctrl_c(line, LASTING[line])
        else:
            shell.run(line)


def test_what_is_shown_is_looked_at():
    """No command hides in a block of another kind, and no exception is left over."""
    lines = [line for page in PAGES for line in shown(page)]
    assert {"make run", "pipeline serve"} <= set(lines)
    for start in NOT_HERE:
        assert any(line.startswith(start) for line in lines), start
    for page in PAGES:
        for kind, block in re.findall(
            r"^ *```(\w*)\n(.*?)^ *```", (ROOT / page).read_text(), re.M | re.S
        ):
            command = re.search(r"^ *(\$ |make |python |pip |pipeline |sudo )", block, re.M)
            assert kind == "sh" or not command or kind == "python", f"{page}: {command}"


def test_without_an_environment_the_first_command_says_what_to_type(studio):
    """What a reader meets who opens a new shell after `make run` and forgets the first line."""
    said = refused(studio, sys._base_executable, "-S", "-m", "pipeline", "status")
    assert "not installed for this Python" in said
    activate = re.search(r"type `([^`]*)`", said)[1]
    shell = Shell(studio)
    shell.run(activate)
    assert "4 done" in shell.run("python -m pipeline status")
    assert "4 done" in shell.run("pipeline status")


# --- the wrong Python -----------------------------------------------------------------------


def refused(folder: Path, *command: str) -> str:
    """The one line that a command ends with that cannot be meant."""
    done = subprocess.run(
        command, cwd=folder, env={"PATH": os.defpath}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("file", ["pipeline", "pipeline/cli/main.py", "pipeline/__main__.py"])
def test_a_file_of_the_package_is_not_started_by_its_path(clone, file):
    said = refused(clone, sys.executable, file, "status")
    assert "`. .venv/bin/activate`, then `python -m pipeline`" in said
    elsewhere = refused(clone.parent, sys.executable, str(clone / file), "status")
    assert f"in the folder {clone} type" in elsewhere


OLD = ["2.7", "3.6", "3.7", "3.8", "3.9", "3.10"]


def pythons() -> list[str]:
    """Old Pythons of this machine that start."""
    names = [shutil.which(f"python{version}") for version in OLD]
    found = [*filter(None, names), *map(str, Path.home().glob(".pyenv/versions/*/bin/python"))]
    asked = "import sys; sys.exit(sys.version_info >= (3, 11))"
    return [
        name
        for name in found
        if not subprocess.run([name, "-c", asked], capture_output=True).returncode
    ]


def test_every_old_python_of_this_machine_says_that_it_is_too_old(clone):
    for python in pythons():
        said = refused(clone, python, "-m", "pipeline", "status")
        assert "needs 3.11 or newer: type `. .venv/bin/activate`, then the command again" in said


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13)])
def test_an_old_version_is_refused_and_a_new_one_is_not(version):
    assert f"this is Python {'.'.join(map(str, version))} (" in wrong_python.refusal(version)
    assert wrong_python.refusal((3, 11, 0)) == wrong_python.refusal((4, 0, 0)) == ""


@pytest.mark.parametrize("name", ["__init__", "__main__", "cli/__init__", "cli/wrong_python"])
def test_what_an_old_python_reads_first_is_readable_to_it(name):
    """Its own words, in ASCII: Python 2 reads nothing else."""
    text = (ROOT / "pipeline" / f"{name}.py").read_text()
    ast.parse(text, feature_version=(3, 7))
    assert text.isascii()


def test_the_file_of_the_commands_is_readable_to_python_3_8():
    """It is read by an old Python only where it is started by its path."""
    ast.parse((ROOT / "pipeline" / "cli" / "main.py").read_text(), feature_version=(3, 8))


def test_without_an_environment_the_first_thing_to_type_is_make_setup(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(wrong_python, "CLONE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said = wrong_python.refusal((3, 9, 0))
    assert said.endswith(": type `make setup`, then `. .venv/bin/activate`, then the command again")


def test_an_active_environment_that_lacks_something_is_completed(monkeypatch):
    """A library that came with an update of the clone, say: it goes into this very environment."""
    monkeypatch.setattr(sys, "prefix", "/somewhere/else")
    said = wrong_python.incomplete("none_such.nodes")
    assert said.startswith(f"none_such is not installed for this Python ({sys.executable}): ")
    assert f"`{sys.executable} -m pip install -e .`" in said


def test_a_library_of_another_version_is_named_as_such(monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/somewhere/else")
    said = wrong_python.incomplete("typer.future")
    assert said.startswith(f"typer of this Python ({sys.executable}) has another version: ")
    assert "-m pip install -e .`" in said


def test_a_program_that_cannot_be_loaded_says_so_in_one_line():
    program = (
        "import sys, typer; typer.Typer = lambda: None; sys.argv[1:] = ['status']\n"
        "from pipeline.__main__ import main; main()"
    )
    said = refused(ROOT, sys.executable, "-c", program)
    assert "cannot be loaded by this Python" in said
    assert "TypeError" in said


def test_a_folder_that_was_deleted_is_named_as_such(tmp_path):
    program = (
        "import os, sys; os.rmdir(os.getcwd()); sys.argv[1:] = ['status']\n"
        "from pipeline.__main__ import main; main()"
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    assert "the current folder no longer exists" in refused(gone, sys.executable, "-c", program)


def test_the_benchmarks_say_what_is_missing():
    said = refused(ROOT, sys._base_executable, "-S", "-m", "benchmarks")
    assert "torch is not installed for this Python" in said


def test_a_python_that_lacks_a_part_of_itself_is_named(monkeypatch):
    assert "it belongs to Python itself" in wrong_python.incomplete("_sqlite3")


@pytest.mark.parametrize(
    "command",
    ["doctor", "stylize inbox/coffee.jpg builtin:mosaic -o OUT"],
    ids=lambda c: c.split()[0],
)
def test_a_library_that_is_missing_late_is_reported_like_one_missing_at_once(command, tmp_path):
    """Torch is imported by the commands that need it, long after the start."""
    words = command.replace("OUT", str(tmp_path / "cup.png")).split()
    program = (
        f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {words!r}\n"
        "from pipeline.__main__ import main; main()"
    )
    assert "torch is not installed" in refused(ROOT, sys.executable, "-c", program)


# --- make -----------------------------------------------------------------------------------


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=folder, env={"PATH": os.defpath}, capture_output=True, text=True
    )


@pytest.fixture
def without_python(tmp_path: Path) -> Path:
    """A folder whose environment was complete, and has lost its Python."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for stamp in (".installed", ".runnable"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def test_an_environment_whose_python_has_gone_is_made_again(without_python):
    """The system's Python was upgraded, or the clone moved to another machine."""
    assert "-m venv .venv" in make(without_python, "-n", "setup").stdout


def test_make_run_installs_what_the_program_needs_and_make_test_also_what_tests_need(
    without_python,
):
    for stamp in (".installed", ".runnable"):
        (without_python / ".venv" / stamp).unlink()
    said = make(without_python, "-n", "run").stdout
    assert "install --disable-pip-version-check -e .\n" in said
    assert "PyTorch: 3 GB with CUDA, 200 MB with TORCH=cpu" in said
    said = make(without_python, "-n", "setup").stdout
    assert 'install --disable-pip-version-check -e ".[dev]"' in said


def test_an_environment_that_is_there_is_left_alone(clone):
    assert "-m venv" not in make(clone, "-n", "setup").stdout


def test_make_says_which_python_it_wants(without_python):
    done = make(without_python, "setup", "PYTHON=python-none")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no python-none: install Python 3.11 or newer")
