"""The contact sheet of a trial: what is on it, and in which order, while it fills."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.render.contact_sheet import captioned
from pipeline.render.trials.ranking import Tried, rank_styles

SHAPE = 1.6  # width of a sheet for its height
Photos = Mapping[Path, Tensor]  # (3, h, w), in the order of the command line


def arrange(tried: Sequence[Tried], styles: int, photos: Photos) -> tuple[list[Tensor], int]:
    """The cells of a sheet, best first, and how many there are in a row.

    With one photo it comes first, and then its pictures. With one style, its pictures alone. With
    several of both there is a row for each style, below one of the photos; or columns instead,
    where there are more photos. The places of pictures that are not painted yet are white.

    Args:
        tried: The results so far.
        styles: How many styles there are.
        photos: All photos.
    """
    if len(photos) == 1:
        cells = [captioned(photo, path.stem) for path, photo in photos.items()]
        cells += _ranked(tried, lambda each: each.style.name)
    elif styles == 1:
        cells = _ranked(tried, lambda each: each.photo.stem)
    else:
        return _table(tried, styles, photos)
    total = styles + 1 if len(photos) == 1 else len(photos)
    blank = _blank(photos)
    height, width = blank.shape[1:]
    across = min(total, max(1, round(math.sqrt(total * SHAPE * height / width))))
    return cells + [blank] * (total - len(cells)), across


def _ranked(tried: Sequence[Tried], name: Callable[[Tried], str]) -> list[Tensor]:
    """Pictures with their ranks, best first."""
    painted = [each for each in tried if each.picture is not None]
    painted.sort(key=lambda each: -each.score)
    return [_cell(each, f"{rank}. {name(each)}") for rank, each in enumerate(painted, 1)]


def _table(tried: Sequence[Tried], styles: int, photos: Photos) -> tuple[list[Tensor], int]:
    blank = _blank(photos)
    rows = [[captioned(photo, path.stem) for path, photo in photos.items()]]
    for rank, ranked in enumerate(rank_styles(tried), 1):
        found = {each.photo: each for each in ranked.results}
        caption = f"{rank}. {ranked.style.name}"
        rows.append([_cell(found[p], caption) if p in found else blank for p in photos])
    rows += [[blank] * len(photos) for _ in range(styles + 1 - len(rows))]
    if len(photos) > styles:
        rows = [list(column) for column in zip(*rows, strict=True)]
    return [cell for row in rows for cell in row], len(rows[0])


def _cell(tried: Tried, caption: str) -> Tensor:
    return captioned(torch.zeros(3, 1, 1) if tried.picture is None else tried.picture, caption)


def _blank(photos: Photos) -> Tensor:
    return torch.ones_like(captioned(next(iter(photos.values())), ""))
