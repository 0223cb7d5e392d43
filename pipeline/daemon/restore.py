"""`restore`: publishes earlier pictures of a pair again, in place of the present ones."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.loading import Loaded
from pipeline.daemon.bookkeeping import Bookkeeping
from pipeline.daemon.instance import instance_lock, outbox_lock, refuse_shared
from pipeline.errors import LockedError, StateError, UsageError
from pipeline.inbox.tree import content_of
from pipeline.ledger.ledger import FILE, Ledger
from pipeline.ledger.records import Version
from pipeline.monitoring.view import View
from pipeline.outbox.names import candidate_names
from pipeline.outbox.publisher import Outbox
from pipeline.outbox.versions import Versions, absolute_paths
from pipeline.system.near_names import nearest_name, nearest_path
from pipeline.system.paths import real_path
from pipeline.system.text import timestamp


@dataclass(frozen=True, slots=True)
class Restored:
    """Which versions were restored, or will be."""

    versions: tuple[Version, ...]
    by: str = ""  # the running instance that will publish them; "": they are published


def restore(loaded: Loaded, names: Sequence[str], everything: bool) -> Restored:
    """Restore earlier pictures; the present ones become an earlier version themselves.

    Args:
        loaded: The config.
        names: Ids of versions, or files: a file of a version, or a photo or picture, for its latest
            earlier version.
        everything: The latest earlier version of every pair.

    Raises:
        UsageError: There is no such version, or its files are gone.
    """
    config = loaded.config
    if not (config.state / FILE).exists():
        raise UsageError("no picture was painted here yet", where=str(config.state))
    refuse_shared(config.state)
    with ExitStack() as opened:
        by = ""
        try:
            opened.enter_context(instance_lock(config.state, "restore"))
        except LockedError as error:
            by = error.what.removeprefix("in use by ")
        else:
            opened.enter_context(outbox_lock(config.outbox))
        ledger = opened.enter_context(Ledger(config.state / FILE))
        wanted = _latest(ledger.history.earlier()) if everything else _chosen(loaded, ledger, names)
        _check(config.outbox, wanted)
        bookkeeping = Bookkeeping(
            ledger,
            Outbox(config.outbox),
            View(),
            lambda _: None,
            version_limits=config.version_limits,
        )
        for version in wanted:
            stage_version(bookkeeping, version)
        if not by:
            for _ in bookkeeping.publish_all(time.time()):
                pass
            bookkeeping.flush(0.0, force=True)
            _check_done(ledger, wanted)
    return Restored(tuple(wanted), by)


def stage_version(bookkeeping: Bookkeeping, version: Version) -> None:
    """Stage a version for publishing, like any other pair: from then on it survives a crash."""
    outbox = bookkeeping.outbox
    files = absolute_paths(outbox.root, version.outputs)
    bookkeeping.ledger.history.restore(
        version,
        files,
        _line(version, bookkeeping.run_id, time.time()),
        candidate_names(version.content, version.style),
        lambda stem, before: outbox.is_taken(stem, files, before),
    )


def _line(version: Version, run: str, wall: float) -> dict[str, object]:
    """The line for the run log: that of the version, as far as it is known, with new times."""
    unknown = {"seconds": 0.0, "device": "", "attempt": 0, "losses": {}}
    now: dict[str, object] = {
        "ts": timestamp(wall),
        "run": run,
        "job": version.job or version.id,
        "event": "job_restored",
        "content": version.content,
        "content_sha256": version.sha256 or None,
        "style": version.style,
        "recipe": version.recipe or None,
        "status": "done",
        "outputs": [],
        "error": None,
    }
    rest = unknown | dict(version.line)
    return now | {key: value for key, value in rest.items() if key not in now}


# --- which versions -------------------------------------------------------------------------


def _chosen(loaded: Loaded, ledger: Ledger, names: Sequence[str]) -> list[Version]:
    kept = ledger.history.earlier()
    wanted: dict[str, Version] = {}
    for name in names:
        found = _named(loaded, ledger, kept, name)
        if not found:
            known = [*(v.id for v in kept), *dict.fromkeys(v.content for v in kept)]
            near = nearest_name(name, known, cutoff=0.75) or nearest_path(Path(name))
            hint = "`explain FILE` lists the earlier versions of a photo's pictures"
            hint = f"did you mean {str(near)!r}?" if near else hint
            raise UsageError("has no earlier version", where=name, hint=hint)
        wanted |= {version.id: version for version in found}
    pairs = Counter((version.content, version.style) for version in wanted.values())
    for (content, style), count in pairs.items():
        if count > 1:
            what = f"{count} versions of the same picture were given"
            raise UsageError(what, where=f"{content} x {style}", hint="give only one")
    return list(wanted.values())


def _named(loaded: Loaded, ledger: Ledger, kept: list[Version], name: str) -> list[Version]:
    if by_id := [version for version in kept if version.id == name]:
        return by_id
    if by_job := _latest(version for version in kept if version.job == name):
        return by_job
    place = _inside(loaded.config.outbox, Path(name))
    if place:
        if of_set := [v for v in kept if place in {output.path for output in v.outputs}]:
            return of_set
        pairs = {
            (pair.content, pair.style)
            for pair in ledger.pairs()
            if place in {output.path for output in pair.outputs}
        }
        return _latest(v for v in kept if (v.content, v.style) in pairs)
    with suppress(UsageError):
        content = content_of(loaded.config.inbox, Path(name))
        return _latest(version for version in kept if version.content == content)
    return []


def _latest(versions: Iterable[Version]) -> list[Version]:
    """The latest version of each pair; ``versions`` are sorted latest first."""
    found: dict[tuple[str, str], Version] = {}
    for version in versions:
        found.setdefault((version.content, version.style), version)
    return list(found.values())


def _inside(outbox: Path, file: Path) -> str:
    """A file's path relative to the outbox; "" where it is elsewhere."""
    if not os.path.lexists(file):
        return ""
    place, root = real_path(file.parent) / file.name, real_path(outbox)
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else ""


# --- checks ---------------------------------------------------------------------------------


def _check(root: Path, wanted: Iterable[Version]) -> None:
    versions = Versions(root)
    for version in wanted:
        for output in version.outputs:
            if not versions.is_intact(output):
                what = "is missing or was changed"
                hint = f"`restore {version.id}` needs the file as it was"
                raise UsageError(what, where=str(root / output.path), hint=hint)


def _check_done(ledger: Ledger, wanted: Iterable[Version]) -> None:
    for version in wanted:
        standing = ledger.history.current(version.content, version.style, version.life)
        if standing is None or standing.id != version.id:
            where = f"{version.content} x {version.style}"
            raise StateError("could not be restored; nothing was changed", where=where)
