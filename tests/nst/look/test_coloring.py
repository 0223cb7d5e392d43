"""Whose colours a picture has, by what degree, in the picture and in its regions."""

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Iterate, Vgg19, stylize
from pipeline.nst.colors import LUMA, combine_luma_and_color, grey_of, match_luma
from pipeline.nst.guidance.regions import NO_GUIDE, Guide, Region
from pipeline.nst.look.coloring import Inputs, coloring_of, photo_recoloring, recast

QUICK = Transfer(size=64, scales=(64,), steps=(4,), depths=(3,))
WORDS = ("style", "content", "luminance", "match")


def painted(
    network: Vgg19, photo: Tensor, painting: Tensor, word: str, degree: float = 1.0, **more: object
) -> Tensor:
    guide = more.pop("guide", NO_GUIDE)
    options = QUICK.model_copy(update={"colors": word, "color_strength": degree, **more})
    return stylize(photo, painting, options, network=network, guide=guide)


def chroma(image: Tensor) -> Tensor:
    """What is left of an image (3, H, W) without its luma."""
    return image - grey_of(image[None])[0]


def color_distance(picture: Tensor, other: Tensor) -> float:
    return float((chroma(picture) - chroma(other)).norm(dim=0).mean())


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """(3, 64, 64): soft forms in all colours, far from black and white."""
    small = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    wide = torch.nn.functional.interpolate(small, (64, 64), mode="bicubic", align_corners=True)
    return (0.25 + 0.5 * wide[0]).clamp(0.1, 0.9)


# --- inputs -----------------------------------------------------------------------------------


def test_luma_is_matched_in_mean_and_deviation(scene: Tensor, painting: Tensor) -> None:
    moved = match_luma(painting[None], scene[None])
    goal = grey_of(scene[None])
    assert moved.mean() == pytest.approx(float(goal.mean()), abs=0.01)
    assert moved.std() == pytest.approx(float(goal.std()), rel=0.05)
    assert moved[:, 0].equal(moved[:, 2])


def test_the_noise_of_an_even_painting_does_not_become_strokes(scene: Tensor) -> None:
    noise = 0.5 + torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / 255
    assert match_luma(noise, scene[None]).std() < 0.1 * scene.std()


def test_the_usual_colours_leave_the_inputs_as_they_are(scene: Tensor, painting: Tensor) -> None:
    inputs = Inputs(scene[None], [painting[None]], [1.0], NO_GUIDE)
    for word in ("style", "content"):
        assert recast(inputs, Transfer(colors=word, color_strength=0.5)) is inputs
    assert photo_recoloring(inputs, Transfer(colors="content")) is None
    assert photo_recoloring(inputs, Transfer(colors="style", color_strength=0.0)) is None


