"""One instance per state folder; a second one says who holds it."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import LockedError, StateError


@contextmanager
def instance_lock(state: Path, command: str) -> Iterator[None]:
    """Hold the state folder for as long as the context lasts.

    Raises:
        LockedError: When another process holds it, with its id, command and start.
        StateError: When the folder cannot be written to.
    """
    card = state / "instance.json"
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(state / "instance.lock")
        lock.acquire(timeout=0)
    except Timeout:
        mend = "wait for it to end, stop it, or give this one a state folder of its own"
        raise LockedError(f"in use by {_holder(card)}", where=str(state), mend=mend) from None
    except OSError as error:
        mend = "state: must name a folder that can be written to"
        raise StateError(error.strerror or str(error), where=str(state), mend=mend) from None
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        card.write_text(json.dumps({"pid": os.getpid(), "command": command, "started": started}))
        yield
    finally:
        card.unlink(missing_ok=True)
        lock.release()


def holder(state: Path) -> dict[str, object] | None:
    """Who holds the state folder now, as it wrote itself down; None when nobody does."""
    if not (state / "instance.lock").exists():
        return None
    lock = FileLock(state / "instance.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _card(state / "instance.json")
    except OSError:
        return None
    lock.release()
    return None


def _holder(card: Path) -> str:
    found = _card(card)
    if "pid" not in found:
        return "another instance"
    return f"`pipeline {found['command']}`, process {found['pid']}, since {found['started']}"


def _card(card: Path) -> dict[str, object]:
    try:
        found = json.loads(card.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
