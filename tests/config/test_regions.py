"""Regions in config.yaml, in styles and in side files: three layers, and plain errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.loading import load_config
from pipeline.config.manifest import Manifest, load_manifest
from pipeline.config.regions.mask_files import MAP, mask_name
from pipeline.config.regions.options import unknown_colors
from pipeline.config.sidecar import Side, merge_side_files
from pipeline.errors import ConfigError, InputError
from pipeline.jobs.recipe import MaskFile, Masks, Recipes, Region

STYLES = """
styles:
  mosaic: {image: "builtin:mosaic"}
  water: {image: "builtin:watercolor"}
  both: {images: {"builtin:mosaic": 3, "builtin:watercolor": 1}}
"""


def manifest(folder: Path, text: str) -> Manifest:
    path = folder / "config.yaml"
    path.write_text(text)
    return load_manifest(load_config(path), path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        manifest(folder, text)
    assert caught.value.exit_code == 2
    return str(caught.value)


def recipe_regions(
    folder: Path,
    text: str,
    style: str = "mosaic",
    side: str = "",
    masks: Masks = Masks(),  # noqa: B008  # frozen
) -> dict[str, Region]:
    found = manifest(folder, text)
    config = load_config(folder / "config.yaml")
    files = {}
    if side:
        (folder / "side.yaml").write_text(side)
        files["cat.jpg.yaml"] = (folder / "side.yaml", side)
    beside = {*masks.by_region, *([MAP] if masks.map else [])}
    merged = merge_side_files("cat.jpg", files, found, config, beside)
    recipe = Recipes(config, found.styles).recipe_for(found.styles[style], merged, masks)
    return {region.name: region for region in recipe.regions}


# --- layers ---------------------------------------------------------------------------------


def test_regions_of_all_styles_of_one_style_and_of_a_photo_are_merged_by_name_and_key(tmp_path):
    text = """
regions:
  face: {strength: 0.2, colors: content}
  sky: {strength: 0.9}
styles:
  mosaic:
    image: "builtin:mosaic"
    regions:
      face: {strength: 0.3}
      background: {styles: [water]}
  water: {image: "builtin:watercolor"}
