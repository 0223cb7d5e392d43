"""Small copies of photos and results for the gallery: where they are staged, and their names.

The worker, which has decoded the photo anyway, writes them into ``STAGED`` within its staging
folder; the gallery takes them from there. Their names derive from the SHA-256 of the original, so
both sides compute the same names, a photo rendered in eight styles has one copy, and taking them
twice does no harm. They are JPEG: on painted texture WebP saves nothing and takes 12 times as long.
"""

import re

from pipeline.config.file_kinds import BROWSERS_SHOW

STAGED = "small"
SMALL = 640  # px, long side on the wall: sharp on a dense screen, about 100 kB
LARGE = 1600  # px, long side of a photo beside its painting

# Formats that browsers show; for other pictures (TIFF, HEIC) there is a large copy.
SHOWN = BROWSERS_SHOW

NAME = re.compile(r"[0-9a-f]{20}(-[0-9]{1,5})?\.jpg")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def small_name(sha256: str) -> str:
    """The small copy of a photo or a result; raises ValueError for an invalid SHA-256."""
    return _head(sha256) + ".jpg"


def large_name(sha256: str) -> str:
    """The large copy of a result in a format that browsers do not show."""
    return f"{_head(sha256)}-{LARGE}.jpg"


def before_name(sha256: str, width: int, height: int) -> str:
    """The copy of a photo at most as large as its stylized picture, given in px."""
    return f"{_head(sha256)}-{before_side(width, height)}.jpg"


def before_side(width: int, height: int) -> int:
    """Long side of that copy in px."""
    return min(LARGE, max(width, height))


def _head(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return sha256[:20]
