"""The transfer: closed forms, references, determinism, convergence."""

import math
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.transfer import LAYERS, PresetName, Transfer, resolve_transfer
from pipeline.errors import EngineError
from pipeline.nst import Iterate, Vgg19, stylize
from pipeline.nst import colors as nst_colors
from pipeline.nst.cache import Caches, MemoryCache
from pipeline.nst.colors import SHADE, recoloring, tabled, with_colors
from pipeline.nst.content_focus import focus, on_grid
from pipeline.nst.losses import ContentLoss, adapted, total_variation
from pipeline.nst.objective import Evaluation, Objective, style_sums
from pipeline.nst.optimizers import PictureOptimizer, make_optimizer
from pipeline.nst.pyramid import (
    by_scale,
    enlarge,
    per_scale,
    resize,
    scale_sides,
    step_cost,
    style_size,
    target_size,
    to_depth,
)
from pipeline.nst.search import Search
from pipeline.nst.statistics import Moments

QUICK = {"size": 64, "steps": (15,)}


@pytest.fixture
def checked() -> Tensor:
    """(1, 3, 128, 128): a photo of an even left half and a checkered right one."""
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    squares = 0.2 + 0.6 * ((rows // 4 + columns // 4) % 2)
    return torch.where(columns < 64, 0.5, squares).expand(1, 3, -1, -1)


def direct_gram(features: Tensor) -> Tensor:
    """Equation 3 of Gatys et al. 2015, over positions; features (1, C, H, W)."""
    return torch.einsum("nchw,ndhw->cd", features, features) / features[0, 0].numel()


# --- closed form ----------------------------------------------------------------------------


def test_the_total_variation_of_a_checkerboard_is_two() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((rows + columns) % 2).float().expand(1, 3, 8, 8)
    assert total_variation(board) == 2.0


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_the_total_variation_of_a_line_or_a_dot_is_finite(size: tuple[int, int]) -> None:
    assert total_variation(torch.rand(1, 3, *size)).isfinite()


def test_total_variation_does_not_grow_with_the_picture() -> None:
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    wide = tile.repeat(1, 1, 4, 4)
    assert total_variation(wide) == pytest.approx(float(total_variation(tile)), rel=0.1)


# --- reference ------------------------------------------------------------------------------


def test_the_content_loss_gives_the_gradient_that_autograd_finds() -> None:
    features, target = torch.rand(1, 4, 5, 6, requires_grad=True), torch.rand(1, 4, 5, 6)
    expected = (features - target).square().sum() / target.square().sum()
    (by_autograd,) = torch.autograd.grad(expected, features)
    loss, gradient = ContentLoss(target)(features.detach())
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, by_autograd)


def test_content_held_here_and_there_is_weighed_place_by_place_and_adds_up_from_parts() -> None:
    features, target = torch.rand(1, 4, 5, 6, requires_grad=True), torch.rand(1, 4, 5, 6)
    held = torch.rand(1, 1, 5, 6)
    expected = ((features - target).square() * held).sum() / target.square().sum()
    (by_autograd,) = torch.autograd.grad(expected, features)
    whole, found = ContentLoss(target, held), features.detach()
    loss, gradient = whole(found)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, by_autograd)
    columns = slice(0, 2), slice(2, 6)
    parts = [whole.part(slice(0, 5), c)(found[..., c]) for c in columns]
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss)
    torch.testing.assert_close(torch.cat([parts[0][1], parts[1][1]], 3), gradient)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 900), (128, 128)])
def test_a_photo_without_detail_is_held_alike_everywhere(size: tuple[int, int]) -> None:
    held = focus(torch.full((1, 3, *size), 0.4))
    torch.testing.assert_close(held, torch.ones_like(held), atol=1e-4, rtol=0)


def test_a_photo_is_held_where_it_has_detail_and_alike_at_any_size(checked: Tensor) -> None:
    held = focus(checked)
    assert float(held.mean()) == pytest.approx(1)
    assert float(held[..., 96:].mean()) > 4 * float(held[..., :32].mean())
    large = focus(resize(checked, (512, 512)).clamp(0, 1))
    torch.testing.assert_close(large, held, atol=0.1, rtol=0)
    assert on_grid(held, torch.zeros(1, 7, 3, 5)).shape == (1, 1, 3, 5)


def test_a_tall_photo_is_held_like_the_same_lying_down(checked: Tensor) -> None:
    held = focus(resize(checked, (16, 256)).mT.contiguous().clamp(0, 1))
    lying = focus(resize(checked, (16, 256)).clamp(0, 1))
    torch.testing.assert_close(held.mT, lying)
    narrow = torch.zeros(1, 4, 16, 1)
    torch.testing.assert_close(on_grid(held, narrow).mT, on_grid(lying, narrow.mT))


