"""What lies in the inbox and has not been begun, counted in bounded time: for `status`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.config.model import Config
from pipeline.config.sidecar import is_side_file
from pipeline.errors import InboxError
from pipeline.inbox.mount_guard import recognise
from pipeline.inbox.tree import Folder, Refused
from pipeline.ledger.ledger import Ledger
from pipeline.system.file_version import Stamp

SECONDS = 2.0  # a large inbox on a slow share is not read to its end


@dataclass(frozen=True, slots=True)
class Backlog:
    """Photos that wait; ``whole`` is false where there may be more, ``trouble`` says why."""

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
    folder = Folder(config.inbox, config.watch.ignore)
    until = clock() + seconds
    names: set[str] = set()
    new, late = 0, False
    known = _Known(ledger)
    try:
        for content, version in _photos(folder):
            names.add(content)
            new += not known(content, version)
            if clock() > until:
                late = True
                break
        if not late:
            recognise(config.inbox, names, ledger)
    except InboxError as error:
        return Backlog(0, False, str(error))
    return Backlog(new, folder.whole and not late)


class _Known:
    """Whether a version of a photo was begun or refused."""

    def __init__(self, ledger: Ledger) -> None:
        self._versions = ledger.files.stamps()
        self._settled = {content for content, _ in ledger.known()}
        self._settled |= {refusal.content for refusal in ledger.files.refusals()}

    def __call__(self, content: str, version: str) -> bool:
        return content in self._settled and self._versions.get(content, version) == version


def _photos(folder: Folder) -> Iterator[tuple[str, str]]:
    """Name and version of every file that is a photo by its name."""
    for sight in folder.walk():
        if isinstance(sight, Refused):
            continue
        content, _, status = sight
        if not is_side_file(content) and folder.by_name(content.rpartition("/")[2]) is None:
            yield content, str(Stamp.of(status))
