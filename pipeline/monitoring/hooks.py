"""Runs the user's programs for results. A slow, failing or hanging program does not stop the loop.

The program and its arguments come from the config, never from a file name, and run without a shell.
The program gets the result's line of the run log on stdin, and parts of it in its environment.
"""

import json
import logging
import os
import subprocess
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.sections import Hooks
from pipeline.monitoring.hook_output import HookOutput
from pipeline.system.ending import await_killed, kill_group, leave_alone

Line = Mapping[str, Any]

MAX_WAITING = 1000  # results whose hooks have not run yet; the oldest are dropped
_PIPE_BYTES = 60_000  # what a pipe holds before someone reads it
KILL_SECONDS = 5.0  # a hook that goes on for so long after it was killed is left alone
CLOSE_SECONDS = 1.0  # the same, when the program ends
MOST_LEFT = 4  # hooks that cannot be killed; while so many run, no other one is started

log = logging.getLogger("pipeline.hooks")  # the name operators see


@dataclass(frozen=True, slots=True)
class _Call:
    program: tuple[str, ...]
    line: Line


class HookRunner:
    """Runs one hook at a time, without blocking the loop.

    Args:
        hooks: The hooks of the config.
        log: The file for their output; None: it is discarded.
    """

    def __init__(self, hooks: Hooks, log: Path | None = None) -> None:
        self.hooks = hooks
        self.output = HookOutput(log)
        self._waiting: deque[_Call] = deque(maxlen=MAX_WAITING)
        self.running: subprocess.Popen[bytes] | None = None
        self._left: list[subprocess.Popen[bytes]] = []  # those that cannot be killed
        self._killed = False  # the running one
        self._until = 0.0
        self._name = ""
        self.trouble = ""  # why the last hook failed; "" when it succeeded

    def configure(self, hooks: Hooks) -> None:
        """Use other hooks from now on; a running hook continues."""
        self.hooks = hooks

    @property
    def timeout_seconds(self) -> float:
        """How long a hook may take."""
        return self.hooks.timeout_seconds

    @property
    def busy(self) -> bool:
        """Whether a hook runs or waits."""
        return bool(self.running or self._waiting)

    def queue_result(self, line: Line) -> None:
        """Queue the hook for this result, if there is one."""
        program = {"done": self.hooks.on_done, "failed": self.hooks.on_failed}.get(line["status"])
        self._queue(program or (), line)

    def queue_batch(self, digest: Line) -> None:
        """Queue the hook for a finished batch, if there is one: it is the next.

        It sums up what the others were to say, and at a stop there may be no time for them.
        """
        if self.hooks.on_batch:
            self._waiting.appendleft(_Call(self.hooks.on_batch, digest))

    def _queue(self, program: tuple[str, ...], line: Line) -> None:
        if program:
            self._waiting.append(_Call(program, line))

    def step(self, now: float) -> None:
        """Check the running hook and start the next. Never raises, never waits."""
        self.output.bound()
        if self.running is not None and self._has_ended(self.running, now):
            self.running = None
        if self._waiting and self.running is None:
            self._start(self._waiting.popleft(), now)

    def close(self) -> None:
        """Kill the running hook and drop the others; both are reported."""
        running, self.running = self.running, None
        if running is not None:
            self._report("was killed when the pipeline stopped")
            kill_group(running)
            await_killed(running, CLOSE_SECONDS)
        dropped = Counter(call.program for call in self._waiting)
        self._waiting.clear()
        for program, count in dropped.items():
            self._name = ascii(program[0])
            lines = "1 line" if count == 1 else f"{count} lines"
            self._report(f"was not run for {lines}: the pipeline stopped")

    def _has_ended(self, running: subprocess.Popen[bytes], now: float) -> bool:
        """Whether the next hook may start. Kills one that takes too long; it may not end then."""
        code, late = running.poll(), now >= self._until
        if code is not None:
            if not self._killed:
                self._report(f"ended with {code}" if code else "")
            return True
        if late and self._killed:
            self._report("took too long, cannot be killed, and is left running")
            leave_alone(running)
            self._left.append(running)
        elif late:
            self._report(f"took longer than {self.hooks.timeout_seconds:g} s and was killed")
            kill_group(running)
            self._killed, self._until = True, now + KILL_SECONDS
            return running.poll() is not None
        return late

    def _report(self, trouble: str) -> None:
        # Without its arguments: they may contain a password.
        self.trouble = f"hook {self._name} {trouble}" if trouble else ""
        facts = {"program": self._name, "how": trouble or "ended well"}
        level = logging.WARNING if trouble else logging.DEBUG
        log.log(level, "hook", extra={"facts": facts})

    def _start(self, call: _Call, now: float) -> None:
        line = call.line
        text = json.dumps(line).encode()
        facts = {
            f"PIPELINE_{key.upper()}": os.fsencode(str(line.get(key) or "")).replace(b"\0", b"")
            for key in ("event", "status", "job", "content", "style")
        }
        self._until = now + self.hooks.timeout_seconds
        self._killed, self._name = False, ascii(call.program[0])
        self._left = [left for left in self._left if left.poll() is None]
        if len(self._left) >= MOST_LEFT:
            self._report(f"was not started: {MOST_LEFT} others cannot be killed, and still run")
            return
        try:
            with _close_after(self.output.open_log()) as output:
                self.running = subprocess.Popen(  # noqa: S603  # the program of the config
                    call.program,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env={**os.environb, **{os.fsencode(k): v for k, v in facts.items()}},
                    start_new_session=True,  # so that its children can be killed with it
                )
        except (OSError, ValueError) as error:
            self._report(f"cannot be started: {error}")
            return
        assert self.running.stdin is not None  # noqa: S101  # requested above
        with suppress(OSError):  # the program may close its stdin unread
            if len(text) <= _PIPE_BYTES:
                self.running.stdin.write(text)
        with suppress(OSError):
            self.running.stdin.close()


@contextmanager
def _close_after(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        if fd >= 0:  # not one of subprocess's constants
            os.close(fd)
