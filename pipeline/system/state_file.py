"""Reads and writes small facts in the state folder, one JSON file each, replaced as a whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import DiskFullError, StateError
from pipeline.system.safe_files import error_text, is_disk_full, read_bounded, write_whole

MOST_BYTES = 1 << 20
LATEST = 253_370_764_800.0  # seconds since 1970: the year 9999, in which every clock can be shown


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts in a file; None where there is none, and {} where it cannot be understood."""
    try:
        found = json.loads(read_bounded(path, MOST_BYTES), parse_constant=_refuse_constant)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def as_number(value: object, least: float = 0.0, most: float = LATEST) -> float | None:
    """A number that can be calculated with, such as a time; None for anything else.

    Every number of a state file is read by this: JSON also holds NaN, infinity, and integers that
    no float can hold.
    """
    if type(value) not in (int, float):
        return None
    assert isinstance(value, int | float)  # noqa: S101  # asked above; not a bool
    return float(value) if least <= value <= most else None


def read_number(facts: Mapping[str, object], key: str) -> float | None:
    """The number that a key holds, as :func:`as_number`."""
    return as_number(facts.get(key))


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Write facts, replacing the file; they are on the disk when this returns.

    Raises:
        StateError: The file cannot be written; DiskFullError if the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(facts).encode(), sync=True)
    except OSError as error:
        raise _state_error(error, path) from error


def remove_facts(path: Path) -> bool:
    """Remove a file; False where there was none.

    Raises:
        StateError: It cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _state_error(error, path) from error
    return True


def _state_error(error: OSError, path: Path) -> StateError:
    kind = DiskFullError if is_disk_full(error) else StateError
    what = f"cannot be written: {error_text(error)}"
    return kind(what, where=str(path), hint="set state: to a folder that this account can write to")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")
