"""Ctrl-C that a library swallows is heeded all the same."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from support import ROOT

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
