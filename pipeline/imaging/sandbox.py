"""The sandbox: decodes untrusted files in a separate process with limits.

The decoder process (`sandbox_child`) has loaded the decoders. Each file gets a child forked from
it, which lives for that file only: with no memory, time, file or socket beyond its limits, and
nothing of the pipeline in it. Pixels come back through a pipe. What crashes or hangs is that child;
the decoder process ends with it, and the next file gets a new one.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.sections import Limits
from pipeline.errors import ChangedError, EngineError, InputError, JobError, PlaceError, Reason
from pipeline.system.ending import await_killed, kill_group
from pipeline.system.interpreter import last_error_line, python_command, untrusted_environment

if TYPE_CHECKING:
    from pipeline.config.output import Profile
    from pipeline.imaging.decode import Decoded

START_SECONDS = 120.0  # of a decoder process, on a busy machine
MAX_HEADER = 1 << 16
MOST_NOTES, LONGEST_NOTE = 8, 300
PIPE_BYTES = 1 << 20  # a picture of 512 px goes through in one piece
MAX_COMPLAINT = 1 << 16  # bytes of a start's error output
PROGRAM = "from pipeline.imaging.sandbox_child import main; main()"
KNOWN_GOOD = Path(str(files("pipeline"))) / "styles" / "watercolor.jpg"  # the smallest style
CONFIRM_SECONDS = 60.0
# What a broken decoder reports for any file, and what limits report for a good one.
_CONFIRMED = frozenset(
    {Reason.UNSUPPORTED_FORMAT, Reason.TRUNCATED, Reason.DECODE_CRASH, Reason.DECODE_TIMEOUT}
)
_OF_LIMITS = frozenset({Reason.TOO_LARGE, Reason.TOO_MANY_PIXELS, Reason.TOO_MANY_FRAMES})
_PROBE = {"long_side": 64, "pixels": False, "below": 1}
PREALLOCATED = 16 << 20  # bytes: what decoding a large photo for 512 px takes
# A child's memory is all new to it, and each page's first touch is a fault. So: pages of 2 MB and
# not of 4 kB, and what is freed is used again, instead of going back to the system.
_MEMORY = ":".join(
    f"glibc.malloc.{setting}"
    for setting in ("hugetlb=1", "mmap_max=0", f"trim_threshold={1 << 40}")
)


class Decoder:
    """Decodes one file at a time; starts its process when first needed and again after a crash.

    Args:
        limits: What a file may ask for.
        preallocated: Bytes of memory that are prepared before a file comes; 0 where files come one
            right after the other, and would have to wait for it.
    """

    def __init__(self, limits: Limits, preallocated: int = PREALLOCATED) -> None:
        self.limits, self.preallocated = limits, preallocated
        self.process: subprocess.Popen[bytes] | None = None
        self._starting, self._closed = threading.Lock(), False
        self._answers: _Answers

    def decode(
        self,
        path: Path,
        long_side: int | None,
        profile: "Profile" = "srgb",
        below: int = 1,
        sha256: str = "",
    ) -> "Decoded":
        """As `decode.decode_file`, in the sandbox.

        Raises:
            ChangedError: The file's SHA-256 is another one.
            InputError: As there, and ``decode_crash``, ``decode_timeout``, ``too_large``.
            PlaceError: No process can be started; ``decoder_unavailable``.
        """
        import numpy as np

        from pipeline.imaging.decode import Decoded

        how: dict[str, Any] = {"long_side": long_side, "pixels": True, "profile": profile}
        how |= {"below": below, "sha256": sha256}
        header, payload = self._ask(path, how)
        height, width = header["shape"]
        parts, start = [], 0
        for size in header["sizes"]:
            parts.append(payload[start : start + size])
            start += size
        rgb = np.frombuffer(parts[0], np.uint8).reshape(height, width, 3)
        alpha = np.frombuffer(parts[1], np.uint8).reshape(height, width) if parts[1] else None
        exif, xmp, icc = (bytes(part) for part in parts[2:])
        return Decoded(rgb, alpha, exif, xmp, icc, header["notes"])

    def probe(self, path: Path, below: int = 1, sha256: str = "") -> None:
        """Decode a file to its end without returning it; raises as `decode`."""
        self._ask(path, {**_PROBE, "below": below, "sha256": sha256})

    def measure(self, path: Path, below: int = 1) -> tuple[int, int]:
        """Width and height of a picture, upright, from its header alone; raises as `decode`."""
        header, _ = self._ask(path, {"measure": True, "below": below})
        height, width = header["shape"]
        return width, height

    def start(self) -> None:
        """Start the process now, so that no file has to wait for it.

        Raises:
            PlaceError: It cannot be started.
        """
        self._running()

    def close(self) -> None:
        """End the process at once, and start no other; another thread may be waiting for it."""
        with self._starting:
            self._closed = True
        self._end()

    def _end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            kill_group(process)  # the forked child too
            await_killed(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None  # noqa: S101  # both were asked for
                with suppress(OSError):
                    pipe.close()

    # --- asking -------------------------------------------------------------------------

    def _ask(self, path: Path, how: Mapping[str, Any]) -> tuple[dict[str, Any], memoryview]:
        """Header and payload of the answer. A file is blamed only where a good one is decoded."""
        try:
            return self._answer(path, how, self.limits.decode_seconds)
        except InputError as error:
            if error.code in _CONFIRMED:
                self._confirm()
            raise

    def _confirm(self) -> None:
        """Decode a picture that ships with the package.

        Raises:
            PlaceError: That fails too.
        """
        seconds = max(CONFIRM_SECONDS, self.limits.decode_seconds)
        try:
            self._answer(KNOWN_GOOD, _PROBE, seconds)
        except InputError as error:
            if error.code in _OF_LIMITS:
                return
            what = f"the decoder fails on the program's own picture too: {error.what}"
            hint = "install the package again, then run `doctor` to test it"
            where = str(KNOWN_GOOD)
            code = Reason.DECODER_UNAVAILABLE
            raise PlaceError(what, where=where, hint=hint, code=code) from None

    def _answer(
        self, path: Path, how: Mapping[str, Any], seconds: float
    ) -> tuple[dict[str, Any], memoryview]:
        """Header and payload; an exploited decoder may have made them, so all is checked."""
        request = {"path": os.fsencode(path).hex(), **how}
        process = self._running()
        deadline = time.monotonic() + seconds
        try:
            assert process.stdin is not None  # noqa: S101  # it was asked for
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            header = _header(self._answers.read_line(deadline), self.limits)
            reported = _reported_error(header["error"], path) if "error" in header else None
            payload = self._answers.read_exactly(sum(header.get("sizes", ())), deadline)
        except TimeoutError:
            raise self._process_lost(path, Reason.DECODE_TIMEOUT) from None
        except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError):
            raise self._process_lost(path, Reason.DECODE_CRASH) from None
        if reported is not None:
            raise reported
        return header, payload

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is None:
            return self.process
        self._end()
        try:
            with self._starting:
                if self._closed:
                    raise EOFError("it was closed")
                self.process = process = self._started()
            assert process.stdout is not None  # noqa: S101  # it was asked for
            self._answers = _Answers(process.stdout.fileno())
            self._answers.read_line(time.monotonic() + START_SECONDS)
        except (OSError, EOFError, ValueError) as error:
            raise self._not_started(error) from None
        assert process.stderr is not None  # noqa: S101  # it was asked for
        process.stderr.close()  # nothing is written to it from now on
        return process

    def _started(self) -> subprocess.Popen[bytes]:
        # One thread: idle ones of a maths library would only hold address space.
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(  # noqa: S603  # ourselves
            python_command(PROGRAM, self.limits.model_dump_json(), str(self.preallocated)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # of the start only; later decoders write remarks about files
            env=untrusted_environment() | threads | {"GLIBC_TUNABLES": _MEMORY},
            start_new_session=True,  # Ctrl-C is not for it
        )

    def _not_started(self, error: Exception) -> PlaceError:
        """The process did not start; its error output gives the cause, where there is any."""
        cause = str(error)
        if (process := self.process) is not None:
            kill_group(process)
            status = await_killed(process)
            cause = _error_output(process) or cause or _exit_cause(status)
        if isinstance(error, TimeoutError):
            cause = f"not ready after {START_SECONDS:g} s; {cause}".removesuffix("; ")
        self._end()
        what = f"the decoder process cannot be started: {cause}"
        hint = "run `doctor` to test it"
        return PlaceError(what, hint=hint, code=Reason.DECODER_UNAVAILABLE)

    def _process_lost(self, path: Path, code: Reason) -> InputError:
        """Clean up after a process that is lost; returns the error of its file."""
        ended = self.process
        cause = ""
        if ended is not None and code is Reason.DECODE_CRASH:
            with suppress(subprocess.TimeoutExpired):
                cause = _exit_cause(ended.wait(5))
        self._end()
        if cause == "SIGXCPU":
            code = Reason.DECODE_TIMEOUT
        if code is Reason.DECODE_TIMEOUT:
            what = f"decoding it takes longer than {self.limits.decode_seconds:g} s"
            return InputError(what, where=str(path), hint="save it again", code=code)
        what = "the decoder crashed on it" + (f" ({cause})" if cause else "")
        return InputError(what, where=str(path), hint="save it again as PNG", code=code)


def _error_output(process: subprocess.Popen[bytes]) -> str:
    """The last line of a process's error output; "" where there is none."""
    assert process.stderr is not None  # noqa: S101  # it was asked for
    fd = process.stderr.fileno()
    os.set_blocking(fd, False)
    with suppress(OSError):
        text = os.read(fd, MAX_COMPLAINT).decode("utf-8", "replace")
        return last_error_line(text) if text.strip() else ""
    return ""


