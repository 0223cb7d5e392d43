"""One instance per state folder; a second one says who holds it."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from pipeline.errors import LockedError, StateError
from pipeline.system.mounts import find_mount
from pipeline.system.safe_files import open_regular, read_bounded, refuse_irregular

# How long a start waits for the lock: whoever looks for a holder has it for a moment, too.
LOCK_SECONDS = 1.0
LOOK_SECONDS = 0.01
CARD_BYTES = 16384  # written in place: it can be told that the disk is full while it is full


class Card:
    """Who holds the state folder and how it fares, for `status` to read."""

    def __init__(self, path: Path, command: str) -> None:
        self._path = path
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        self._facts: dict[str, object] = {"pid": os.getpid(), "command": command}
        self._facts["started"] = started
        self._write()

    def tell(self, **facts: object) -> None:
        """Add or change facts; what is as before costs nothing."""
        if any(self._facts.get(key) != value for key, value in facts.items()):
            self._facts |= facts
            self._write()

    @property
    def facts(self) -> dict[str, object]:
        """All that was told."""
        return self._facts

    def _write(self) -> None:
        text = json.dumps(self._facts).encode()
        if len(text) > CARD_BYTES:  # of a very large machine
            text = json.dumps(self._facts | {"lanes": []}).encode()
        with suppress(OSError):  # it informs and decides nothing
            fd = open_regular(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                os.pwrite(fd, text[:CARD_BYTES].ljust(CARD_BYTES), 0)
            finally:
                os.close(fd)


@contextmanager
def instance_lock(state: Path, command: str) -> Iterator[Card]:
    """Hold the state folder for as long as the context lasts; gives the card to write on.

    Raises:
        LockedError: When another process holds it, with its id, command and start.
        StateError: When the folder cannot be written to, or lies where other machines reach it.
    """
    refuse_shared(state)
    card = state / "instance.json"
    try:
        state.mkdir(parents=True, exist_ok=True)
        refuse_irregular(state / "instance.lock")
        lock = FileLock(state / "instance.lock")
        lock.acquire(timeout=LOCK_SECONDS, poll_interval=LOOK_SECONDS)
    except Timeout:
        hint = "wait for it to end, stop it, or give this one a state folder of its own"
        raise LockedError(f"in use by {_holder(card)}", where=str(state), hint=hint) from None
    except OSError as error:
        hint = "state: must name a folder that can be written to"
        where = str(error.filename or state)
        raise StateError(error.strerror or str(error), where=where, hint=hint) from None
    try:
        yield Card(card, command)
    finally:
        with suppress(OSError):  # something else stands there
            card.unlink(missing_ok=True)
        lock.release()


def refuse_shared(state: Path, table: Path | None = None) -> None:
    """The jobs database needs a disk of this machine's own.

    Raises:
        StateError: When the folder lies on a network or shared file system.
    """
    mount = find_mount(state, table) if table else find_mount(state)
    # Where all of a machine lies on such a disk (some sandboxes), it is as local as can be.
    if mount is not None and mount.shared and mount.point != "/":
        what = f"lies on a shared file system ({mount.kind} at {mount.point})"
        hint = "set state: to a folder on a local disk; inbox and outbox may stay where they are"
        raise StateError(what, where=str(state), hint=hint)


def holder(state: Path) -> dict[str, object] | None:
    """Who holds the state folder now, as it wrote itself down; None when nobody does."""
    return _card(state / "instance.json") if _is_held(state / "instance.lock") else None


def _is_held(path: Path) -> bool:
    """Whether an instance holds the lock.

    Those who ask share it, so that none of them takes another one for the holder; a start waits
    for them, see LOCK_SECONDS.
    """
    if fcntl is None:
        return _is_held_alone(path)
    try:
        fd = open_regular(path)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)  # and with it the lock
    return False


def _is_held_alone(path: Path) -> bool:
    """The same where no lock can be shared (Windows)."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        refuse_irregular(path)
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _holder(card: Path) -> str:
    found = _card(card)
    if "pid" not in found:
        return "another instance"
    return f"`pipeline {found['command']}`, process {found['pid']}, since {found['started']}"


def _card(card: Path) -> dict[str, object]:
    for _ in range(3):  # it may be just being written
        try:
            found = json.loads(read_bounded(card, CARD_BYTES))
        except OSError:
            return {}
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}
