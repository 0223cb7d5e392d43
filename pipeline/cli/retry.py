"""`retry` puts failed jobs back into the queue; `accept` accepts an inbox on another disk."""

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
from pipeline.system.near_names import nearest_name, nearest_path
from pipeline.system.paths import is_folder, real_path
from pipeline.system.safe_files import error_text


def retry_jobs(loaded: Loaded, jobs: list[str] | None) -> int:
    """Put jobs and files back into the queue, where a running instance finds them; return how many.

    Moves quarantined photos back to their place in the inbox; other files in that folder stay.

    Args:
        loaded: The config.
        jobs: Ids of jobs, or files of the inbox or the quarantine; None: all failed ones.

    Raises:
        PipelineError: A quarantined photo cannot be moved back.
        UsageError: Another file has its name. In both cases all other photos have been moved back.
    """
    config = loaded.config
    refuse_shared(config.state)
    with Ledger(config.state / FILE) as ledger:
        quarantined = quarantined_photos(config.quarantine, ledger)
        named = None if jobs is None else [*jobs, *_find_contents(loaded, jobs, quarantined)]
        pairs = ledger.pairs()
        counted = {pair.content for pair in pairs}
        counted |= {one.content for one in ledger.files.refusals() if one.status == "failed"}
        wanted = named and {*named, *(pair.content for pair in pairs if pair.job in named)}
        # The ledger first: a photo that returns before its job is queued is quarantined again.
        count = ledger.retry(_find_failed(config, ledger, quarantined) if named is None else named)
    returning = [file for file in quarantined if wanted is None or file.content in wanted]
    _put_all_back(returning, config.inbox)
    return count + len({file.content for file in returning} - counted)


def nearest_job(loaded: Loaded, name: str) -> str:
    """A hint to the job or file that was probably meant; "" where there is none."""
    with Ledger(loaded.config.state / FILE) as ledger:
        pairs = ledger.pairs()
    jobs, contents = [pair.job for pair in pairs], [pair.content for pair in pairs]
    if set(_find_contents(loaded, [name], [])) & set(contents):
        return "none of its jobs failed; `explain FILE` lists them, `retry JOB` paints one again"
    near = nearest_name(name, jobs, cutoff=0.75) or nearest_name(name, contents, cutoff=0.75)
    near = near or next(map(str, filter(None, [nearest_path(Path(name))])), None)
    return f"did you mean {near!r}?" if near else ""


def still_exists(config: Config, quarantined: Iterable[QuarantinedPhoto], content: str) -> bool:
    """Whether a photo is in the inbox or in quarantine."""
    in_inbox = os.path.lexists(config.inbox / content)
    return in_inbox or any(file.content == content for file in quarantined)


def _find_failed(
    config: Config, ledger: Ledger, quarantined: list[QuarantinedPhoto]
) -> list[str] | None:
    """Find failed jobs and files that still exist; None (all failed ones) without an inbox."""
    if not is_folder(config.inbox):
        return None
    pairs = ledger.pairs(JobState.FAILED)
    jobs = [pair.job for pair in pairs if still_exists(config, quarantined, pair.content)]
    files = [seen.content for seen in ledger.files.refusals() if seen.status == "failed"]
    return jobs + [file for file in files if still_exists(config, quarantined, file)]


def accept_inbox(loaded: Loaded) -> str:
    """Record the present inbox as the right one; return which file system it is on."""
    config = loaded.config
    if not is_folder(config.inbox):
        raise UsageError(
            "no such folder", where=f"inbox: {config.inbox}", hint="create or mount it"
        )
    refuse_shared(config.state)
    with Ledger(config.state / FILE) as ledger:
        remember(config.inbox, ledger)
    return mount_word(config.inbox)


def _find_contents(
    loaded: Loaded, names: list[str], quarantined: list[QuarantinedPhoto]
) -> list[str]:
    """Names that may be files of the inbox or the quarantine, as paths relative to the inbox."""
    places = {real_path(file.path): file.content for file in quarantined}
    found = []
    for name in names:
        with suppress(UsageError):
            found.append(content_of(loaded.config.inbox, Path(name)))
        if real_path(Path(name)) in places:
            found.append(places[real_path(Path(name))])
    return found


def _put_all_back(returning: list[QuarantinedPhoto], inbox: Path) -> None:
    """Move quarantined photos back into the inbox; one that cannot be moved stops no other."""
    blocked, failed = [], []
    for file in returning:
        try:
            if not restore(file, inbox):
                blocked.append(file)
        except OSError as error:
            failed.append((file, error))
    if failed:
        file, first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        what = f"cannot be moved back into the inbox: {error_text(first)}{more}"
        hint = "fix the cause, then run `retry` again"
        raise PipelineError(what, where=str(file.path), hint=hint) from first
    if blocked:
        raise _name_taken_error(blocked)


def _name_taken_error(blocked: list[QuarantinedPhoto]) -> UsageError:
    more = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
    hint = f"move that file away and run `retry` again; the failed photo is {blocked[0].path}"
    what = f"another file in the inbox has its name{more}"
    return UsageError(what, where=blocked[0].content, hint=hint)
