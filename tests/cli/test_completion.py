"""Completion with the Tab key: as bash asks for it, and in a real bash."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = (
    "import sys, runpy\n"
    "try: runpy.run_module('pipeline', run_name='__main__')\n"
    "except SystemExit as end: print('torch' in sys.modules, end.code, file=sys.stderr)"
)


def completed(line: str) -> list[str]:
    """What bash gets for a line at its end; bash takes a colon for a word of its own."""
    words = line.replace(":", " : ").split(" ")
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(" ".join(words).split()) - 1)}
    if line.endswith(" "):
        asked["COMP_CWORD"] = str(len(line.split()))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"_PIPELINE_COMPLETE": "complete_bash", **asked},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr.split() == ["False", "0"]  # torch takes seconds to load
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pipeline st", ["status", "stylize", "styles"]),
        ("pipeline run --dr", ["--dry-run"]),
        ("pipeline stylize --siz", ["--size"]),
        ("pipeline stylize --colors c", ["content"]),
        ("pipeline stylize --preset f", ["fine"]),
        ("pipeline stylize inbox/cup.jpg bu", ["builtin:brush_strokes", "builtin:mosaic"]),
        ("pipeline stylize inbox/cup.jpg builtin:mo", ["mosaic"]),
        ("pipeline stylize --config config.yaml inbox/cup.jpg mi", ["mix"]),
        ("pipeline stylize --config none.yaml inbox/cup.jpg mi", []),
        ("pipeline explain inbox/cu", []),  # files are the shell's
    ],
)
def test_the_line_is_completed(folder, line, words):
    found = completed(line)
    assert set(words) <= set(found)
    assert bool(words) == bool(found)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_with_the_script_that_is_shown(folder, tmp_path):
    command = tmp_path / "pipeline"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m pipeline \"$@\"\n")
    command.chmod(0o755)
    script = (
        'eval "$(pipeline --show-completion bash)"\n'
        "COMP_WORDS=(pipeline sty); COMP_CWORD=1; _pipeline_completion pipeline\n"
        'echo "${COMPREPLY[@]}"; complete -p pipeline'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == "stylize styles"
    assert "-F _pipeline_completion pipeline" in done.stdout


def test_completion_is_installed_for_the_command_however_it_was_called(folder, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    # The shell is found among the parents; `exit` keeps bash from putting Python in its own place.
    command = f"{shlex.quote(sys.executable)} -m pipeline --install-completion; exit $?"
    done = subprocess.run(
        ["bash", "--norc", "-c", command],
        env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (script,) = Path(home, ".bash_completions").iterdir()
    assert "complete -o default -F _pipeline_completion pipeline" in script.read_text()
