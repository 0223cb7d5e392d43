"""Which place of a painting each place of a photo learns from, and what follows: target, regions.

Tokens describe places: those of a vision transformer, or deep features of VGG. Optimal transport
with one marginal relaxed (Chizat et al. 2018, "Scaling algorithms for unbalanced optimal transport
problems") pairs them: each place of the photo learns once, and a place of the painting teaches as
much as it is wanted, which may be nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.nst.losses import MAX_GAIN
from pipeline.nst.pyramid import resize
from pipeline.nst.statistics import TINY

Grid = tuple[int, int]  # rows and columns of tokens

EPSILON = 0.05  # of the transport's entropy, for costs 1 - cosine
WANTED, MAPPED = 0.05, 0.3  # how strictly the painting's marginal is kept: `match`
ROUNDS = 60  # each brings the plan nearer by MAPPED / (MAPPED + EPSILON) at least: to 1e-4
FLATTEST = 1e-3  # of a channel's size: a smaller deviation is rounding
NONDESCRIPT = 0.05  # deviations: a token so near to 0 resembles none, or grey would match its noise

SHARPNESS = 0.1  # of a region's edge, in cosines
LARGEST = 3.0  # times a region's mean: how much of it one place of the painting may teach
RESTLESS = 50  # rounds of k-means; it has settled after about 15


def match(photo: Tensor, painting: Tensor, allowed: Tensor | None = None) -> Tensor:
    """How much of each place of the photo learns from each place of the painting.

    Twice, because what a painting shows and a photo does not must be left out before the rest is
    shared out. First by what places are (tokens as they are), with the painting's marginal kept so
    loosely that a face is left out where there is none: how much each place is wanted. Then by
    how they differ from their own picture (tokens less their mean), more evenly among these.

    Args:
        photo: (1, C, h, w), any numbers: channels are scaled by their deviation over both.
        painting: (1, C, h', w').
        allowed: (1, 1, h', w') in [0, 1], how much each place may teach; if it is 0 everywhere, or
            absent, all of them may.

    Returns:
        P (h w, h' w'), every row with the sum 1 / (h w).
    """
    ours, theirs = _scaled(photo, painting)
    wanted = ours.new_full((len(theirs),), 1 / len(theirs))
    wanted = _transport(ours, theirs, wanted, WANTED).sum(0)
    if allowed is not None and allowed.any():
        wanted = wanted * allowed.flatten().to(wanted).clamp(0, 1)  # resized masks overshoot
    plan = _transport(ours - ours.mean(0), theirs - theirs.mean(0), wanted, MAPPED)
    return plan.to(photo)


def _scaled(photo: Tensor, painting: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (N, C) and (N', C) in fp64 on the CPU, each channel with deviation 1 over both."""
    ours, theirs = _rows(photo), _rows(painting)
    both = torch.cat([ours, theirs])
    size = both.square().mean(0).sqrt()
    spread = both.std(0, correction=0).maximum(FLATTEST * size) + TINY
    return ours / spread, theirs / spread


