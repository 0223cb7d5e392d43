"""Every recipe of docs/recipes.md works as printed, and has its picture."""

import importlib
import sys

import pytest
import yaml
from PIL import Image
from support import ROOT

from pipeline.config.loading import load
from pipeline.config.transfer import PRESETS
from pipeline.daemon.preview import preview
from pipeline.jobs.job import Workspace
from pipeline.render.run_job import run_job

sys.path.insert(0, str(ROOT / "scripts"))
make_recipes = importlib.import_module("make_recipes")
sys.path.remove(str(ROOT / "scripts"))

RECIPES = {heading: config for heading, _, config in make_recipes.recipes()}
TINY = {"size": 64, "scales": [64], "steps": [2], "depths": [5], "content_depths": [5]}


@pytest.mark.slow
@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_works_as_printed(heading, tmp_path, monkeypatch):
    """Its lines in a config: what is planned for two photos is painted, small."""
    config = dict(RECIPES[heading])
    for preset in PRESETS:
        monkeypatch.setitem(PRESETS, preset, TINY)
    (tmp_path / "inbox/sea").mkdir(parents=True)
    with Image.open(ROOT / "inbox/coffee.jpg") as photo:
        small = photo.resize((96, 64))  # `within` paints as large as the photo
    for name in ("inbox/cup.jpg", "inbox/sea/cup.jpg"):
        small.save(tmp_path / name)
    (tmp_path / "paintings").mkdir()
    painting = ROOT / "pipeline/styles/mosaic.jpg"
    (tmp_path / "paintings/sea.jpg").write_bytes(painting.read_bytes())
    if "transfer" in config:
        config["transfer"] = config["transfer"] | TINY
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    loaded = load(tmp_path / "config.yaml")
    due = preview(loaded).due()
    assert due
    for number, pair in enumerate(due):
        staging = tmp_path / str(number)
        staging.mkdir()
        workspace = Workspace("cpu", staging, timelapse=loaded.config.timelapse)
        result = run_job(pair.job, workspace, lambda _: None, lambda: False)
        assert result.error is None
        assert {output.kind for output in result.outputs} >= {"stylized", "enhanced"}


def test_every_picture_of_a_recipe_is_one_that_the_script_draws():
    pictures = {p.stem for p in (ROOT / "docs/pictures/recipes").glob("*.jpg")}
    drawn = {name for _, name, _ in make_recipes.recipes() if name} | {make_recipes.SHEET}
    assert pictures == drawn
    assert len(RECIPES) >= 12