def _exit_cause(status: int | None) -> str:
    if status is None:
        return "it cannot be killed"
    number = status - 128 if status > 128 else -status
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"exit {status}"


def _header(line: bytes, limits: Limits) -> dict[str, Any]:
    header = json.loads(line)
    if "error" in header:
        return {"error": dict(header["error"])}
    height, width = (int(side) for side in header.get("shape", (0, 0)))
    sizes = [int(size) for size in header.get("sizes", ())]
    most = (3 * height * width, height * width, limits.exif, limits.exif, limits.icc)
    if not 0 <= height * width <= limits.pixels or len(sizes) not in (0, len(most)):
        raise ValueError("more than was asked for")
    if any(not 0 <= size <= bound for size, bound in zip(sizes, most, strict=False)):
        raise ValueError("more than was asked for")
    notes = tuple(str(note)[:LONGEST_NOTE] for note in list(header.get("notes", ()))[:MOST_NOTES])
    return {"shape": (height, width), "sizes": sizes, "notes": notes}


def _reported_error(error: Mapping[str, str], path: Path) -> JobError:
    if error["kind"] == ChangedError.__name__:
        return ChangedError(path)
    kind = EngineError if error["kind"] == "EngineError" else InputError
    return kind(error["what"], where=str(path), hint=error["hint"], code=Reason(error["code"]))


class _Answers:
    """Reads lines and pixels from a pipe, each by a deadline."""

    def __init__(self, fd: int) -> None:
        self._fd, self._more = fd, b""  # what was read with a line but belongs behind it
        with suppress(OSError, AttributeError):  # where the system knows it and lets us
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def read_line(self, deadline: float) -> bytes:
        """The next line, without its end."""
        found = self._more
        while b"\n" not in found:
            if len(found) > MAX_HEADER:
                raise EOFError
            self._wait(deadline)
            more = os.read(self._fd, MAX_HEADER)
            if not more:
                raise EOFError
            found += more
        line, _, self._more = found.partition(b"\n")
        return line

    def read_exactly(self, size: int, deadline: float) -> memoryview:
        """The next ``size`` bytes."""
        whole = memoryview(bytearray(size))
        filled = min(size, len(self._more))
        whole[:filled], self._more = self._more[:filled], self._more[filled:]
        while filled < size:
            self._wait(deadline)
            got = os.readv(self._fd, [whole[filled : filled + PIPE_BYTES]])
            if not got:
                raise EOFError
            filled += got
        return whole

    def _wait(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        poll = select.poll()  # not select(): descriptors may be many
        poll.register(self._fd, select.POLLIN)
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError
