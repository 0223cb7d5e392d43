"""The starter styles: what ships, and the script that draws it."""

import itertools
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT

SHIPPED = Path(str(files("pipeline") / "styles"))
SCRIPTS = ROOT / "scripts"
NAMES = sorted(path.stem for path in SHIPPED.glob("*.jpg"))
ASKED_FOR = {
    "mosaic",
    "stained_glass",
    "brush_strokes",
    "ink_hatching",
    "pointillism",
    "woodcut_waves",
}


@pytest.fixture(scope="module")
def generator():
    """The script scripts/make_styles.py as a module."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import make_styles

        yield make_styles
    finally:
        sys.path.remove(str(SCRIPTS))


def colour_histogram(path: Path) -> np.ndarray:
    """Share of the picture in each of 8 x 8 x 8 colours: (512,)."""
    with Image.open(path) as image:
        pixels = np.asarray(image.resize((256, 256)), np.int64).reshape(-1, 3) // 32
    return np.bincount(pixels @ (64, 8, 1), minlength=512) / len(pixels)


def test_the_promised_styles_ship_and_each_can_be_drawn_again(generator):
    """Every shipped style has its formula and every formula its shipped style."""
    assert set(NAMES) >= ASKED_FOR
    assert set(NAMES) == set(generator.STYLES)


@pytest.mark.parametrize("name", NAMES)
def test_a_starter_style_is_a_large_rgb_picture(name):
    """Each opens whole, in RGB, with at least 1024 px on both sides."""
    with Image.open(SHIPPED / f"{name}.jpg") as image:
        image.load()
        assert image.mode == "RGB"
        assert min(image.size) >= 1024


@pytest.mark.parametrize("name", NAMES)
def test_a_starter_style_has_light_and_shade(name):
    """Near black and near white both occur, so that a photo keeps its modelling."""
    with Image.open(SHIPPED / f"{name}.jpg") as image:
        dark, light = np.percentile(np.asarray(image.convert("L")), [3, 97])
    assert dark < 40
    assert light > 190


def test_no_two_starter_styles_share_most_of_their_colours():
    """Between any two, at least a quarter of the canvas is differently coloured."""
    histograms = {name: colour_histogram(SHIPPED / f"{name}.jpg") for name in NAMES}
    for one, other in itertools.combinations(NAMES, 2):
        differing = np.abs(histograms[one] - histograms[other]).sum() / 2
        assert differing > 0.25, f"{one} and {other} look alike: {differing:.2f}"


def test_the_set_stays_small_enough_to_ship():
    """A style weighs less than 600 kB, all of them less than 3.5 MB."""
    weights = [(SHIPPED / f"{name}.jpg").stat().st_size for name in NAMES]
    assert max(weights) < 600_000
    assert sum(weights) < 3_500_000


def test_the_generator_draws_the_same_picture_twice(generator, tmp_path):
    """Two runs write the same bytes."""
    for folder in ("first", "second"):
        generator.main(["--out", str(tmp_path / folder), "--size", "128", "pointillism"])
    first, second = (tmp_path / folder / "pointillism.jpg" for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.size == (128, 128)


@pytest.mark.parametrize("name", ["pointillism", "watercolor"])
def test_the_shipped_picture_is_what_the_script_draws(generator, name):
    """Drawn again and small, the picture is the shipped one; another style is far from it."""

    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((64, 64), Image.Resampling.BOX), np.float64) / 255

    drawn = small(generator.draw(name, 256))
    with Image.open(SHIPPED / f"{name}.jpg") as own, Image.open(SHIPPED / "mosaic.jpg") as other:
        assert np.abs(drawn - small(own)).mean() < 0.05
        assert np.abs(drawn - small(other)).mean() > 0.2


def test_an_unknown_style_name_is_refused_with_the_known_ones(generator, tmp_path, capsys):
    """A slip of the pen ends with exit code 2, writes nothing and lists what there is."""
    with pytest.raises(SystemExit) as refusal:
        generator.main(["--out", str(tmp_path), "mosiac"])
    assert refusal.value.code == 2
    assert "mosaic" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
