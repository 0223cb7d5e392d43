"""Losses of one layer and of the whole: closed forms, and the gradients that autograd finds."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19
from pipeline.nst.guidance.regions import StyleTarget
from pipeline.nst.losses import ContentLoss, adapt_features, total_variation
from pipeline.nst.objective import Objective, measure_style
from pipeline.nst.statistics import Moments


def direct_gram(features: Tensor) -> Tensor:
    """Equation 3 of Gatys et al. 2015, over positions; features (1, C, H, W)."""
    return torch.einsum("nchw,ndhw->cd", features, features) / features[0, 0].numel()


def test_the_total_variation_of_a_checkerboard_is_two() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((rows + columns) % 2).float().expand(1, 3, 8, 8)
    assert total_variation(board) == 2.0


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_a_line_varies_along_itself_and_a_dot_not_at_all(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    steps = image.flatten(2).diff().square()
    expected = steps.mean() if steps.numel() else torch.tensor(0.0)
    torch.testing.assert_close(total_variation(image), expected)


def test_total_variation_does_not_grow_with_the_picture() -> None:
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    wide = tile.repeat(1, 1, 4, 4)
    assert total_variation(wide) == pytest.approx(float(total_variation(tile)), rel=0.1)


def test_the_content_loss_gives_the_gradient_that_autograd_finds() -> None:
    features, target = torch.rand(1, 4, 5, 6, requires_grad=True), torch.rand(1, 4, 5, 6)
    expected = (features - target).square().sum() / target.square().sum()
    (by_autograd,) = torch.autograd.grad(expected, features)
    loss, gradient = ContentLoss(target)(features.detach())
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, by_autograd)


def test_a_photo_without_any_features_has_a_finite_content_loss_that_is_not_negative() -> None:
    loss, gradient = ContentLoss(torch.zeros(1, 2, 3, 4))(torch.ones(1, 2, 3, 4))
    assert 0 < float(loss) < torch.inf
    assert gradient.isfinite().all()


def test_weighted_content_counts_place_by_place_and_adds_up_from_parts() -> None:
    features, target = torch.rand(1, 4, 5, 6, requires_grad=True), torch.rand(1, 4, 5, 6)
    held = torch.rand(1, 1, 5, 6)
    expected = ((features - target).square() * held).sum() / target.square().sum()
    (by_autograd,) = torch.autograd.grad(expected, features)
    whole, found = ContentLoss(target, held), features.detach()
    loss, gradient = whole(found)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, by_autograd)
    total, joined = torch.zeros(()), torch.zeros_like(gradient)
    for rows in slice(0, 1), slice(1, 5):
        for columns in slice(0, 2), slice(2, 6):
            of_part, joined[..., rows, columns] = whole.part(rows, columns)(
                found[..., rows, columns]
            )
            total += of_part
    torch.testing.assert_close(total, loss)
    torch.testing.assert_close(joined, gradient)


def test_adapted_content_has_the_paintings_means_and_deviations() -> None:
    """Equation 8 of Huang & Belongie 2017, where no channel need be stretched far."""
    photo = torch.rand(1, 3, 6, 6) + 5
    painting = torch.rand(3, 50) * 2 + 8
    moved = adapt_features(photo, Moments.of(painting))[0].flatten(1)
    torch.testing.assert_close(moved.mean(1), painting.mean(1))
    torch.testing.assert_close(
        moved.std(1, correction=0), painting.std(1, correction=0), rtol=1e-3, atol=1e-3
    )


def test_a_channel_is_stretched_or_shrunk_four_times_at_most() -> None:
    photo = torch.rand(1, 2, 6, 6) + 5
    painting = torch.stack([torch.rand(50) * 100, torch.rand(50) * 0.01]) + 500
    moved = adapt_features(photo, Moments.of(painting.double()))[0].flatten(1)
    own = photo[0].flatten(1).std(1)
    torch.testing.assert_close(moved.std(1) / own, torch.tensor([4.0, 0.25]), rtol=1e-3, atol=0)


def test_only_what_lies_within_the_mask_is_made_like_the_painting_and_nothing_negative() -> None:
    photo, inside = torch.rand(1, 3, 6, 6).half() + 5, torch.zeros(1, 1, 6, 6)
    inside[..., :4] = 1
    photo[..., 4:] -= 4  # outside: it must not count
    painting = torch.rand(3, 50) * 2 + 1
    moved = adapt_features(photo, Moments.of(painting), inside)
    assert moved.dtype == torch.half
    within = moved[0, ..., :4].flatten(1).float()
    torch.testing.assert_close(within.mean(1), painting.mean(1), rtol=0.01, atol=0.01)
    assert float(moved.min()) == 0


def test_a_painting_of_one_colour_leaves_a_photo_its_shapes_and_dead_channels_dead() -> None:
    photo = torch.rand(1, 3, 6, 6) + 5
    photo[0, 0] = 0  # dead
    moved = adapt_features(photo, Moments.of(torch.ones(3, 9)))[0].flatten(1)
    assert torch.equal(moved[0], torch.ones(36))
    assert (moved[1:].std(1) > photo[0, 1:].flatten(1).std(1) / 5).all()


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
    target = measure_style(network, [style], [1.0], 32 * 40, options)
    found = Objective(network, content, [StyleTarget(target)], options)(image)
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
