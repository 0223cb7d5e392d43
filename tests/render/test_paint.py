"""`pipeline.paint`: one picture from Python, from paths, Pillow images and arrays."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support import ROOT

import pipeline
from pipeline.errors import InputError, PipelineError, UsageError
from pipeline.render.from_python import read_regions

PHOTO, PAINTING = ROOT / "inbox/coffee.jpg", ROOT / "pipeline/styles/mosaic.jpg"
SMALL = {"size": 48, "scales": [48], "steps": [3], "depths": [5]}


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def test_two_paths_make_a_picture_of_the_size_asked_for():
    painted = pipeline.paint(str(PHOTO), PAINTING, **SMALL)
    assert painted.mode == "RGB"
    assert painted.size == (48, 32)
    with Image.open(PHOTO) as photo:
        plain = photo.resize((48, 32))
    assert abs(pixels(painted).astype(int) - pixels(plain)).mean() > 5


@pytest.mark.slow
def test_paths_pillow_images_arrays_and_tensors_are_the_same_to_it():
    with Image.open(PHOTO) as photo, Image.open(PAINTING) as painting:
        photo.load(), painting.load()
    from_files = pixels(pipeline.paint(PHOTO, "builtin:mosaic", **SMALL))
    bytes_, floats = np.asarray(photo), np.asarray(painting, dtype=np.float64) / 255
    tensor = torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1) / 255
    for content, style in ((photo, painting), (bytes_, floats), (tensor, painting)):
        found = pixels(pipeline.paint(content, style, **SMALL))
        assert abs(found.astype(int) - from_files).max() <= 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_picture_and_another_seed_another():
    options = {**SMALL, "init": "noise"}
    first, again, other = (
        pixels(pipeline.paint(PHOTO, PAINTING, seed=seed, **options)) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.slow
def test_paintings_are_blended_by_their_shares():
    both = ["builtin:mosaic", "builtin:watercolor"]
    mostly = pipeline.paint(PHOTO, both, shares=[1, 0.001], **SMALL)
    alone = pipeline.paint(PHOTO, both[0], **SMALL)
    half = pipeline.paint(PHOTO, both, **SMALL)
    near = abs(pixels(mostly).astype(int) - pixels(alone)).mean()
    assert near < abs(pixels(half).astype(int) - pixels(alone)).mean()


def test_transparency_comes_back():
    with Image.open(PHOTO) as photo:
        cut = photo.convert("RGBA")
    cut.paste((0, 0, 0, 0), (0, 0, cut.width // 2, cut.height))
    painted = pipeline.paint(cut, PAINTING, **SMALL)
    assert painted.mode == "RGBA"
    alpha = pixels(painted)[..., 3]
    assert alpha[:, :20].max() < 20
    assert alpha[:, 28:].min() > 235


@pytest.mark.parametrize("chain", ["vivid", {"steps": [], "upscale": 2, "upscale_by": "lanczos"}])
@pytest.mark.slow
def test_it_enhances_on_request(chain):
    plain = pipeline.paint(PHOTO, PAINTING, **SMALL)
    enhanced = pipeline.paint(PHOTO, PAINTING, enhance=chain, **SMALL)
    if isinstance(chain, dict):
        assert enhanced.size == (96, 64)
    else:
        assert (pixels(plain) != pixels(enhanced)).any()


def test_the_picture_is_seen_while_it_changes():
    seen = []
    pipeline.paint(PHOTO, PAINTING, on_step=lambda now: seen.append((now.step, now.side)), **SMALL)
    assert seen == [(1, 48), (2, 48), (3, 48)]


# --- regions ----------------------------------------------------------------------------------

LEFT = np.zeros((40, 60), bool)
LEFT[:, :30] = True


def halves(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    found = pixels(picture).astype(int)
    return found[:, :20], found[:, 28:]


def test_a_region_of_strength_0_shows_the_photo_and_the_rest_the_painting():
    painted = pipeline.paint(
        PHOTO, PAINTING, regions={"cup": {"strength": 0}}, masks={"cup": LEFT}, **SMALL
    )
    with Image.open(PHOTO) as photo:
        kept, changed = halves(photo.convert("RGB").resize((48, 32)))
    left, right = halves(painted)
    assert abs(left - kept).mean() < 4
    assert abs(right - changed).mean() > 5


def test_masks_of_any_kind_and_maps_by_colour_are_the_same_to_it(tmp_path):
    photo = torch.zeros(3, 80, 120)
    regions = {"cup": {"strength": 0.2, "color": "#ff0000"}}
    as_bytes = LEFT.astype(np.uint8) * 255
    path, transparent = tmp_path / "mask.png", np.full((40, 60, 4), 255, np.uint8)
    Image.fromarray(as_bytes).save(path)
    transparent[..., 3] = as_bytes
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = as_bytes
    tensor = torch.from_numpy(LEFT)[None]
    kinds = (path, str(path), Image.fromarray(as_bytes), tensor, tensor[0].float(), transparent)
    for masks in [*({"cup": each} for each in (LEFT, LEFT / 1.0, *kinds)), {"regions": red}]:
        found = read_regions(regions, masks, photo, 1)
        assert [each.name for each in found.recipes] == ["cup"]
        assert found.masks["cup"].equal(torch.from_numpy(LEFT).float()[None])


def test_paintings_of_regions_follow_those_of_the_style():
    photo, painting = torch.zeros(3, 80, 120), torch.zeros(3, 8, 8)
    regions = {"sky": {"styles": [painting, painting]}, "face": {"styles": painting}}
    found = read_regions(regions, None, photo, 2)
    assert len(found.paintings) == 3
    assert found.shares == {"face": {2: 1.0}, "sky": {3: 0.5, 4: 0.5}}
    assert all(each.images for each in found.recipes)


@pytest.mark.slow
def test_a_region_learns_from_a_painting_of_its_own():
    with Image.open(ROOT / "pipeline/styles/woodcut_waves.jpg") as waves:
        waves.load()
    wave = halves(pipeline.paint(PHOTO, waves, **SMALL))
    mosaic = halves(pipeline.paint(PHOTO, PAINTING, **SMALL))
    regions = {"cup": {"styles": waves}}
    both = halves(pipeline.paint(PHOTO, PAINTING, regions=regions, masks={"cup": LEFT}, **SMALL))

    def differ(one: np.ndarray, other: np.ndarray) -> float:
        return float(abs(one.mean((0, 1)) - other.mean((0, 1))).sum())

    assert differ(both[0], wave[0]) < differ(both[0], mosaic[0])
    assert differ(both[1], mosaic[1]) < differ(both[1], wave[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"regions": ["sky"]}, "regions: list is no mapping"),
        ({"regions": {"sky": 0.4}}, "sky: 0.4 is no mapping"),
        ({"regions": {"skyy": {"strength": 1}}}, "did you mean 'sky'"),
        ({"regions": {3: {}}}, "3 is no name"),
        ({"regions": {"sky": {"strenght": 1}}}, "regions sky: unknown key 'strenght'"),
        ({"regions": {"sky": {"strength": 2}}}, "from 0 to 1"),
        ({"regions": {"sky": {}}}, "regions sky: has no option (give at least one of styles"),
        ({"regions": {"sky": {"color": None}}}, "regions sky: has no option"),
        ({"regions": {"sky": {"styles": "builtin:mosaik"}}}, "did you mean builtin:mosaic"),
        ({"regions": {"cup": {"strength": 1}}}, "region cup has no mask"),
        ({"masks": {"cup": LEFT}}, "nothing says what cup is for"),
        ({"masks": {"face": LEFT[:, :20]}}, "20 x 40 px, and its photo"),
        ({"masks": {"face": "missing.png"}}, "missing.png: no such image"),
        ({"masks": {"face": 7}}, "int is not a mask"),
        ({"masks": {"face": np.zeros((4, 6, 2))}}, "(4, 6, 2)"),
        ({"masks": {"face": np.full((4, 6), 2.0)}}, "0 to 1"),
        ({"masks": {"regions": np.full((40, 60), 99, np.uint8)}}, "no region has the colour"),
    ],
)  # fmt: skip
def test_wrong_regions_and_masks_are_named_in_one_sentence(arguments, said):
    with pytest.raises(PipelineError) as caught:
        pipeline.paint(PHOTO, PAINTING, **SMALL, **arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"photo": "missing.jpg"}, "missing.jpg: no such image"),
        ({"painting": "builtin:mosaik"}, "did you mean builtin:mosaic"),
        ({"painting": []}, "no painting"),
        ({"preset": "big"}, "no preset 'big'"),
        ({"sice": 48}, "unknown key 'sice' (did you mean 'size'"),
        ({"size": "huge"}, "size"),
        ({"enhance": "vivit"}, "vivid"),
        ({"shares": [1, 2]}, "shares: 2 for 1 paintings"),
        ({"shares": [0]}, "positive"),
        ({"init": "nothing.png"}, "nothing.png"),
        ({"photo": np.zeros((4, 4), np.int32)}, "int32"),
        ({"photo": np.full((4, 4, 3), 2.0)}, "0 to 1"),
        ({"photo": np.full((4, 4, 3), np.nan)}, "0 to 1"),
        ({"photo": np.zeros((4, 4, 2))}, "(4, 4, 2)"),
        ({"photo": np.zeros((0, 4, 3))}, "(0, 4, 3)"),
        ({"photo": 7}, "int is not a picture"),
        ({"device": "gpu"}, "gpu"),
    ],
)  # fmt: skip
def test_wrong_use_is_named_in_one_sentence(arguments, said):
    with pytest.raises(PipelineError) as caught:
        pipeline.paint(**{"photo": PHOTO, "painting": PAINTING, **SMALL, **arguments})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_has_a_reason_code(tmp_path):
    half = tmp_path / "half.jpg"
    half.write_bytes(PHOTO.read_bytes()[:5000])
    with pytest.raises(InputError) as caught:
        pipeline.paint(half, PAINTING, **SMALL)
    assert caught.value.code == "truncated"


def test_unknown_names_of_the_package_are_an_attribute_error():
    with pytest.raises(AttributeError, match="pant"):
        _ = pipeline.pant
    assert issubclass(UsageError, pipeline.PipelineError)


def test_importing_the_package_loads_no_torch():
    code = "import pipeline, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seed", seed) for seed in (-1, 2**70, 1.5, "1", None)),
        *(("shares", shares) for shares in (["1"], 1, [None], [float("nan")], "a")),
        *(("preset", preset) for preset in (None, [])),
        *(("enhance", chain) for chain in (3, ["denoise"], {1: 2})),
        *(("device", device) for device in (None, 0, ["cpu"])),
        *(("weights", weights) for weights in (None, [])),
        ("on_step", 5),
    ],
)
def test_an_argument_that_cannot_be_is_named(name, value):
    with pytest.raises(UsageError, match=name):
        pipeline.paint(PHOTO, PAINTING, **(SMALL | {name: value}))


def test_weights_that_measure_nothing_are_named():
    with pytest.raises(UsageError, match="content_weight and style_weight are both 0"):
        pipeline.paint(PHOTO, PAINTING, content_weight=0, style_weight=0, **SMALL)


def test_pictures_that_hold_no_pixels_are_input_errors(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"")
    Image.effect_noise((64, 64), 90).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    closed = Image.open(tmp_path / "whole.png")
    closed.close()
    with Image.open(tmp_path / "cut.png") as cut:
        for photo in (cut, closed, Image.new("La", (8, 8))):
            with pytest.raises(InputError, match="photo"):
                pipeline.paint(photo, PAINTING, **SMALL)
    for photo in (torch.rand(3, 8, 8).to_sparse(), torch.empty(3, 8, 8, device="meta")):
        with pytest.raises(UsageError, match="photo"):
            pipeline.paint(photo, PAINTING, **SMALL)


def test_what_the_caller_has_set_in_torch_changes_no_picture():
    painting, tiny = torch.rand(3, 24, 24), SMALL | {"size": 32, "scales": [32], "steps": [1]}
    plain = pixels(pipeline.paint(painting, painting, **tiny))
    with torch.inference_mode():
        there = painting.clone()
        assert np.array_equal(pixels(pipeline.paint(there, there, **tiny)), plain)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
        assert np.array_equal(pixels(pipeline.paint(painting, painting, **tiny)), plain)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(pixels(pipeline.paint(painting, painting, **tiny)), plain)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
