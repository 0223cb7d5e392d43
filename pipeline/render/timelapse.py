"""How a picture came to be, as a short film beside it, and stills of it on request.

While the job runs nothing waits for the device: at some steps a small copy of the iterate is made
where it lies, and stays there. Which of them become frames is decided at the end, when it is known
how much each one differs from the one before: the film is even in what the eye sees, not in steps.

A film is no part of the recipe. An interrupted job has a shorter one: it begins where the job was
taken up again.
"""

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipeline.imaging.color_management import between
from pipeline.system.safe_files import disk_errors, new_file, opened
from pipeline.errors import MissingExtraError
from pipeline.config.output import Profile
from pipeline.jobs.job import Output
from pipeline.nst import Iterate
from pipeline.render.staging import staged_output
from pipeline.config.sections import Timelapse

HOLD_SECONDS = 1.5  # the finished picture
# Early steps of a scale change most. The next look comes after this part of the steps so far, so
# a scale of any length is looked at some twenty times.
PACE = 5.0
CANDIDATES = 4  # at most, for each frame wanted
# Encoding a WebP frame again as a key frame, and slower methods, cost up to five times as much for
# a tenth of the bytes.
_WEBP = {"quality": 75, "method": 0, "kmin": 0, "kmax": 0}
_GIF_COLORS = 255  # and one that Pillow keeps for what did not change

Frame = npt.NDArray[np.uint8]  # (h, w, 3) sRGB


class Recorder:
    """Sees every iterate, keeps some, and stages the film at the end."""

    def __init__(self, settings: Timelapse, profile: Profile = "srgb") -> None:
        self.settings, self.profile = settings, profile
        self.stills: dict[int, Tensor] = {}  # (3, H, W) bytes on the device, by step
        self._candidates: list[Tensor] = []  # (3, h, w) bytes on the device
        self._scale = self._began = self._next = 0

    def saw(self, iterate: Iterate) -> None:
        """Keep a copy, where it is time for one. Never waits for the device."""
        if iterate.step in self.settings.stills:
            self.stills[iterate.step] = _bytes(iterate.image[0])
        if self.settings.format == "none" or not self._is_due(iterate):
            return
        self._candidates.append(_bytes(_shrunk(iterate.image, self.settings.side)[0]))
        if len(self._candidates) > CANDIDATES * self.settings.frames:
            del self._candidates[1::2]

    def _is_due(self, iterate: Iterate) -> bool:
        if iterate.scale != self._scale:
            self._scale, self._began, self._next = iterate.scale, iterate.step, 0
        steps = iterate.step - self._began
        if steps < self._next:
            return False
        self._next = steps + max(1, math.ceil(steps * PACE / self.settings.frames))
        return True

    def stage(self, finished: Tensor, staging: Path) -> tuple[Output, ...]:
        """Write what was asked for into the staging folder.

        Args:
            finished: (3, H, W) in [0, 1]: the film ends with it.
            staging: The job's staging folder.

        Raises:
            OutputError: The disk is full, or a file cannot be written.
            MissingExtraError: MP4 is wanted and PyAV is not installed.
        """
        outputs = [self._still(step, staging) for step in sorted(self.stills)]
        if self.settings.format != "none":
            path = staging / f"timelapse.{self.settings.format}"
            frames = [_to_srgb(frame, self.profile) for frame in self.frames(finished)]
            width, height = write_film(frames, path, self.settings.seconds)
            outputs.append(staged_output("timelapse", path, width, height))
        return tuple(outputs)

    def frames(self, finished: Tensor) -> list[Frame]:
        """The film's frames, all of one size; the last one shows ``finished`` (3, H, W)."""
        last = _shrunk(finished[None].float(), self.settings.side)
        size = (last.shape[2], last.shape[3])
        copies = [*self._candidates, _bytes(last[0])]
        frames = [_frame(copy, size) for copy in copies]
        return [frames[i] for i in evenly(_changes(frames), self.settings.frames)]

    def _still(self, step: int, staging: Path) -> Output:
        path = staging / f"step-{step:04}.png"
        pixels = self.stills[step]
        with disk_errors(path):
            frame = _to_srgb(_frame(pixels, pixels.shape[1:]), self.profile)
            with new_file(path) as file:
                Image.fromarray(frame).save(file, "PNG")
            _make_last(path)
        return staged_output("still", path, pixels.shape[2], pixels.shape[1])


def evenly(changes: Sequence[float], count: int) -> list[int]:
    """Which of ``len(changes) + 1`` frames to show so that each differs about equally.

    Args:
        changes: How much each frame differs from the one before.
        count: At most so many frames, at least 2.

    Returns:
        Their numbers, in order; the first and the last one are among them.
    """
    way = np.concatenate(([0.0], np.cumsum(changes)))
    stops = np.searchsorted(way, np.linspace(0.0, way[-1], count) - 1e-9)
    first, *rest = sorted({0, *(int(stop) for stop in stops), len(changes)})
    return [first, *rest[-(count - 1) :]]


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
        _make_last(path)
    return size


def _make_last(path: Path) -> None:
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
        for frame in _held(frames, math.ceil(HOLD_SECONDS * rate)):
            picture = av.VideoFrame.from_ndarray(frame[:height, :width], format="rgb24")
            video.mux(stream.encode(picture))
        video.mux(stream.encode())
    return width, height


def _held(frames: Sequence[Frame], times: int) -> Iterator[Frame]:
    yield from frames
    for _ in range(times):
        yield frames[-1]


# --- frames ---------------------------------------------------------------------------------


def _shrunk(image: Tensor, side: int) -> Tensor:
    """(1, 3, H, W) -> the same with a long side of at most ``side``; each pixel a mean."""
    height, width = image.shape[2:]
    ratio = side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(2, round(height * ratio)), max(2, round(width * ratio)))
    return functional.interpolate(image, size=size, mode="area")


def _bytes(image: Tensor) -> Tensor:
    """(3, h, w) -> a copy as bytes, on its device; a number that is none is black."""
    return image.detach().nan_to_num(0.0).clamp(0, 1).mul(255).round().to(torch.uint8)


def _frame(copy: Tensor, size: Sequence[int]) -> Frame:
    """(3, h, w) bytes -> (*size, 3) bytes on the CPU; small scales grow to the film's size."""
    pixels = copy.cpu()
    if pixels.shape[1:] != size:
        grown = functional.interpolate(pixels[None].float(), size=size, mode="bilinear")
        pixels = grown[0].round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def _to_srgb(frame: Frame, profile: Profile) -> Frame:
    """Films and stills are sRGB, in whatever colours the picture is computed."""
    if profile == "srgb":
        return frame
    return np.asarray(between(Image.fromarray(frame), profile, "srgb"))


def _changes(frames: Sequence[Frame]) -> list[float]:
    """Mean difference of each frame from the one before, on every other pixel."""
    few = [frame[::2, ::2].astype(np.int16) for frame in frames]
    return [float(np.abs(after - before).mean()) for before, after in pairwise(few)]
