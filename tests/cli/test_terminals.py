"""What the commands print on real terminals: narrow ones, without colours, without Unicode."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.fake_work import photo
from support.live_program import CONFIG, ENVIRONMENT, program

pytestmark = pytest.mark.slow

NAME = "holidays in the mountains/second week/IMG_20260712_104455 Gröden.png"
COLUMNS, ROWS = 60, 24


def on_terminal(folder: Path, command: list[str], columns: int = COLUMNS, **env: str) -> str:
    """What a program sends to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    inherited = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "LINES", "LC_ALL")}
    environment: Mapping[str, str] = inherited | {"TERM": "xterm-256color"} | env
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        sent = b""
        while chunk := read(ours):
            sent += chunk
        process.wait()
    os.close(ours)
    return sent.decode()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux: no process has it open any more
        return b""


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", *arguments]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after a run: a pair of a long name is done, two files were not taken."""
    root = tmp_path_factory.mktemp("project")
    (root / "inbox" / NAME).parent.mkdir(parents=True)
    (root / "config.yaml").write_text(CONFIG)
    photo(root / "inbox" / NAME, 1)
    (root / "inbox" / "broken.jpg").write_bytes(b"no picture")
    (root / "inbox" / "notes.txt").write_text("milk, eggs")
    subprocess.run(program(root, "run"), env=ENVIRONMENT, capture_output=True, check=False)
    return root


COMMANDS = [
    ("status",),
    ("explain", f"inbox/{NAME}"),
    ("explain", "inbox/broken.jpg"),
    ("doctor",),
    ("styles",),
    ("run", "--dry-run"),
    ("--help",),
    ("run", "--help"),
    ("stylize", "--help"),
]


@pytest.fixture(scope="module", params=COMMANDS, ids=" ".join)
def printed(request: pytest.FixtureRequest, folder: Path) -> str:
    """What a command prints on a narrow terminal."""
    return on_terminal(folder, cli(*request.param))


def test_a_narrow_terminal_breaks_no_word(printed: str) -> None:
    """Only a word that is itself longer than the row, such as a path, is left to the terminal."""
    assert printed.strip()
    for line in printed.splitlines():
        # Whole: an option with its choices, and a command that is to be copied.
        whole = re.fullmatch(r"--[\w-]+ \{\S+\}|pipeline .*", line.strip())
        assert len(line) <= COLUMNS or " " not in line.strip() or whole, line


def test_commands_print_neither_colours_nor_other_codes(printed: str) -> None:
    """States are words: there is nothing for NO_COLOR and TERM=dumb to switch off."""
    assert "\x1b" not in printed


def test_lines_in_a_pipe_stay_whole(folder: Path) -> None:
    """grep finds a photo and its state in one line, and JSON is JSON on a terminal too."""
    done = subprocess.run(
        cli("status"), cwd=folder, env=ENVIRONMENT | {"COLUMNS": "60"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert re.search(f"done +{NAME} x mosaic .*mosaic.png", done.stdout)
    assert json.loads(on_terminal(folder, cli("status", "--json")))["jobs"]["done"] == 1


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX"}])
@pytest.mark.parametrize("command", [("status",), ("explain", f"inbox/{NAME}")], ids=" ".join)
def test_a_terminal_of_the_c_locale_gets_ascii(
    folder: Path, command: tuple[str, ...], locale: dict[str, str]
) -> None:
    env = {"LC_CTYPE": "", "LANG": ""} | locale
    text = on_terminal(folder, cli(*command), **env)
    assert text.isascii()
    assert "Gr\\xf6den" in re.sub(r"\s+", " ", text)


def test_a_terminal_of_a_utf_8_locale_gets_names_as_they_are(folder: Path) -> None:
    assert "Gröden" in on_terminal(folder, cli("status"), LANG="C.UTF-8", LC_CTYPE="")


def run_new(root: Path, **env: str) -> str:
    """The dashboard of a run over a new photo, as sent to the terminal."""
    (root / "inbox").mkdir()
    (root / "config.yaml").write_text(CONFIG)
    photo(root / "inbox" / "Gröden.png", 3)
    (root / "inbox" / "broken.jpg").write_bytes(b"no picture")
    return on_terminal(root, [*program(root, "run"), "dashboard"], PAINT_SECONDS="0.6", **env)


def test_without_colours_the_dashboard_says_the_same(tmp_path: Path) -> None:
    sent = run_new(tmp_path, NO_COLOR="1")
    assert "\x1b[?25l" in sent  # it was drawn
    styles = {code for codes in re.findall(r"\x1b\[([\d;]*)m", sent) for code in codes.split(";")}
    assert styles <= {"", "0", "1", "2"}  # bold and dim are no colours
    assert "✗" in sent
    assert "1 file not taken" in re.sub(r"\x1b\[[\d;]*m", "", sent)


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    sent = run_new(tmp_path, TERM="dumb")
    assert "\x1b" not in sent
    assert re.search(r"\S+ failed   broken.jpg unsupported_format", sent)


def test_the_dashboard_of_the_c_locale_is_ascii(tmp_path: Path) -> None:
    sent = run_new(tmp_path, LANG="C", LC_CTYPE="")
    assert "\x1b[?25l" in sent
    assert sent.isascii()
    assert "Gr\\xf6den.png" in sent
