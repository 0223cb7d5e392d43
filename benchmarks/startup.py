"""How long the program takes to answer when nothing is to be painted."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.rows import Row, median_of

RUNS = 7
HELP_SECONDS = 0.4


def report() -> list[Row]:
    """Medians of a few runs, each a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        (folder / "config.yaml").write_text('styles: {a: {image: "builtin:mosaic"}}\n')
        return [
            _row(folder, "--help", f"below {HELP_SECONDS} s"),
            _row(folder, "stylize --help"),
            _row(folder, "check"),
            _row(folder, "status"),
            Row("--help imports torch", _imports_torch(folder), "no"),
        ]


def _row(folder: Path, words: str, target: str = "") -> Row:
    seconds = median_of(lambda: _call(folder, words), RUNS)
    return Row(f"python -m pipeline {words}", f"{seconds:.2f} s", target)


def _call(folder: Path, words: str) -> None:
    command = [sys.executable, "-m", "pipeline", *words.split()]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)


def _imports_torch(folder: Path) -> str:
    command = [sys.executable, "-X", "importtime", "-m", "pipeline", "--help"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return "yes" if "torch" in modules else "no"
