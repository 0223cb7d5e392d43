"""Allows one instance per state folder and per outbox; a second one reports what uses it."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from pipeline.errors import LockedError, StateError
from pipeline.system.mounts import find_mount
from pipeline.system.safe_files import (
    open_regular,
    opened_folder,
    read_bounded,
    refuse_irregular,
    try_lock,
)

# How long a start waits for the lock: `status` takes it for a moment to see whether it is free.
LOCK_SECONDS = 1.0
LOOK_SECONDS = 0.01
# The record has a fixed size and is overwritten in place, so that it can be updated, for instance
# to say that the disk is full, while the disk is full.
RECORD_BYTES = 16384
LOCK_FILE, RECORD_FILE = "instance.lock", "instance.json"
_LOCKS = "/proc/locks"  # of all processes, on Linux
_MOST_LOCKS = 1 << 22  # bytes that are read of it


class InstanceRecord:
    """What the running instance reports about itself, in ``instance.json``, for `status`."""

    def __init__(self, path: Path, command: str) -> None:
        self._path = path
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        self._facts: dict[str, object] = {"pid": os.getpid(), "command": command}
        self._facts["started"] = started
        self._write()

    def update(self, **facts: object) -> None:
        """Add or change facts; the file is written only if one has changed."""
        if any(self._facts.get(key) != value for key, value in facts.items()):
            self._facts |= facts
            self._write()

    @property
    def facts(self) -> dict[str, object]:
        """All facts so far."""
        return self._facts

    def _write(self) -> None:
        text = json.dumps(self._facts).encode()
        if len(text) > RECORD_BYTES:  # a machine with very many devices
            text = json.dumps(self._facts | {"lanes": []}).encode()
        with suppress(OSError):  # it only informs
            fd = open_regular(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                os.pwrite(fd, text[:RECORD_BYTES].ljust(RECORD_BYTES), 0)
            finally:
                os.close(fd)


@contextmanager
def instance_lock(state: Path, command: str) -> Iterator[InstanceRecord]:
    """Lock the state folder within this context; yields the record of this instance.

    Raises:
        LockedError: Another process has locked it; with its id, command and start.
        StateError: The folder cannot be written to, or is on a file system that machines share.
    """
    refuse_shared(state)
    record = state / RECORD_FILE
    with ExitStack() as locks:
        _lock(state, record, locks)
        try:
            yield InstanceRecord(record, command)
        finally:
            with suppress(OSError):  # a folder is in its place
                record.unlink(missing_ok=True)


class OutboxLock:
    """The lock of a running instance on its outbox; it is on the folder, not on the name."""

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox
        self._held = ExitStack()
        self._identity: tuple[int, int] | None = None  # device and inode of the locked folder

    def follow(self, seconds: float = 0.0) -> None:
        """Lock the folder that has the name of the outbox now, unless it is the locked one.

        Pictures go to whatever folder has this name: a folder that was renamed and made again, or
        a disk that was mounted, would be open to a second studio. An outbox that cannot be opened
        is for the service to report; what was locked stays locked until another folder has the
        name. It is released even if that one cannot be locked: two studios whose outboxes have
        changed their names would wait for each other for ever.

        Args:
            seconds: How long to wait for another instance, which may be ending.

        Raises:
            LockedError: An instance with another state folder has locked it.
        """
        with suppress(OSError), ExitStack() as opened:
            found = self._outbox.stat()
            if (found.st_dev, found.st_ino) == self._identity:
                return
            folder = opened.enter_context(opened_folder(self._outbox))
            try:
                _lock_folder(folder, seconds)
            except BlockingIOError:
                self.release()
                hint = "set another outbox here, or stop that one"
                holder = _find_holder(folder) or "its state folder is not known"
                what = f"the outbox is in use by another studio: {holder}"
                raise LockedError(what, where=f"outbox: {self._outbox}", hint=hint) from None
            found = os.fstat(folder)
            self.release()
            self._identity = found.st_dev, found.st_ino
            self._held = opened.pop_all()

    def release(self) -> None:
        """Release the lock."""
        self._held.close()
        self._identity = None


@contextmanager
def outbox_lock(outbox: Path) -> Iterator[OutboxLock]:
    """Lock the outbox within this context: each start and end removes unfinished work of others.

    The lock belongs to the process and is gone with it, so a new state folder takes an outbox over.
    A file system that locks no folders (some network shares) leaves it unlocked. An outbox that
    cannot be made or opened now is for the service to report.

    Raises:
        LockedError: An instance with another state folder has locked it.
    """
    lock = OutboxLock(outbox)
    with suppress(OSError):
        outbox.mkdir(parents=True, exist_ok=True)
    try:
        lock.follow(LOCK_SECONDS)
        yield lock
    finally:
        lock.release()


def _lock(state: Path, record: Path, locks: ExitStack) -> None:
    """Lock the file that every version knows, and the folder, whose lock cannot be deleted."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        refuse_irregular(state / LOCK_FILE)
        lock = FileLock(state / LOCK_FILE)
        lock.acquire(timeout=LOCK_SECONDS, poll_interval=LOOK_SECONDS)
        locks.callback(lock.release)
        _lock_folder(locks.enter_context(opened_folder(state)), LOCK_SECONDS)
    except (Timeout, BlockingIOError):
        hint = "wait until it ends, stop it, or set another state folder here"
        raise LockedError(f"in use by {_describe(record)}", where=str(state), hint=hint) from None
    except OSError as error:
        hint = "set state: to a folder that this account can write to"
        where = str(error.filename or state)
        raise StateError(error.strerror or str(error), where=where, hint=hint) from None