def test_a_photo_shrunk_to_one_pixel_of_width_keeps_its_rows() -> None:
    """torch 2.14 alone repeats the first one."""
    rows = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(1, 3, 64, 4).contiguous()
    shrunk = resize(rows, (8, 1)).squeeze(3)
    assert (shrunk.diff(dim=2) > 0.1).all()


def test_without_any_content_layer_the_photo_is_free(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    """It ended in a KeyError of no name."""
    nothing, weightless = (
        stylize(photo, painting, Transfer(size=64, steps=(4,), **free), network=network)
        for free in ({"content_layers": {"relu4_2": 0.0}}, {"content_weight": 0.0})
    )
    torch.testing.assert_close(nothing, weightless)


def test_the_only_subject_in_an_even_sky_is_not_held_without_bounds(checked: Tensor) -> None:
    sky = torch.full((1, 3, 512, 512), 0.6)
    sky[..., 200:328, 200:328] = checked.roll(32, 3)
    assert float(focus(sky).max()) <= 3.0


def test_the_noise_of_a_file_is_no_detail() -> None:
    """An 8-bit file cannot say a grey better than by half a level."""
    torch.manual_seed(0)
    grey = (0.4 + (torch.rand(1, 3, 128, 128) - 0.5) / 255).expand(1, 3, -1, -1)
    assert float(focus(grey).std()) < 0.02


def test_a_paintings_motifs_find_room_where_the_photo_has_no_detail(
    checked: Tensor, network: Vgg19
) -> None:
    down, across = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    rings = 0.5 + 0.4 * torch.sin(((down - 64).square() + (across - 64).square()).sqrt() / 3)
    painting = torch.stack([rings, rings, 1 - rings])

    def painted(focused: str) -> tuple[float, float]:
        """Contrast where the photo is even; likeness to it where it has detail."""
        options = Transfer(
            size=128,
            steps=(30,),
            content_weight=1.0,
            content_target="photo",
            content_focus=focused,
        )
        picture = stylize(checked[0], painting, options, network=network).mean(0)
        both = torch.stack([picture, checked[0].mean(0)])[..., 80:].flatten(1)
        return float(picture[:, :40].std()), float(torch.corrcoef(both)[0, 1])

    (focused, kept), (even, kept_evenly) = painted("detail"), painted("even")
    assert focused > 1.5 * even
    assert kept > kept_evenly


def test_adapted_content_has_the_paintings_means_and_deviations() -> None:
    """Equation 8 of Huang & Belongie 2017, where no channel need be stretched far."""
    photo = torch.rand(1, 3, 6, 6) + 5
    painting = torch.rand(3, 50) * 2 + 8
    moved = adapted(photo, Moments.of(painting))[0].flatten(1)
    torch.testing.assert_close(moved.mean(1), painting.mean(1))
    torch.testing.assert_close(
        moved.std(1, correction=0), painting.std(1, correction=0), rtol=1e-3, atol=1e-3
    )


def test_a_painting_of_one_colour_leaves_a_photo_its_shapes_and_dead_channels_dead() -> None:
    photo = torch.rand(1, 3, 6, 6) + 5
    photo[0, 0] = 0  # dead
    moved = adapted(photo, Moments.of(torch.ones(3, 9)))[0].flatten(1)
    assert torch.equal(moved[0], torch.ones(36))
    assert (moved[1:].std(1) > photo[0, 1:].flatten(1).std(1) / 5).all()


def test_content_is_adapted_where_asked_and_plain_in_the_papers_way(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    """Adapted content leaves the painting's statistics nearer: the two no longer fight."""
    options = {
        target: Transfer(**QUICK, content_weight=2.0, content_target=target)
        for target in ("adapted", "photo")
    }
    pictures = {name: stylize(photo, painting, o, network=network) for name, o in options.items()}
    goal = style_sums(network, [painting[None]], [1.0], 64 * 64, Transfer())
    judge = Objective(network, pictures["photo"][None], goal, Transfer(content_weight=0.0))
    distance = {name: judge(p[None]).terms["style"] for name, p in pictures.items()}
    assert distance["adapted"] < 0.9 * distance["photo"]


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("max", lambda x: F.max_pool2d(x, 2)),
        ("average", lambda x: F.avg_pool2d(x, 2)),
        ("l2", lambda x: F.lp_pool2d(x, 2, 2) / 2),  # torch's is the root of the sum
    ],
)
def test_the_network_agrees_with_torchvisions_module(
    pooling: str, pool: Callable[[Tensor], Tensor], weights: dict[str, Tensor]
) -> None:
    """Fed the same numbers and edges, every layer from relu1_1 to relu5_4 agrees."""
    from torchvision.models import vgg19

    reference = vgg19(weights=None).features.eval()
    reference.load_state_dict({k.removeprefix("features."): v for k, v in weights.items()})
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    expected = {}
    names = iter(LAYERS)
    with torch.no_grad():
        for layer in reference:
            if isinstance(layer, torch.nn.Conv2d):
                # torchvision pads with zeros; give it the edge that ours makes for itself.
                x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), layer.weight, layer.bias)
                continue
            x = pool(x) if isinstance(layer, torch.nn.MaxPool2d) else layer(x)
            if isinstance(layer, torch.nn.ReLU):
                expected[next(names)] = x.clone()
        found = Vgg19(weights, pooling)(image, expected)
    for name, features in found.items():
        scale = expected[name].abs().max()
        assert (features - expected[name]).abs().max() / scale < 1e-4, name


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_the_last_odd_row_and_column_are_pooled_like_any_other(
    pooling: str, weights: dict[str, Tensor]
) -> None:
    even = torch.full((1, 3, 9, 13), 0.6)
    with torch.no_grad():
        found = Vgg19(weights, pooling)(even, ["relu2_1", "relu3_1", "relu4_1"])
    sizes = {name: tuple(features.shape[-2:]) for name, features in found.items()}
    assert sizes == {"relu2_1": (5, 7), "relu3_1": (3, 4), "relu4_1": (2, 2)}
    for features in found.values():
        torch.testing.assert_close(features, features[..., :1, :1].expand_as(features))


