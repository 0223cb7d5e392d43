"""Regions are part of a recipe: of its digest, of the files it needs, and of its record."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.stock import make_job, make_recipe

from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import starter_styles
from pipeline.config.model import Config
from pipeline.config.transfer import Transfer
from pipeline.jobs.job import JobResult
from pipeline.jobs.provenance import parse, record
from pipeline.jobs.recipe import Recipe, Region, StyleImage
from pipeline.outbox.run_log import run_log_line
from pipeline.workers.ray_cluster.node_worker import files_by_sha256, with_local_paths

STARRY = StyleImage(Path("/home/ada/private/starry.jpg"), 1.0, "a" * 64)
SKY = Region(
    "sky", (STARRY,), 0.7, "content", Path("/inbox/cup.jpg.mask.sky.png"), "b" * 64, "#0000ff"
)
FACE = Region("face", strength=0.3)


def recipe(*regions: Region) -> Recipe:
    return replace(make_recipe(), regions=regions)


def test_a_recipe_without_regions_keeps_its_digest():
    assert recipe().digest == make_recipe().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "subject"},
        {"images": ()},
        {"images": (replace(STARRY, sha256="c" * 64),)},
        {"strength": None},
        {"strength": 0.6},
        {"colors": "style"},
        {"mask": None, "mask_sha256": ""},
        {"mask_sha256": "c" * 64},
        {"color": "#00ff00"},
        {"color_strength": 0.5},
    ],
)
def test_all_that_a_region_says_is_part_of_the_digest(changes):
    found = {recipe().digest, recipe(SKY).digest, recipe(replace(SKY, **changes)).digest}
    assert len(found) == 3


def test_where_the_files_of_a_region_lie_does_not_count():
    moved = replace(SKY, mask=Path("/x.png"), images=(replace(STARRY, path=Path("/y.jpg")),))
    assert recipe(moved).digest == recipe(SKY).digest


def test_a_draft_has_the_regions_of_the_full_picture():
    draft = recipe(SKY, FACE).draft
    assert draft is not None
    assert draft.regions == (SKY, FACE)


def test_paintings_and_masks_of_regions_are_files_that_the_job_verifies():
    found = recipe(SKY, FACE).files
    assert found == {STARRY.path: STARRY.sha256, SKY.mask: SKY.mask_sha256}


def test_a_cluster_node_gets_the_files_of_regions_and_paints_the_same_job():
    job = replace(make_job(), recipe=recipe(SKY, FACE))
    assert files_by_sha256(job)["b" * 64] == SKY.mask
    there = with_local_paths(job, lambda sha: Path("/node") / sha)
    assert there.id == job.id
    sky, face = there.recipe.regions
    assert (sky.mask, sky.images[0].path) == (
        Path("/node") / ("b" * 64),
        Path("/node") / ("a" * 64),
    )
    assert face == FACE


def test_a_picture_of_a_cluster_node_names_its_files_as_they_are_called_at_home():
    home = Path("/home/ada")
    whole = replace(
        recipe(SKY, FACE),
        images=(STARRY, StyleImage(starter_styles()["mosaic"], 0.0, "f" * 64)),
        transfer=Transfer(init=str(home / "start.png")),
        init_sha256="1" * 64,
        weights=str(home / "vgg.pth"),
        weights_sha256="2" * 64,
        enhance=Enhance(upscale=2, upscale_by="model", upscale_model=home / "grow.pth"),
        upscale_sha256="3" * 64,
    )
    job = replace(make_job(), recipe=whole)
    there = with_local_paths(job, lambda sha: Path("/node") / sha)
    assert record(there, "stylized") == record(job, "stylized")
    for name in ("starry.jpg", "builtin:mosaic", "start.png", "vgg.pth", "grow.pth", "sky.png"):
        assert name in record(there, "stylized")


def test_the_record_in_a_picture_rebuilds_the_regions():
    wanted = replace(make_job(), recipe=recipe(replace(SKY, color_strength=0.5), FACE))
    text = record(wanted, "stylized")
    assert "cup.jpg.mask.sky.png" in text
    assert "private" not in text
    made = parse(text)
    assert made is not None
    files = [((STARRY.path,), SKY.mask), ((), None)]
    assert made.rebuild_recipe((), None, "embedded", regions=files) == wanted.recipe


def test_the_run_log_has_regions_in_the_form_of_the_config():
    face = replace(FACE, color_strength=0.5)
    job = replace(make_job(), recipe=recipe(SKY, face, replace(SKY, name="subject", images=())))
    options = run_log_line(JobResult(job, "done"), "run", "now")["options"]
    assert options["styles"]["region sky"] == {"images": {"starry.jpg": 1.0}}
    subject = {"strength": 0.7, "colors": "content", "color": "#0000ff"}
    assert options["styles"]["mosaic"]["regions"] == {
        "sky": {"styles": ["region sky"], **subject},
        "face": {"strength": 0.3, "color_strength": 0.5},
        "subject": subject,
    }
    assert options["match"] == [{"inbox": "**", "styles": ["mosaic"]}]
    options["styles"]["mosaic"]["images"] = {"a.jpg": 1.0}
    options["styles"]["mosaic"]["regions"].pop("subject")  # two regions of one colour
    Config.model_validate(json.loads(json.dumps(options)))


def test_the_run_log_loses_no_painting_and_no_share():
    """Neither of two files with one name, nor of one file under two, nor of regions alike."""
    images = [("/art/2023/art/water.png", 0.25), ("/art/2024/art/water.png", 0.25)]
    images += [("/art/p.png", 0.125), ("/art/p.png", 0.375)]
    blend = tuple(StyleImage(Path(path), share, "d" * 64) for path, share in images)
    names = ["sky", *(f"left_{'x' * 57}_{number}" for number in (1, 2))]
    paintings = [f"/own/{number}.png" for number in range(3)]
    regions = [
        Region(name, (StyleImage(Path(file), 1.0, "e" * 64),), mask=Path("/m.png"))
        for name, file in zip(names, paintings, strict=True)
    ]
    job = replace(make_job(style="region sky"), recipe=replace(recipe(*regions), images=blend))
    options = run_log_line(JobResult(job, "done"), "run", "now")["options"]
    style = options["styles"]["region sky"]
    assert style["images"] == {"2023/art/water.png": 0.25, "2024/art/water.png": 0.25, "p.png": 0.5}
    named = [options["styles"][style["regions"][name]["styles"][0]]["images"] for name in names]
    assert named == [{f"{number}.png": 1.0} for number in range(3)]
    Config.model_validate(json.loads(json.dumps(options)))
