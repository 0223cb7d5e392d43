"""Counts the files of the inbox that have no pair: not begun yet, or refused."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.model import Config
from pipeline.config.regions.mask_files import mask_name
from pipeline.config.sidecar import is_side_file
from pipeline.errors import InboxError
from pipeline.inbox.mount_guard import recognise
from pipeline.inbox.quarantine import quarantined_photos
from pipeline.inbox.tree import InboxTree, Refused
from pipeline.ledger.ledger import Ledger
from pipeline.system.file_version import Stamp

SECONDS = 2.0  # a large inbox on a slow share is then counted in part


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many photos wait; if ``whole`` is false there may be more. ``trouble``: the error."""

    waiting: int = 0
    whole: bool = True
    trouble: str = ""


def count_backlog(
    config: Config,
    ledger: Ledger,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Backlog:
    """Count photos whose present version the ledger has neither begun nor refused. Never raises."""
    tree = InboxTree(config.inbox, config.watch.ignore)
    until = clock() + seconds
    names: set[str] = set()
    new, late = 0, False
    known = _Known(ledger)
    try:
        for content, version in list_photos(tree):
            names.add(content)
            new += not known(content, version)
            if clock() > until:
                late = True
                break
        if not late:
            recognise(config.inbox, names, ledger)
    except InboxError as error:
        return Backlog(0, False, str(error))
    return Backlog(new, not tree.hidden and not late)


def count_not_taken(ledger: Ledger, refused: Iterable[str], quarantine: Path) -> int:
    """Count the files in inbox and quarantine that became no pair.

    Args:
        ledger: Knows all pairs.
        refused: Refused files of the inbox.
        quarantine: The folder. A photo in it may have failed as one or several pairs.
    """
    aside = {file.content for file in quarantined_photos(quarantine, ledger)} - {*refused}
    paired = {content for content, _ in ledger.known()} if aside else set()
    return len({*refused} | (aside - paired))


class _Known:
    """Whether a version of a photo was begun or refused."""

    def __init__(self, ledger: Ledger) -> None:
        self._versions = ledger.files.stamps()
        self._settled = {content for content, _ in ledger.known()}
        self._settled |= {refusal.content for refusal in ledger.files.refusals()}

    def __call__(self, content: str, version: str) -> bool:
        return content in self._settled and self._versions.get(content, version) == version


def list_photos(tree: InboxTree) -> Iterator[tuple[str, str]]:
    """Name and version of every file that is a photo by its name."""
    for entry in tree.walk():
        if isinstance(entry, Refused):
            continue
        content, _, status = entry
        if is_side_file(content) or mask_name(content) is not None:
            continue
        if tree.check_name(content.rpartition("/")[2]) is None:
            yield content, str(Stamp.of(status))
