"""A finished picture -> the files of a pair, in the staging folder of its job."""

from pathlib import Path

from torch import Tensor

from pipeline.images import Picture, resize, save_png, save_small
from pipeline.jobs import Job, Kind, Output
from pipeline.outbox import staged_output
from pipeline.thumbnails import SMALL, STAGED, before_name, before_side, small_name


def stage(
    job: Job, photo: Picture, picture: Tensor, enhanced: Tensor, staging: Path
) -> tuple[Output, ...]:
    """Write both pictures and their small copies, the photo's transparency given back."""
    height, width = picture.shape[1:]
    alpha = None if photo.alpha is None else resize(photo.alpha, (height, width))
    small = staging / STAGED
    small.mkdir()
    save_small(photo.rgb, small / small_name(job.sha256), SMALL)
    before = small / before_name(job.sha256, width, height)
    save_small(photo.rgb, before, before_side(width, height))
    text = {"Software": "pipeline", "Style": job.style, "Recipe": job.recipe.digest}
    outputs = []
    kinds: tuple[tuple[Kind, Tensor], ...] = (
        ("stylized", picture),
        ("enhanced", enhanced),
    )
    for kind, pixels in kinds:
        path = staging / f"{kind}.png"
        width, height = save_png(pixels, path, alpha, text)
        outputs.append(staged_output(kind, path, width, height))
        save_small(pixels, small / small_name(outputs[-1].sha256), SMALL)
    return tuple(outputs)