def test_what_one_network_has_measured_is_not_taken_for_another_ones(
    weights: dict[str, Tensor],
) -> None:
    other = weights | {"features.28.bias": weights["features.28.bias"] + 1}
    networks = [Vgg19(weights, pooling) for pooling in ("max", "average", "l2")]
    assert len({each.identity for each in [*networks, Vgg19(other)]}) == 4
    assert Vgg19(weights).identity == networks[0].identity


def test_the_whole_gradient_agrees_with_autograd_through_a_ten_line_formula(
    network: Vgg19,
) -> None:
    torch.manual_seed(3)
    content, style, image = (torch.rand(1, 3, 32, 40) for _ in range(3))
    options = Transfer(
        size=40,
        tv_weight=0.3,
        content_weight=0.7,
        content_focus="even",
        style_weight=1.3,
        statistic="gram",
    )
    target = style_sums(network, [style], [1.0], 32 * 40, options)
    found = Objective(network, content, target, options)(image)
    leaf = image.clone().requires_grad_()
    pictures = (leaf, style, content)
    now, then, first = (network(x, [*options.style_layers, "relu4_2"]) for x in pictures)
    loss = (
        0.7 * (now["relu4_2"] - first["relu4_2"]).square().sum() / first["relu4_2"].square().sum()
    )
    for name, weight in options.style_layers.items():
        a = direct_gram(then[name])
        far = (direct_gram(first[name]) - a).square().sum()
        loss = loss + 1.3 * weight / 11 * (direct_gram(now[name]) - a).square().sum() / far
    loss = loss + 0.3 * total_variation(leaf)
    (expected,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-4, atol=0)
    assert F.cosine_similarity(found.gradient.flatten(), expected.flatten(), 0) > 0.99999


# --- determinism and convergence ------------------------------------------------------------


