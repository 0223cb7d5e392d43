"""Reads the mask files of a job's regions, verified by their SHA-256."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from pipeline.errors import ChangedError, JobError, Reason
from pipeline.imaging.masks import region_mask
from pipeline.imaging.sandbox import Decoder
from pipeline.jobs.job import Job
from pipeline.jobs.recipe import Region
from pipeline.jobs.retry_policy import BLAME, Blame

KEPT = 16  # masks of one photo, for all its styles


def load_masks(job: Job, decoder: Decoder, below: int = 1) -> dict[str, Tensor]:
    """The masks of regions that have a file: (1, H, W) from 0 to 1, in the size of the file.

    Args:
        job: Its regions are read.
        decoder: Decodes the files.
        below: Of how many of the last names of the photo's path no link is followed. A mask beside
            the photo is as untrusted as the photo.

    Raises:
        ChangedError: A file is gone, or has another SHA-256.
        JobError: It cannot be decoded: ``sidecar_invalid``.
    """
    return {
        region.name: _load_mask(region, region.mask, decoder, _names_below(region.mask, job, below))
        for region in job.recipe.regions
        if region.mask is not None
    }


def _names_below(mask: Path, job: Job, below: int) -> int:
    return below if mask.parent == job.path.parent else 1


def _load_mask(region: Region, path: Path, decoder: Decoder, below: int) -> Tensor:
    try:
        return _cached_mask(region.mask_sha256, region.color, path, decoder, below)
    except ChangedError:
        raise ChangedError(path) from None
    except JobError as error:
        if error.code in (Reason.VANISHED, Reason.NOT_REGULAR_FILE):
            raise ChangedError(path) from None
        if BLAME[error.code] is Blame.MACHINE:
            raise
        code = Reason.SIDECAR_INVALID
        raise JobError(error.what, where=error.where, hint=error.hint, code=code) from None


@lru_cache(maxsize=KEPT)  # by SHA-256: a changed file belongs to another recipe
def _cached_mask(
    sha256: str, color: str | None, path: Path, decoder: Decoder, below: int
) -> Tensor:
    decoded = decoder.decode(path, None, below=below, sha256=sha256)
    return torch.from_numpy(region_mask(decoded, color))[None]
