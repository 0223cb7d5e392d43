"""A job reads the masks of its regions only as they were planned, and blames a bad one."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from support.fake_work import photo
from support.stock import make_job, make_recipe

from pipeline.config.sections import Limits
from pipeline.errors import ChangedError, JobError
from pipeline.imaging.sandbox import Decoder
from pipeline.jobs.recipe import Region, digest
from pipeline.render.region_masks import load_masks
from pipeline.system.file_version import hash_file


@pytest.fixture
def decoder():
    found = Decoder(Limits())
    yield found
    found.close()


def job_with(folder, path, color=None):
    region = Region("sky", strength=0.1, mask=path, mask_sha256=digest(path), color=color)
    place = photo(folder / "a.png")
    job = make_job("a.png")
    recipe = replace(make_recipe(), regions=(Region("face", strength=0.2), region))
    return replace(job, path=place, sha256=hash_file(place), recipe=recipe)


def draw(path, value=255):
    image = Image.new("L", (8, 6))
    image.paste(value, (0, 0, 8, 3))
    image.save(path)
    return path


def test_masks_are_tensors_from_0_to_1_by_region(tmp_path, decoder):
    masks = load_masks(job_with(tmp_path, draw(tmp_path / "a.png.mask.sky.png")), decoder)
    assert list(masks) == ["sky"]
    half = torch.tensor([1.0, 0.0]).repeat_interleave(3)
    assert masks["sky"].equal(half[None, :, None].expand(1, 6, 8))


def test_a_region_of_a_map_is_read_by_its_colour(tmp_path, decoder):
    image = Image.new("RGB", (8, 6), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 8, 3))
    image.save(tmp_path / "a.png.regions.png")
    job = job_with(tmp_path, tmp_path / "a.png.regions.png", "#ff0000")
    assert load_masks(job, decoder)["sky"].mean() == 0.5


@pytest.mark.parametrize("change", [lambda path: draw(path, 7), lambda path: path.unlink()])
def test_a_mask_that_changed_since_the_plan_has_the_job_planned_again(tmp_path, decoder, change):
    path = draw(tmp_path / "a.png.mask.sky.png")
    job = job_with(tmp_path, path)
    change(path)
    with pytest.raises(ChangedError) as caught:
        load_masks(job, decoder)
    assert caught.value.path == path


def test_a_mask_that_cannot_be_decoded_is_blamed_on_the_photo_s_side(tmp_path, decoder):
    path = draw(tmp_path / "a.png.mask.sky.png")
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(JobError) as caught:
        load_masks(job_with(tmp_path, path), decoder)
    assert caught.value.code == "sidecar_invalid"
