"""`transfer.within`: the size and steps that a time is enough for, chosen once and recorded."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from support import ROOT

import pipeline
from pipeline.cli.flags import parse_flags
from pipeline.config.checks.options import find_products
from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import LADDER, PRESETS, SIZED, Transfer, resolve_transfer
from pipeline.errors import UsageError
from pipeline.imaging.metadata import read_record
from pipeline.imaging.tensors import load_image
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Effort, Interrupted, Job, JobResult, Workspace
from pipeline.jobs.provenance import parse
from pipeline.jobs.rates import NAME, Rates, work_of
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.nst.guidance.regions import NO_GUIDE, WHOLE, Guide, Learned, Region
from pipeline.outbox.run_log import run_log_line
from pipeline.render.goals.within import Chosen, Pair, choose, sized
from pipeline.render.run_job import run_job

PHOTO = (1000, 1500)  # height and width in px
SECONDS_PER_UNIT = 1e-5


def in_proportion(pair: Pair, *sides: int) -> dict[float, float]:
    """Measured efforts of a machine that takes 10 s for each million units."""
    efforts = [pair.effort(sized(Transfer(within=1), side)) for side in sides]
    return {effort.units: effort.units * SECONDS_PER_UNIT for effort in efforts}


def never() -> Callable[[Effort], float]:
    raise AssertionError("what is measured is not timed again")


# --- the option -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seconds"), [(30, 30), (1.5, 1.5), ("30s", 30), ("2m", 120), ("1.5h", 5400)]
)
def test_a_time_is_seconds_or_has_a_unit(given: float | str, seconds: float) -> None:
    assert Transfer(within=given).within == seconds


@pytest.mark.parametrize("given", [0, -3, "0s", "-5s", "30 parsecs", "", True, 1e9, float("nan")])
def test_what_is_no_time_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        Transfer.model_validate({"within": given})


def test_a_wrong_time_is_reported_with_the_flag_and_an_example() -> None:
    with pytest.raises(UsageError, match="'30 parsecs' is not a length of time, such as 30s"):
        parse_flags(Transfer, {"within": "30 parsecs"})
    with pytest.raises(UsageError) as error:
        parse_flags(Transfer, {"within": "0"})
    assert error.value.where == "--within"
    assert "for example, --within 30s" in error.value.hint
    assert parse_flags(Transfer, {"within": "2m"}).within == 120


def test_options_that_a_time_overrides_are_reported_and_presets_are_not() -> None:
    for preset in LADDER:
        assert not [*find_products(resolve_transfer(preset, Transfer(within=30)))]
    assert [*find_products(resolve_transfer("fine", Transfer(within=30, size=700)))] == [
        "within and size are both set: within decides, and size has no effect"
    ]


def test_only_the_wish_is_part_of_the_recipe() -> None:
    def of(**options: object) -> str:
        return Recipe((), Transfer(**options), Enhance(), "embedded", 0).digest

    assert of(within=30) == of(within="30s") == of(within=30, size=1024, steps=(9,))
    assert len({of(), of(within=30), of(within=31), of(within=30, strength=0.3)}) == 4


def test_a_draft_of_it_is_a_plain_draft() -> None:
    recipe = Recipe((), Transfer(within=30, size=64), Enhance(), "embedded", 0)
    assert recipe.draft is not None
    assert recipe.draft.transfer.within is None
    assert recipe.draft.transfer.size == 256


def test_a_pair_is_estimated_at_its_time_on_any_machine() -> None:
    assert Rates(None).seconds(["cpu"], work_of(Transfer(within=40))) == 40


# --- the choice -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "preset"),
    [(64, 0), (256, 0), (383, 0), (384, 1), (512, 1), (767, 1), (768, 2), (1536, 3), (2048, 3)],
)
def test_a_size_has_the_steps_of_the_preset_with_as_many_scales(side: int, preset: int) -> None:
    own = Transfer(within=30, steps=(7,), scales=(64,), depths=(1,), strength=0.3)
    found, usual = sized(own, side), Transfer.model_validate(PRESETS[LADDER[preset]])
    assert [getattr(found, name) for name in SIZED[1:]] == [
        getattr(usual, name) for name in SIZED[1:]
    ]
    assert (found.size, found.within, found.strength) == (side, None, 0.3)


@pytest.mark.parametrize("seconds", [20, 30, 60, 120])
def test_the_largest_picture_that_fits_is_chosen(seconds: float) -> None:
    pair, wish = Pair(PHOTO), Transfer(within=seconds)
    chosen = choose(wish, pair, in_proportion(pair, 512), never)
    assert 0.85 * seconds < chosen.expected <= seconds
    assert not chosen.missed
    larger = pair.effort(sized(wish, chosen.transfer.size + 16))
    assert larger.units * SECONDS_PER_UNIT > seconds


def test_more_time_never_gives_a_smaller_picture() -> None:
    pair = Pair(PHOTO)
    measured = in_proportion(pair, 256, 512, 1024)
    times = [2.0 * 1.3**power for power in range(20)]
    sizes = [choose(Transfer(within=t), pair, measured, never).transfer.size for t in times]
    assert all(small <= large for small, large in pairwise(sizes))
    assert sizes[-1] == max(PHOTO)


def test_too_little_time_gives_the_smallest_picture_and_says_so() -> None:
    pair = Pair(PHOTO)
    chosen = choose(Transfer(within=0.5), pair, in_proportion(pair, 256), never)
    assert chosen.transfer.size == 256
    assert chosen.missed
    assert "even the smallest picture, 256 px, takes about" in chosen.note


@pytest.mark.parametrize("own", [12, 40, 300, 600])
def test_no_picture_is_larger_than_its_photo(own: int) -> None:
    pair = Pair((own // 2, own))
    chosen = choose(Transfer(within=3600), pair, in_proportion(pair, 256), never)
    assert chosen.transfer.size == max(own, 16)  # the least that the option accepts
    assert Transfer.model_validate(chosen.transfer.model_dump(exclude={"within"}))


def test_steps_are_timed_where_nothing_near_was_measured() -> None:
    pair, wish = Pair(PHOTO), Transfer(within=60)
    far = in_proportion(pair, 2048)
    for measured in ({}, {units * 100: seconds for units, seconds in far.items()}):
        chosen = choose(wish, pair, measured, lambda: lambda effort: effort.units * 1e-5)
        assert chosen == choose(wish, pair, in_proportion(pair, 512), never)


def test_time_for_a_target_and_for_enlarging_is_left() -> None:
    pair = Pair(PHOTO)
    measured = in_proportion(pair, 512)
    plain = choose(Transfer(within=60), pair, measured, never).transfer.size
    target = choose(Transfer(within=60, target={"style": 0.3}), pair, measured, never).transfer
    assert (target.size < plain, target.target) == (True, {"style": 0.3})
    larger = replace(pair, enhance=Enhance(upscale=2))
    assert choose(Transfer(within=60), larger, measured, never).transfer.size < plain


def test_faces_take_longer_the_more_room_they_have() -> None:
    def units(detail: torch.Tensor | None) -> float:
        return Pair(PHOTO, replace(NO_GUIDE, detail=detail)).effort(Transfer()).units

    none, face = torch.zeros(1, 1, 100, 150), torch.zeros(1, 1, 100, 150)
    face[..., 40:60, 40:60] = 1
    assert units(none) < units(face) < units(torch.ones(1, 1, 100, 150)) == units(None)


def test_efforts_of_another_manner_are_measured_apart() -> None:
    plain, options = Pair(PHOTO), Transfer()
    alike = Learned(torch.zeros(1, 1), ((1, 1), (1, 1)))
    guides = (Guide(learned=(alike,)), Guide(regions=(*WHOLE, Region())))
    manners = [replace(plain, guide=guide).manner(options) for guide in guides]
    wishes = (options, Transfer(statistic="gram"), Transfer(target={"style": 0.3}))
    manners += [plain.manner(wish) for wish in wishes]
    assert len({*manners}) == 5


# --- rates ------------------------------------------------------------------------------------


def done(effort: Effort, seconds: float, **more: object) -> JobResult:
    job = Job("a.jpg", Path("a.jpg"), "5" * 64, "s", Recipe((), Transfer(), Enhance(), "", 0))
    return JobResult(job, "done", seconds, "cpu", effort=effort, **more)


def test_efforts_outlast_the_process_and_leave_the_rates_of_kinds_alone(tmp_path: Path) -> None:
    rates = Rates(tmp_path / NAME)
    rates.add_result(done(Effort("plain", 1.1e6), 11.0))
    rates.add_result(done(Effort("plain", 8e6), 90.0, within={"wanted": 90}))
    rates.save()
    kept = Rates(tmp_path / NAME)
    per_unit = [seconds / units for units, seconds in sorted(kept.efforts("cpu", "plain").items())]
    assert per_unit == pytest.approx([1e-5, 90 / 8e6])
    assert not kept.efforts("cpu", "other")
    assert not kept.efforts("cuda:0", "plain")
    assert kept.seconds(["cpu"], work_of(Transfer())) == 11.0


def test_a_failed_job_has_no_rate() -> None:
    rates = Rates(None)
    rates.add_result(replace(done(Effort("plain", 1e6), 3.0), status="failed"))
    assert not rates.efforts("cpu", "plain")


# --- the picture ------------------------------------------------------------------------------


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "draft", PRESETS["draft"] | {"steps": (5, 3)})


@pytest.fixture
def job(tmp_path: Path, few_steps: None) -> Job:
    photo, painting = tmp_path / "a.png", ROOT / "pipeline/styles/mosaic.jpg"
    with Image.open(ROOT / "inbox/coffee.jpg") as picture:
        picture.resize((72, 48)).save(photo)
    images = (StyleImage(painting, 1.0, digest(painting)),)
    wish = Transfer(within=20, statistic="gram", protect="none")
    return Job("a.png", photo, digest(photo), "s", Recipe(images, wish, Enhance(), "embedded", 0))


def run(job: Job, folder: Path, stop: Callable[[], bool] = lambda: False) -> JobResult:
    folder.mkdir()
    workspace = Workspace("cpu", folder, checkpoints=folder.parent / "kept")
    return run_job(job, workspace, lambda _: None, stop)


@pytest.mark.slow
def test_what_was_chosen_is_recorded_and_paints_the_same_again(job: Job, tmp_path: Path) -> None:
    result = run(job, tmp_path / "first")
    assert result.error is None
    assert result.within["size"] == 72
    assert result.notes[0].startswith("within 20 s: 72 px, steps 5/3")
    assert result.effort is not None
    line = json.loads(json.dumps(run_log_line(result, "run", "now")))
    used = line["options"]["styles"]["s"]["transfer"]
    assert (used["size"], used["steps"], line["recipe"]) == (72, [5, 3], job.recipe.digest)
    assert "within" not in used
    made = parse(read_record(load_image(Path(result.outputs[0].path)).xmp))
    assert (made.transfer["size"], made.transfer["within"]) == (72, None)
    painting = job.recipe.images[0].path
    again = made.rebuild_recipe((painting,), None, "embedded")
    assert again.digest == made.recipe
    second = run(replace(job, recipe=again), tmp_path / "second")
    assert second.outputs[0].sha256 == result.outputs[0].sha256


def test_an_interrupted_run_goes_on_at_the_size_it_has_chosen(job: Job, tmp_path: Path) -> None:
    reached = torch.zeros(3, 24, 32)
    Checkpoints(tmp_path / "kept").save(job.id, 1, reached, size=64)
    result = run(job, tmp_path / "staging")
    assert (result.within["size"], result.within["expected"]) == (64, None)
    assert result.effort is None  # a part of the time says nothing of the whole


def test_timing_ends_when_the_job_is_to_stop(job: Job, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(job, tmp_path / "staging", lambda: True)


def test_both_the_time_and_the_target_are_in_the_run_log() -> None:
    wish = Transfer(within=30, target={"style": 0.3})
    job = Job("a.jpg", Path("a.jpg"), "5" * 64, "s", Recipe((), wish, Enhance(), "", 0))
    chosen = Chosen(30, sized(wish, 400), 27.0).as_row()
    found = {"measure": "style", "wanted": 0.3, "reached": 0.3, "strength": 0.4, "trials": 3}
    line = run_log_line(JobResult(job, "done", target=found, within=chosen), "run", "now")
    used = line["options"]["styles"]["s"]["transfer"]
    assert (used["size"], used["strength"]) == (400, 0.4)
    assert not {"within", "target"} & used.keys()


@pytest.mark.slow
def test_the_call_from_python_keeps_to_a_time_too(few_steps: None) -> None:
    with Image.open(ROOT / "inbox/coffee.jpg") as photo:
        small = photo.resize((48, 32))
    painted = pipeline.paint(small, "builtin:mosaic", within="20s", statistic="gram")
    assert painted.size == (48, 32)
    with pytest.warns(UserWarning, match="even the smallest picture, 48 px"):
        pipeline.paint(small, "builtin:mosaic", within=0.01, statistic="gram")
