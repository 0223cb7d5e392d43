"""Where a picture learned: from the plan of its job to the map that the gallery shows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage import data
from support.stock import make_job, make_recipe
from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import starter_styles
from pipeline.config.transfer import Transfer
from pipeline.jobs.job import Job, Workspace
from pipeline.jobs.recipe import Region, StyleImage, digest
from pipeline.nst.guidance.regions import Learned
from pipeline.outbox.learned_map import MOST_CELLS, NO_PLACE, LearnedMap
from pipeline.outbox.thumbnails import PAINTING, STAGED, painting_name, staged_map_name
from pipeline.render.learned_places import cells_of, learned_places
from pipeline.render.run_job import run_job

ATTENTIVE = Transfer(size=64, scales=(64,), steps=(2,), depths=(5,), style_loss="attention")


def plan_of(*rows: dict[int, float], tokens: int) -> Tensor:
    """P (N, N') with these weights in each row."""
    plan = torch.zeros(len(rows), tokens)
    for index, weights in enumerate(rows):
        for token, weight in weights.items():
            plan[index, token] = weight
    return plan


def test_a_cell_that_two_places_teach_gets_the_stronger_and_not_their_middle() -> None:
    plan = plan_of({0: 0.4, 99: 0.6}, {0: 0.6, 99: 0.4}, tokens=100)
    x, y, reach, *other = learned_places(Learned(plan, ((1, 2), (10, 10))), (200, 200))
    # The middle of the last token and of the first, of a painting without its edge.
    assert (x, y, reach) == pytest.approx((936, 936, 0), abs=1)
    assert other == pytest.approx([64, 64, 0], abs=1)


def test_the_radius_holds_half_of_what_a_cell_learned() -> None:
    even = torch.full((1, 100), 0.01)
    *_, reach = learned_places(Learned(even, ((1, 1), (10, 10))), (100, 200))
    assert reach > 200
    spread = plan_of({44: 0.4, 46: 0.3, 42: 0.3}, tokens=100)
    *_, wide = learned_places(Learned(spread, ((1, 1), (10, 10))), (100, 200))
    *_, high = learned_places(Learned(spread, ((1, 1), (10, 10))), (200, 100))
    assert wide == pytest.approx(2 * high, abs=2)  # of the long side, in the painting's shape


def test_a_fine_grid_is_reduced_to_the_cells_of_a_map() -> None:
    tokens = 37 * 25
    learned = Learned(torch.eye(tokens), ((25, 37), (25, 37)))
    rows, columns = cells_of(learned)
    assert (rows, columns) == (16, MOST_CELLS)
    places = torch.tensor(learned_places(learned, (250, 370))).view(rows, columns, 3)
    middle = (torch.arange(columns) + 0.5) / columns * 1000
    assert (places[..., 0] - middle).abs().max() < 30


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A photo, half a cup and half a mosaic, painted with the same photo mirrored."""
    photo, painting = tmp_path / "cup.png", tmp_path / "mirrored.png"
    cup = Image.fromarray(data.coffee()).resize((192, 128))
    with Image.open(starter_styles()["mosaic"]) as mosaic:
        cup.paste(mosaic.convert("RGB").resize((96, 128)), (96, 0))
    cup.save(photo)
    cup.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(painting)
    recipe = replace(
        make_recipe(),
        images=(StyleImage(painting, 1.0, digest(painting)),),
        transfer=ATTENTIVE,
        enhance=Enhance(preset="none"),
        weights="embedded",
    )
    return replace(make_job("cup.png"), path=photo, sha256=digest(photo), recipe=recipe)


def staged(job: Job, folder: Path) -> tuple[list[str], LearnedMap | None]:
    """What a job stages for the gallery, and its map."""
    folder.mkdir()
    result = run_job(job, Workspace("cpu", folder), lambda _: None, lambda: False)
    assert result.status == "done", result.error
    path = folder / STAGED / staged_map_name(result.outputs[0].sha256)
    found = LearnedMap.parse(path.read_bytes()) if path.exists() else None
    return [each.name for each in (folder / STAGED).iterdir()], found


@pytest.mark.slow
def test_a_job_with_attention_stages_where_it_learned_and_its_painting(
    job: Job, tmp_path: Path
) -> None:
    names, found = staged(job, tmp_path / "staging")
    assert found is not None
    (painting,) = found.paintings
    assert painting.name == "mirrored.png"
    assert painting.picture == painting_name(job.recipe.images[0].sha256)
    assert painting.picture in names
    with Image.open(tmp_path / "staging" / STAGED / painting.picture) as small:
        assert max(small.size) <= PAINTING
    places = torch.tensor(painting.places).view(found.rows, found.columns, 3).float()
    left, right = places[..., 0].split(found.columns // 2, 1)
    assert (left > 500).float().mean() > 0.9
    assert (right < 500).float().mean() > 0.9
    assert len(found.as_json()) < 4000


@pytest.mark.slow
def test_a_region_with_paintings_of_its_own_has_no_place_in_the_style(
    job: Job, tmp_path: Path
) -> None:
    mask = tmp_path / "half.png"
    left = Image.new("L", (96, 64))
    left.paste(255, (0, 0, 48, 64))
    left.save(mask)
    own = (StyleImage(job.path, 1.0, digest(job.path)),)
    region = Region("left", own, mask=mask, mask_sha256=digest(mask))
    _, found = staged(replace(job, recipe=replace(job.recipe, regions=(region,))), tmp_path / "s")
    assert found is not None
    (painting,) = found.paintings
    assert tuple(painting.places[:3]) == NO_PLACE
    assert min(painting.places[-3:]) >= 0


@pytest.mark.slow
def test_a_job_without_attention_stages_no_map(job: Job, tmp_path: Path) -> None:
    whole = job.recipe.transfer.model_copy(update={"style_loss": "whole"})
    job = replace(job, recipe=replace(job.recipe, transfer=whole))
    names, found = staged(job, tmp_path / "staging")
    assert found is None
    assert not [name for name in names if "painting" in name]
