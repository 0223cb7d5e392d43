"""`stylize --region` and `--mask`: what a beginner writes, and errors before computing."""

import json

import pytest
from PIL import Image
from support.command_line import SMALL

from pipeline.cli.flags import parse_masks, parse_regions
from pipeline.config.regions.options import RegionOptions
from pipeline.errors import UsageError
from pipeline.render.reproduce import read_provenance

# --- flags ----------------------------------------------------------------------------------


def test_a_region_gets_a_painting_by_its_name_and_options_by_a_dot():
    found = parse_regions(
        ["sky=builtin:mosaic", "sky=a.b/c.jpg", "sky.strength=0.4", "face.colors=content"]
    )
    assert found == {
        "sky": RegionOptions(styles=("builtin:mosaic", "a.b/c.jpg"), strength=0.4),
        "face": RegionOptions(colors="content"),
    }


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        (["sky"], ["'sky' gives no value", "NAME=PAINTING", "face.strength=0.4"]),
        (["sky="], ["gives no value"]),
        (["skyy=a.jpg"], ["did you mean 'sky'"]),
        (["the sky=a.jpg"], ["letters, digits, - and _"]),
        (["sky.strengh=0.4"], ["no option 'strengh'", "did you mean 'strength'"]),
        (["sky.strength=2"], ["sky.strength", "from 0 to 1"]),
        (["sky.strength=big"], ["sky.strength", "'big'", "--region sky.strength=0.4"]),
        (["sky.colors=photo"], ["sky.colors", "style, content"]),
        (["tower=a.jpg"], ["region tower has no mask", "--mask tower=FILE"]),
    ],
)
def test_a_wrong_region_is_named_with_its_remedy(regions, words):
    with pytest.raises(UsageError) as caught:
        parse_masks([], parse_regions(regions))
    assert all(word in str(caught.value) for word in ["--region", *words])


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (["sky.png"], ["names no file", "NAME=FILE"]),
        (["fase=a.png"], ["did you mean 'face'"]),
        (["sky=a.png", "sky=b.png"], ["sky is given twice"]),
        (["tower=a.png"], ["no --region says what tower is for", "--region tower.strength"]),
    ],
)
def test_a_wrong_mask_is_named_with_its_remedy(masks, words):
    with pytest.raises(UsageError) as caught:
        parse_masks(masks, {})
    assert all(word in str(caught.value) for word in ["--mask", *words])


# --- the command ----------------------------------------------------------------------------


def draw(path, size, color=255):
    Image.new("RGB" if isinstance(color, tuple) else "L", size, color).save(path)
    return path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--mask", "sky=none.png"], ["--mask sky", "none.png", "no such image"]),
        (["--mask", "sky=wide.png"], ["--mask sky", "90 x 10 px, and its photo", "proportions"]),
        (["--mask", "sky=text.png"], ["--mask sky", "this is not a PNG, JPEG"]),
        (["--region", "sky=builtin:mosiac"], ["--region sky", "did you mean builtin:mosaic"]),
        (
            ["--mask", "regions=map.png", "--region", "sky.color=#ff0000"],
            ["--mask regions", "no region has the colour #0000ff (100% of it)"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_used_ends_with_2_before_computing(folder, pipeline, flags, words):
    draw(folder / "wide.png", (90, 10))
    with Image.open(folder / "inbox/cup.jpg") as photo:
        draw(folder / "map.png", photo.size, (0, 0, 255))
    (folder / "text.png").write_text("no picture")
    command = ["stylize", "inbox/cup.jpg", "builtin:mosaic", "-o", "o.png", *flags, *SMALL]
    ended = pipeline(*command)
    assert ended.code == 2
    assert all(word in ended.err for word in words)
    assert not (folder / "o.png").exists()


@pytest.mark.slow
def test_regions_of_the_command_line_are_recorded_and_rendered_again(folder, pipeline):
    with Image.open(folder / "inbox/cup.jpg") as photo:
        draw(folder / "tower.png", photo.size, 128)
    flags = ["--region", "sky=builtin:watercolor", "--region", "tower.strength=0.2"]
    flags += ["--mask", "tower=tower.png", *SMALL]
    command = ["stylize", "inbox/cup.jpg", "builtin:mosaic", "-o", "one.png", *flags, "--json"]
    assert pipeline(*command).code == 0
    made = read_provenance(folder / "one.png")
    assert made is not None
    sky, tower = made.regions
    assert [painting.name for painting in sky.paintings] == ["builtin:watercolor"]
    assert (tower.strength, tower.mask.name) == (0.2, "tower.png")
    out = pipeline("explain", "one.png").out
    assert "region tower strength: 0.2" in out
    assert "mask of tower tower.png" in out
    again = ["explain", "one.png", "--again", "two.png"]
    assert pipeline(*again, "--json").code == 0
    assert (folder / "one.png").read_bytes() == (folder / "two.png").read_bytes()
    draw(folder / "tower.png", (64, 48), 127)
    ended = pipeline("explain", "one.png", "--again", "three.png")
    assert ended.code == 2
    assert "mask of region tower tower.png" in ended.err


@pytest.mark.slow
def test_each_picture_of_a_sweep_has_the_regions(folder, pipeline):
    flags = ["--region", "tower.strength=0", "--mask", "tower=tower.png", *SMALL]
    axes = ["--rows", "content_weight=0.1", "--columns", "colors=style,content"]
    command = ["sweep", "inbox/cup.jpg", "builtin:mosaic", "-o", "grid", *axes, *flags]
    ended = pipeline(*command)
    assert ended.code == 2
    assert "--mask tower" in ended.err
    assert not (folder / "grid").exists()
    with Image.open(folder / "inbox/cup.jpg") as photo:
        draw(folder / "tower.png", photo.size)
    assert pipeline(*command).code == 0
    pictures = sorted((folder / "grid").glob("cup--*[!d].png"))
    assert len(pictures) == 2
    for path in pictures:
        (tower,) = read_provenance(path).regions
        assert (tower.name, tower.strength, tower.mask.name) == ("tower", 0.0, "tower.png")


def test_json_of_explain_has_the_regions(folder, pipeline):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{text}\nregions: {{face: {{strength: 0.2}}}}\n")
    report = json.loads(pipeline("explain", "inbox/cup.jpg", "--json").out)
    (face,) = report["plan"][0]["regions"]
    assert (face["name"], face["strength"], face["mask"]) == ("face", 0.2, None)
