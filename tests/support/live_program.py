"""The real program, started in a folder of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.outbox.publisher import Outbox
from support import ROOT, SUPPORT, TESTS
from support.fake_work import photo
from support.stock import pictures

ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(TESTS), str(ROOT)]),
    "PAINT_SECONDS": "0",
}


CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}}
watch: {settle_seconds: 0, scan_seconds: 0.3}
limits: {free_bytes: 0}
"""


def project(root: Path, photos: int = 2) -> Path:
    (root / "inbox").mkdir()
    (root / "config.yaml").write_text(CONFIG)
    for number in range(photos):
        photo(root / "inbox" / f"{number}.png", number)
    return root


def program(root: Path, command: str) -> list[str]:
    return [sys.executable, str(SUPPORT / "soak_daemon.py"), command, str(root / "config.yaml")]


@contextmanager
def started(root: Path, command: str, **streams: object) -> Iterator[subprocess.Popen[bytes]]:
    """The real service with an engine of no time; it ends with the test."""
    with subprocess.Popen(program(root, command), env=ENVIRONMENT, **streams) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def until(true, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def painted(root: Path) -> int:
    return len([name for name in pictures(Outbox(root / "outbox")) if "enhanced" not in name])


# Waits for a file, then sends a signal every millisecond until the process has ended.
SIGNALLER = """
import os, sys, time
begin, process, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
end = time.monotonic() + 60
while not os.path.exists(begin) and time.monotonic() < end:
    pass
while time.monotonic() < end:
    os.kill(process, number)
    time.sleep(0.001)
"""


@contextmanager
def signalled(process: subprocess.Popen[Any], number: int, begin: Path) -> Iterator[None]:
    """Within this context a process gets a signal every millisecond once a file exists."""
    words = [sys.executable, "-c", SIGNALLER, str(begin), str(process.pid), str(int(number))]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as signaller:
        try:
            yield
        finally:
            signaller.kill()
