"""Small facts kept in the state folder between runs, one JSON file each, whole or not at all."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import DiskFullError, StateError
from pipeline.system.safe_files import error_text, is_disk_full, read_bounded, write_whole

MOST_BYTES = 1 << 20


def read_facts(path: Path) -> dict[str, Any] | None:
    """What a file holds; None where there is none, and nothing where it cannot be understood."""
    try:
        found = json.loads(read_bounded(path, MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Replace a file by another one, which reaches the disk before this returns.

    Raises:
        StateError: It cannot be written; DiskFullError where that is why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(facts).encode(), sync=True)
    except OSError as error:
        raise _ours(error, path) from error


def remove_facts(path: Path) -> bool:
    """Take a file away; False where there was none.

    Raises:
        StateError: It cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _ours(error, path) from error
    return True


def _ours(error: OSError, path: Path) -> StateError:
    kind = DiskFullError if is_disk_full(error) else StateError
    what = f"cannot be written: {error_text(error)}"
    return kind(what, where=str(path), hint="state: must name a folder that can be written to")
