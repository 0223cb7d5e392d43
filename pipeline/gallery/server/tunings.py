"""Tunes one style at a time for the live page: a process paints the pairs, visitors answer.

The process is a program of its own: this one never loads torch, and nothing that happens to the
process harms the server. There is no thread for it either: its messages are read when the page asks
and when the server looks after its connections.
"""

import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.gallery.server.questions import OpenQuestion, Question
from pipeline.system.ending import await_killed, kill_group
from pipeline.system.interpreter import child_environment, python_command
from pipeline.system.redaction import Redactor

# By name: the commands import the gallery, and not the other way round.
PROGRAM = "from pipeline.cli.trials.live_tune import main; main()"
IDLE_SECONDS = 300.0  # without an answer, and without a sign of the process
SAVE = "save"  # what the page asks for at the end


# --- messages -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TuneOrder:
    """What the process tunes: a style of a config, on a photo.

    ``size``: the long side of its pictures in px; None: as `tune` has it.
    """

    config: Path
    photo: Path
    style: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PaintingPair:
    """A pair is being painted; ``fraction``: how much of it; ``seconds``: a pair takes about."""

    round: int
    rounds: int
    fraction: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The end of the choice.

    Attributes:
        lines: YAML; "" if nothing was chosen.
        place: The file that they belong into, in words.
        can_save: Whether they can be saved there.
        why: Why they cannot.
    """

    lines: str
    place: str = ""
    can_save: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """The options were saved as the file ``name``, or were not: ``why``."""

    name: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The tuning has ended: ``why``."""

    why: str


class BusyError(Exception):
    """Another picture is being tuned."""


# --- one tuning -----------------------------------------------------------------------------


class _Run:
    """One tuning: its process, and what it has sent last."""

    def __init__(self, order: TuneOrder, program: str) -> None:
        self.id = secrets.token_urlsafe(12)  # known to the page that has started it
        self.style = order.style
        self.question = OpenQuestion()
        self.state: Mapping[str, object] = {"phase": "painting"}
        self.is_open = True
        self.pipe, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  # our own program
                python_command(program, str(theirs.fileno())),
                env=child_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is not for it: its server ends it
            )
        self.send(order)

    def send(self, message: TuneOrder | str) -> None:
        with suppress(OSError):  # it has died: read() finds the closed pipe
            self.pipe.send(message)

    def read(self) -> bool:
        """Take the messages that have arrived; return whether there were any."""
        came = False
        try:
            while self.is_open and self.pipe.poll():
                self._take(self.pipe.recv())
                came = True
        except (EOFError, OSError):
            code = await_killed(self.process)
            cause = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit {code}"
            self.end(f"the process that paints has ended ({cause})")
        return came

    def _take(self, message: Any) -> None:
        if isinstance(message, PaintingPair):
            facts: dict[str, object] = {"round": message.round, "rounds": message.rounds}
            timing = {"fraction": message.fraction, "seconds": message.seconds}
            self.state = {"phase": "painting", **facts, **timing}
        elif isinstance(message, Question):
            self.question.show(message)
            self.state = {"phase": "question", **self.question.state(), "seconds": message.seconds}
        elif isinstance(message, Chosen):
            end = {"lines": message.lines, "place": message.place, "why": message.why}
            self.state = {"phase": "chosen", **end, "can_save": message.can_save}
        elif isinstance(message, Saved):
            self.state = {**self.state, "saved": message.name, "why": message.why}
        elif isinstance(message, Failed):
            self.end(message.why)

    def end(self, why: str) -> None:
        """End the process; nothing it has is worth keeping."""
        self.is_open = False
        self.question.show(None)
        self.state = {"phase": "ended", "why": why}
        kill_group(self.process)
        await_killed(self.process)
        self.pipe.close()


class Tunings:
    """One tuning at a time, for the threads of a server.

    Args:
        config: The config file with the styles; read again for each tuning.
        size: Long side of the pictures in px; None: as `tune` has it.
        idle_seconds: After so long without an answer a tuning ends.
        clock: Monotonic seconds.
        program: What the process runs.
    """

    def __init__(
        self,
        config: Path,
        size: int | None = None,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        program: str = PROGRAM,
    ) -> None:
        self.config, self.size, self.program = config, size, program
        self.idle_seconds, self.clock = idle_seconds, clock
        self._lock = Lock()
        self._run: _Run | None = None
        self._until, self._closed = 0.0, False
        self._redactor = Redactor()

    @property
    def is_busy(self) -> bool:
        """Whether a style is being tuned."""
        return self._run is not None and self._run.is_open

    def start(self, photo: Path, style: str) -> str:
        """Start a tuning; return its name, which the other methods need.

        Raises:
            BusyError: There is one already.
            OSError: No process can be started.
        """
        with self._lock:
            self._read()
            if self._closed or self.is_busy:
                raise BusyError
            self._run = _Run(TuneOrder(self.config, photo, style, self.size), self.program)
            self._renew()
            return self._run.id

    def state(self, name: str) -> Mapping[str, object] | None:
        """What the page of a tuning shows; None where there is none of that name."""
        with self._lock:
            if (run := self._find(name)) is None:
                return None
            found = dict(run.state)
        return found | {"why": self._redactor.redact_text(str(found.get("why") or ""))}

    def picture(self, name: str, round_: int, number: int) -> bytes | None:
        """A picture of the open question, numbered from 1."""
        with self._lock:
            run = self._find(name)
            return run.question.picture(round_, number) if run else None

    def answer(self, name: str, round_: int, word: str) -> bool:
        """Answer the open question; False where it is not open."""
        with self._lock:
            run = self._find(name)
            if run is None or not run.question.take(round_, word):
                return False
            run.state = {"phase": "waiting"}  # for the next pair, or the end
            run.send(word)
            self._renew()
            return True

    def save(self, name: str) -> str | None:
        """Save the options chosen; return their style, or None where they cannot be saved."""
        with self._lock:
            run = self._find(name)
            if run is None or not run.state.get("can_save"):
                return None
            run.state = {k: value for k, value in run.state.items() if k not in ("saved", "why")}
            run.send(SAVE)
            self._renew()
            return run.style

    def end(self, name: str) -> bool:
        """End a tuning; False where there is none of that name."""
        with self._lock:
            run = self._find(name)
            if run is not None and run.is_open:
                run.end("it was cancelled")
            return run is not None

    def update(self) -> None:
        """Read messages, and end a tuning that is left alone."""
        with self._lock:
            self._read()
            run = self._run
            if run is not None and run.is_open and self.clock() >= self._until:
                minutes = f"{self.idle_seconds / 60:g} minutes"
                run.end(f"there was no answer for {minutes}")

    def close(self) -> None:
        """End what runs, at once; nothing is started any more."""
        run = self._run
        if run is not None and run.is_open:
            kill_group(run.process)  # before the lock, which a thread that reads may hold
        with self._lock:
            self._closed = True
            if self._run is not None and self._run.is_open:
                self._run.end("the server has stopped")

    def _find(self, name: str) -> _Run | None:
        self._read()
        run = self._run
        return run if run is not None and secrets.compare_digest(run.id, name) else None

    def _read(self) -> None:
        if self._run is not None and self._run.is_open and self._run.read():
            self._renew()

    def _renew(self) -> None:
        self._until = self.clock() + self.idle_seconds
