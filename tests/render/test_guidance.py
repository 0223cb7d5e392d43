"""From options, regions and masks to what the engine does with them, with real networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from support.picture_stock import PORTRAIT_BOX
from support.stock import make_job, make_recipe
from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import starter_styles
from pipeline.config.sections import Timelapse
from pipeline.config.transfer import Transfer
from pipeline.errors import InputError
from pipeline.imaging.tensors import load_image
from pipeline.jobs.job import Interrupted, Job, Workspace
from pipeline.jobs.recipe import Region, StyleImage, digest
from pipeline.nst import Vgg19
from pipeline.nst.guidance.regions import NO_GUIDE, Guide
from pipeline.render.guidance import HOLDS, Sources, build_guide, find_faces
from pipeline.render.run_job import run_job

pytestmark = pytest.mark.slow

QUICK = Transfer(size=96, scales=(48, 96), steps=(8, 4), depths=(5, 3))
PLAIN = QUICK.model_copy(update={"protect": "all", "style_loss": "whole"})


@pytest.fixture(scope="module")
def portrait() -> Tensor:
    """(3, 256, 256): a photograph with one face; as a painting, a portrait."""
    return _tensor(data.astronaut()[::2, ::2])


@pytest.fixture(scope="module")
def table() -> Tensor:
    """(3, 200, 300): a photograph without a face."""
    return _tensor(data.coffee()[::2, ::2])


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def guide_for(photo: Tensor, painting: Tensor, network: Vgg19, **options: object) -> Guide:
    wanted = QUICK.model_copy(update=options)
    return build_guide(Sources(photo, [painting]), wanted, (), network, "cpu")


def inside(mask: Tensor) -> float:
    """The mean of a mask in the face of `portrait`."""
    height, width = mask.shape[-2:]
    left, top, right, bottom = PORTRAIT_BOX
    rows = slice(round(top * height), round(bottom * height))
    return float(mask[..., rows, round(left * width) : round(right * width)].mean())


# --- faces ------------------------------------------------------------------------------------


def test_by_default_a_painting_teaches_as_a_whole_unless_it_alone_shows_a_face(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    for photo, painting in ((portrait, table), (table, table), (portrait, portrait)):
        guide = guide_for(photo, painting, network)
        assert replace(guide, detail=None, cap=None) == NO_GUIDE


def test_a_freely_painted_portrait_that_fills_the_photo_learns_from_a_painted_one_by_place(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    close = portrait[:, :150, 45:165]
    free = {"protect_strength": 0.5}
    assert guide_for(close, portrait, network, **free).learned
    assert not guide_for(close, table, network, **free).learned
    assert not guide_for(close, portrait, network).learned


def test_by_default_a_portrait_teaches_each_place_of_a_landscape_what_is_like_it(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    guide = guide_for(table, portrait, network)
    assert guide.learned
    assert torch.stack([region.mask for region in guide.motifs]).sum(0).allclose(torch.ones(1))
    for region in guide.motifs:
        (source,) = region.sources
        assert inside(source) < 0.2 * float(source.max())  # no place learns from its face


def test_content_holds_what_makes_a_person_and_leaves_the_rest_to_strokes(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    caps = [
        guide_for(photo, table, network, protect_strength=0.5).cap
        for photo in (portrait[:, :150, 45:165], portrait, table)
    ]
    for cap, hold in zip(caps, reversed(HOLDS), strict=False):
        assert cap is not None
        assert float(cap.min()) == pytest.approx(hold.skin, rel=0.2)
        assert float(cap.max()) == pytest.approx(hold.features, rel=0.02)
        assert float(cap[0, 0, -1, 0]) == pytest.approx(hold.rest, rel=0.1)
    assert caps[2] is None


def test_the_stronger_the_protection_the_more_of_a_portrait_is_kept(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    weak, usual, strong = (
        guide_for(portrait, table, network, protect_strength=strength).cap
        for strength in (0.0, 0.5, 0.9)
    )
    assert (weak <= usual).all()
    assert (usual <= strong).all()
    assert weak.mean() < 0.5 * usual.mean() < 0.25 * strong.mean()
    for options in ({"protect_strength": 1.0}, *({"protect": p} for p in ("all", "none"))):
        assert guide_for(portrait, table, network, **options).cap is None


def test_a_photo_without_faces_is_painted_alike_at_any_protection(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    weak, strong = (
        guide_for(table, table, network, protect_strength=strength) for strength in (0.0, 1.0)
    )
    assert replace(weak, detail=None) == replace(strong, detail=None) == NO_GUIDE
    assert not weak.detail.any()


def test_a_painted_face_teaches_nothing_where_the_photo_has_none(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    guide = guide_for(table, portrait, network, style_loss="faces")
    (region,) = guide.motifs
    assert region.mask is None
    assert region.sources is not None
    assert inside(region.sources[0]) < 0.05
    assert float(region.sources[0][..., -20:, :].min()) == 1
    assert guide.regions is NO_GUIDE.regions  # strokes and colours of skin stay


def test_a_painted_face_teaches_the_faces_of_the_photo(portrait: Tensor, network: Vgg19) -> None:
    rest, face = guide_for(portrait, portrait, network, style_loss="faces").motifs
    assert inside(face.mask) > 0.95
    assert inside(face.sources[0]) > 0.9
    assert inside(rest.mask) < 0.05
    assert inside(rest.sources[0]) < 0.1


def test_a_painting_without_faces_is_used_whole(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    guide = guide_for(portrait, table, network, style_loss="faces")
    assert guide.motifs is NO_GUIDE.motifs


def test_a_picture_is_searched_for_faces_once(
    portrait: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_faces(portrait)
    monkeypatch.setattr("pipeline.render.guidance._detector", None)
    assert found is not None
    assert found.equal(find_faces(portrait))


@pytest.mark.parametrize(("protect", "share"), [("none", 0.0), ("face", 0.1), ("subject", 0.6)])
def test_small_forms_are_kept_where_they_are_protected(
    protect: str, share: float, portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    detail = guide_for(portrait, table, network, protect=protect).detail
    assert detail is not None
    assert float(detail.mean()) == pytest.approx(share, abs=0.1)
    no_face = guide_for(table, portrait, network, protect="face").detail
    assert no_face is not None
    assert not no_face.any()


# --- attention ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["vgg", "vit"])
def test_each_place_learns_from_a_place_that_is_like_it(
    by: str, portrait: Tensor, network: Vgg19
) -> None:
    """A picture's best teacher is itself: most of what a place learns comes from around it."""
    guide = guide_for(portrait, portrait, network, style_loss="attention", attention_by=by)
    (learned,) = guide.learned
    (height, width), (rows, columns) = learned.grids
    plan = learned.plan.view(height, width, rows, columns)
    assert float(plan.sum()) == pytest.approx(1, abs=1e-4)
    at = torch.stack(torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns,
                                    indexing="ij"))  # fmt: skip
    learned_from = torch.einsum("abrc,krc->kab", plan, at) * height * width
    own = torch.stack(torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width,
                                     indexing="ij"))  # fmt: skip
    distance = (learned_from - own).norm(dim=0)
    assert float(distance.median()) < 0.25  # by chance 0.4


