"""`retry` and `accept`: what failed is wanted again, and an inbox on another disk is the inbox."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline.config.loading import Loaded
from pipeline.config.model import Config
from pipeline.daemon.instance import refuse_shared
from pipeline.errors import PipelineError, UsageError
from pipeline.inbox.mount_guard import mount_word, remember
from pipeline.inbox.quarantine import QuarantinedPhoto, quarantined_photos, restore
from pipeline.inbox.tree import content_of
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.system.paths import is_folder, real_path


def retry(loaded: Loaded, jobs: list[str] | None) -> int:
    """Put jobs and files back into the queue; returns how many. A running instance takes them up.

    Photos in quarantine come back into their place in the inbox.

    Args:
        loaded: The config.
        jobs: Ids of jobs, or files of the inbox or the quarantine; None: all that failed.

    Raises:
        UsageError: Another file stands in the place of a photo in quarantine; all others are back.
    """
    config = loaded.config
    refuse_shared(config.state)
    aside = quarantined_photos(config.quarantine)
    named = None if jobs is None else [*jobs, *_contents(loaded, jobs, aside)]
    with Ledger(config.state / FILE) as ledger:
        pairs = ledger.pairs()
        wanted = named and {*named, *(pair.content for pair in pairs if pair.job in named)}
        # The ledger first: a photo that is back before it is wanted again is put aside again.
        count = ledger.retry(_failed(config, ledger, aside) if named is None else named)
    back = [one for one in aside if wanted is None or one.content in wanted]
    blocked = [one for one in back if not _restored(one, config.inbox)]
    if blocked:
        raise _taken(blocked)
    return count + len({one.content for one in back} - {pair.content for pair in pairs})


def lies_there(config: Config, aside: Iterable[QuarantinedPhoto], content: str) -> bool:
    """Whether a photo lies in the inbox, or where we put it aside."""
    inside = os.path.lexists(config.inbox / content)
    return inside or any(one.content == content for one in aside)


def _failed(config: Config, ledger: Ledger, aside: list[QuarantinedPhoto]) -> list[str] | None:
    """Jobs and files that failed and were not taken away since; None: all, the inbox is gone."""
    if not is_folder(config.inbox):
        return None
    pairs = ledger.pairs(JobState.FAILED)
    jobs = [pair.job for pair in pairs if lies_there(config, aside, pair.content)]
    files = [seen.content for seen in ledger.files.refusals() if seen.status == "failed"]
    return jobs + [file for file in files if lies_there(config, aside, file)]


def accept(loaded: Loaded) -> str:
    """Take the inbox for the inbox, though nothing in it is known; returns where it lies."""
    config = loaded.config
    if not is_folder(config.inbox):
        raise UsageError("no such folder", where=f"inbox: {config.inbox}", hint="make or mount it")
    refuse_shared(config.state)
    with Ledger(config.state / FILE) as ledger:
        remember(config.inbox, ledger)
    return mount_word(config.inbox)


def _contents(loaded: Loaded, names: list[str], aside: list[QuarantinedPhoto]) -> list[str]:
    """Those names that may be files of the inbox or of the quarantine, relative to the inbox."""
    places = {real_path(one.path): one.content for one in aside}
    found = []
    for name in names:
        with suppress(UsageError):
            found.append(content_of(loaded.config.inbox, Path(name)))
        if real_path(Path(name)) in places:
            found.append(places[real_path(Path(name))])
    return found


def _restored(one: QuarantinedPhoto, inbox: Path) -> bool:
    try:
        return restore(one, inbox)
    except OSError as error:
        what = f"cannot be put back: {os.strerror(error.errno or 0).lower()}"
        raise PipelineError(what, where=str(one.path), hint="then `retry` again") from error


def _taken(blocked: list[QuarantinedPhoto]) -> UsageError:
    more = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
    hint = f"move that one away and `retry` again; the failed one lies in {blocked[0].path}"
    what = f"another file stands in its place in the inbox{more}"
    return UsageError(what, where=blocked[0].content, hint=hint)
