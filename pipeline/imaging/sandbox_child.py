"""The process that `sandbox` starts: it decodes untrusted files, each in a child process.

It has loaded the decoders and nothing else of the pipeline. One child always waits, forked,
confined and warmed up before its file is known, so that no file waits for that; it serves one
and ends.
"""

import gc
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import EngineError, InputError, JobError, Reason
from pipeline.imaging import decode as decoding

MAX_LINE = 1 << 16
OPEN_FILES = 32
MOST_NOTES = 8
NO_REQUEST = 64  # exit status of a child that got no request


def main() -> None:
    """Run until the pipe is closed.

    Arguments are the limits, as JSON, and how many bytes of memory a child prepares.
    """
    limits, preallocated = json.loads(sys.argv[1]), int(sys.argv[2])
    decoding.warm_up()  # loads all that is needed now and once, not in each child; for _confine:
    import resource  # noqa: F401

    gc.freeze()
    _silence_stderr()
    os.write(1, b"ready\n")
    while True:
        child = os.fork()
        if child == 0:
            os._exit(_one_file(limits, preallocated))
        _, status = os.waitpid(child, 0)
        if status:  # the answer is incomplete, or there was no request: end as the child did
            sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else _exit_code(status))


def _silence_stderr() -> None:
    """Discard the error output: after the start there are only remarks of libraries."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _exit_code(status: int) -> int:
    return 0 if os.WEXITSTATUS(status) == NO_REQUEST else 1


def _one_file(limits: Mapping[str, Any], preallocated: int) -> int:
    _confine(limits)
    with suppress(MemoryError):  # less than this is allowed: it faults when it is needed
        decoding.warm_up()
        _touch_memory(preallocated)
    line = _read_request()
    os.close(0)
    if not line:
        return NO_REQUEST
    request = json.loads(line)
    path = Path(os.fsdecode(bytes.fromhex(request["path"])))
    parts: list[Any] = []
    try:
        header, parts = _decoded(path, request, limits)
    except JobError as error:
        report = {"kind": type(error).__name__, "code": error.code, "what": error.what}
        header = {"error": report | {"hint": error.hint}}
    _send(json.dumps(header).encode() + b"\n")
    for part in parts:
        _send(part)
    return 0


def _touch_memory(size: int) -> None:
    """Allocate memory, write to it and free it, so that its page faults cost no file any time.

    It stays with this process: `pipeline.imaging.sandbox` has the C library keep what is freed.
    """
    bytes(1) * size


def _read_request() -> bytes:
    """The one line of a request; empty when the other end is closed."""
    line = bytearray()
    while not line.endswith(b"\n"):
        more = os.read(0, MAX_LINE)
        if not more or len(line) > MAX_LINE:
            return b""
        line += more
    return bytes(line)


def _decoded(
    path: Path, request: Mapping[str, Any], limits: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    names = ("pixels", "bytes", "exif", "icc", "animation", "frames", "damaged")
    bounds = decoding.DecodeLimits(*(limits[name] for name in names))
    try:
        if request.get("measure"):
            return {"shape": decoding.measure_file(path, bounds, request["below"])}, []
        profile, below = request.get("profile", "srgb"), request.get("below", 1)
        sha256 = request.get("sha256", "")
        found = decoding.decode_file(path, request["long_side"], bounds, profile, below, sha256)
    except EngineError as error:  # no memory: here that is the limit, not the machine
        what = f"decoding it takes more than the {limits['decode_bytes'] / 1e9:.1f} GB allowed"
        raise InputError(what, hint="scale it down", code=Reason.TOO_LARGE) from error
    height, width = found.rgb.shape[:2]
    if not request["pixels"]:
        return {"shape": (height, width)}, []
    alpha = b"" if found.alpha is None else found.alpha.data
    parts = [found.rgb.data, alpha, found.exif, found.xmp, found.icc]
    views = [memoryview(part).cast("B") for part in parts]
    header = {"shape": (height, width), "sizes": [view.nbytes for view in views]}
    return header | {"notes": found.notes[:MOST_NOTES]}, views


def _send(part: Any) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(1, view) :]


def _confine(limits: Mapping[str, Any]) -> None:
    """Limit this process for good (hard limits) to what decoding needs."""
    import resource

    seconds = int(limits["decode_seconds"]) + 1
    for name, bound in (
        ("RLIMIT_AS", limits["decode_bytes"]),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", OPEN_FILES),
        ("RLIMIT_CORE", 0),
    ):
        with suppress(ValueError, OSError, AttributeError):  # macOS knows no bound on memory
            # One more second of CPU before the hard end: SIGXCPU says why, SIGKILL does not.
            hard = bound + (name == "RLIMIT_CPU")
            resource.setrlimit(getattr(resource, name), (bound, hard))
