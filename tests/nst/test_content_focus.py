"""The photo is kept where it has detail, and gives way where it has none."""

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19, stylize
from pipeline.nst.content_focus import focus_weights, resize_to_size
from pipeline.nst.pyramid import resize


@pytest.fixture
def checked() -> Tensor:
    """(1, 3, 128, 128): a photo of an even left half and a checkered right one."""
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    squares = 0.2 + 0.6 * ((rows // 4 + columns // 4) % 2)
    return torch.where(columns < 64, 0.5, squares).expand(1, 3, -1, -1)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 900), (128, 128)])
def test_a_photo_without_detail_has_equal_weights_everywhere(size: tuple[int, int]) -> None:
    held = focus_weights(torch.full((1, 3, *size), 0.4))
    torch.testing.assert_close(held, torch.ones_like(held), atol=1e-4, rtol=0)


def test_weights_are_high_where_a_photo_has_detail_at_any_size(checked: Tensor) -> None:
    held = focus_weights(checked)
    assert float(held.mean()) == pytest.approx(1)
    assert float(held[..., 96:].mean()) > 4 * float(held[..., :32].mean())
    large = focus_weights(resize(checked, (512, 512)).clamp(0, 1))
    torch.testing.assert_close(large, held, atol=0.1, rtol=0)
    assert resize_to_size(held, (3, 5)).shape == (1, 1, 3, 5)


def test_a_tall_photo_has_the_weights_of_the_same_lying_down(checked: Tensor) -> None:
    held = focus_weights(resize(checked, (16, 256)).mT.contiguous().clamp(0, 1))
    lying = focus_weights(resize(checked, (16, 256)).clamp(0, 1))
    torch.testing.assert_close(held.mT, lying)
    torch.testing.assert_close(resize_to_size(held, (16, 1)).mT, resize_to_size(lying, (1, 16)))


def test_the_only_subject_in_an_even_sky_has_a_bounded_weight(checked: Tensor) -> None:
    sky = torch.full((1, 3, 512, 512), 0.6)
    sky[..., 200:328, 200:328] = checked.roll(32, 3)
    assert float(focus_weights(sky).max()) <= 3.0


def test_the_noise_of_a_file_is_no_detail() -> None:
    """An 8-bit file cannot say a grey better than by half a level."""
    torch.manual_seed(0)
    grey = (0.4 + (torch.rand(1, 3, 128, 128) - 0.5) / 255).expand(1, 3, -1, -1)
    assert float(focus_weights(grey).std()) < 0.02


@pytest.mark.slow
def test_a_paintings_motifs_find_room_where_the_photo_has_no_detail(
    checked: Tensor, network: Vgg19
) -> None:
    photo = checked[0, :, 16:112, 16:112]
    down, across = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    rings = 0.5 + 0.4 * torch.sin(((down - 48).square() + (across - 48).square()).sqrt() / 3)
    painting = torch.stack([rings, rings, 1 - rings])

    def painted(focused: str) -> tuple[float, float]:
        """Contrast where the photo is even; likeness to it where it has detail."""
        options = Transfer(
            size=96,
            steps=(20,),
            content_weight=1.0,
            content_target="photo",
            content_focus=focused,
        )
        picture = stylize(photo, painting, options, network=network).mean(0)
        both = torch.stack([picture, photo.mean(0)])[..., 60:].flatten(1)
        return float(picture[:, :30].std()), float(torch.corrcoef(both)[0, 1])

    (focused, kept), (even, kept_evenly) = painted("detail"), painted("even")
    assert focused > 1.5 * even
    assert kept > kept_evenly
