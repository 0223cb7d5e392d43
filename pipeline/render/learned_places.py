"""What a picture learned where: its job's plans as a small map, staged for the gallery."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.imaging.resampling import antialiased
from pipeline.imaging.tensors import save_small
from pipeline.jobs.job import Job, Output, Workspace
from pipeline.nst.guidance.regions import Guide, Learned
from pipeline.nst.pyramid import EDGE, target_size
from pipeline.nst.statistics import TINY
from pipeline.outbox.learned_map import (
    MOST_CELLS,
    MOST_PAINTINGS,
    NO_PLACE,
    LearnedMap,
    Taught,
)
from pipeline.outbox.thumbnails import PAINTING, STAGED, painting_name, staged_map_name
from pipeline.system.safe_files import write_whole

LONGEST_NAME = 200  # characters


def stage_learned_map(
    job: Job, guide: Guide, paintings: list[Tensor], stylized: Output, workspace: Workspace
) -> None:
    """Stage the map of a picture and small copies of its paintings; nothing without attention.

    Args:
        job: The job; only the paintings of its style are mapped. Those of a region teach all of it.
        guide: What the job was painted with.
        paintings: (3, h, w) of each painting of the style.
        stylized: The staged picture that the map belongs to.
        workspace: Where the job runs.
    """
    if not guide.learned:
        return
    small, profile = workspace.staging / STAGED, job.recipe.output.profile
    elsewhere = _taught_elsewhere(guide)
    taught, grid = [], (0, 0)
    parts = list(zip(job.recipe.images, paintings, guide.learned, strict=False))
    parts.sort(key=lambda part: -part[0].weight)
    for image, painting, learned in parts[:MOST_PAINTINGS]:
        grid = cells_of(learned)
        places = learned_places(learned, (painting.shape[1], painting.shape[2]), elsewhere)
        picture = painting_name(image.sha256)
        save_small(painting, small / picture, PAINTING, None, profile)
        taught.append(Taught(image.path.name[:LONGEST_NAME], picture, places))
    whole = LearnedMap(columns=grid[1], rows=grid[0], paintings=tuple(taught))
    write_whole(small / staged_map_name(stylized.sha256), whole.as_json().encode("ascii"))


def cells_of(learned: Learned) -> tuple[int, int]:
    """Rows and columns of a map: the photo's tokens, or fewer."""
    height, width = learned.grids[0]
    return (
        (height, width)
        if max(height, width) <= MOST_CELLS
        else target_size(height, width, MOST_CELLS)
    )


def learned_places(
    learned: Learned, size: tuple[int, int], elsewhere: Tensor | None = None
) -> tuple[int, ...]:
    """The place of a painting that each cell learned most from: see `Taught.places`.

    The mean over all places would lie between two that teach the same cell, where neither is. So
    it is taken around the strongest.

    Args:
        learned: P (h w, h' w') and its grids.
        size: (height, width) of the painting in px.
        elsewhere: (1, 1, h, w), where the photo learns from other paintings; None: nowhere.
    """
    weights = _by_cell(learned)  # (N, 1, h', w')
    rows, columns = weights.shape[-2:]
    # The mean of 3 x 3: a single token is decided by chance.
    near = F.avg_pool2d(weights, 3, 1, 1, count_include_pad=False)
    peak = F.one_hot(near.flatten(1).argmax(1), rows * columns).view_as(near).to(near)
    around = F.max_pool2d(peak, 3, 1, 1) * weights
    around = around.flatten(1) / around.flatten(1).sum(1, keepdim=True).clamp_min(TINY)
    places = _token_places(rows, columns).to(around)  # (h' w', 2): x and y in [0, 1]
    found = around @ places  # (N, 2)
    reach = _half_radius(weights.flatten(1), found, places, size)
    numbers = torch.cat([found, reach[:, None]], 1).mul(1000).round().clamp(0, 1000).int()
    if elsewhere is not None:
        inside = antialiased(elsewhere.cpu().float(), cells_of(learned), "bilinear").flatten() > 0.5
        numbers[inside] = torch.tensor(NO_PLACE, dtype=numbers.dtype)
    return tuple(numbers.flatten().tolist())


def _by_cell(learned: Learned) -> Tensor:
    """The plan of each cell of the map, with the sum 1: (N, 1, h', w')."""
    ours, theirs = learned.grids
    plan = learned.plan.detach().cpu().double()
    cells = cells_of(learned)
    if cells != ours:
        plan = F.adaptive_avg_pool2d(plan.T.reshape(1, -1, *ours), cells).flatten(2)[0].T
    return (plan / plan.sum(1, keepdim=True).clamp_min(TINY)).reshape(-1, 1, *theirs)


def _token_places(rows: int, columns: int) -> Tensor:
    """(rows columns, 2): the middle of each token in shares of the whole painting's width, height.

    Tokens are of the painting without its edge (`trim_edges`).
    """
    x = (torch.arange(columns) + 0.5) / columns
    y = (torch.arange(rows) + 0.5) / rows
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)
    return EDGE + (1 - 2 * EDGE) * grid


def _half_radius(weights: Tensor, found: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """(N,): the distance from each found place within which half of its weight lies."""
    height, width = size
    sides = torch.tensor([width, height]).to(found) / max(size)
    distances, order = torch.cdist(found * sides, places * sides).sort(1)
    held = weights.gather(1, order).cumsum(1)
    last = (held < 0.5).sum(1, keepdim=True).clamp_max(distances.shape[1] - 1)
    return distances.gather(1, last).squeeze(1)


def _taught_elsewhere(guide: Guide) -> Tensor | None:
    """Where regions with paintings of their own are: (1, 1, h, w)."""
    own = [each.mask for each in guide.regions if each.shares is not None and each.mask is not None]
    return torch.stack(own).sum(0) if own else None
