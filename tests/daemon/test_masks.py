"""A mask beside a photo belongs to the recipes of this photo, and to nothing else."""

import pytest
from PIL import Image
from support.fake_work import done
from support.inbox_project import loaded
from support.stock import read_log
from support.studio import CONFIG

from pipeline.cli.dry_run import print_dry_run
from pipeline.cli.explain import explain_report, explain_text
from pipeline.jobs.recipe import Region

SKY = CONFIG + "regions: {sky: {strength: 0.2}}\n"


def draw(path, value=255, size=(24, 18), mode="L"):
    Image.new(mode, size, value).save(path)
    return path


def regions(studio) -> dict[str, tuple[Region, ...]]:
    return {job.content: job.recipe.regions for job in studio.executor.begun}


def test_a_mask_is_part_of_the_recipe_of_its_photo_alone(make_studio):
    studio = make_studio(SKY)
    for seed, name in enumerate(("a.png", "sub/b.png")):
        studio.put(name, seed)
    mask = draw(studio.inbox / "sub/b.png.mask.sky.png")
    studio.until_idle()
    found = regions(studio)
    assert found["a.png"] == (Region("sky", strength=0.2),)
    (sky,) = found["sub/b.png"]
    assert (sky.mask, sky.strength, len(sky.mask_sha256)) == (mask, 0.2, 64)
    assert sorted(found) == ["a.png", "sub/b.png"]


def test_a_mask_that_comes_changes_or_goes_plans_exactly_its_photo_again(make_studio):
    studio = make_studio(SKY)
    for seed, name in enumerate(("a.png", "b.png")):
        studio.put(name, seed)
    studio.until_idle()
    mask = studio.inbox / "a.png.mask.sky.png"
    for step in (lambda: draw(mask), lambda: draw(mask, 7), mask.unlink):
        studio.executor.begun.clear()
        step()
        studio.until_idle()
        assert [job.content for job in studio.executor.begun] == ["a.png"]


def test_a_mask_that_comes_before_its_photo_waits_for_it(make_studio):
    studio = make_studio(SKY)
    draw(studio.inbox / "a.png.mask.sky.png")
    studio.until_idle()
    assert studio.executor.begun == []
    studio.put("a.png")
    studio.until_idle()
    assert regions(studio)["a.png"][0].mask is not None


def test_after_a_restart_nothing_is_painted_again_because_of_masks(make_studio):
    studio = make_studio(SKY)
    studio.put("a.png")
    draw(studio.inbox / "a.png.mask.sky.png")
    studio.until_idle()
    studio.again()
    studio.until_idle()
    assert studio.executor.begun == []


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda path: path.write_text("no picture"), "this is not a PNG, JPEG"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: draw(path, size=(18, 24)), "18 x 24 px, and its photo 16 x 12 px"),
    ],
)
def test_a_mask_that_cannot_be_used_fails_its_photo_once_until_it_is_mended(
    make_studio, break_it, words
):
    studio = make_studio(SKY)
    studio.put("a.png")
    mask = draw(studio.inbox / "a.png.mask.sky.png")
    break_it(mask)
    for _ in range(2):
        studio.until_idle()
        studio.again()
    studio.until_idle()
    (line,) = [line for line in read_log(studio.outbox) if line["content"] == "a.png"]
    assert (line["status"], line["error"]["code"]) == ("failed", "sidecar_invalid")
    assert "a.png.mask.sky.png" in line["error"]["message"]
    assert words in line["error"]["message"]
    assert "(" in line["error"]["message"]  # how to mend it
    studio.good_one_survives()
    draw(mask)
    studio.until_idle()
    assert studio.states()["a.png"] == "done"
    assert [r.content for r in studio.ledger.files.refusals() if r.status == "failed"] == []


def test_a_map_gives_regions_their_places_and_lists_a_colour_that_none_has(make_studio):
    studio = make_studio(CONFIG + 'regions: {sky: {color: "#0000ff"}, tower: {color: "#ff0000"}}\n')
    studio.put("a.png")
    path = studio.inbox / "a.png.regions.png"
    image = Image.new("RGB", (24, 18), (0, 0, 255))
    image.paste((255, 0, 0), (0, 9, 12, 18))
    image.paste((255, 255, 255), (12, 9, 24, 18))
    image.save(path)
    studio.until_idle()
    (line,) = [line for line in read_log(studio.outbox) if line["content"] == "a.png"]
    assert "no region has the colour #ffffff (25% of the picture)" in line["error"]["message"]
    image.paste((0, 0, 0), (12, 9, 24, 18))
    image.save(path)
    studio.until_idle()
    found = [(region.name, region.mask, region.color) for region in regions(studio)["a.png"]]
    assert found == [("sky", path, "#0000ff"), ("tower", path, "#ff0000")]


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_mask_stays_in_the_inbox_when_its_photo_leaves(make_studio, after):
    studio = make_studio(SKY + f"after: {after}\n")
    studio.put("a.png")
    mask = draw(studio.inbox / "a.png.mask.sky.png")
    studio.until_idle()
    assert [path.name for path in studio.inbox.iterdir()] == [mask.name]
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_a_mask_replaced_under_its_old_times_is_read_again_when_a_job_finds_it(make_studio):
    studio = make_studio(SKY)
    studio.put("a.png")
    mask = draw(studio.inbox / "a.png.mask.sky.png")
    studio.until_running()
    (job,) = [job for job, _ in studio.executor.jobs]
    studio.service.planner.doubt(job, mask)
    assert studio.service.planner.intake.photo("a.png") is None
    studio.until_idle(done)
    assert studio.states()["a.png"] == "done"


def test_explain_and_dry_run_name_regions_masks_and_what_is_wrong_with_them(make_studio, capsys):
    studio = make_studio(SKY)
    studio.put("a.png")
    mask = draw(studio.inbox / "a.png.mask.sky.png")
    draw(studio.inbox / "a.png.mask.skye.png")
    project = loaded(studio)
    text = explain_text(explain_report(project, studio.inbox / "a.png"))
    assert "region sky: strength 0.2, mask a.png.mask.sky.png" in text
    assert "a.png.mask.skye.png has no effect: no option is set for region 'skye'" in text
    assert "did you mean 'sky'?" in text
    print_dry_run(project, as_json=False)
    (line,) = capsys.readouterr().out.splitlines()
    assert "a.png  mosaic  new" in line
    assert line.endswith("(sky)")
    about = explain_text(explain_report(project, mask))
    assert "ignored: is the mask of region sky of a.png, not a photo" in about
    draw(mask, size=(9, 9))
    text = explain_text(explain_report(project, studio.inbox / "a.png"))
    assert "sidecar_invalid: a.png.mask.sky.png: the mask has 9 x 9 px" in text
