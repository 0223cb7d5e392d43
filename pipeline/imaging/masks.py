"""Mask files: checks them before they are used, and reads where a region is.

White is inside a region, black outside and greys are soft edges; a mask of colours counts by its
luminance. What is transparent is outside. A map shows several regions, each in its colour.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.config.regions.options import COLOR_DISTANCE
from pipeline.errors import InputError, Reason

if TYPE_CHECKING:
    from pipeline.imaging.decode import Decoded
    from pipeline.imaging.sandbox import Decoder

MOST_STRETCHED = 0.02  # how much the proportions of photo and mask may differ
LEAST_SHARE = 0.005  # of a map: less of a colour is an edge between two others
MOST_COUNTED = 1024  # px of each side of a map; of a larger one every second pixel, or third ...
MOST_COLORS = 64  # of a map that are looked at; a photo has thousands
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601, as of PNGs turned to grey

Colors = tuple[tuple[str, float], ...]  # of a map: ``#rrggbb`` and share of the picture


def check_mask(
    decoder: "Decoder",
    mask: Path,
    photo: Path,
    *,
    is_map: bool = False,
    below: tuple[int, int] = (1, 1),
    sha256: str = "",
) -> Colors:
    """Check a mask: it can be decoded, and has the proportions of its photo.

    Args:
        decoder: Decodes both files.
        mask: The file.
        photo: Its photo.
        is_map: Whether it shows several regions by colour.
        below: For each, of how many of the last names of its path no link is followed.
        sha256: What the mask must hold; "": anything.

    Returns:
        The colours of a map; of a mask none.

    Raises:
        InputError: It cannot be used; its `where` is the mask.
        ChangedError: It holds something else.
    """
    colors: Colors = ()
    if is_map:
        decoded = decoder.decode(mask, None, below=below[0], sha256=sha256)
        colors = dominant_colors(decoded)
    else:
        decoder.probe(mask, below[0], sha256)
    size = decoder.measure(mask, below[0])
    try:
        photo_size = decoder.measure(photo, below[1])
    except InputError:  # reported for the photo
        return colors
    check_proportions(size, photo_size, str(mask))
    return colors


def check_proportions(mask: tuple[int, int], photo: tuple[int, int], where: str) -> None:
    """Check that a mask has the proportions of its photo: (width, height) of both in px.

    Raises:
        InputError: It has not; ``where`` is the mask.
    """
    (width, height), (wide, high) = mask, photo
    ratio = (width * high) / (height * wide)
    # A pixel more or less is no stretching, whatever the size.
    slack = max(MOST_STRETCHED, 1 / min(width, height), 1 / min(wide, high))
    if abs(ratio - 1) > slack and abs(1 / ratio - 1) > slack:
        what = f"the mask has {width} x {height} px, and its photo {wide} x {high} px"
        hint = "save the mask in the proportions of the photo, upright, and not cropped"
        raise InputError(what, where=where, hint=hint, code=Reason.SIDECAR_INVALID)


def dominant_colors(decoded: "Decoded") -> Colors:
    """The colours that fill a share worth naming of a picture, the most frequent first.

    Similar ones count as one; what is transparent does not count.
    """
    step = 1 + max(decoded.rgb.shape[:2]) // MOST_COUNTED
    rgb = decoded.rgb[::step, ::step].reshape(-1, 3)
    total = len(rgb)
    if decoded.alpha is not None:
        rgb = rgb[decoded.alpha[::step, ::step].reshape(-1) >= 128]
    # 32 levels a channel are few enough to count, and finer than the distance of two colours.
    red, green, blue = (channel.astype(np.int16) >> 3 for channel in rgb.T)
    bins = red << 10 | green << 5 | blue
    counts = np.bincount(bins, minlength=1 << 15)
    groups: list[tuple[npt.NDArray[np.int64], int]] = []  # a colour and its pixels
    for number in np.argsort(counts)[::-1][:MOST_COLORS]:
        count = int(counts[number])
        if count == 0:
            break
        color = np.array([number >> 10, number >> 5 & 31, number & 31]) * 8 + 4
        near = (i for i, (c, _) in enumerate(groups) if abs(c - color).max() <= COLOR_DISTANCE)
        if (known := next(near, None)) is not None:
            groups[known] = (groups[known][0], groups[known][1] + count)
        else:
            exact = np.round(rgb[bins == number].mean(axis=0)).astype(np.int64)
            groups.append((exact, count))
    found = [(bytes(c.astype(np.uint8)).hex(), count / total) for c, count in groups]
    shown = sorted((each for each in found if each[1] >= LEAST_SHARE), key=lambda each: -each[1])
    return tuple((f"#{color}", share) for color, share in shown)


def region_mask(decoded: "Decoded", color: str | None = None) -> npt.NDArray[np.float32]:
    """Where a region is: (H, W) from 0 to 1.

    Args:
        decoded: The mask file, in sRGB.
        color: ``#rrggbb`` of the region in a map; None: the file is a mask of it alone.
    """
    rgb = decoded.rgb
    if color is None:
        inside = np.asarray(rgb.astype(np.float32) @ _LUMA) / np.float32(255)
    else:
        wanted = np.frombuffer(bytes.fromhex(color[1:]), np.uint8).astype(np.int16)
        distance = np.abs(rgb.astype(np.int16) - wanted).max(axis=2)
        inside = (distance <= COLOR_DISTANCE).astype(np.float32)
    if decoded.alpha is not None:
        inside = inside * (decoded.alpha.astype(np.float32) / np.float32(255))
    return np.asarray(np.clip(inside, 0, 1), np.float32)