def test_a_painting_is_there_once_for_each_way_that_it_is_coloured_in(
    scene: Tensor, painting: Tensor
) -> None:
    left = torch.zeros(1, 1, 2, 2)
    left[..., :1] = 1
    regions = (Region(left, colors="match", shares=(0.0, 1.0)), Region(1 - left))
    guide = Guide(regions=regions, motifs=regions)
    other = painting.flip(0)[None]
    given = Inputs(scene[None], [painting[None], other], [0.5, 0.5], guide)
    found = recast(given, Transfer())
    assert [style.equal(own) for style, own in zip(found.styles, given.styles, strict=False)] == [
        True,
        True,
    ]
    assert len(found.styles) == len(found.shares) == 3
    assert found.guide.regions[0].shares == (0.0, 0.0, 1.0)
    assert found.guide.regions[1].shares is None
    assert found.guide.motifs is found.guide.regions
    assert not found.guide.fixed
    assert found.styles[2].mean((2, 3)).sub(scene.mean((1, 2))).abs().max() < 0.05


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS[1:])
def test_colours_of_degree_0_are_the_paintings(
    word: str, scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    usual = painted(network, scene, painting, "style")
    assert painted(network, scene, painting, word, 0.0).equal(usual)


@pytest.mark.slow
def test_style_of_degree_0_is_content_of_degree_1(
    scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    kept = painted(network, scene, painting, "content")
    assert painted(network, scene, painting, "style", 0.0).equal(kept)
    assert color_distance(kept, scene) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("word", ["content", "luminance", "match"])
def test_by_degrees_the_colours_become_the_photos(
    word: str, scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    pictures = [painted(network, scene, painting, word, degree) for degree in (0.0, 0.5, 1.0)]
    if word == "match":  # the palette, not each colour in its place
        away = [
            float((chroma(p).mean((1, 2)) - chroma(scene).mean((1, 2))).norm()) for p in pictures
        ]
    else:
        away = [color_distance(picture, scene) for picture in pictures]
    assert away[0] > 1.2 * away[1] > 1.2 * away[2]
    assert away[2] < 0.5 * away[0]


@pytest.mark.slow
def test_luminance_paints_the_same_whatever_colours_a_painting_has(
    scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    grey = grey_of(painting[None])[0]
    colored, plain = (painted(network, scene, each, "luminance") for each in (painting, grey))
    # Steps amplify rounding: 1.3 % of the values differ by more than 0.001.
    assert (colored - plain).abs().mean() < 1e-3
    torch.testing.assert_close(colored, plain, atol=0.01, rtol=0)
    assert color_distance(colored, scene) < 0.02
    assert (painted(network, scene, painting, "content") - colored).abs().mean() > 0.01


@pytest.mark.slow
def test_strokes_of_matched_colours_follow_the_painting_and_not_the_photo(
    scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    matched, kept = (
        painted(network, scene, painting, word, steps=(12,)) for word in ("match", "content")
    )
    assert color_distance(matched, scene) > 2 * color_distance(kept, scene)


@pytest.mark.slow
def test_each_region_has_the_colours_of_its_own_word(
    scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    left = torch.zeros(1, 1, 8, 8)
    left[..., :4] = 1
    regions = (Region(left, colors="luminance"), Region(1 - left))
    guide = Guide(regions=regions, motifs=regions)
    picture = painted(network, scene, painting, "style", guide=guide)
    assert color_distance(picture[..., :24], scene[..., :24]) < 0.03
    assert color_distance(picture[..., -24:], scene[..., -24:]) > 0.05


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (Region(), ("content", 0.7)),
        (Region(color_strength=0.2), ("content", 0.8)),
        (Region(colors="match"), ("match", 1.0)),
        (Region(colors="match", color_strength=0.2), ("match", 0.2)),
        (Region(colors="style", color_strength=0.0), ("content", 1.0)),
    ],
)
def test_a_region_has_a_degree_of_its_own_and_without_one_its_own_word_applies_fully(
    region: Region, expected: tuple[str, float]
) -> None:
    assert coloring_of(Transfer(colors="style", color_strength=0.3), region) == expected


def even(value: float, size: int = 64) -> Tensor:
    return torch.full((3, size, size), value)


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS)
def test_grey_and_even_pictures_give_neither_black_nor_nothing(
    word: str, scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    grey = grey_of(scene[None])[0]
    light = torch.tensor(LUMA)
    cases = {
        "an even painting": (scene, even(0.5)),
        "a grey photo": (grey, painting),
        "an even photo": (even(0.6), painting),
        "a pixel": (even(0.6, 1), even(0.4, 1)),
    }
    for name, (content, style) in cases.items():
        for degree in (0.5, 1.0):
            picture = painted(network, content, style, word, degree, size=32, scales=(32,))
            assert picture.isfinite().all(), name
            luma = torch.einsum("c,chw->hw", light, picture)
            assert 0.15 < float(luma.mean()) < 0.85, name
        if name in ("a grey photo", "an even photo") and word != "style":
            # Of the whole degree: a grey photo stays grey.
            assert chroma(picture).abs().mean() < 0.05, name


@pytest.mark.slow
def test_colours_go_with_blocks_blends_strength_and_an_interruption(
    scene: Tensor, painting: Tensor, network: Vgg19
) -> None:
    wide = torch.cat([scene, scene.flip(2)], 2)
    paintings = [painting, painting.flip(0)]
    for word in ("luminance", "match"):
        options = Transfer(
            size=128, scales=(64, 128), steps=(2, 2), depths=(3,), colors=word,
            color_strength=0.7, strength=0.6,
        )  # fmt: skip
        given = {"shares": (2.0, 1.0), "network": network}
        begun: dict[int, Tensor] = {}

        def watch(iterate: Iterate, begun: dict[int, Tensor] = begun) -> None:
            begun[iterate.scale] = iterate.carried.squeeze(0)

        whole = stylize(wide, paintings, options, watch, **given)
        blocks = stylize(wide, paintings, options.model_copy(update={"block": 64}), **given)
        assert (whole - blocks).abs().mean() < 0.01
        assert stylize(wide, paintings, options, resume=(1, begun[2]), **given).equal(whole)


def test_luma_and_chroma_make_the_whole(scene: Tensor, painting: Tensor) -> None:
    """What `luminance` adds to a picture by degrees is, at 1, what `content` gives it."""
    picture = grey_of(painting[None, :, :64, :64])
    both = (picture + scene[None] - grey_of(scene[None])).clamp(0, 1)
    torch.testing.assert_close(
        both, combine_luma_and_color(picture, scene[None]), atol=1e-5, rtol=0
    )
