"""Each place of a photo learns from places of the painting that resemble it, and from no others."""

import pytest
import torch
from torch import Tensor

from pipeline.nst.guidance.matching import attention_target, match, soft_regions
from pipeline.nst.losses import adapt_features
from pipeline.nst.statistics import Moments


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def photo() -> Tensor:
    """(1, 96, 9, 12): tokens without likeness."""
    return drawn(1, 96, 9, 12)


def shuffled(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The same tokens elsewhere, on a grid of other sides, and where each of them is now."""
    rows = tokens.squeeze(0).flatten(1)
    order = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(1))
    return rows[:, order].view(1, -1, 6, 18), order.argsort()


def test_every_place_of_the_photo_learns_as_much(photo: Tensor) -> None:
    plan = match(photo, drawn(1, 96, 5, 7, seed=1))
    assert plan.shape == (108, 35)
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(1) * 108, torch.ones(108), atol=1e-6, rtol=0)


def test_a_shuffled_picture_is_matched_with_itself(photo: Tensor) -> None:
    painting, place = shuffled(photo)
    plan = match(photo, painting * 3 + drawn(1, 96, 6, 18, seed=2) * 0.1)
    assert torch.equal(plan.argmax(1), place)
    assert (plan.amax(1) * 108 > 0.9).all()


def test_one_place_learns_from_each_other_place_by_its_likeness() -> None:
    """In closed form: with K = exp(cos / EPSILON), and p and q for the two strictnesses.

    What is wanted is in proportion to K^(1 - p), and the plan to that to the power of q.
    """
    photo, painting = drawn(1, 6, 1, 1).double(), drawn(1, 6, 1, 4, seed=1).double()
    plan = match(photo, painting).squeeze()
    both = torch.cat([photo, painting], 3).view(6, 5)
    unit = both / both.std(1, correction=0, keepdim=True)
    unit = unit / unit.norm(dim=0)
    likeness = unit[:, 0] @ unit[:, 1:]
    of_wanted, of_plan = 0.05 / (0.05 + 0.05), 0.3 / (0.3 + 0.05)
    expected = (likeness / 0.05 * (1 - of_wanted) * of_plan).softmax(0)
    torch.testing.assert_close(plan, expected, atol=0, rtol=1e-3)


def test_it_does_not_matter_in_which_unit_a_channel_counts(photo: Tensor) -> None:
    painting, units = drawn(1, 96, 5, 7, seed=1), torch.logspace(-2, 2, 96)[:, None, None]
    plan = match(photo, painting)
    torch.testing.assert_close(match(photo * units, painting * units), plan, atol=1e-5, rtol=0.01)


def test_a_painting_of_another_mean_is_matched_by_what_differs_within_it(photo: Tensor) -> None:
    painting, place = shuffled(photo)
    plan = match(photo, painting + 2 * drawn(1, 96, 1, 1, seed=2))
    assert torch.equal(plan.argmax(1), place)


def test_a_faint_token_is_matched_as_surely_as_the_others(photo: Tensor) -> None:
    photo[..., 4, 5] *= 0.1  # twice what counts as nondescript
    painting, place = shuffled(photo)
    plan = match(photo, painting)
    assert float(plan[4 * 12 + 5, place[4 * 12 + 5]] * 108) > 0.99


def test_what_the_photo_does_not_show_teaches_less(photo: Tensor) -> None:
    """Half of the painting is as the photo, the other half is alike in itself and unlike it."""
    strange = drawn(1, 96, 1, 1, seed=3) * 2 + drawn(1, 96, 9, 12, seed=4) * 0.3
    taught = match(photo, torch.cat([photo, strange], 3)).sum(0).view(9, 24)
    assert float(taught[:, :12].mean()) > 3 * float(taught[:, 12:].mean())


def test_masked_places_teach_nobody_and_half_masked_ones_less(photo: Tensor) -> None:
    painting = drawn(1, 96, 5, 7, seed=1)
    allowed = torch.ones(1, 1, 5, 7)
    allowed[..., :3, :2], allowed[..., 4, 6] = 0, 0.2
    free, masked = match(photo, painting), match(photo, painting, allowed)
    assert masked.sum(0).view(5, 7)[:3, :2].max() == 0
    assert 0 < float(masked.sum(0)[-1]) < 0.6 * float(free.sum(0)[-1])
    torch.testing.assert_close(masked.sum(1) * 108, torch.ones(108), atol=1e-6, rtol=0)


def test_a_painting_that_is_masked_everywhere_teaches_as_if_it_were_not(photo: Tensor) -> None:
    painting = drawn(1, 96, 5, 7, seed=1)
    assert torch.equal(match(photo, painting, torch.zeros(1, 1, 5, 7)), match(photo, painting))


@pytest.mark.parametrize("factor", [0.0, 1.0, 1e-12, 1e12])
@pytest.mark.parametrize("grids", [((1, 1), (1, 1)), ((1, 1), (4, 3)), ((5, 2), (1, 1))])
def test_any_tokens_on_any_grids_are_matched(
    factor: float, grids: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    ours, theirs = drawn(1, 8, *grids[0]) * factor, drawn(1, 8, *grids[1], seed=1) * factor
    plan = match(ours, theirs)
    torch.testing.assert_close(plan.sum(1) * len(plan), torch.ones(len(plan)), atol=1e-6, rtol=0)
    shares, taught = soft_regions(ours, plan, grids)
    target = attention_target(drawn(1, 5, 6, 7).relu(), drawn(1, 5, 3, 8).relu(), plan, grids)
    for found in (shares, taught, target):
        assert found.isfinite().all()
    torch.testing.assert_close(shares.sum(0), torch.ones(1, *grids[0]))


def test_grey_pictures_are_matched_evenly_whatever_their_rounding() -> None:
    ours, theirs = (
        torch.full((1, 96, 6, 7), 0.3) * (1 + 1e-7 * drawn(1, 96, 6, 7, seed=seed))
        for seed in (1, 2)
    )
    plan = match(ours, theirs)
    torch.testing.assert_close(plan, torch.full_like(plan, 1 / 42**2), rtol=0.01, atol=0)


def test_for_a_plan_without_preference_the_target_is_that_of_the_whole_painting() -> None:
    content, style = drawn(1, 16, 20, 30).relu(), drawn(1, 16, 8, 6, seed=1).add(0.5).relu() * 2
    target = attention_target(content, style, torch.full((12, 48), 1 / 576), ((3, 4), (8, 6)))
    whole = adapt_features(content, Moments.of(style.squeeze(0).flatten(1)))
    torch.testing.assert_close(target, whole, atol=1e-4, rtol=1e-4)


def test_a_target_has_the_strokes_of_its_place_also_where_they_are_finer_than_a_token() -> None:
    """The painting: flat on the left, and striped on the right, eight stripes a token."""
    stripes = torch.tensor([0.0, 4.0]).repeat(32).expand(64, 64)
    style = torch.where(torch.arange(64) < 32, 2.0, stripes)[None, None]
    content = drawn(1, 1, 40, 80).relu()
    plan = torch.zeros(2, 16)  # the photo's left half learns from the stripes
    plan[0, 3::4], plan[1, 0::4] = 1, 1
    target = attention_target(content, style, plan, ((1, 2), (4, 4)))
    right = target[..., 60:]
    torch.testing.assert_close(right, torch.full_like(right, 2.0), atol=0.05, rtol=0)
    gain = float(target[..., :20].std() / content[..., :20].std())
    assert gain == pytest.approx(2 / float(content.std()), rel=0.03)


def test_a_flat_painting_makes_its_colours_and_no_shapes() -> None:
    """What rounding leaves of a deviation may be the root of a negative number."""
    content, colours = drawn(1, 256, 4, 4).relu(), torch.linspace(0.1, 30, 256)[:, None, None]
    plan = drawn(4, 35).abs()
    target = attention_target(content, colours.expand(1, -1, 5, 7), plan, ((2, 2), (5, 7)))
    torch.testing.assert_close(target, colours.expand(1, -1, 4, 4), atol=0.05, rtol=0.01)


def test_a_flat_photo_is_not_stretched_without_end_and_no_feature_is_negative() -> None:
    content = 1 + 1e-2 * drawn(1, 3, 20, 30)
    style = drawn(1, 3, 8, 6, seed=1).relu() * 5
    plan = torch.full((12, 48), 1 / 576)
    target = attention_target(content, style, plan, ((3, 4), (8, 6)))
    torch.testing.assert_close(target.std((2, 3)), 4 * content.std((2, 3)), atol=0, rtol=1e-3)
    assert float(attention_target(content * 100, style, plan, ((3, 4), (8, 6))).min()) == 0


@pytest.fixture
def striped() -> Tensor:
    """(1, 32, 8, 9): three columns each of three kinds of tokens."""
    kinds = drawn(1, 32, 1, 3).repeat_interleave(3, 3)
    return kinds + 0.1 * drawn(1, 32, 8, 9, seed=1)


def test_regions_are_the_kinds_of_places_and_the_painting_teaches_each_its_own(
    striped: Tensor,
) -> None:
    grids = ((8, 9), (8, 9))
    shares, taught = soft_regions(striped, match(striped, striped.flip(3)), grids, count=3)
    torch.testing.assert_close(shares.sum(0), torch.ones(1, 8, 9))
    kinds = shares.argmax(0).view(8, 3, 3)
    assert (kinds == kinds[:1, :, :1]).all()
    assert len(kinds.unique()) == 3
    # Smoothed by 3 x 3: the middle of each stripe is its own.
    middle = taught.argmax(0).view(8, 3, 3)[..., 1]
    assert torch.equal(middle, kinds[..., 1].flip(1))


def test_four_kinds_of_places_are_four_regions_however_small_some_are() -> None:
    kinds = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2, 3])
    tokens = drawn(1, 32, 1, 4)[..., kinds].double().expand(-1, -1, 8, -1)
    shares, _ = soft_regions(tokens, match(tokens, tokens), ((8, 9), (8, 9)))
    assert len(shares[:, 0, 0].argmax(0).unique()) == 4
    units = tokens[0, :, 0] / tokens[0].flatten(1).std(1, correction=0, keepdim=True)
    units = units - units.mean(1, keepdim=True)
    units = units / units.norm(dim=0)
    # Of two regions each has its share by exp(cosine / SHARPNESS) with its own kind of places.
    regions = shares[:, 0, 0, 5:].argmax(0)
    found = shares[:, 0, 0, 5:][regions]  # of each region, at a place of each kind
    expected = (units[:, 5:].T @ units[:, 5:] / 0.1).softmax(0)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3)


def test_no_region_is_empty_where_a_photo_has_fewer_kinds_of_places_than_regions() -> None:
    tokens = drawn(1, 32, 1, 2)[..., torch.tensor([0, 0, 0, 1, 1])].expand(-1, -1, 3, -1)
    shares, _ = soft_regions(tokens, match(tokens, tokens), ((3, 5), (3, 5)), count=4)
    assert float(shares.mean((1, 2, 3)).min()) > 0.1


def test_the_painting_counts_in_each_region_as_much_as_the_photo() -> None:
    """A photo of two kinds of places, two thirds and one, and a painting of both, half and half."""
    kinds = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1])
    tokens = drawn(1, 32, 1, 2)[..., kinds] + 0.1 * drawn(1, 32, 8, 9, seed=1)
    painting = tokens[..., :5, 3:9]
    shares, taught = soft_regions(tokens, match(tokens, painting), ((8, 9), (5, 6)), count=2)
    torch.testing.assert_close(taught.mean((1, 2, 3)), shares.mean((1, 2, 3)), atol=1e-5, rtol=0)


def test_no_place_of_the_painting_teaches_a_region_alone(striped: Tensor) -> None:
    """One token of three kinds, and many of another one."""
    painting = torch.cat([striped[..., 3:6], striped[..., 3:6]], 3)
    painting[..., 4, 3] = striped[..., 4, 1]
    grids = ((8, 9), (8, 6))
    shares, taught = soft_regions(striped, match(striped, painting), grids, count=3)
    most = taught.amax((1, 2, 3)) / shares.mean((1, 2, 3))
    assert float(most.max()) == pytest.approx(3)


def test_regions_are_the_same_each_time_and_never_more_than_tokens(striped: Tensor) -> None:
    plan = match(striped, striped)
    first, again = (soft_regions(striped, plan, ((8, 9), (8, 9))) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    few = striped[..., :1, :2]
    shares, taught = soft_regions(few, match(few, striped), ((1, 2), (8, 9)), count=4)
    assert shares.shape == (2, 1, 1, 2)
    assert taught.shape == (2, 1, 8, 9)
