"""The plan as `run` would make it now, without writing anything."""

import time

from pipeline.config.loading import Loaded
from pipeline.config.sidecar import wishes
from pipeline.daemon.job_queue import ordered
from pipeline.daemon.replacements import Replacing, replacing
from pipeline.errors import InputError
from pipeline.inbox.intake import own_recipes
from pipeline.inbox.mount_guard import recognise
from pipeline.inbox.scanner import Found, Inbox, Scan
from pipeline.jobs.job import Photo
from pipeline.jobs.plan import Planned, plan_jobs
from pipeline.jobs.recipe import Recipes
from pipeline.ledger.ledger import FILE as LEDGER
from pipeline.ledger.ledger import Ledger
from pipeline.system.file_version import hash_file


def planned(loaded: Loaded) -> list[Planned]:
    """The plan as `run` would make it now, taking every file to be still."""
    return _plan(loaded)[0]


def _plan(loaded: Loaded) -> tuple[list[Planned], dict[str, Found], Replacing]:
    """The plan, the files that it is about, and the pictures that it takes the place of."""
    config = loaded.config
    scan = Inbox(config.inbox, 0.0, config.watch.ignore).scan(time.monotonic(), time.time())
    with Ledger(config.state / LEDGER, read_only=True) as ledger:
        recipes = Recipes(config)
        recognise(config.inbox, scan.names, ledger)
        photos = _photos(loaded, scan, ledger, recipes)
        known, finished = ledger.known(), ledger.finished()
        plan = plan_jobs(photos, loaded.manifest, recipes.usable, known, finished)
        replaced = replacing(plan, ledger.history, config.outbox, kept=config.bounds is not None)
    return plan, {found.content: found for found in scan.still}, replaced


def _in_order(due: list[Planned], files: dict[str, Found], loaded: Loaded) -> list[Planned]:
    photos: dict[str, list[Planned]] = {}
    for pair in due:
        photos.setdefault(pair.content, []).append(pair)
    order = ordered(list(photos), files, loaded.config.queue, {})
    return [pair for content in order for pair in photos[content]]


def _photos(loaded: Loaded, scan: Scan, ledger: Ledger, recipes: Recipes) -> list[Photo]:
    """Photos that can be read and whose side files are right, examined before or not."""
    failed = {(r.content, r.stamp) for r in ledger.files.refusals() if r.status == "failed"}
    sides = {name: (side.path, str(side.stamp)) for name, side in scan.sides.items()}
    digests = ledger.files.hashes()
    photos = []
    for file in scan.still:
        version = str(file.stamp)
        if (file.content, version) in failed:
            continue
        try:
            digest = digests.get((file.content, version)) or hash_file(
                file.path, most=loaded.config.limits.bytes
            )
            side = wishes(file.content, sides, loaded.manifest, loaded.config)
        except InputError:
            continue
        own = own_recipes(file.content, side, loaded.manifest, recipes) if side else None
        if digest:
            photos.append(Photo(file.content, file.path, digest, own))
    return photos
