"""Hooks get each result as data, and cannot stop the service."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.studio import CONFIG

from pipeline.cli import service_units
from pipeline.config.sections import Hooks
from pipeline.daemon import observers
from pipeline.daemon.instance import InstanceRecord
from pipeline.daemon.observers import Observers
from pipeline.daemon.signals import stop_requests
from pipeline.monitoring.hook_output import KEPT_BYTES, MAX_BYTES, HookOutput
from pipeline.monitoring.hooks import CLOSE_SECONDS, KILL_SECONDS, MOST_LEFT, HookRunner
from pipeline.system.ending import REAP_SECONDS
from pipeline.workers import device_slot


def test_hooks_get_the_result_as_data_and_no_shell_reads_the_name(make_studio, tmp_path):
    said = tmp_path / "said"
    words = "sys.stdin.read() + os.environ['PIPELINE_CONTENT'] + '\\n'"
    program = f"import sys, os; open(sys.argv[1], 'a').write({words})"
    hook = json.dumps(["python3", "-c", program, str(said)])
    studio = make_studio(CONFIG + f"hooks: {{on_done: {hook}, on_failed: {hook}}}\n")
    studio.put("$(touch pwned); `id`.png")
    bad = studio.put("bad.png")
    bad.write_text("no picture")
    for _ in range(2000):
        studio.until_idle()
        if said.exists() and said.read_text().count("\n") == 2:
            break
    lines = sorted(said.read_text().splitlines())
    assert any('"status": "done"' in line and line.endswith("`id`.png") for line in lines)
    assert any('"code": "unsupported_format"' in line for line in lines)
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("hook", "seconds", "words"),
    [
        (["no-such-program-anywhere"], 5, "cannot be started"),
        (["false"], 5, "ended with 1"),
        (["sleep", "1000"], 1, "took longer than 1 s"),  # real ones
    ],
)
@pytest.mark.slow
def test_the_loop_survives_a_hook_that(make_studio, hook, seconds, words):
    hooks = f"hooks: {{on_done: {json.dumps(hook)}, timeout_seconds: {seconds}}}\n"
    studio = make_studio(CONFIG + hooks)
    studio.put("a.png")
    for _ in range(2000):
        studio.tick(0.05)
        while studio.executor.jobs:
            studio.executor.end()
        if words in studio.service.hooks.trouble:
            break
    assert words in studio.view.message
    studio.good_one_survives()


# --- hooks of another account ---------------------------------------------------------------


@pytest.fixture
def protected(monkeypatch):
    """This account may not kill hooks, as those that `sudo` starts. They end with the test."""
    begun: list[int] = []
    kill = os.killpg

    def denied(group: int, _number: int) -> None:
        begun.append(group)
        raise PermissionError

    monkeypatch.setattr(os, "killpg", denied)
    yield begun
    for group in begun:
        kill(group, signal.SIGKILL)


@pytest.mark.slow
def test_the_loop_survives_hooks_that_cannot_be_killed_and_starts_no_more_than_a_few(
    make_studio, protected
):
    hooks = f"hooks: {{on_done: {json.dumps(['sleep', '1000'])}, timeout_seconds: 1}}\n"
    studio = make_studio(CONFIG + hooks)
    for number in range(MOST_LEFT + 3):
        studio.put(f"{number}.png", number)
    longest = 0.0
    for _ in range(round(4 * (MOST_LEFT + 3) * (KILL_SECONDS + 1))):
        studio.now += 0.5
        began = time.monotonic()
        studio.service.hooks.step(studio.now)
        longest = max(longest, time.monotonic() - began)
        studio.tick(0.0)
        while studio.executor.jobs:
            studio.executor.end()
    assert longest < 1.0
    assert len(protected) == MOST_LEFT
    assert not studio.service.hooks.busy
    assert f"was not started: {MOST_LEFT} others cannot be killed" in studio.view.message
    assert set(studio.states().values()) == {"done"}


@pytest.mark.slow
def test_the_end_does_not_wait_for_a_hook_that_cannot_be_killed(protected):
    hooks = HookRunner(Hooks(on_done=("sleep", "1000")))
    hooks.queue_result({"status": "done"})
    hooks.step(0.0)
    began = time.monotonic()
    hooks.close()
    assert time.monotonic() - began < CLOSE_SECONDS + 2
    assert not hooks.busy


# --- their output ---------------------------------------------------------------------------


def test_the_output_of_hooks_is_kept_bounded_and_the_latest_stays(tmp_path):
    path = tmp_path / "logs" / "hooks.log"
    output = HookOutput(path)
    for number in range(40):
        fd = output.open_log()
        os.write(fd, b"%03d" % number * (MAX_BYTES // 12))
        os.close(fd)
        output.bound()
    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    assert sorted(file.name for file in path.parent.iterdir()) == ["hooks.log", "hooks.log.1"]
    assert max(sizes) <= MAX_BYTES
    assert path.read_bytes().endswith(b"039")


@pytest.mark.parametrize("name", ["hooks.log", "hooks.log.1"])
def test_a_hook_that_never_stops_printing_fills_no_disk(tmp_path, name):
    path = tmp_path / "hooks.log"
    hooks = HookRunner(Hooks(on_done=("yes",)), path)
    hooks.queue_result({"status": "done"})
    hooks.step(0.0)
    if name != path.name:  # it goes on where its file is by now
        path.rename(tmp_path / name)
    for _ in range(3):
        until = time.monotonic() + 30
        while (tmp_path / name).stat().st_size <= MAX_BYTES and time.monotonic() < until:
            subprocess.run([sys.executable, "-c", ""], check=True)  # lets it print
        os.kill(hooks.running.pid, signal.SIGSTOP)
        hooks.step(0.0)
        assert KEPT_BYTES < (tmp_path / name).stat().st_size <= MAX_BYTES
        os.kill(hooks.running.pid, signal.SIGCONT)
    hooks.close()


# --- the end of the service ------------------------------------------------------------------

LONG = 20.0  # s; a hook may take it, and the end of the service may not
DEAF = ["sh", "-c", "trap '' TERM INT HUP; sleep 1000"]  # and its child goes on without it


@pytest.fixture
def end_of_service(make_studio) -> Callable[..., tuple[int, str]]:
    """Ends a service by real signals while its hook runs; gives the hook's exit code and report."""

    def end(hook: list[str], signals: int, stop_seconds: float) -> tuple[int, str]:
        how = f"{{on_done: {json.dumps(hook)}, timeout_seconds: {LONG:g}}}"
        studio = make_studio(f"{CONFIG}hooks: {how}\n")
        studio.put("a.png")
        hooks = studio.service.hooks
        for _ in range(300):  # without waiting for the hook, as the studio's tick does
            studio.service.wake()
            studio.service.tick(time.monotonic(), studio.wall)
            while studio.executor.jobs:
                studio.executor.end()
            if hooks.running:
                break
        process = hooks.running
        record = InstanceRecord(studio.root / "instance.json", "watch")
        with stop_requests() as stop, Observers(studio.config, record, "watch") as reports:
            for number in [signal.SIGTERM, signal.SIGINT][:signals]:
                os.kill(os.getpid(), number)
            hurry = lambda: stop.count > 1  # noqa: E731
            reports.finish(studio.service, bool(stop.count), hurry, stop_seconds)
        studio.service.close()
        return process.returncode, hooks.trouble

    return end


