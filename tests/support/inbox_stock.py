"""Files put into an inbox, and what a scan found."""

import time
from pathlib import Path

SETTLE = 2.0
OLD = 1_000_000_000  # long past, in seconds since 1970


def put(root: Path, name: str, text: str = "picture") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def later() -> float:
    """A wall clock by which everything just written is long settled."""
    return time.time() + 1000


def names(scan) -> list[str]:
    return [found.content for found in scan.settled]


def reasons(scan) -> dict[str, tuple[str, str]]:
    return {r.content: (r.status, r.failure.code.value) for r in scan.refused}