def test_attention_leaves_a_painted_face_out_where_the_photo_has_none(
    portrait: Tensor, table: Tensor, network: Vgg19
) -> None:
    guide = guide_for(table, portrait, network, style_loss="attention")
    (learned,) = guide.learned
    taught = learned.plan.sum(0).view(1, 1, *learned.grids[1])
    assert inside(taught) < 0.1 * float(taught.mean())


# --- regions --------------------------------------------------------------------------------------


def test_a_region_of_ones_own_without_a_mask_is_an_error_with_the_file_to_make(
    table: Tensor, network: Vgg19
) -> None:
    sources = Sources(table, [table])
    with pytest.raises(InputError, match=r"PHOTO\.mask\.tower\.png"):
        build_guide(sources, QUICK, (Region("tower", strength=0.2),), network, "cpu")


def test_a_region_that_the_photo_does_not_have_changes_nothing(
    table: Tensor, network: Vgg19
) -> None:
    sources = Sources(table, [table])
    assert build_guide(sources, PLAIN, (Region("face", strength=0.2),), network, "cpu") == NO_GUIDE


def test_the_smaller_part_comes_before_the_one_that_holds_it(
    portrait: Tensor, network: Vgg19
) -> None:
    masks = {"background": torch.ones(1, 8, 8)}
    regions = (Region("background", strength=0.9), Region("face", strength=0.1))
    guide = build_guide(Sources(portrait, [portrait], masks=masks), PLAIN, regions, network, "cpu")
    face, background, rest = guide.regions
    assert inside(face.mask) > 0.95
    assert inside(background.mask) < 0.05
    assert float(rest.mask.max()) < 1e-6
    assert [region.strength for region in guide.regions] == [0.1, 0.9, None]
    assert guide.hold is None  # the engine knows what a strength does


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A photo whose left half is the region `water`, painted with another painting."""
    photo, mask = tmp_path / "cup.png", tmp_path / "cup.png.mask.water.png"
    Image.fromarray(data.coffee()).resize((120, 80)).save(photo)
    half = Image.new("L", (60, 40))
    half.paste(255, (0, 0, 30, 40))
    half.save(mask)
    mosaic, waves = (starter_styles()[name] for name in ("mosaic", "woodcut_waves"))
    own = (StyleImage(waves, 1.0, digest(waves)),)
    region = Region("water", own, mask=mask, mask_sha256=digest(mask))
    recipe = replace(
        make_recipe(),
        images=(StyleImage(mosaic, 1.0, digest(mosaic)),),
        transfer=QUICK,
        enhance=Enhance(preset="none"),
        weights="embedded",
        regions=(region,),
    )
    return replace(make_job("cup.png"), path=photo, sha256=digest(photo), recipe=recipe)


def paint(job: Job, folder: Path, **more: object) -> Tensor:
    folder.mkdir()
    result = run_job(job, Workspace("cpu", folder, **more), lambda _: None, lambda: False)
    assert result.status == "done", result.error
    return load_image(folder / "stylized.png").rgb


def test_a_region_is_painted_with_its_own_painting_and_the_rest_is_not(
    job: Job, tmp_path: Path
) -> None:
    plain = replace(job, recipe=replace(job.recipe, regions=()))
    waves = replace(plain, recipe=replace(plain.recipe, images=job.recipe.regions[0].images))
    both, mosaic, water = (
        paint(each, tmp_path / name) for each, name in ((job, "a"), (plain, "b"), (waves, "c"))
    )
    left, right = slice(0, 40), slice(56, None)

    def color(picture: Tensor, side: slice) -> Tensor:
        return picture[..., side].mean((1, 2))

    for side, like, unlike in ((left, water, mosaic), (right, mosaic, water)):
        near = (color(both, side) - color(like, side)).norm()
        assert near < (color(both, side) - color(unlike, side)).norm()


def test_a_region_of_strength_0_is_the_photo(job: Job, tmp_path: Path) -> None:
    still = replace(job.recipe.regions[0], images=(), strength=0.0)
    picture = paint(replace(job, recipe=replace(job.recipe, regions=(still,))), tmp_path / "a")
    photo = load_image(job.path, long_side=96).rgb
    assert (picture[..., :40] - photo[..., :40]).abs().mean() < 0.01
    assert (picture[..., 56:] - photo[..., 56:]).abs().mean() > 0.05


def test_a_job_of_strength_0_ends_without_a_step_and_with_its_film(
    job: Job, tmp_path: Path
) -> None:
    still = job.recipe.transfer.model_copy(update={"strength": 0.0})
    whole = replace(job, recipe=replace(job.recipe, transfer=still, regions=()))
    film = Timelapse(format="webp")
    picture = paint(whole, tmp_path / "a", timelapse=film)
    assert (picture - load_image(job.path, long_side=96).rgb).abs().max() < 0.01
    assert (tmp_path / "a/timelapse.webp").exists()


def test_regions_go_with_blocks_an_interruption_and_other_options(job: Job, tmp_path: Path) -> None:
    recipe = job.recipe
    options = recipe.transfer.model_copy(update={"style_loss": "attention", "statistic": "gram"})
    job = replace(job, recipe=replace(recipe, transfer=options, seed=3))
    whole = paint(job, tmp_path / "whole")
    blocks = paint(job, tmp_path / "blocks", block=64)
    assert (whole - blocks).abs().mean() < 0.02
    looks = iter(range(100))
    saved = Workspace("cpu", tmp_path / "half", checkpoints=tmp_path / "points")
    saved.staging.mkdir()
    with pytest.raises(Interrupted):
        run_job(job, saved, lambda _: None, lambda: next(looks) == 9)
    assert paint(job, tmp_path / "again", checkpoints=tmp_path / "points").equal(whole)