@pytest.mark.parametrize(("signals", "stop_seconds"), [(1, 0.2), (2, LONG)])
def test_a_running_hook_delays_the_end_of_the_service_only_for_the_time_allowed(
    end_of_service, signals, stop_seconds
):
    """A second signal does not even allow that."""
    killed = "hook 'sh' was killed when the pipeline stopped"
    assert end_of_service(DEAF, signals, stop_seconds) == (-signal.SIGKILL, killed)


def test_a_hook_that_ends_in_the_time_allowed_is_waited_for(end_of_service):
    assert end_of_service(["sleep", "0.1"], 1, LONG) == (0, "")


def test_at_the_end_of_a_run_a_hook_has_all_its_time(end_of_service):
    assert end_of_service(["sleep", "0.1"], 0, 0.0) == (0, "")


def test_hooks_without_time_at_a_stop_are_reported_and_a_batch_comes_before_results(caplog):
    caplog.set_level(logging.WARNING, "pipeline.hooks")
    hooks = HookRunner(Hooks(on_done=["done"], on_failed=["failed"], on_batch=["batch"]))
    for status in ("done", "done", "failed"):
        hooks.queue_result({"status": status})
    hooks.queue_batch({"event": "batch"})
    assert [call.program[0] for call in hooks._waiting] == ["batch", "done", "done", "failed"]
    hooks.close()
    assert [(record.facts["program"], record.facts["how"]) for record in caplog.records] == [
        ("'batch'", "was not run for 1 line: the pipeline stopped"),
        ("'done'", "was not run for 2 lines: the pipeline stopped"),
        ("'failed'", "was not run for 1 line: the pipeline stopped"),
    ]
    assert not hooks.busy


def test_a_stop_ends_before_the_service_manager_kills_the_program():
    hooks = observers.STOP_SECONDS + CLOSE_SECONDS + REAP_SECONDS
    assert device_slot.DEAF_SECONDS + device_slot.END_SECONDS + hooks < service_units.STOP_SECONDS
