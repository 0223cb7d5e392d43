"""The plan: inbox x manifest - done."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import Manifest, Style
from pipeline.config.model import MatchRule
from pipeline.config.transfer import Transfer
from pipeline.jobs.job import Job, JobState, Photo
from pipeline.jobs.plan import KnownPair, Planned, plan_jobs
from pipeline.jobs.recipe import Recipe, StyleImage

A, B = "a" * 64, "b" * 64


def style(name: str, **transfer: object) -> Style:
    return Style(name, ((Path(f"{name}.jpg"), 1.0),), (f"{name}.jpg",), Transfer(**transfer))


def recipe(style: Style) -> Recipe:
    images = tuple(StyleImage(path, share, path.name) for path, share in style.images)
    return Recipe(images, style.transfer, Enhance(), "embedded", 0)


def manifest(*styles: Style) -> Manifest:
    rule = MatchRule(inbox="**", styles=tuple(s.name for s in styles))
    return Manifest({s.name: s for s in styles}, (rule,))


def photo(content: str, sha256: str = A) -> Photo:
    return Photo(content, Path("inbox") / content, sha256)


def done(plan: list[Planned], state: JobState = JobState.DONE) -> dict[tuple[str, str], KnownPair]:
    jobs = [pair.job for pair in plan if pair.job]
    return {
        (j.content, j.style): KnownPair(j.id, j.sha256, j.recipe.digest, state, j.content)
        for j in jobs
    }


def why(plan: list[Planned]) -> list[tuple[str, str, str]]:
    return [(pair.content, pair.style, pair.why) for pair in plan]


ONE, TWO = style("one"), style("two")


def test_every_photo_is_planned_with_every_style_photo_by_photo() -> None:
    photos = [photo("x.jpg"), photo("y.jpg", B)]
    plan = plan_jobs(photos, manifest(ONE, TWO), recipe, {}, {})
    assert why(plan) == [
        ("x.jpg", "one", "new"), ("x.jpg", "two", "new"),
        ("y.jpg", "one", "new"), ("y.jpg", "two", "new"),
    ]  # fmt: skip


def test_what_is_done_is_not_done_again() -> None:
    first = plan_jobs([photo("x.jpg")], manifest(ONE), recipe, {}, {})
    again = plan_jobs([photo("x.jpg")], manifest(ONE), recipe, done(first), {})
    assert why(again) == [("x.jpg", "one", "done")]
    assert not again[0].due


def test_a_new_style_is_applied_to_photos_already_there() -> None:
    first = plan_jobs([photo("x.jpg")], manifest(ONE), recipe, {}, {})
    more = plan_jobs([photo("x.jpg")], manifest(ONE, TWO), recipe, done(first), {})
    assert why(more) == [("x.jpg", "one", "done"), ("x.jpg", "two", "new")]


def test_a_changed_option_renders_exactly_the_affected_pairs_again() -> None:
    first = plan_jobs([photo("x.jpg")], manifest(ONE, TWO), recipe, {}, {})
    changed = manifest(style("one", content_weight=0.5), TWO)
    plan = plan_jobs([photo("x.jpg")], changed, recipe, done(first), {})
    assert why(plan) == [("x.jpg", "one", "recipe changed"), ("x.jpg", "two", "done")]


def test_a_photo_that_changed_under_its_name_is_rendered_again() -> None:
    first = plan_jobs([photo("x.jpg", A)], manifest(ONE), recipe, {}, {})
    plan = plan_jobs([photo("x.jpg", B)], manifest(ONE), recipe, done(first), {})
    assert why(plan) == [("x.jpg", "one", "photo changed")]


def test_a_failed_pair_waits_for_retry() -> None:
    first = plan_jobs([photo("x.jpg")], manifest(ONE), recipe, {}, {})
    failed = done(first, JobState.FAILED)
    assert (
        why(plan_jobs([photo("x.jpg")], manifest(ONE), recipe, failed, {}))[0][2] == "failed before"
    )


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.STAGED])
def test_a_pair_that_was_interrupted_is_rendered_again(state: JobState) -> None:
    first = plan_jobs([photo("x.jpg")], manifest(ONE), recipe, {}, {})
    plan = plan_jobs([photo("x.jpg")], manifest(ONE), recipe, done(first, state), {})
    assert why(plan) == [("x.jpg", "one", "unfinished")]


def test_the_same_photo_under_two_names_is_rendered_once() -> None:
    plan = plan_jobs([photo("x.jpg"), photo("copy.jpg")], manifest(ONE), recipe, {}, {})
    assert why(plan) == [("x.jpg", "one", "new"), ("copy.jpg", "one", "duplicate")]
    assert plan[1].same_as == "x.jpg"


def test_a_duplicate_is_made_itself_once_the_earlier_result_is_gone() -> None:
    """Replacing the first photo takes its pictures away; the copy must not go without."""
    plan = plan_jobs([photo("x.jpg"), photo("copy.jpg")], manifest(ONE), recipe, {}, {})
    known = done(plan[:1]) | done(plan[1:], JobState.SKIPPED)
    later = plan_jobs([photo("x.jpg", B), photo("copy.jpg")], manifest(ONE), recipe, known, {})
    assert why(later) == [("x.jpg", "one", "photo changed"), ("copy.jpg", "one", "unfinished")]


def test_a_photo_that_no_rule_fits_is_reported() -> None:
    nothing = Manifest({"one": ONE}, (MatchRule(inbox="z/**", styles=("one",)),))
    assert why(plan_jobs([photo("x.jpg")], nothing, recipe, {}, {})) == [("x.jpg", "", "no match")]


def test_a_recipe_does_not_depend_on_where_its_files_lie() -> None:
    one = recipe(ONE)
    moved = replace(one, images=(StyleImage(Path("/other/place.jpg"), 1.0, "one.jpg"),))
    assert moved.digest == one.digest
    here, there = (
        Recipe(one.images, Transfer(init=path), Enhance(), "embedded", 0, init_sha256=A)
        for path in ("a.png", "/b.png")
    )
    assert here.digest == there.digest != replace(here, init_sha256=B).digest


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"weights": "torchvision"}, {"enhance": Enhance(sharpen=0.9)}, {"images": ()}],
)
def test_whatever_decides_the_pixels_changes_the_recipe(change: dict[str, object]) -> None:
    assert replace(recipe(ONE), **change).digest != recipe(ONE).digest


def test_a_job_crosses_process_boundaries_unchanged_even_with_an_odd_name() -> None:
    job = Job("caf\udce9/x.jpg", Path("inbox/x.jpg"), A, "one", recipe(ONE), attempt=2)
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.id == replace(job, attempt=3).id
