"""Names in the outbox: which names a pair may have, on any disk that the outbox is copied to.

A name joins those of photo and style, without characters that exFAT, NTFS or a Windows share
refuses, and is never one that the outbox uses itself. :func:`candidate_names` lists those that a
pair may have; `PairRows.assign_name` in `pipeline.ledger.pair_rows` takes the first free one when
the pair gets its first picture. The ledger stores it, so names given by an earlier version stay.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.system.file_names import (
    MAX_NAME_BYTES,
    MAX_NAMES,
    comparable,
    cut,
    fit_name,
    portable_name,
)

STAGING = ".staging"
STAGED_FOLDER = re.compile(r"[0-9a-f]{12}\.[0-9]+")  # as `staging_name` gives
RUN_LOG = "runs.jsonl"
GALLERY = ".gallery"
PAGE = "index.html"
VERSIONS = ".versions"
# Everything in the root of the outbox besides pictures and their folders.
RESERVED_NAMES = (STAGING, RUN_LOG, GALLERY, PAGE, VERSIONS)


def candidate_names(
    content: str, style: str, lives: int = 0, folder: str | None = None
) -> Iterator[str]:
    """Names without suffix that a pair may have in the outbox, best first.

    For ``b/a.jpg`` and ``mosaic`` these are ``b/a--mosaic``, ``b/a~2--mosaic``, ...

    Args:
        content: The photo, relative to the inbox.
        style: The style's name.
        lives: How many photos had this name before: that many numbers are not tried.
        folder: The folder in the outbox; None: as :func:`inbox_to_outbox_folders` gives it.
    """
    above, _, name = content.rpartition("/")
    inside = "/".join(inbox_to_outbox_folders(above)) if folder is None else folder
    stem = PurePosixPath(name).stem
    for number in (1, *range(max(2, lives + 1), lives + MAX_NAMES)):
        mark = f"~{number}" if number > 1 else ""
        place = fit_name(portable_name(f"{stem}{mark}--{style}"))
        yield f"{inside}/{place}" if inside else place


def inbox_to_outbox_folders(above: str) -> list[str]:
    """The folders of the outbox for a folder of the inbox; none for the inbox itself."""
    parts = [cut(portable_name(part), MAX_NAME_BYTES) for part in above.split("/") if part]
    if parts and is_reserved(parts[0]):
        parts[0] = add_number(parts[0], 2)
    return parts


def add_number(folder: str, number: int) -> str:
    """A folder's name with a number, for use when the plain name is taken."""
    return cut(f"{folder}~{number}", MAX_NAME_BYTES)


def is_reserved(name: str) -> bool:
    """Whether some file system treats a name like one that the outbox uses in its root."""
    return comparable(name) in map(comparable, RESERVED_NAMES)


def staging_name(job: str, attempt: int) -> str:
    """The staging folder of one attempt, within ``.staging``."""
    return f"{job}.{attempt}"
