"""What untrusted text may do to a terminal (nothing), and rows that change in place."""

import io
import os
import re
import signal
import subprocess
import sys
import termios
import textwrap

import pytest

from pipeline.monitoring.terminal.screen import Look, Screen, terminal_size
from pipeline.system.text import visible


class Glass(io.StringIO):
    """A terminal as its user sees it: understands what Screen sends, keeps what scrolled away."""

    def __init__(self, columns: int = 20, rows: int = 6) -> None:
        super().__init__()
        self.columns, self.rows = columns, rows
        self.lines: list[str] = [""]
        self.x = self.y = 0
        self.wraps = self.cursor = True

    def write(self, text: str) -> int:
        for code, argument, final, char in re.findall(
            r"(\x1b\[(\??\d*)([A-Za-z]))|([^\x1b])", re.sub(r"\x1b\[[\d;]*m", "", text)
        ):
            self.control(argument, final) if code else self.put(char)
        return super().write(text)

    def control(self, argument: str, final: str) -> None:
        match argument, final:
            case up, "A":
                self.y = max(self.y - int(up or 1), len(self.lines) - self.rows, 0)
            case _, "K":
                self.lines[self.y] = self.lines[self.y][: self.x]
            case _, "J":
                del self.lines[self.y + 1 :]
                self.lines[self.y] = self.lines[self.y][: self.x]
            case "?7", _:
                self.wraps = final == "h"
            case "?25", _:
                self.cursor = final == "h"
            case "?2026", _:
                pass
            case _:
                raise AssertionError(f"unknown code {argument}{final}")

    def put(self, char: str) -> None:
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.y += 1
            self.lines += [""] * (self.y + 1 - len(self.lines))
        else:
            if self.x >= self.columns and self.wraps:
                self.put("\n")
                self.x = 0
            self.x = min(self.x, self.columns - 1)
            line = self.lines[self.y].ljust(self.x)
            self.lines[self.y] = line[: self.x] + char + line[self.x + 1 :]
            self.x += 1

    def resize(self, columns: int) -> None:
        """Folds long rows, as terminals do."""
        self.columns, old = columns, self.lines
        self.lines = [part for row in old for part in (textwrap.wrap(row, columns) or [""])]
        self.y, self.x = len(self.lines) - 1, 0

    def size(self) -> tuple[int, int]:
        return self.columns, self.rows

    @property
    def seen(self) -> list[str]:
        """All rows that are not empty, in order."""
        return [row.rstrip() for row in self.lines if row.strip()]

    def sent(self) -> str:
        """What has been written since last asked."""
        text = self.getvalue()
        self.truncate(0)
        self.seek(0)
        return text


def a_screen(columns: int = 20, rows: int = 6) -> tuple[Glass, Screen]:
    glass = Glass(columns, rows)
    return glass, Screen(glass, glass.size)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat.jpg", "cat.jpg"),
        ("Ångström 東京 🎨.png", "Ångström 東京 🎨.png"),
        ("red\x1b[31m.jpg", "red\\x1b[31m.jpg"),
        ("\x9b31mcsi", "\\x9b31mcsi"),
        ("bell\x07 back\x08 del\x7f", "bell\\x07 back\\x08 del\\x7f"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028separator", "line\\u2028separator"),
        ("not utf-8 \udcff", "not utf-8 \\xff"),
        ("lone \ud800", "lone \\ud800"),
        ("Screenshot 1.23\u202fPM.png", "Screenshot 1.23 PM.png"),
        ("e\u0301", "é"),
    ],
)
def test_a_name_is_shown_but_never_obeyed(name, shown):
    """Escapes, bells, bidi overrides and odd bytes in a file name become harmless text."""
    assert visible(name) == shown


def test_every_character_there_is_becomes_harmless():
    """Whatever a name holds, what is shown is printable and can be written."""
    for start in range(0, 0x110000, 4096):
        shown = visible("".join(map(chr, range(start, start + 4096))))
        assert shown.isprintable()
        shown.encode()


def test_a_terminal_without_unicode_gets_what_it_can_write():
    """Names stay readable and writable on an ASCII terminal; so do the dashboard's own signs."""
    assert visible("Tübingen.jpg", "ascii") == "T\\xfcbingen.jpg"
    look = Look("ascii")
    assert all(getattr(look.glyphs, name).isascii() for name in look.glyphs.__slots__)


def test_rows_change_in_place():
    """New rows take the place of the old ones, fewer or more of them."""
    glass, screen = a_screen()
    glass.write("$ command\r\n")
    for rows in (["one", "two"], ["one", "three", "four"], ["a"], ["b", "c"]):
        screen.show(rows)
        assert glass.seen == ["$ command", *rows]
    assert not glass.cursor


def test_nothing_is_sent_for_a_frame_that_has_not_changed():
    """An unchanged picture costs nothing, and only the rows that differ are sent: no flicker."""
    glass, screen = a_screen()
    screen.show(["first", "second"])
    glass.sent()
    screen.show(["first", "second"])
    assert glass.sent() == ""
    screen.show(["first", "other"])
    sent = glass.sent()
    assert "other" in sent
    assert "first" not in sent


def test_rows_are_never_erased_before_they_are_redrawn():
    """Text comes first and clearing only behind it, so that no row is empty for a moment."""
    glass, screen = a_screen()
    screen.show(["first", "second"])
    glass.sent()
    screen.show(["1st", "2nd"])
    assert re.findall(r"1st|2nd|\x1b\[K|\x1b\[J", glass.sent()) == [
        "1st", "\x1b[K", "2nd", "\x1b[K",
    ]  # fmt: skip