"""
    side = "regions: {face: {strength: 0.4}, subject: {strength: 0.1}}\n"
    found = recipe_regions(tmp_path, text, side=side)
    assert list(found) == ["background", "face", "sky", "subject"]
    assert (found["face"].strength, found["face"].colors) == (0.4, "content")
    assert (found["sky"].strength, found["subject"].strength) == (0.9, 0.1)
    assert [image.path.stem for image in found["background"].images] == ["watercolor"]
    other = recipe_regions(tmp_path, text, "water")
    assert (list(other), other["face"].strength) == (["face", "sky"], 0.2)


def test_a_folder_and_a_photo_in_it_both_have_a_word(tmp_path):
    outer = Side.model_validate({"regions": {"face": {"strength": 0.1, "colors": "content"}}})
    inner = Side.model_validate({"regions": {"face": {"strength": 0.2}}})
    face = outer.overlay_side(inner).regions["face"]
    assert (face.strength, face.colors) == (0.2, "content")


def test_a_region_of_several_styles_blends_their_paintings_in_equal_parts(tmp_path):
    text = STYLES + "regions: {sky: {styles: [both, water]}}\n"
    images = recipe_regions(tmp_path, text)["sky"].images
    assert {i.path.stem: i.weight for i in images} == {"mosaic": 0.375, "watercolor": 0.625}


def test_a_region_painted_like_the_rest_has_no_paintings_of_its_own(tmp_path):
    text = STYLES + "regions: {sky: {styles: [mosaic], strength: 0.2}, face: {styles: [mosaic]}}\n"
    assert recipe_regions(tmp_path, text) == {"sky": Region("sky", strength=0.2)}


def test_an_empty_list_takes_the_paintings_of_the_style_again(tmp_path):
    text = STYLES + "regions: {sky: {styles: [water], strength: 0.2}}\n"
    side = "regions: {sky: {styles: []}}\n"
    assert recipe_regions(tmp_path, text, side=side) == {"sky": Region("sky", strength=0.2)}


# --- masks ----------------------------------------------------------------------------------

SKY, TOWER = MaskFile(Path("/in/cat.jpg.mask.sky.png"), "a" * 64), MaskFile(Path("/t"), "b" * 64)
WHOLE = MaskFile(Path("/in/cat.jpg.regions.png"), "c" * 64)


def test_a_region_of_ones_own_is_used_for_the_photos_that_have_its_mask(tmp_path):
    text = STYLES + "regions: {tower: {strength: 0.2}}\n"
    assert recipe_regions(tmp_path, text) == {}
    found = recipe_regions(tmp_path, text, masks=Masks({"tower": TOWER}))
    assert found == {"tower": Region("tower", (), 0.2, None, TOWER.path, TOWER.sha256)}


def test_a_mask_replaces_what_is_found_automatically(tmp_path):
    text = STYLES + "regions: {sky: {strength: 0.2}, face: {strength: 0.3}}\n"
    found = recipe_regions(tmp_path, text, masks=Masks({"sky": SKY}))
    assert (found["sky"].mask, found["face"].mask) == (SKY.path, None)


def test_a_map_gives_each_region_with_a_colour_its_place_and_a_mask_comes_before_it(tmp_path):
    text = (
        STYLES
        + 'regions: {sky: {color: "#0000FF"}, tower: {color: "#ff0000"}, face: {strength: 1}}'
    )
    found = recipe_regions(tmp_path, text, masks=Masks({"sky": SKY}, WHOLE))
    assert (found["tower"].mask, found["tower"].color) == (WHOLE.path, "#ff0000")
    assert (found["sky"].mask, found["sky"].color) == (SKY.path, None)
    assert found["face"].mask is None
    assert recipe_regions(tmp_path, text) == {"face": Region("face", strength=1.0)}


def test_a_mask_that_no_option_names_counts_only_for_what_is_protected(tmp_path):
    masks = Masks({"sky": SKY, "tower": TOWER, "face": MaskFile(Path("/f"), "d" * 64)})
    assert list(recipe_regions(tmp_path, STYLES, masks=masks)) == ["face"]


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("regions: {sky: {strengh: 1}}", ["regions.sky.strengh", "did you mean 'strength'"]),
        ("region: {sky: {strength: 1}}", ["'region'", "did you mean 'regions'"]),
        ("regions: {sky: {strength: 1.5}}", ["regions.sky.strength", "from 0 to 1"]),
        ("regions: {sky: {colors: photo}}", ["regions.sky.colors", "style, content"]),
        ("regions: {sky: {styles: [watr]}}", ["regions.sky.styles", "did you mean 'water'"]),
        ("regions: {sky: {styles: water}}", ["regions.sky.styles", "a list"]),
        ("regions: {sky: {}}", ["regions.sky", "at least one of styles, strength, colors"]),
        ("regions: {backgruond: {strength: 1}}", ["did you mean 'background'"]),
        ("regions: {Sky: {strength: 1}}", ["did you mean 'sky'"]),
        ("regions: {the sky: {strength: 1}}", ["'the sky'", "letters, digits, - and _"]),
        ("regions: {a/b: {strength: 1}}", ["'a/b'", "letters, digits, - and _"]),
        ("regions: {sky: {color: blue}}", ["regions.sky.color", '"#0000ff"']),
        ("regions:\n  sky:\n    color: #0000ff\n", ["regions.sky", "quotes"]),
        ('regions: {a: {color: "#0000ff"}, b: {color: "#2000ff"}}', ["a and b", "too similar"]),
        ("regions: [sky]", ["regions", "keys with values"]),
        ("regions: {sky: 0.5}", ["regions.sky", "keys with values"]),
        (
            "regions: {sky: {transfer: {size: 9}}}",
            ["regions.sky.transfer", "belongs on the top level"],
        ),
    ],
)
def test_a_wrong_region_is_named_with_key_and_remedy(tmp_path, text, words):
    said = complaint(tmp_path, STYLES + text)
    for word in ["config.yaml", *words]:
        assert word in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("regions", "circle"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "b -> c -> b"),
    ],
)
def test_styles_whose_regions_lead_back_to_themselves_are_refused(tmp_path, regions, circle):
    lines = [
        f'  {name}: {{image: "builtin:mosaic", regions: {{sky: {{styles: [{regions[name]}]}}}}}}'
        if name in regions
        else f'  {name}: {{image: "builtin:mosaic"}}'
        for name in "abc"
    ]
    assert circle in complaint(tmp_path, "styles:\n" + "\n".join(lines) + "\n")


def test_styles_may_name_each_other_s_paintings_without_a_circle(tmp_path):
    text = """
