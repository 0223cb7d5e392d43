"""The transfer: deterministic, convergent, and each option does what it is there for."""

import math
import sys
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.errors import EngineError
from pipeline.nst import Iterate, Vgg19, stylize
from pipeline.nst.cache import Caches, MemoryCache
from pipeline.nst.guidance.regions import StyleTarget
from pipeline.nst.objective import Objective, measure_style
from pipeline.nst.optimizers import PictureOptimizer, make_optimizer
from pipeline.nst.pyramid import resize, target_size

pytestmark = pytest.mark.slow

QUICK = {"size": 64, "steps": (15,)}


def test_content_without_any_layer_is_refused_by_name() -> None:
    """It ended in a KeyError of no name; `content_weight: 0` is how the photo is left free."""
    with pytest.raises(ValidationError, match="content_layers: all weights are 0"):
        Transfer(content_layers={"relu4_2": 0.0})


def test_content_is_adapted_on_request_and_plain_as_in_the_paper(
    photo: Tensor, painting: Tensor, network: Vgg19
) -> None:
    """Adapted content leaves the painting's statistics nearer: the two no longer fight."""
    options = {
        target: Transfer(**QUICK, content_weight=2.0, content_target=target)
        for target in ("adapted", "photo")
    }
    pictures = {name: stylize(photo, painting, o, network=network) for name, o in options.items()}
    goal = measure_style(network, [painting[None]], [1.0], 64 * 64, Transfer())
    judge = Objective(
        network, pictures["photo"][None], [StyleTarget(goal)], Transfer(content_weight=0.0)
    )
    distance = {name: judge(p[None]).terms["style"] for name, p in pictures.items()}
    assert distance["adapted"] < 0.9 * distance["photo"]


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
    options = Transfer(size=64, steps=(5,), init="noise")
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
    options = Transfer(size=64, steps=(20,))
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


def test_progress_reports_scale_step_and_work_left(
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


def test_the_deep_content_layer_is_used_where_content_depths_has_it(network: Vgg19) -> None:
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
def test_the_metric_follows_depths_where_content_layers_are_deeper(
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


def test_an_interrupted_run_resumes_from_its_last_scale(
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
    options = Transfer(size=64, steps=(5,))
    caches = Caches(MemoryCache(9), MemoryCache(9))
    first, again = (stylize(photo, painting, options, network=network, caches=caches) for _ in "12")
    assert torch.equal(first, again)
    forgetful = stylize(photo, painting, options, network=network)
    assert torch.equal(first, forgetful)
    other, afresh = (
        stylize(photo, painting.flip(0), options, network=network, caches=kept)
        for kept in (caches, None)
    )
    assert not torch.equal(first, other)
    assert torch.equal(other, afresh)


def test_without_style_content_keeps_its_colours(photo: Tensor, network: Vgg19) -> None:
    options = Transfer(**QUICK, style_weight=0.0, content_target="adapted")
    painting = torch.tensor([0.9, 0.1, 0.1])[:, None, None] * torch.rand(3, 80, 80)
    picture = stylize(photo, painting, options, network=network)
    assert (picture - photo).abs().mean() < 0.02
