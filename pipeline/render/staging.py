"""Writes a finished picture as the files of a pair, into the staging folder of its job."""

from pathlib import Path

import torch
from torch import Tensor

from pipeline.imaging.metadata import filter_exif, stated, xmp_packet
from pipeline.imaging.tensors import Labels, Picture, resize, save, save_small
from pipeline.jobs.job import Job, Kind, Output, Workspace
from pipeline.jobs.provenance import SOFTWARE, record
from pipeline.outbox.publisher import staged_output
from pipeline.outbox.thumbnails import (
    LARGE,
    SHOWN,
    SMALL,
    STAGED,
    before_name,
    before_side,
    large_name,
    small_name,
)


def stage_pictures(
    job: Job, photo: Picture, picture: Tensor, enhanced: Tensor, workspace: Workspace
) -> tuple[Output, ...]:
    """Write both pictures and their small copies, with the transparency of the photo."""
    wanted, staging = job.recipe.output, workspace.staging
    small = staging / STAGED
    small.mkdir()
    _stage_photo(job, photo, picture, small)
    outputs = []
    kinds: tuple[tuple[Kind, Tensor], ...] = (("stylized", picture), ("enhanced", enhanced))
    for kind, pixels in kinds:
        size = (pixels.shape[1], pixels.shape[2])
        alpha = None if photo.alpha is None else resize(photo.alpha, size)
        path = staging / f"{kind}{wanted.suffix}"
        save(pixels, path, wanted, alpha, _build_labels(job, photo, kind, size, workspace))
        outputs.append(staged_output(kind, path, size[1], size[0]))
        copy = small / small_name(outputs[-1].sha256)
        save_small(pixels, copy, SMALL, alpha, wanted.profile)
        if wanted.suffix not in SHOWN:
            large = small / large_name(outputs[-1].sha256)
            save_small(pixels, large, LARGE, alpha, wanted.profile)
    return tuple(outputs)


def _stage_photo(job: Job, photo: Picture, picture: Tensor, small: Path) -> None:
    """Write the photo's small copies for the gallery: for the wall and for comparison."""
    profile = job.recipe.output.profile
    height, width = picture.shape[1:]
    save_small(photo.rgb, small / small_name(job.sha256), SMALL, photo.alpha, profile)
    before = small / before_name(job.sha256, width, height)
    save_small(photo.rgb, before, before_side(width, height), photo.alpha, profile)


def _build_labels(
    job: Job, photo: Picture, kind: Kind, size: tuple[int, int], workspace: Workspace
) -> Labels:
    """The metadata of a picture with this (height, width)."""
    wanted = job.recipe.output
    keep = wanted.metadata == "keep"
    software = SOFTWARE if wanted.provenance else ""
    made = record(job, kind, torch.__version__, workspace) if wanted.provenance else ""
    exif = None
    if keep or software:
        carried = filter_exif(photo.exif if keep else b"", gps=wanted.gps)
        exif = stated(carried, size[::-1], software, srgb=wanted.profile == "srgb")
    xmp = xmp_packet(photo.xmp if keep else b"", gps=wanted.gps, software=software, record=made)
    return Labels(exif, xmp, software)
