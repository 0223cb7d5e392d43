"""Ctrl-C that a library swallows is heeded; a stop signal on the way out leaves the exit code."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support import ROOT
from support.live_program import project, signalled

from pipeline.ledger.ledger import FILE as LEDGER
from pipeline.system import interrupt


@pytest.fixture
def listening(monkeypatch):
    """This process as the program starts it, without a Ctrl-C so far."""
    monkeypatch.setattr(interrupt, "_interrupt", type(interrupt._interrupt)())
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.listen()
    yield
    signal.signal(signal.SIGINT, before)


def test_a_swallowed_ctrl_c_is_raised_again(listening):
    interrupt.raise_swallowed()
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.came()
    with pytest.raises(KeyboardInterrupt):
        interrupt.raise_swallowed()


SWALLOWED = """
import os, signal, sys
from contextlib import suppress
from pipeline.ledger.ledger import FILE as LEDGER
from pipeline.system import interrupt
interrupt.listen()
def press():
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
{when}
sys.argv[1:] = {words!r}
from pipeline.__main__ import main
main()
"""
AT_ONCE = "press()"
WHILE_IT_WORKS = """
from pipeline.render import run_job
paint = run_job.stylize
def swallowing(*given, **named):
    press()
    return paint(*given, **named)
run_job.stylize = swallowing
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", [AT_ONCE, WHILE_IT_WORKS], ids=["loading", "working"])
@pytest.mark.parametrize("command", ["stylize", "sweep"])
def test_stylize_and_sweep_end_by_a_ctrl_c_that_a_library_swallowed(command, when, tmp_path):
    out = tmp_path / ("out.png" if command == "stylize" else "out")
    words = [command, "inbox/coffee.jpg", "builtin:mosaic", "-o", str(out), "--size", "48"]
    program = SWALLOWED.format(when=when, words=[*words, "--steps", "400"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "error: interrupted"
    assert not list(tmp_path.rglob("*.png"))


# --- the way out ----------------------------------------------------------------------------


def end_under_signals(root: Path, command: str, number: int) -> tuple[int, str]:
    """Exit code and errors of a command that gets a signal every millisecond once it runs."""
    words = [sys.executable, "-m", "pipeline", command, "--config", str(root / "config.yaml")]
    with (
        subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process,
        signalled(process, number, root / ".state" / "instance.json"),
    ):
        err = process.communicate(timeout=100)[1]
    return process.returncode, err


STOPS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize("command", ["run", "watch"])
@pytest.mark.slow
def test_signals_until_the_last_moment_leave_an_error_its_words_and_its_exit_code(
    tmp_path, command, number
):
    root = project(tmp_path, photos=0)
    (root / ".state" / LEDGER).mkdir(parents=True)  # where the database belongs
    code, err = end_under_signals(root, command, number)
    assert err.count("error: ") == 1, err
    assert (code, len(err.splitlines())) == (1, 1), err


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [("watch", signal.SIGTERM, 0), ("watch", signal.SIGINT, 130), ("run", signal.SIGTERM, 130)],
)
@pytest.mark.slow
def test_signals_until_the_last_moment_leave_a_stop_its_exit_code(tmp_path, command, number, code):
    assert end_under_signals(project(tmp_path, photos=0), command, number) == (code, "")


def test_a_caller_gets_its_own_handlers_back():
    before = [signal.getsignal(number) for number in STOPS]
    with interrupt.handled_by(lambda *_: None):
        assert [signal.getsignal(number) for number in STOPS] != before
    assert [signal.getsignal(number) for number in STOPS] == before


HANGS_AT_ITS_END = """
import signal, sys, threading
from pipeline.system import interrupt
interrupt.listen()
with interrupt.handled_by(lambda *_: None):
    pass
threading.Thread(target=threading.Event().wait).start()
interrupt.exit_code_is(3)
print("ending", flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("number", STOPS)
def test_a_process_that_hangs_on_its_way_out_ends_at_a_signal_with_its_exit_code(number):
    words = [sys.executable, "-c", HANGS_AT_ITS_END]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ending\n"
            process.send_signal(number)
            assert process.wait(20) == 3
        finally:
            process.kill()
