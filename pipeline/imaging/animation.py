"""Writes frames as animated WebP, GIF or MP4; the only module that uses PyAV."""

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import MissingExtraError
from pipeline.system.safe_files import disk_errors, new_file, opened

HOLD_SECONDS = 1.5  # the finished picture

# Encoding a WebP frame again as a key frame, and slower methods, cost up to five times as much for
# a tenth of the bytes.
_WEBP = {"quality": 75, "method": 0, "kmin": 0, "kmax": 0}

_GIF_COLORS = 255  # and one that Pillow keeps for what did not change

Frame = npt.NDArray[np.uint8]  # (h, w, 3) sRGB


def write_film(frames: Sequence[Frame], path: Path, seconds: float) -> tuple[int, int]:
    """Write an endless animation, or a video, as the suffix says; returns width and height.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
        MissingExtraError: For .mp4, when PyAV is not installed.
    """
    with disk_errors(path):
        if path.suffix == ".mp4":
            size = _write_video(frames, path, seconds)
        else:
            size = _write_animation(frames, path, seconds)
        sync_to_disk(path)
    return size


def sync_to_disk(path: Path) -> None:
    """Wait until a file is on the disk (fsync)."""
    with opened(path) as file:
        os.fsync(file.fileno())


def _write_animation(frames: Sequence[Frame], path: Path, seconds: float) -> tuple[int, int]:
    images = [Image.fromarray(frame) for frame in frames]
    lasting = [round(1000 * seconds / max(1, len(images) - 1))] * len(images)
    lasting[-1] = round(1000 * HOLD_SECONDS)
    options: dict[str, Any] = _WEBP
    if path.suffix == ".gif":
        images = [image.quantize(_GIF_COLORS, Image.Quantize.FASTOCTREE) for image in images]
        options = {"optimize": False}
    first, *others = images
    timing: dict[str, Any] = {"duration": lasting, "loop": 0}
    with new_file(path) as file:
        kind = path.suffix[1:]
        first.save(file, kind, save_all=True, append_images=others, **timing, **options)
    return first.size


def _write_video(frames: Sequence[Frame], path: Path, seconds: float) -> tuple[int, int]:
    try:
        import av
    except ImportError:
        raise MissingExtraError.of("av", "mp4") from None
    rate = Fraction(max(1, len(frames) - 1)) / Fraction(seconds).limit_denominator(100)
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])  # as H.264 wants it
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as video:
        stream = video.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in _with_last_repeated(frames, math.ceil(HOLD_SECONDS * rate)):
            picture = av.VideoFrame.from_ndarray(frame[:height, :width], format="rgb24")
            video.mux(stream.encode(picture))
        video.mux(stream.encode())
    return width, height


def _with_last_repeated(frames: Sequence[Frame], times: int) -> Iterator[Frame]:
    yield from frames
    for _ in range(times):
        yield frames[-1]
