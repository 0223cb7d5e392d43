"""Tells an inbox whose disk is not mounted from an empty inbox.

The mount point of a share that is not mounted looks like an inbox from which everything was
deleted. So the ledger records on which mount an inbox was when files were last seen in it. If the
mount is another one and none of the known files is there, work waits until `pipeline accept`.
"""

from collections.abc import Collection
from pathlib import Path

from pipeline.config.model import Config
from pipeline.errors import InboxError
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.system.mounts import find_mount
from pipeline.system.paths import real_path


def mount_word(root: Path) -> str:
    """The mount that a folder is on, as text that stays the same over restarts."""
    mount = find_mount(root)
    if mount is None:
        return f"the disk at {_mount_point(root)}"
    part = f" ({mount.part})" if mount.part not in ("", "/") else ""
    return f"{mount.kind} at {mount.point}{part}"


def recognise(root: Path, names: Collection[str], ledger: Ledger) -> None:
    """Check that this is the same inbox as before, by its mount and the names of its files.

    Raises:
        InboxError: It is on another mount than before, and none of its files is known.
    """
    before, now = ledger.files.mount_of(root), mount_word(root)
    if before in (None, now) or not ledger.files.names():
        return
    if not ledger.files.names().isdisjoint(names):
        return  # moved to another disk together with its files
    what = f"was on {before} and is now on {now}, without any known file"
    hint = "mount its disk; if you moved or emptied it, run `pipeline accept`"
    raise InboxError(what, where=str(root), hint=hint)


def remember(root: Path, ledger: Ledger) -> None:
    """Record the mount of the inbox: files were seen in it, or `accept` confirmed it."""
    now = mount_word(root)
    if ledger.files.mount_of(root) != now:
        ledger.files.record_mount(root, now)


def worked_before(config: Config) -> bool:
    """Whether files were ever seen in an inbox: if it is gone now, its disk is missing."""
    with Ledger(config.state / FILE, read_only=True) as ledger:
        return ledger.files.mount_of(config.inbox) is not None


def _mount_point(root: Path) -> Path:
    """The topmost folder on the same device, for systems without a readable table of mounts."""
    path = real_path(root)
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return path
