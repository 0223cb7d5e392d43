"""Strangers' files, decoded where they can do no harm: in a process of their own, under limits.

A nursery process has loaded the decoders and waits. For each file it forks a child, which lives
for that file only: with no memory, time, file or socket beyond its limits, and nothing of the
pipeline's in it. Pixels come back through a pipe. What crashes or hangs is that child; the nursery
goes with it and the next file gets a new one.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EngineError, InputError, JobError, Reason
from pipeline.sections import Limits

if TYPE_CHECKING:
    from pipeline.codec import Decoded

START_SECONDS = 120.0  # of a nursery, on a machine that is busy
MAX_HEADER = 1 << 16
OPEN_FILES = 32
_CHUNK = 1 << 20
_ROOT = str(Path(__file__).parent.parent)
_PROGRAM = "from pipeline.decoder import nursery; nursery()"


class Decoder:
    """Decodes one file at a time; starts its process when first needed and again after a crash."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, path: Path, long_side: int | None) -> "Decoded":
        """As `codec.decode_file`, elsewhere.

        Raises:
            InputError: As there, and ``decode_crash``, ``decode_timeout``, ``too_large``.
            EngineError: No process can be started.
        """
        import numpy as np

        from pipeline.codec import Decoded

        header, payload = self._ask(path, {"long_side": long_side, "pixels": True})
        height, width = header["shape"]
        parts, start = [], 0
        for size in header["sizes"]:
            parts.append(payload[start : start + size])
            start += size
        rgb = np.frombuffer(parts[0], np.uint8).reshape(height, width, 3)
        alpha = np.frombuffer(parts[1], np.uint8).reshape(height, width) if parts[1] else None
        return Decoded(rgb, alpha, *(bytes(part) for part in parts[2:]))

    def probe(self, path: Path) -> None:
        """Decode a file to its end and keep nothing: raises as :meth:`decode`."""
        self._ask(path, {"long_side": 64, "pixels": False})

    def close(self) -> None:
        """End the process, whatever it does; a second time does nothing."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: the forked child too
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None  # noqa: S101  # both were asked for
                with suppress(OSError):
                    pipe.close()

    # --- asking -------------------------------------------------------------------------

    def _ask(self, path: Path, how: Mapping[str, Any]) -> tuple[dict[str, Any], memoryview]:
        """Header and payload of the answer; of a stranger's making, perhaps, so all is checked."""
        request = {"path": os.fsencode(path).hex(), **how, "limits": self.limits.model_dump()}
        process = self._running()
        deadline = time.monotonic() + self.limits.decode_seconds
        try:
            assert process.stdin is not None  # noqa: S101  # both were asked for
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answers = process.stdout.fileno()
            header = _header(_line(answers, deadline), self.limits)
            told = _told(header["error"], path) if "error" in header else None
            payload = _exactly(answers, sum(header.get("sizes", ())), deadline)
        except TimeoutError:
            raise self._lost(path, Reason.DECODE_TIMEOUT) from None
        except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError):
            raise self._lost(path, Reason.DECODE_CRASH) from None
        if told is not None:
            raise told
        return header, payload

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        environment = {
            name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")
        }
        # One thread: idle ones of a maths library would only hold address space.
        environment |= {"PYTHONPATH": _ROOT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        try:
            self._process = subprocess.Popen(  # noqa: S603  # ourselves
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders' chatter about strangers' bytes
                env=environment,
                start_new_session=True,  # Ctrl-C is not for it
            )
            assert self._process.stdout is not None  # noqa: S101  # it was asked for
            _line(self._process.stdout.fileno(), time.monotonic() + START_SECONDS)
        except (OSError, EOFError, ValueError) as error:
            self.close()
            what = f"the decoder process cannot be started: {error}"
            raise EngineError(what, code=Reason.OUT_OF_MEMORY) from None
        return self._process

    def _lost(self, path: Path, code: Reason) -> InputError:
        """The process is lost, and the error tells of what."""
        ended = self._process
        cause = ""
        if ended is not None and code is Reason.DECODE_CRASH:
            with suppress(subprocess.TimeoutExpired):
                cause = _cause(ended.wait(5))
        self.close()
        if cause == "SIGXCPU":
            code = Reason.DECODE_TIMEOUT
        if code is Reason.DECODE_TIMEOUT:
            what = f"decoding it takes longer than {self.limits.decode_seconds:g} s"
            return InputError(what, where=_shown(path), mend="save it anew", code=code)
        what = "the decoder broke on it" + (f" ({cause})" if cause else "")
        return InputError(what, where=_shown(path), mend="save it anew as PNG", code=code)


def _cause(status: int) -> str:
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
    return {"shape": (height, width), "sizes": sizes}


def _told(error: Mapping[str, str], path: Path) -> JobError:
    kind = EngineError if error["kind"] == "EngineError" else InputError
    return kind(error["what"], where=_shown(path), mend=error["mend"], code=Reason(error["code"]))


def _shown(path: Path) -> str:
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def _line(fd: int, deadline: float) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        _wait(fd, deadline)
        byte = os.read(fd, 1)  # what follows the line is pixels
        if not byte or len(found) > MAX_HEADER:
            raise EOFError
        found += byte
    return bytes(found)


def _exactly(fd: int, size: int, deadline: float) -> memoryview:
    whole = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        _wait(fd, deadline)
        got = os.readv(fd, [whole[filled : filled + _CHUNK]])
        if not got:
            raise EOFError
        filled += got
    return whole


def _wait(fd: int, deadline: float) -> None:
    left = deadline - time.monotonic()
    poll = select.poll()  # not select(): descriptors may be many
    poll.register(fd, select.POLLIN)
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError


# --- the other side -------------------------------------------------------------------------


def nursery() -> None:
    """Run the process that forks a child for each request; ends when nobody asks any more."""
    import gc

    from pipeline.codec import load_decoders

    load_decoders()  # now and once, not in each child; so is what _confine needs
    import resource  # noqa: F401

    gc.freeze()
    os.write(1, b"ready\n")
    while line := sys.stdin.buffer.readline(MAX_HEADER):
        child = os.fork()
        if child == 0:
            os._exit(_one_file(json.loads(line)))
        _, status = os.waitpid(child, 0)
        if status:  # the answer is torn: end as the child did
            sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else 1)


