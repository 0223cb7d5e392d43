"""The photo in the painting's colours, and a picture in the photo's own."""

import pytest
import torch
from torch import Tensor

from pipeline.nst import colors as nst_colors
from pipeline.nst.colors import MIN_SHADE, combine_luma_and_color, map_to_palette, tabulate


def test_an_image_with_anothers_colours_keeps_its_own_light() -> None:
    image, other = 0.4 + 0.2 * torch.rand(2, 1, 3, 5, 6)
    mixed = combine_luma_and_color(image, other)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    light, others, found = ((luma * x).sum(1, keepdim=True) for x in (image, other, mixed))
    torch.testing.assert_close(found, light, atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed - light, other - others, atol=1e-5, rtol=0)


def test_the_photo_is_recoloured_to_the_paintings_mean_and_covariance() -> None:
    torch.manual_seed(0)
    photo = 0.5 + 0.05 * torch.randn(1, 3, 40, 40)
    painting = 0.5 + torch.einsum(
        "ij,njhw->nihw", torch.rand(3, 3) * 0.1, torch.randn(1, 3, 50, 50)
    )
    moved = map_to_palette(photo, [painting], [1.0])(photo).view(3, -1)
    goal = painting.view(3, -1)
    torch.testing.assert_close(moved.mean(1), goal.mean(1), atol=5e-3, rtol=0)
    torch.testing.assert_close(torch.cov(moved), torch.cov(goal), atol=2e-3, rtol=0)


def test_a_grey_photos_noise_is_not_made_into_colours() -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 1, 40, 40, generator=generator).expand(1, 3, 40, 40)
    noise = torch.randn(1, 3, 40, 40, generator=generator) / 255
    painting = torch.rand(1, 3, 40, 40, generator=generator)
    moved = map_to_palette(photo + noise, [painting], [1.0])(photo + noise)
    assert (moved - moved.mean(1, keepdim=True)).std() < 0.5 * painting.std()


def test_a_picture_in_its_own_colours_keeps_them_but_for_its_rarest() -> None:
    photo = 0.5 + 0.2 * torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    photo = photo.clamp(0, 1)
    moved = (map_to_palette(photo, [photo], [1.0])(photo) - photo).abs()
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
    moved = map_to_palette(photo, [painting], [1.0])(photo)[0, :, :, 40:].mean((1, 2))
    away = [(hue(moved) - hue(torch.tensor(color))).norm() for color in (blue, yellow, white)]
    assert min(away) < 0.18  # 0.25 by mean and covariance alone


def test_a_map_of_colours_in_a_table_is_the_map() -> None:
    """Channels in their order, corners of the colour cube and all."""
    colors = torch.rand(1, 3, 9, 30, generator=torch.Generator().manual_seed(0))
    colors[..., :3] = torch.tensor([0.0, 0.5, 1.0])
    swapped = tabulate(lambda image: 0.2 + 0.7 * image[:, [2, 0, 1]])
    torch.testing.assert_close(swapped(colors), 0.2 + 0.7 * colors[:, [2, 0, 1]])


def test_colours_from_the_table_are_those_of_the_map(
    photo: Tensor, painting: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = map_to_palette(photo[None], [painting[None]], [1.0])(photo[None])
    monkeypatch.setattr(nst_colors, "tabulate", lambda recolor: recolor)
    worked_out = map_to_palette(photo[None], [painting[None]], [1.0])(photo[None])
    away = (looked_up - worked_out).abs() * 255
    assert 0 < away.mean() < 0.25
    assert away.max() < 6


def test_a_painting_blended_in_by_no_share_lends_no_colour(photo: Tensor, painting: Tensor) -> None:
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 20, 20)
    with_red = map_to_palette(photo[None], [painting[None], red], [1.0, 0.0])(photo[None])
    assert torch.equal(with_red, map_to_palette(photo[None], [painting[None]], [1.0])(photo[None]))


def test_a_painting_of_one_colour_leaves_a_photo_as_much_light_and_dark_as_any_has() -> None:
    photo = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    one = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(1, 3, 80, 80)
    moved = map_to_palette(photo, [one], [1.0])(photo)
    spread = moved.mean(1).std()
    assert float(spread) == pytest.approx(MIN_SHADE**0.5 / 3**0.5, rel=0.1)
    assert (moved - moved.mean(1, keepdim=True) - one[..., :1, :1]).std(dim=(2, 3)).max() < 1e-3


def test_the_colours_of_a_large_and_bright_photo_are_measured_as_those_of_a_small_one() -> None:
    """Sums over millions of pixels in fp32 cancel: its hardly varying colours were blown up."""
    generator = torch.Generator().manual_seed(0)
    small = (0.95 + 0.03 * torch.randn(1, 3, 64, 64, generator=generator)).clamp(0, 1)
    large = small.repeat_interleave(48, 2).repeat_interleave(48, 3)  # 3072 px
    painting = torch.rand(1, 3, 64, 64, generator=generator)
    expected, found = (map_to_palette(photo, [painting], [1.0])(small) for photo in (small, large))
    assert (found - expected).abs().mean() < 0.02
