"""`prune`: removes the pictures of pairs that no rule wants any more.

Only pictures that are provably the program's own are removed: each still has the SHA-256 that the
ledger recorded for it. If a picture of a pair was changed, all of them stay. With `keep: replaced`
they become an earlier version, for `restore`.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.loading import Loaded
from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.daemon.instance import instance_lock, outbox_lock
from pipeline.daemon.preview import preview
from pipeline.errors import ConfigError
from pipeline.jobs.job import Output
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.ledger.records import Pair
from pipeline.monitoring.view import View
from pipeline.outbox.names import RUN_LOG
from pipeline.outbox.publisher import Outbox
from pipeline.system.safe_files import digest_at, opened_folder


@dataclass(frozen=True, slots=True)
class Prunable:
    """A pair that no rule wants any more.

    Attributes:
        pair: The pair.
        pictures: Its files in the outbox, as the program wrote them; none: they are gone already.
        changed: A file under the name of one of them that holds something else; "": none.
    """

    pair: Pair
    pictures: tuple[Output, ...] = ()
    changed: str = ""

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(output.bytes for output in self.pictures)


def find_prunable(loaded: Loaded) -> list[Prunable]:
    """Find what `prune` would remove or leave, by photo and style. Writes nothing.

    Raises:
        ConfigError: The outbox is not there, so it is unknown which pictures there are.
        PipelineError: The inbox cannot be read, so it is unknown what is wanted.
    """
    config = loaded.config
    if not (config.state / FILE).exists():
        return []
    unwanted = preview(loaded, only="").unwanted  # reads no photo
    if any(pair.outputs for pair in unwanted.pairs):
        _check_outbox(config.outbox)
    found = [_examine(config.outbox, pair) for pair in unwanted.pairs]
    return sorted(found, key=lambda one: (one.pair.content, one.pair.style, one.pair.life))


def prune(loaded: Loaded) -> list[Prunable]:
    """Remove what `find_prunable` finds, except pairs with changed pictures; returns all of them.

    Safe to repeat after a crash: the ledger forgets a pair only once its files are removed.

    Raises:
        LockedError: Another instance works on the state folder or the outbox.
        ConfigError: The outbox is not there, so it is unknown which pictures there are.
        OutputError: The outbox cannot be written. What was removed by then is recorded.
    """
    config = loaded.config
    if not find_prunable(loaded):  # before the outbox is locked, which would make the folder
        return []
    with ExitStack() as opened:
        opened.enter_context(instance_lock(config.state, "prune"))
        opened.enter_context(outbox_lock(config.outbox))
        ledger = opened.enter_context(Ledger(config.state / FILE))
        bookkeeping = Bookkeeping(
            ledger,
            Outbox(config.outbox),
            View(),
            lambda _: None,
            version_limits=config.version_limits,
        )
        for _ in bookkeeping.publish_all(time.time()):  # what a crash has left
            pass
        found = find_prunable(loaded)
        for one in found:
            if not one.changed:
                bookkeeping.remove_unwanted(one.pair, time.time())
        bookkeeping.flush(0.0, force=True)
    return found


def _check_outbox(outbox: Path) -> None:
    """Check that this is the folder of the pictures, and no mount point without its disk.

    Else all its pictures would seem to be gone, and the ledger would forget them.
    """
    if not (outbox / RUN_LOG).is_file():
        what = f"has no {RUN_LOG}: it is not the folder that holds the pictures"
        hint = "mount its disk, or move the folder back; if you removed it, type: pipeline run"
        raise ConfigError(what, where=f"outbox: {outbox}", hint=hint)


def _examine(outbox: Path, pair: Pair) -> Prunable:
    pictures = []
    for output in pair.outputs:
        found = _digest_in(outbox, output)
        if found == output.sha256:
            pictures.append(output)
        elif found is not None:
            return Prunable(pair, (), output.path)
    return Prunable(pair, tuple(pictures))


def _digest_in(outbox: Path, output: Output) -> str | None:
    """SHA-256 of the file with a picture's name, None if there is none; else why it is not ours."""
    place = PurePosixPath(output.path)
    try:
        with opened_folder(outbox, place.parent.parts) as folder:
            return digest_at(folder, place.name, {output.bytes})
    except FileNotFoundError:
        return None
    except OSError as error:  # a link or a file is in the place of its folder
        return error.strerror or "not readable"