def _one_file(request: dict[str, Any]) -> int:
    limits = Limits.model_validate(request["limits"])
    _confine(limits)
    path = Path(os.fsdecode(bytes.fromhex(request["path"])))
    parts: list[Any] = []
    try:
        header, parts = _decoded(path, request, limits)
    except JobError as error:
        told = {"kind": type(error).__name__, "code": error.code, "what": error.what}
        header = {"error": told | {"mend": error.mend}}
    _send(json.dumps(header).encode() + b"\n")
    for part in parts:
        _send(part)
    return 0


def _decoded(
    path: Path, request: Mapping[str, Any], limits: Limits
) -> tuple[dict[str, Any], list[Any]]:
    from pipeline import codec

    bounds = codec.Limits(limits.pixels, limits.bytes, limits.exif, limits.icc)
    try:
        found = codec.decode_file(path, request["long_side"], bounds)
    except EngineError as error:  # no memory: here that is the limit, not the machine
        what = f"decoding it takes more than the {limits.decode_bytes / 1e9:.1f} GB allowed"
        raise InputError(what, mend="scale it down", code=Reason.TOO_LARGE) from error
    height, width = found.rgb.shape[:2]
    if not request["pixels"]:
        return {"shape": (height, width)}, []
    alpha = b"" if found.alpha is None else found.alpha.data
    parts = [found.rgb.data, alpha, found.exif, found.xmp, found.icc]
    views = [memoryview(part).cast("B") for part in parts]
    return {"shape": (height, width), "sizes": [view.nbytes for view in views]}, views


def _send(part: Any) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(1, view) :]


def _confine(limits: Limits) -> None:
    """Take from this process all that decoding does not need, for good (hard limits)."""
    import resource

    seconds = int(limits.decode_seconds) + 1
    for name, bound in (
        ("RLIMIT_AS", limits.decode_bytes),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", OPEN_FILES),
        ("RLIMIT_CORE", 0),
    ):
        with suppress(ValueError, OSError, AttributeError):  # macOS knows no bound on memory
            # One more second of CPU before the hard end: SIGXCPU says why, SIGKILL does not.
            hard = bound + (name == "RLIMIT_CPU")
            resource.setrlimit(getattr(resource, name), (bound, hard))
    sys.stdin.close()