regions: {sky: {styles: [a]}}
styles:
  a: {image: "builtin:mosaic"}
  b: {image: "builtin:mosaic", regions: {face: {styles: [a]}}}
  c: {image: "builtin:mosaic", regions: {face: {styles: [a, b]}}}
"""
    assert set(manifest(tmp_path, text).styles["c"].regions) == {"sky", "face"}


@pytest.mark.parametrize(
    ("side", "words"),
    [
        ("\nregions: {sky: {styles: [watr]}}\n", ["cat.jpg.yaml:2", "did you mean 'water'"]),
        ("regions: {sky: {strength: 2}}\n", ["cat.jpg.yaml:1", "regions.sky.strength"]),
        ("regions: {tower: {strength: 1}}\n", ["cat.jpg.mask.tower.png", "face, person, subject"]),
        ("regions: {sky: {mask: /etc/passwd}}\n", ["unknown key 'regions.sky.mask'"]),
    ],
)
def test_a_wrong_region_in_a_side_file_is_named_with_its_line(tmp_path, side, words):
    with pytest.raises(InputError) as caught:
        recipe_regions(tmp_path, STYLES, side=side)
    assert caught.value.code == "sidecar_invalid"
    assert all(word in str(caught.value) for word in words)


# --- names of mask files --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "photo", "region"),
    [
        ("cat.jpg.mask.sky.png", "cat.jpg", "sky"),
        ("a/b/cat.HEIC.mask.my-own_2.PNG", "a/b/cat.HEIC", "my-own_2"),
        ("cat.jpg.regions.png", "cat.jpg", MAP),
        ("a.png.jpg.mask.face.png", "a.png.jpg", "face"),
    ],
)
def test_the_name_of_a_mask_says_its_photo_and_its_region(name, photo, region):
    found = mask_name(name)
    assert found is not None
    assert (found.photo, found.region, found.problem) == (photo, region, "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cat.jpg.mask.png", "the region is missing"),
        ("cat.jpg.mask..png", "the region is missing"),
        ("cat.jpg.mask.the sky.png", "'the sky' is no name of a region"),
        ("cat.jpg.mask.sky.jpg", "save it as cat.jpg.mask.sky.png"),
        ("cat.jpg.regions.jpg", "save it as cat.jpg.regions.png"),
        ("cat.mask.sky.png", "name it as in cat.jpg.mask.sky.png"),
    ],
)
def test_what_is_meant_as_a_mask_but_misnamed_is_no_photo_either(name, words):
    found = mask_name(name)
    assert found is not None
    assert words in found.problem


@pytest.mark.parametrize(
    "name",
    ["cat.jpg", "mask.png", "the.mask.of.zorro.png", "sky.png", "cat.jpg.mask.sky.png.txt",
     "regions.png", "cat.jpg.mask.sky", "carnival.mask.jpg"],
)  # fmt: skip
def test_other_names_are_those_of_photos(name):
    assert mask_name(name) is None


@given(st.text(max_size=80), st.sampled_from(["", ".mask.", ".regions"]), st.text(max_size=80))
def test_any_name_is_read_without_an_error(start, middle, end):
    mask_name(f"{start}.jpg{middle}{end}.png")


def test_colours_of_a_map_count_as_equal_within_a_small_distance_and_black_is_no_region(tmp_path):
    regions = (
        manifest(
            tmp_path, STYLES + 'regions: {sky: {color: "#0000ff"}, tower: {color: "#ff0000"}}\n'
        )
        .styles["mosaic"]
        .regions
    )
    found = [("#1010f0", 0.5), ("#050505", 0.3), ("#ff2800", 0.1), ("#ffffff", 0.1)]
    assert unknown_colors(found, regions) == [("#ffffff", 0.1)]