def _rows(tokens: Tensor) -> Tensor:
    """(1, C, h, w) -> (h w, C)."""
    return tokens.detach().cpu().double().squeeze(0).flatten(1).T


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, shorter where there is next to nothing in them."""
    floor = NONDESCRIPT * rows.shape[1] ** 0.5
    length: Tensor = rows.square().sum(1, keepdim=True).sqrt()
    return rows / length.clamp_min(floor)


def _transport(ours: Tensor, theirs: Tensor, wanted: Tensor, strictness: float) -> Tensor:
    """The plan (N, N') of least cost 1 - cosine, with equal rows.

    Args:
        ours: (N, C).
        theirs: (N', C).
        wanted: (N',), the sums of columns that are asked for; 0: none at all.
        strictness: The weight of their Kullback-Leibler divergence from the plan's.
    """
    # From exp(-40) to 1, so that in fp64 nothing over- or underflows; in logarithms each round
    # would take ten times as long.
    kernel = ((_unit(ours) @ _unit(theirs).T - 1) / EPSILON).exp_()
    power = strictness / (strictness + EPSILON)
    share = 1 / len(ours)
    columns = (wanted > 0).to(kernel)
    for _ in range(ROUNDS):
        rows = share / (kernel @ columns)
        columns = (wanted / (rows @ kernel)) ** power
    rows = share / (kernel @ columns)  # last: the photo's marginal is exact
    return kernel.mul_(rows[:, None]).mul_(columns)


def attention_target(
    content: Tensor, style: Tensor, plan: Tensor, grids: tuple[Grid, Grid]
) -> Tensor:
    """The photo's features with mean and deviation of what each place learns from.

    AdaAttN (Liu et al. 2021, "Revisit Attention Mechanism in Arbitrary Neural Style Transfer") with
    the plan for its attention. For a plan without any preference it is `adapt_features`.

    Args:
        content: F (1, C, H, W), behind a ReLU.
        style: S (1, C, H', W').
        plan: P, from `match`.
        grids: Of the photo's and of the painting's tokens.

    Returns:
        (1, C, H, W).
    """
    ours, theirs = grids
    attention = (plan / plan.sum(1, keepdim=True).clamp_min(TINY)).to(style.dtype)  # rows sum to 1
    # Squares before they are resized: the strokes within a token are part of its deviation.
    mean, second = (attention @ _on(part, theirs) for part in (style, style.square()))  # (N, C)
    spread = (second - mean.square()).clamp_min(0).sqrt()
    size = (content.shape[-2], content.shape[-1])
    mean, spread = (resize(_image(part, ours), size, "bilinear") for part in (mean, spread))
    own = content.var((2, 3), correction=0, keepdim=True).clamp_min(TINY).sqrt()
    gain = (spread / own).clamp_max(MAX_GAIN)  # downwards it is free: flat paint stays flat
    return (gain * (content - content.mean((2, 3), keepdim=True)) + mean).clamp_min(0)


def _on(features: Tensor, grid: Grid) -> Tensor:
    """(1, C, H, W) on a grid of tokens: (h w, C)."""
    return resize(features, grid, "bilinear").squeeze(0).flatten(1).T


def _image(rows: Tensor, grid: Grid) -> Tensor:
    """(h w, C) -> (1, C, h, w)."""
    return rows.T.reshape(1, -1, *grid)


def soft_regions(
    photo: Tensor, plan: Tensor, grids: tuple[Grid, Grid], count: int = 4
) -> tuple[Tensor, Tensor]:
    """Divides the photo by what its places are, and the painting by whom they teach.

    Args:
        photo: (1, C, h, w), the tokens that were matched.
        plan: P, from `match`.
        grids: Of the photo's and of the painting's tokens.
        count: How many regions, K; fewer where the photo has fewer tokens.

    Returns:
        R (K, 1, h, w), which adds up to 1 everywhere; and Q (K, 1, h', w'), how much each place of
        the painting counts in each region: in the mean, as much as the region is of the photo.
    """
    (height, width), (rows, columns) = grids
    ours, _ = _scaled(photo, photo)
    ours = _unit(ours - ours.mean(0))
    likeness = ours @ _centres(ours, min(count, len(ours))).T
    shares = (likeness / SHARPNESS).softmax(1).T  # (K, N)
    taught = shares @ plan.detach().cpu().double() * (rows * columns)  # (K, N')
    # Edges are repeated: so smoothing changes no sum.
    taught = F.pad(taught.view(-1, 1, rows, columns), (1, 1, 1, 1), mode="replicate")
    taught = F.avg_pool2d(taught, 3, 1)
    taught = taught.minimum(LARGEST * shares.mean(1).view(-1, 1, 1, 1))
    return shares.view(-1, 1, height, width).to(photo), taught.to(photo)


def _centres(rows: Tensor, count: int) -> Tensor:
    """Centres (K, C) of k-means on the sphere; begun with what resembles the chosen ones least."""
    centres = _unit(rows.sum(0, keepdim=True))
    chosen = [int((rows @ centres[0]).argmin())]
    while len(chosen) < count:
        chosen.append(int((rows @ rows[chosen].T).amax(1).argmin()))
    centres = rows[chosen]
    for _ in range(RESTLESS):
        nearest = F.one_hot((rows @ centres.T).argmax(1), count).to(rows)
        sums = nearest.T @ rows
        moved = torch.where(nearest.sum(0)[:, None] > 0, _unit(sums), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres
