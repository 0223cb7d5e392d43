"""Records the timelapse, a short film of the optimisation beside a picture, and stills on request.

Recording never waits for the device: at some steps it makes a small copy of the iterate, which
stays on the device. At the end, when it is known how much each copy differs from the one before, it
picks the frames so that neighbours differ about equally.

The film is no part of the recipe. An interrupted job has a shorter film, which begins where the job
was resumed.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipeline.config.output import Profile
from pipeline.config.sections import Timelapse
from pipeline.imaging.animation import Frame, sync_to_disk, write_film
from pipeline.imaging.color_management import between
from pipeline.jobs.job import Output
from pipeline.nst import Iterate
from pipeline.outbox.publisher import staged_output
from pipeline.system.safe_files import disk_errors, new_file

# Early steps of a scale change most. The next copy is due after PACE / frames of the steps so far:
# a scale of any length has some twenty copies.
PACE = 5.0
CANDIDATES = 4  # at most, for each frame of the film


class Recorder:
    """Observes every iterate, keeps copies of some, and stages the film at the end."""

    def __init__(self, settings: Timelapse, profile: Profile = "srgb") -> None:
        self.settings, self.profile = settings, profile
        self.stills: dict[int, Tensor] = {}  # (3, H, W) bytes on the device, by step
        self.candidates: list[Tensor] = []  # (3, h, w) bytes on the device
        self._scale = self._began = self._next = 0

    def renewed(self) -> "Recorder":
        """One with the same settings that has observed nothing."""
        return Recorder(self.settings, self.profile)

    def observe(self, iterate: Iterate) -> None:
        """Keep a copy if one is due. Never waits for the device."""
        if iterate.step in self.settings.stills:
            self.stills[iterate.step] = _to_bytes(iterate.image[0])
        if self.settings.format == "none" or not self._is_due(iterate):
            return
        self.candidates.append(_to_bytes(_shrink(iterate.image, self.settings.side)[0]))
        if len(self.candidates) > CANDIDATES * self.settings.frames:
            del self.candidates[1::2]

    def _is_due(self, iterate: Iterate) -> bool:
        if iterate.scale != self._scale:
            self._scale, self._began, self._next = iterate.scale, iterate.step, 0
        steps = iterate.step - self._began
        if steps < self._next:
            return False
        self._next = steps + max(1, math.ceil(steps * PACE / self.settings.frames))
        return True

    def stage(self, finished: Tensor, staging: Path) -> tuple[Output, ...]:
        """Write the film and the stills into the staging folder.

        Args:
            finished: (3, H, W) in [0, 1]: the film ends with it.
            staging: The job's staging folder.

        Raises:
            OutputError: The disk is full, or a file cannot be written.
            MissingExtraError: The film is MP4 and PyAV is not installed.
        """
        outputs = [self._stage_still(step, staging) for step in sorted(self.stills)]
        if self.settings.format != "none":
            path = staging / f"timelapse.{self.settings.format}"
            frames = [_to_srgb(frame, self.profile) for frame in self.frames(finished)]
            width, height = write_film(frames, path, self.settings.seconds)
            outputs.append(staged_output("timelapse", path, width, height))
        return tuple(outputs)

    def frames(self, finished: Tensor) -> list[Frame]:
        """The frames of the film, all of one size; the last one shows ``finished`` (3, H, W)."""
        last = _shrink(finished[None].float(), self.settings.side)
        size = (last.shape[2], last.shape[3])
        copies = [*self.candidates, _to_bytes(last[0])]
        frames = [_to_frame(copy, size) for copy in copies]
        return [frames[i] for i in choose_frames(_changes(frames), self.settings.frames)]

    def _stage_still(self, step: int, staging: Path) -> Output:
        path = staging / f"step-{step:04}.png"
        pixels = self.stills[step]
        with disk_errors(path):
            frame = _to_srgb(_to_frame(pixels, pixels.shape[1:]), self.profile)
            with new_file(path) as file:
                Image.fromarray(frame).save(file, "PNG")
            sync_to_disk(path)
        return staged_output("still", path, pixels.shape[2], pixels.shape[1])


def choose_frames(changes: Sequence[float], count: int) -> list[int]:
    """Choose from ``len(changes) + 1`` frames so that neighbours differ about equally.

    Args:
        changes: How much each frame differs from the one before.
        count: The most frames to choose, at least 2.

    Returns:
        Their numbers, in order; the first and the last one are among them.
    """
    total = np.concatenate(([0.0], np.cumsum(changes)))
    stops = np.searchsorted(total, np.linspace(0.0, total[-1], count) - 1e-9)
    first, *rest = sorted({0, *(int(stop) for stop in stops), len(changes)})
    return [first, *rest[-(count - 1) :]]


# --- frames ---------------------------------------------------------------------------------


def _shrink(image: Tensor, side: int) -> Tensor:
    """(1, 3, H, W) -> the same with a long side of at most ``side``; each pixel a mean."""
    height, width = image.shape[2:]
    ratio = side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(2, round(height * ratio)), max(2, round(width * ratio)))
    return functional.interpolate(image, size=size, mode="area")


def _to_bytes(image: Tensor) -> Tensor:
    """(3, h, w) -> a copy as bytes, on its device; NaN is black."""
    return image.detach().nan_to_num(0.0).clamp(0, 1).mul(255).round().to(torch.uint8)


def _to_frame(copy: Tensor, size: Sequence[int]) -> Frame:
    """(3, h, w) bytes -> (*size, 3) bytes on the CPU; small scales grow to the film's size."""
    pixels = copy.cpu()
    if pixels.shape[1:] != size:
        grown = functional.interpolate(pixels[None].float(), size=size, mode="bilinear")
        pixels = grown[0].round().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def _to_srgb(frame: Frame, profile: Profile) -> Frame:
    """Convert to sRGB: films and stills are sRGB, whatever the profile of the picture."""
    if profile == "srgb":
        return frame
    return np.asarray(between(Image.fromarray(frame), profile, "srgb"))


def _changes(frames: Sequence[Frame]) -> list[float]:
    """Mean difference of each frame from the one before, on every other pixel."""
    few = [frame[::2, ::2].astype(np.int16) for frame in frames]
    return [float(np.abs(after - before).mean()) for before, after in pairwise(few)]