@pytest.mark.parametrize("init", ["content", "noise", "style"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_start_and_optimizer_lowers_the_loss_and_stays_in_range(
    init: str, optimizer: str, photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    totals: list[float] = []
    options = Transfer(**QUICK, init=init, optimizer=optimizer)
    picture = stylize(
        photo, painting, options, lambda i: totals.append(i.losses()["total"]), network=network
    )
    assert picture.shape == (3, 64, 64)
    assert picture.min() >= 0
    assert picture.max() <= 1
    # A start at the painting has the style already: there the first steps only add the photo.
    assert totals[-1] < (1.1 if init == "style" else 0.8) * totals[0]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_steps_are_not_ended_while_the_picture_still_changes(
    optimizer: str, photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    seen: list[Iterate] = []
    options = Transfer(size=64, steps=(12, 8), scales=(32, 64), optimizer=optimizer)
    stylize(photo, painting, options, seen.append, network=network)
    assert [look.scale for look in seen] == [1] * 12 + [2] * 8


def test_a_colour_that_the_painting_lacks_is_not_painted(photo: Tensor, network: Vgg19) -> None:
    """The photo's disc is pink; the painting is blue and yellow, and grey between."""
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    yellow = 0.5 + 0.4 * torch.sin((rows + columns) / 4)
    two = torch.stack([yellow, yellow, 1 - yellow])
    pink = torch.tensor([0.95, 0.45, 0.75])[:, None, None]
    seen = torch.where(photo[:1] > 0.5, pink, photo)

    def pinkness(target: str) -> float:
        options = Transfer(
            size=64, steps=(40,), depths=(3,), content_target=target, content_weight=5.0
        )
        picture = stylize(seen, two, options, network=network)
        return float((picture[0] - picture[1])[20:44, 20:44].mean())

    assert abs(pinkness("adapted")) < 0.3 * pinkness("photo")


def test_a_pupil_stays_apart_from_its_iris_in_a_dark_painting(network: Vgg19) -> None:
    """Both would be black if light and dark were moved to the painting's."""
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij"
    )
    away = (rows.square() + columns.square()).sqrt()
    eye = 0.8 + 0.1 * rows
    eye[away < 0.6], eye[away < 0.25] = 0.35, 0.05
    down, across = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    dark = 0.25 + 0.25 * torch.sin((down + across) / 4)
    options = Transfer(size=64, steps=(30,), depths=(3,), content_weight=2.0)
    painted = stylize(
        eye.expand(3, 64, 64), torch.stack([dark, 0.9 * dark, 0.5 * dark]), options, network=network
    ).mean(0)
    iris, pupil = painted[(away > 0.35) & (away < 0.55)], painted[away < 0.2]
    assert float(iris.mean() - pupil.mean()) > 0.08  # 0.05 when both are moved


def test_an_image_with_anothers_colours_keeps_its_own_light() -> None:
    image, other = 0.4 + 0.2 * torch.rand(2, 1, 3, 5, 6)
    mixed = with_colors(image, other)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    light, others, found = ((luma * x).sum(1, keepdim=True) for x in (image, other, mixed))
    torch.testing.assert_close(found, light, atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed - light, other - others, atol=1e-5, rtol=0)


def test_a_painting_of_one_colour_leaves_the_photo_its_shapes(
    photo: Tensor, network: Vgg19
) -> None:
    one = torch.tensor([0.2, 0.5, 0.7])[:, None, None].expand(3, 80, 80)
    picture = stylize(photo, one, Transfer(**QUICK), network=network)
    both = torch.stack([photo.mean(0).flatten(), picture.mean(0).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.5
    assert picture.mean((1, 2)).sub(one[:, 0, 0]).abs().max() < 0.1


def test_the_same_seed_paints_the_same_picture_and_another_seed_another(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    options = Transfer(**QUICK, init="noise")
    first, again, other = (
        stylize(photo, painting, options, seed=seed, network=network) for seed in (7, 7, 8)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_content_weight_keeps_more_of_the_photo(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    faint, strong = (
        stylize(photo, painting, Transfer(**QUICK, content_weight=weight), network=network)
        for weight in (0.001, 10.0)
    )
    assert (strong - photo).square().mean() < (faint - photo).square().mean()


def test_a_blend_takes_after_both_paintings(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    red = torch.zeros(3, 64, 64)
    red[0] = 1
    options = Transfer(size=64, steps=(60,))
    alone = stylize(photo, painting, options, network=network)
    blend = stylize(photo, [painting, red], options, shares=[1, 3], network=network)
    assert blend[0].mean() - blend[1].mean() > alone[0].mean() - alone[1].mean()


def test_keeping_the_photos_colours_keeps_them(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    kept = stylize(photo, painting, Transfer(**QUICK, colors="content"), network=network)
    taken = stylize(photo, painting, Transfer(**QUICK), network=network)

    def difference(picture: Tensor) -> Tensor:
        return ((picture[0] - picture[2]) - (photo[0] - photo[2])).abs().mean()

    assert difference(kept) < 0.5 * difference(taken)


def test_a_start_image_is_where_the_picture_starts(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    seen: list[Iterate] = []
    start = torch.full((3, 64, 64), 0.25)
    options = Transfer(size=64, steps=(1,), init="start.png", optimizer="adam", learning_rate=1e-4)
    picture = stylize(photo, painting, options, seen.append, init_image=start, network=network)
    torch.testing.assert_close(picture, start, atol=1e-3, rtol=0)


def test_progress_tells_scale_step_and_work_left(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    seen: list[Iterate] = []
    options = Transfer(size=64, scales=(32, 64), steps=(3, 2))
    stylize(photo, painting, options, seen.append, network=network)
    assert [(i.scale, i.step, i.side) for i in seen] == [
        (1, 1, 32), (1, 2, 32), (1, 3, 32), (2, 4, 64), (2, 5, 64),
    ]  # fmt: skip
    assert seen[-1].work_left == 0
    assert all(a.work_left > b.work_left for a, b in pairwise(seen))


# --- bad input ------------------------------------------------------------------------------


def test_nan_in_a_picture_is_refused_by_name(photo: Tensor, network: Vgg19) -> None:
    broken = photo.clone()
    broken[0, 0, 0] = math.nan
    with pytest.raises(EngineError, match="style image"):
        stylize(photo, broken, Transfer(**QUICK), network=network)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (33, 17)])
def test_odd_small_and_narrow_photos_come_out_whole(
    size: tuple[int, int], painting: Tensor, network: Vgg19
) -> None:
    picture = stylize(
        torch.rand(3, *size), painting, Transfer(size=48, steps=(3,)), network=network
    )
    assert picture.shape[1:] == target_size(*size, 48)
    assert picture.isfinite().all()


# --- scales ---------------------------------------------------------------------------------


def test_scales_halve_down_to_a_side_near_128() -> None:
    assert scale_sides(Transfer(), 512) == [128, 256, 512]
    assert scale_sides(Transfer(), 384) == [96, 192, 384]
    assert scale_sides(Transfer(), 256) == [128, 256]
    assert scale_sides(Transfer(), 191) == [191]
    assert scale_sides(Transfer(), 48) == [48]
    assert scale_sides(Transfer(scales=(100, 900)), 300) == [100, 300]


def test_the_first_of_the_steps_is_the_coarsest_scales_and_the_last_the_finests() -> None:
    assert per_scale((150, 60, 10), 1) == [150]
    assert per_scale((150, 60, 10), 2) == [150, 10]
    assert per_scale((150, 60, 10), 3) == [150, 60, 10]
    assert per_scale((150, 60, 10), 5) == [150, 60, 10, 10, 10]
    assert per_scale((40,), 3) == [40, 40, 40]


def test_a_shallow_scale_leaves_deep_layers_out_but_keeps_the_photo() -> None:
    shallow = to_depth(Transfer(), 3)
    assert list(shallow.style_layers) == ["relu1_1", "relu2_1", "relu3_1"]
    assert list(shallow.content_layers) == ["relu3_1"]
    assert to_depth(Transfer(), 5) == Transfer()


def test_the_finest_scale_keeps_the_photo_by_its_deep_layer_too() -> None:
    *_, middle, finest = by_scale(Transfer(), 3)
    assert list(finest.style_layers) == ["relu1_1", "relu2_1", "relu3_1"]
    assert middle == Transfer()
    assert _held(finest) == pytest.approx({"relu3_1": 0.3 * 0.03, "relu4_1": 0.3 * 0.15})


def _held(options: Transfer) -> dict[str, float]:
    whole = sum(options.content_layers.values())
    shares = options.content_layers.items()
    return {name: options.content_weight * share / whole for name, share in shares}


@pytest.mark.parametrize(
    ("preset", "side"), [("draft", 256), ("balanced", 512), ("fine", 512), ("print", 512)]
)
def test_faces_are_kept_at_the_scale_of_strokes(preset: PresetName, side: int) -> None:
    options = resolve_transfer(preset)
    sides = scale_sides(options, int(options.size))
    layers = [set(there.content_layers) for there in by_scale(options, len(sides))]
    assert sides[layers.index({"relu4_1", "relu3_1"})] == side


def test_the_deep_layer_of_content_is_looked_at_where_content_depths_says(network: Vgg19) -> None:
    photo, style = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    looked_at: list[dict[str, Tensor]] = []

    def watch(iterate: Iterate) -> None:
        looked_at.append(iterate.evaluation.terms)

    for deep in ((4,), (1,)):
        options = Transfer(
            size=64, steps=(1,), depths=(3,), content_depths=deep, content_weight=1e3
        )
        stylize(photo, style, options, watch, network=network)
    with_it, without = (float(terms["content"]) for terms in looked_at)
    assert with_it != pytest.approx(without, rel=0.01)


@pytest.mark.parametrize(("depths", "expected"), [((5, 3), [5, 3]), ((4, 1), [4, 1])])
def test_the_metric_follows_depths_where_content_looks_deeper(
    network: Vgg19, monkeypatch: pytest.MonkeyPatch, depths: tuple[int, ...], expected: list[int]
) -> None:
    seen: list[int] = []

    def noted(image: Tensor, options: Transfer, depth: int) -> PictureOptimizer:
        seen.append(depth)
        return make_optimizer(image, options, depth)

    monkeypatch.setattr(sys.modules["pipeline.nst.stylize"], "make_optimizer", noted)
    options = Transfer(size=64, scales=(32, 64), steps=(1,), depths=depths, content_depths=(4,))
    stylize(torch.rand(3, 64, 64), torch.rand(3, 64, 64), options, network=network)
    assert seen == expected


def test_without_content_depths_fine_scales_are_shallow_alone() -> None:
    finest = by_scale(Transfer(content_depths=(1,)), 4)[-1]
    assert _held(finest) == pytest.approx({"relu3_1": 0.3 * 0.03})


@pytest.mark.parametrize(
    ("layers", "content_depth", "beside"),
    [
        (["relu4_1", "relu5_1"], 5, {"relu5_1"}),
        (["relu5_1"], 4, {"relu4_1"}),
        (["relu4_2"], 2, set()),
    ],
)
def test_content_is_kept_no_deeper_than_its_own_layers_and_content_depths(
    layers: list[str], content_depth: int, beside: set[str]
) -> None:
    options = Transfer(content_layers=dict.fromkeys(layers, 1.0))
    assert set(to_depth(options, 3, content_depth).content_layers) == {"relu3_1"} | beside


def test_a_step_costs_what_its_convolutions_do() -> None:
    at_five = step_cost(10_000, ["relu1_1", "relu5_1"])
    assert at_five == 13_000
    assert step_cost(10_000, ["relu3_1"]) < step_cost(10_000, ["relu4_2"]) < at_five
    assert step_cost(20_000, ["relu3_1"]) - step_cost(10_000, ["relu3_1"]) == pytest.approx(
        10_000 * 12_480 / 40_128, abs=1
    )
    assert step_cost(10_000, []) == 3000


def test_a_painting_is_taken_at_the_photos_area_and_never_enlarged() -> None:
    painting = torch.zeros(1, 3, 400, 100)
    assert style_size(painting, 10_000, 1.0) == (200, 50)
    assert style_size(painting, 1_000_000, 1.0) == (400, 100)
    assert style_size(painting, 10_000, 0.5) == (100, 25)


def test_an_interrupted_run_goes_on_from_its_last_scale(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    options = Transfer(size=64, scales=(32, 64), steps=(4, 3))
    begun: dict[int, Tensor] = {}  # what each scale began with
    whole = stylize(
        photo,
        painting,
        options,
        lambda i: begun.update({i.scale: i.carried.squeeze(0)}),
        network=network,
    )
    seen: list[Iterate] = []
    again = stylize(photo, painting, options, seen.append, network=network, resume=(1, begun[2]))
    assert [(i.scale, i.step) for i in seen] == [(2, 5), (2, 6), (2, 7)]
    assert torch.equal(again, whole)


def test_colours_beyond_black_and_white_are_not_lost_by_an_interruption(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    options = Transfer(size=64, scales=(32, 64), steps=(1, 1))
    reached = resize(photo[None], (32, 32)).squeeze(0) * 1.5 - 0.25
    seen: list[Iterate] = []
    stylize(photo, painting, options, seen.append, network=network, resume=(1, reached))
    assert torch.equal(seen[0].carried.squeeze(0), reached)


# --- searching ------------------------------------------------------------------------------


class Scripted:
    """An objective that says what it is told to: losses in turn, and a gradient of its own."""

    def __init__(self, losses: list[float], gradient: float = 1.0) -> None:
        self.losses, self.gradient = iter(losses), gradient

    def __call__(self, image: Tensor) -> Evaluation:
        loss = torch.tensor(next(self.losses))
        return Evaluation(loss, torch.full_like(image, self.gradient), {})

    def value(self, image: Tensor) -> Tensor:
        return torch.tensor(next(self.losses))


def search(
    losses: list[float], gradient: float = 1.0, steps: int = 0, optimizer_name: str = "lbfgs"
) -> Search:
    options = Transfer(optimizer=optimizer_name)
    optimizer = make_optimizer(torch.rand(1, 3, 8, 8), options, 5)
    found = Search(optimizer, Scripted(losses, gradient))  # type: ignore[arg-type]
    for _ in range(steps):
        found.step()
    return found


def test_the_best_picture_on_the_way_is_the_one_returned() -> None:
    found = search([3.0, 1.0, 2.0, 5.0])
    found.step()
    second = found.optimizer.image.clone()
    found.step()
    found.step()
    assert torch.equal(found.best(final=True), second)


def test_a_divergence_is_stepped_back_from_and_counted() -> None:
    found = search([3.0, 1.0, 9.0, 99.0, 999.0], steps=2)
    rate = found.optimizer.learning_rate  # type: ignore[attr-defined]
    best = found.optimizer.image.clone()
    for _ in range(3):
        found.step()
    assert not found.settled()
    assert found.restarts == 1
    assert found.optimizer.learning_rate == rate / 2  # type: ignore[attr-defined]
    assert (found.optimizer.image - best).abs().max() < 1


def test_not_a_number_never_becomes_the_picture() -> None:
    found = search([2.0, math.nan, math.nan, math.nan], gradient=math.nan, steps=3)
    assert not found.settled()
    assert found.restarts == 1
    assert found.optimizer.image.isfinite().all()
    assert found.best(final=True).isfinite().all()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("final", [False, True])
def test_a_scale_too_short_for_a_look_gives_a_finite_picture(optimizer: str, final: bool) -> None:
    found = search([math.nan, math.nan], math.nan, 1, optimizer)
    assert found.best(final).isfinite().all()


def test_a_loss_that_is_no_number_from_the_start_is_an_error() -> None:
    with pytest.raises(EngineError, match="from the start"):
        search([math.nan], steps=1).settled()


def test_a_scale_ends_when_another_step_would_not_be_seen() -> None:
    still = search([1.0] * 10, gradient=0.0, steps=5)
    assert still.settled()
    moving = search([1.0, 0.9, 0.8, 0.7, 0.6], gradient=1.0, steps=5)
    assert not moving.settled()


@pytest.mark.parametrize(
    "strengths",
    [{"style_weight": 1e6}, {"content_weight": 1e6}, {"tv_weight": 1e6}, {"style_weight": 0.0}],
)
def test_no_weight_overflows(
    strengths: dict[str, float], photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    picture = stylize(photo, painting, Transfer(**QUICK, **strengths), network=network)
    assert picture.isfinite().all()


def test_a_learning_rate_far_too_high_still_gives_a_picture(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    seen: list[Iterate] = []
    options = Transfer(**QUICK, optimizer="adam", learning_rate=100.0)
    assert stylize(photo, painting, options, seen.append, network=network).isfinite().all()
    assert seen[-1].restarts > 0


def test_a_cached_style_and_photo_paint_the_same_picture(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    caches = Caches(MemoryCache(9), MemoryCache(9))
    first, again = (
        stylize(photo, painting, Transfer(**QUICK), network=network, caches=caches) for _ in "12"
    )
    assert torch.equal(first, again)
    forgetful = stylize(photo, painting, Transfer(**QUICK), network=network)
    assert torch.equal(first, forgetful)
    other, afresh = (
        stylize(photo, painting.flip(0), Transfer(**QUICK), network=network, caches=kept)
        for kept in (caches, None)
    )
    assert not torch.equal(first, other)
    assert torch.equal(other, afresh)


@pytest.mark.parametrize("name", ["content", "total variation"])
def test_the_plain_losses_have_exact_gradients(name: str) -> None:
    torch.manual_seed(0)
    image, target = torch.rand(2, 1, 3, 5, 6, dtype=torch.float64)
    if name == "total variation":
        assert torch.autograd.gradcheck(total_variation, image.requires_grad_())
        return
    loss = ContentLoss(target)
    _, gradient = loss(image)
    step = torch.randn_like(image) * 1e-2  # the value is summed in fp32; it is quadratic anyway
    slope = (loss(image + step)[0] - loss(image - step)[0]) / 2
    assert float((gradient * step).sum()) == pytest.approx(float(slope), rel=1e-4)


def test_the_photo_is_recoloured_to_the_paintings_mean_and_covariance() -> None:
    torch.manual_seed(0)
    photo = 0.5 + 0.05 * torch.randn(1, 3, 40, 40)
    painting = 0.5 + torch.einsum(
        "ij,njhw->nihw", torch.rand(3, 3) * 0.1, torch.randn(1, 3, 50, 50)
    )
    moved = recoloring(photo, [painting], [1.0])(photo).view(3, -1)
    goal = painting.view(3, -1)
    torch.testing.assert_close(moved.mean(1), goal.mean(1), atol=5e-3, rtol=0)
    torch.testing.assert_close(torch.cov(moved), torch.cov(goal), atol=2e-3, rtol=0)


def test_a_grey_photos_noise_is_not_made_into_colours() -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 1, 40, 40, generator=generator).expand(1, 3, 40, 40)
    noise = torch.randn(1, 3, 40, 40, generator=generator) / 255
    painting = torch.rand(1, 3, 40, 40, generator=generator)
    moved = recoloring(photo + noise, [painting], [1.0])(photo + noise)
    assert (moved - moved.mean(1, keepdim=True)).std() < 0.5 * painting.std()


def test_a_picture_in_its_own_colours_keeps_them_but_for_its_rarest() -> None:
    photo = 0.5 + 0.2 * torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    photo = photo.clamp(0, 1)
    moved = (recoloring(photo, [photo], [1.0])(photo) - photo).abs()
    assert moved.mean() < 0.01
    assert moved.max() < 0.05


def test_a_hue_that_the_painting_lacks_becomes_the_nearest_it_has() -> None:
    """Red in a photo of blue, yellow and red, by a painting of blue, yellow and white."""
    generator = torch.Generator().manual_seed(0)

    def areas(*colors: list[float]) -> Tensor:
        flat = torch.tensor(colors).T.repeat_interleave(20, 1)[None, :, None].expand(1, 3, 40, -1)
        return flat + 0.04 * torch.randn(flat.shape, generator=generator)

    def hue(color: Tensor) -> Tensor:
        return color - color.mean()

    blue, yellow, red, white = [0.1, 0.2, 0.6], [0.8, 0.8, 0.2], [0.7, 0.1, 0.1], [0.85] * 3
    photo, painting = areas(blue, yellow, red), areas(blue, yellow, white)
    moved = recoloring(photo, [painting], [1.0])(photo)[0, :, :, 40:].mean((1, 2))
    away = [(hue(moved) - hue(torch.tensor(color))).norm() for color in (blue, yellow, white)]
    assert min(away) < 0.18  # 0.25 by mean and covariance alone


def test_a_picture_is_enlarged_by_its_cosine_series() -> None:
    """So that waves, the shortest too, come out as the same waves, at any size."""

    def waves(height: int, width: int) -> Tensor:
        rows, columns = ((torch.arange(n) + 0.5) / n * torch.pi for n in (height, width))
        return 0.5 + 0.2 * torch.outer((11 * rows).cos(), (16 * columns).cos()).expand(1, 3, -1, -1)

    torch.testing.assert_close(enlarge(waves(12, 17), (31, 34)), waves(31, 34))
    torch.testing.assert_close(enlarge(waves(12, 17), (12, 34)), waves(12, 34))
    assert torch.equal(enlarge(waves(12, 17), (12, 17)), waves(12, 17))


def test_one_pixel_is_enlarged_to_as_many_as_wanted() -> None:
    one = torch.rand(1, 3, 1, 1)
    torch.testing.assert_close(enlarge(one, (3, 5)), one.expand(1, 3, 3, 5))


def test_a_map_of_colours_in_a_table_is_the_map() -> None:
    """Channels in their order, corners of the colour cube and all."""
    colors = torch.rand(1, 3, 9, 30, generator=torch.Generator().manual_seed(0))
    colors[..., :3] = torch.tensor([0.0, 0.5, 1.0])
    swapped = tabled(lambda image: 0.2 + 0.7 * image[:, [2, 0, 1]])
    torch.testing.assert_close(swapped(colors), 0.2 + 0.7 * colors[:, [2, 0, 1]])


def test_colours_looked_up_are_those_worked_out(
    photo: Tensor, painting: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = recoloring(photo[None], [painting[None]], [1.0])(photo[None])
    monkeypatch.setattr(nst_colors, "tabled", lambda recolor: recolor)
    worked_out = recoloring(photo[None], [painting[None]], [1.0])(photo[None])
    away = (looked_up - worked_out).abs() * 255
    assert 0 < away.mean() < 0.25
    assert away.max() < 6


def test_a_painting_blended_in_by_no_share_lends_no_colour(photo: Tensor, painting: Tensor) -> None:
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 20, 20)
    with_red = recoloring(photo[None], [painting[None], red], [1.0, 0.0])(photo[None])
    assert torch.equal(with_red, recoloring(photo[None], [painting[None]], [1.0])(photo[None]))


def test_a_painting_of_one_colour_leaves_a_photo_as_much_light_and_dark_as_any_has() -> None:
    photo = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    one = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(1, 3, 80, 80)
    moved = recoloring(photo, [one], [1.0])(photo)
    spread = moved.mean(1).std()
    assert float(spread) == pytest.approx(SHADE**0.5 / 3**0.5, rel=0.1)
    assert (moved - moved.mean(1, keepdim=True) - one[..., :1, :1]).std(dim=(2, 3)).max() < 1e-3


def test_the_colours_of_a_large_and_bright_photo_are_measured_as_those_of_a_small_one() -> None:
    """Sums over millions of pixels in fp32 cancel: its hardly varying colours were blown up."""
    generator = torch.Generator().manual_seed(0)
    small = (0.95 + 0.03 * torch.randn(1, 3, 64, 64, generator=generator)).clamp(0, 1)
    large = small.repeat_interleave(48, 2).repeat_interleave(48, 3)  # 3072 px
    painting = torch.rand(1, 3, 64, 64, generator=generator)
    expected, found = (recoloring(photo, [painting], [1.0])(small) for photo in (small, large))
    assert (found - expected).abs().mean() < 0.02


def test_without_style_content_keeps_its_colours(photo: Tensor, network: Vgg19) -> None:
    options = Transfer(**QUICK, style_weight=0.0, content_target="adapted")
    painting = torch.tensor([0.9, 0.1, 0.1])[:, None, None] * torch.rand(3, 80, 80)
    picture = stylize(photo, painting, options, network=network)
    assert (picture - photo).abs().mean() < 0.02
