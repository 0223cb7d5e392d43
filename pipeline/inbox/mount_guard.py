"""An inbox whose disk is missing, told from an inbox that is empty.

The bare folder under a share that was not mounted looks like an inbox from which everything was
deleted. So the ledger keeps on which mount an inbox lay when files were last seen in it. On another
mount, and with none of the files that are known, nothing is believed until somebody says so.
"""

from collections.abc import Collection
from pathlib import Path

from pipeline.config.model import Config
from pipeline.errors import InboxError
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.system.mounts import find_mount
from pipeline.system.paths import real_path


def mount_word(root: Path) -> str:
    """The mount that a folder lies on, in words that stay the same over restarts."""
    mount = find_mount(root)
    if mount is None:
        return f"the disk at {_mount_point(root)}"
    part = f" ({mount.part})" if mount.part not in ("", "/") else ""
    return f"{mount.kind} at {mount.point}{part}"


def recognise(root: Path, names: Collection[str], ledger: Ledger) -> None:
    """Make sure that this is the inbox it was, with the names of all that lies in it.

    Raises:
        InboxError: It lies on another mount than it did, and nothing in it is known.
    """
    before, now = ledger.files.mount_of(root), mount_word(root)
    if before in (None, now) or not ledger.files.names():
        return
    if not ledger.files.names().isdisjoint(names):
        return  # brought over to another disk, with what lay in it
    what = f"lay on {before} and now lies on {now}, with nothing in it that was there"
    hint = "mount its disk; if it was moved or emptied on purpose: `pipeline accept`"
    raise InboxError(what, where=str(root), hint=hint)


def remember(root: Path, ledger: Ledger) -> None:
    """This is the inbox: files were seen in it, or somebody said so."""
    now = mount_word(root)
    if ledger.files.mount_of(root) != now:
        ledger.files.record_mount(root, now)


def worked_before(config: Config) -> bool:
    """Whether files were ever seen in an inbox, so that its absence is a disk that is missing."""
    with Ledger(config.state / FILE, read_only=True) as ledger:
        return ledger.files.mount_of(config.inbox) is not None


def _mount_point(root: Path) -> Path:
    """Where no table of mounts can be read: the topmost folder on the same device."""
    path = real_path(root)
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return path
