"""Small copies of photos and results for the gallery: where they are staged, and their names.

The worker, which has decoded the photo anyway, writes them into ``STAGED`` within its staging
folder; the gallery takes them from there. Their names follow from the SHA-256 of what they show, so
both sides compute the same ones, a photo rendered in eight styles is kept once, and taking them
twice does no harm. JPEG: on painted texture WebP saves nothing and takes twelve times as long.
"""

import re

from pipeline.config.file_kinds import BROWSERS_SHOW

STAGED = "small"
SMALL = 640  # px, long side on the wall: sharp on a dense screen, some 100 kB
LARGE = 1600  # px, long side of a photo beside its painting

# What browsers show; of other pictures (TIFF, HEIC) they get a large copy.
SHOWN = BROWSERS_SHOW

NAME = re.compile(r"[0-9a-f]{20}(-[0-9]{1,5})?\.jpg")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def small_name(sha256: str) -> str:
    """The small copy of a photo or a result; ValueError when that is no SHA-256."""
    return _head(sha256) + ".jpg"


def large_name(sha256: str) -> str:
    """The large copy of a result that browsers do not show."""
    return f"{_head(sha256)}-{LARGE}.jpg"


def before_name(sha256: str, width: int, height: int) -> str:
    """The photo at the size of its stylised picture in px, or a little smaller."""
    return f"{_head(sha256)}-{before_side(width, height)}.jpg"


def before_side(width: int, height: int) -> int:
    """Long side of that copy in px."""
    return min(LARGE, max(width, height))


def _head(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return sha256[:20]