def _lock_folder(folder: int, seconds: float) -> None:
    """Lock an open folder; `status` takes this lock, too, for a moment.

    A file system that locks no folders leaves it unlocked: the file's lock is all there is.

    Raises:
        BlockingIOError: Another instance has locked it for all these seconds.
    """
    for left in range(round(seconds / LOOK_SECONDS), -1, -1):
        if try_lock(folder) is not False:
            return
        if left:
            time.sleep(LOOK_SECONDS)
    raise BlockingIOError


def _find_holder(folder: int) -> str:
    """The studio that has locked an open folder; "" where the system does not show it."""
    found = os.fstat(folder)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with suppress(OSError):
        for line in read_bounded(_LOCKS, _MOST_LOCKS).decode().splitlines():
            words = line.split()
            if "FLOCK" in words and place in words:
                return _describe_process(words[words.index(place) - 1])
    return ""


def _describe_process(process: str) -> str:
    """A process by the state folder that it has locked, if this account may see that."""
    if int(process) <= 0:
        return ""  # of another container
    opened = Path(f"/proc/{process}/fd")
    with suppress(OSError):
        for link in opened.iterdir():
            file = link.readlink()
            if file.name == LOCK_FILE:
                state = f"with the state folder {file.parent}"
                return f"{_describe(file.with_name(RECORD_FILE))}, {state}"
    return f"process {process}"


def refuse_shared(state: Path, table: Path | None = None) -> None:
    """Refuse a state folder that other machines can use too: the jobs database needs a local disk.

    Raises:
        StateError: The folder is on a network or shared file system.
    """
    mount = find_mount(state, table) if table else find_mount(state)
    # If the root file system is a shared one (some sandboxes), there is nothing more local.
    if mount is not None and mount.shared and mount.point != "/":
        what = f"is on a shared file system ({mount.kind} at {mount.point})"
        hint = "set state: to a folder on a local disk; inbox and outbox can stay where they are"
        raise StateError(what, where=str(state), hint=hint)


def read_instance(state: Path) -> dict[str, object] | None:
    """The record of the instance that uses the state folder now; None where there is none."""
    locked = _is_locked(state / LOCK_FILE) or _is_folder_locked(state)
    return _read(state / RECORD_FILE) if locked else None


def _is_folder_locked(state: Path) -> bool:
    """Whether an instance has locked the folder; its lock file may have been deleted."""
    if fcntl is None:
        return False
    try:
        with opened_folder(state) as folder:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_locked(path: Path) -> bool:
    """Whether an instance has the lock on the file.

    The question takes a shared lock for a moment, so that several of them do not mistake each other
    for an instance; a start waits for them (LOCK_SECONDS).
    """
    if fcntl is None:
        return _is_locked_exclusively(path)
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
        os.close(fd)  # this also releases the lock
    return False


def _is_locked_exclusively(path: Path) -> bool:
    """The same on systems without shared locks (Windows)."""
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


def _describe(record: Path) -> str:
    found = _read(record)
    if "pid" not in found:
        return "another instance"
    return f"`pipeline {found['command']}`, process {found['pid']}, since {found['started']}"


def _read(record: Path) -> dict[str, object]:
    for _ in range(3):  # it may be being written at this moment
        try:
            found = json.loads(read_bounded(record, RECORD_BYTES))
        except OSError:
            return {}
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}