def test_a_log_line_goes_above_the_rows_and_stays():
    """Lines pile up above, the rows keep below them, also at the bottom of the screen."""
    glass, screen = a_screen(rows=4)
    screen.show(["row 1", "row 2"])
    for number in range(5):
        screen.write_above(f"line {number}")
    screen.write_above("a line that is longer than the screen")
    assert glass.seen == [
        *(f"line {number}" for number in range(5)),
        "a line that is longe", "r than the screen",
        "row 1", "row 2",
    ]  # fmt: skip


def test_a_row_that_turns_out_too_long_does_not_wrap():
    """Where the terminal takes a character for wider than we do, the rows below stay in place."""
    glass, screen = a_screen(columns=6)
    screen.show(["much too long", "second"])
    screen.show(["still too long", "2nd"])
    assert glass.seen == ["stillg", "2nd"]
    screen.close()
    assert glass.wraps


def test_closing_leaves_nothing_behind():
    """The rows are gone, what stood above stays, the cursor is back; closing twice is fine."""
    glass, screen = a_screen()
    glass.write("$ command\r\n")
    screen.show(["row 1", "row 2"])
    screen.close()
    screen.close()
    assert glass.seen == ["$ command"]
    assert glass.cursor
    assert glass.lines[glass.y] == ""


def test_a_closed_screen_opens_again():
    """After Ctrl-Z the rows come back below whatever was written meanwhile."""
    glass, screen = a_screen()
    screen.show(["row"])
    screen.close()
    glass.write("shell\r\n")
    screen.show(["row"])
    assert glass.seen == ["shell", "row"]


def test_a_narrower_terminal_leaves_no_remains():
    """A resize folds the old rows in two; all of them are wiped, and nothing above them."""
    glass, screen = a_screen(columns=20, rows=12)
    glass.write("$ command\r\n")
    screen.show(["x" * 19, "yyy", "z" * 19])
    glass.resize(10)
    assert len(glass.seen) == 6
    screen.show(["x" * 9, "yyy"])
    assert glass.seen == ["$ command", "x" * 9, "yyy"]


def test_a_terminal_that_went_away_does_not_end_the_run():
    """A broken connection makes the screen silent, not the program fail."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    screen = Screen(Gone(), lambda: (80, 24))
    screen.show(["row"])
    screen.write_above("line")
    screen.close()


def test_a_file_has_a_size_too():
    """Where the size is unknown, 80 x 24 is taken."""
    assert terminal_size(io.StringIO()) == (80, 24)


PROGRAM = """
import fcntl, signal, termios, time
from pipeline.monitoring.terminal.dashboard import Dashboard, View
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
view = View(inbox="photos", message="watching")
with Dashboard() as dashboard:
    dashboard.update(view, time.time())
    print("stray \\x1b[2J print")
    print("ready")
    while not signal.sigtimedwait({signal.SIGINT}, 0.02):
        dashboard.update(view, time.time())
print("echo is back:", bool(termios.tcgetattr(0)[3] & termios.ECHO))
"""


class RealTerminal:
    """A pseudo-terminal with the program above in its foreground."""

    def __init__(self) -> None:
        self.leader, follower = os.openpty()
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=follower, stdout=follower, stderr=follower,
            start_new_session=True, env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(follower)
        self.output = b""

    def type(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def read_until(self, end: bytes) -> bytes:
        start = len(self.output)
        while end not in self.output[start:]:
            self.output += os.read(self.leader, 65536)
        return self.output[start:]

    def seen(self) -> list[str]:
        """What its user sees, without the times of day."""
        glass = Glass(80, 24)
        glass.write(self.output.decode())
        return [re.sub(r"^[\d:]+ +", "", row) for row in glass.seen]

    def finish(self) -> None:
        self.type(b"\x03")
        self.read_until(b"echo is back: True\r\n")
        assert self.program.wait() == 0


LOGGED = ["stray \\x1b[2J print", "ready"]


@pytest.fixture
def terminal():
    terminal = RealTerminal()
    with terminal.program:
        yield terminal
        terminal.program.kill()  # only after a failure is it still there
    os.close(terminal.leader)


def test_ctrl_c_in_a_real_terminal_leaves_it_clean(terminal):
    """Keys are not echoed into the rows; afterwards log lines and the summary are all there is."""
    assert b"photos" in terminal.read_until(b"ready")
    terminal.finish()
    assert b"^C" not in terminal.output
    assert terminal.seen() == [*LOGGED, "watching", "echo is back: True"]
    assert terminal.output.count(b"\x1b[?25l") == terminal.output.count(b"\x1b[?25h") == 1


def test_ctrl_z_in_a_real_terminal_gives_it_to_the_shell(terminal):
    """The rows go while the program sleeps, cursor and echo are back; `fg` draws it again."""
    terminal.read_until(b"ready")
    terminal.type(b"\x1a")
    _, status = os.waitpid(terminal.program.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    terminal.read_until(b"\x1b[?25h")
    assert terminal.seen() == LOGGED
    assert termios.tcgetattr(terminal.leader)[3] & termios.ECHO
    terminal.program.send_signal(signal.SIGCONT)
    assert b"photos" in terminal.read_until(b"watching")
    terminal.finish()
    assert terminal.seen() == [*LOGGED, "watching", "echo is back: True"]
