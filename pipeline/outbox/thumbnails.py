"""Small copies of photos, paintings and results for the gallery: their place, and their names.

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
PAINTING = 480  # px, long side of a painting beside a picture that learned from it

# Formats that browsers show; for other pictures (TIFF, HEIC) there is a large copy.
SHOWN = BROWSERS_SHOW

NAME = re.compile(r"[0-9a-f]{20}(-[0-9]{1,5}|-painting)?\.jpg")
PAINTING_NAME = re.compile(r"[0-9a-f]{20}-painting\.jpg")
MAP_NAME = re.compile(r"[0-9a-f]{20}-map\.js")  # see learned_map.py
STAGED_MAP_NAME = re.compile(r"[0-9a-f]{20}-map\.json")
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


def painting_name(sha256: str) -> str:
    """The copy of a painting; under a name of its own, since a painting may also be a photo."""
    return f"{_head(sha256)}-painting.jpg"


def map_name(sha256: str) -> str:
    """The gallery's script with the map of what a stylized picture learned where."""
    return f"{_head(sha256)}-map.js"


def staged_map_name(sha256: str) -> str:
    """The same map as a worker stages it: data, from which the gallery writes the script."""
    return f"{_head(sha256)}-map.json"


def before_side(width: int, height: int) -> int:
    """Long side of that copy in px."""
    return min(LARGE, max(width, height))


def _head(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return sha256[:20]
