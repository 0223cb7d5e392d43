"""A process that cannot be killed stops nothing: not the loop, not a file, not the end."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from support import ROOT

from pipeline.system import ending

PACKAGE = ROOT / "pipeline"


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that this account may not kill, as one that `sudo` has started."""

    def denied(*_: object) -> None:
        raise PermissionError

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(os, "killpg", denied)
        yield process
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def test_a_process_that_cannot_be_killed_is_left_alone_and_reported_once(sleeper, caplog) -> None:
    ending.kill_group(sleeper)
    assert ending.await_killed(sleeper, 0.05) is None
    assert [record.getMessage() for record in caplog.records] == ["process_left"]
    assert sleeper.poll() is None


def test_a_killed_process_is_waited_for() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    ending.kill_group(process)
    assert ending.await_killed(process) == -signal.SIGKILL
    process.stdin.close()


def waits(tree: ast.Module) -> list[int]:
    """The lines that wait for a process, whatever becomes of it."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("wait", "communicate")
        and not (node.args or node.keywords)
    ]


def test_no_module_that_starts_programs_waits_for_one_without_a_bound() -> None:
    starting = [path for path in PACKAGE.rglob("*.py") if "import subprocess" in path.read_text()]
    assert len(starting) > 4
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in starting
        if (lines := waits(ast.parse(path.read_text())))
    }
    assert found == {}
