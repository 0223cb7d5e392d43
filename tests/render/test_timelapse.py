"""The film of a job: what is kept, what is chosen, what is written."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from support.fake_work import photo
from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.sections import Timelapse
from pipeline.config.transfer import Transfer
from pipeline.errors import UsageError
from pipeline.imaging.animation import HOLD_SECONDS, write_film
from pipeline.jobs.job import Interrupted, Job, JobResult, Output, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.nst import Iterate
from pipeline.render.run_job import run_job
from pipeline.render.single import check_film
from pipeline.render.timelapse import CANDIDATES, Recorder, choose_frames

pytestmark = pytest.mark.slow

FINISHED = torch.full((3, 48, 64), 0.9)


def iterate(step: int, image: Tensor, scale: int = 1) -> Iterate:
    nothing = SimpleNamespace(loss=torch.tensor(1.0), terms={})
    return Iterate(scale, 2, step, 999, image, image, nothing, 0.1 * step, 0, step, 1)


def grey(level: float, side: int = 64) -> Tensor:
    return torch.full((1, 3, side * 3 // 4, side), level)


def recorded(levels: list[float], **settings: object) -> Recorder:
    recorder = Recorder(Timelapse(**settings))
    for step, level in enumerate(levels, 1):
        recorder.observe(iterate(step, grey(level)))
    return recorder


def levels(frames: list[np.ndarray]) -> list[int]:
    return [int(frame.mean()) for frame in frames]


# --- what is kept ---------------------------------------------------------------------------


def test_the_film_begins_at_the_first_step_and_ends_with_the_finished_picture() -> None:
    frames = recorded([0.1, 0.2, 0.3]).frames(FINISHED)
    assert levels(frames) == [26, 51, 76, 230]


def test_frames_of_all_scales_have_the_size_of_the_finished_picture() -> None:
    recorder = Recorder(Timelapse(side=40))
    recorder.observe(iterate(1, grey(0.1, 16)))
    recorder.observe(iterate(2, grey(0.5, 64), scale=2))
    assert {frame.shape for frame in recorder.frames(FINISHED)} == {(30, 40, 3)}


def test_a_small_picture_is_not_enlarged_for_its_film() -> None:
    assert recorded([0.1], side=320).frames(FINISHED)[0].shape == (48, 64, 3)


def test_memory_stays_bounded_however_long_the_job() -> None:
    recorder = recorded([0.5] * 5_000, frames=10)
    assert len(recorder.candidates) <= CANDIDATES * 10 + 1


def test_the_first_steps_of_each_scale_are_copied_more_often() -> None:
    recorder = Recorder(Timelapse(frames=24))
    kept = []
    for step in range(1, 201):
        before = len(recorder.candidates)
        recorder.observe(iterate(step, grey(0.5, 16), scale=1 + (step > 100)))
        if len(recorder.candidates) > before:
            kept.append(step)
    assert kept[:3] == [1, 2, 3]
    assert {101, 102, 103} <= set(kept)
    assert max(after - before for before, after in pairwise(kept)) > 5


def test_an_iterate_that_moves_in_place_does_not_change_what_was_kept() -> None:
    recorder, image = Recorder(Timelapse(side=320, stills=(1,))), grey(0.2)
    recorder.observe(iterate(1, image))
    image.fill_(1.0)
    assert levels(recorder.frames(FINISHED))[0] == 51
    assert recorder.stills[1].max() == 51


def test_a_diverged_iterate_is_a_dark_frame_and_no_crash() -> None:
    frames = recorded([float("nan"), float("inf"), 0.5]).frames(FINISHED)
    assert levels(frames)[-1] == 230


def test_without_a_film_nothing_is_kept() -> None:
    assert recorded([0.1] * 9, format="none").candidates == []


# --- what is chosen -------------------------------------------------------------------------


def test_frames_are_even_in_what_changed_and_not_in_steps() -> None:
    # Ten steps without a change, then ten that change alike.
    chosen = choose_frames([0.0] * 10 + [1.0] * 10, 6)
    assert [number for number in chosen if number > 0] == [12, 14, 16, 18, 20]


@given(st.lists(st.floats(0, 255), max_size=99), st.integers(2, 50))
def test_any_history_gives_ordered_frames_with_both_ends(changes: list[float], count: int) -> None:
    chosen = choose_frames(changes, count)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, len(changes))
    assert len(chosen) <= count


# --- what is written ------------------------------------------------------------------------

STRIP = [np.full((30, 41, 3), level, np.uint8) for level in range(0, 250, 50)]


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_an_animation_shows_every_frame_and_holds_the_last(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    assert write_film(STRIP, path, 2.0) == (41, 30)
    with Image.open(path) as film:
        assert film.n_frames == len(STRIP)
        lasting = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            lasting.append(film.info["duration"])
            level = np.asarray(film.convert("RGB")).mean()
            assert level == pytest.approx(STRIP[number].mean(), abs=4)
        assert lasting == [500, 500, 500, 500, 1000 * HOLD_SECONDS]
        assert film.info["loop"] == 0


def test_a_video_has_even_sides_and_ends_with_the_finished_picture(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert write_film(STRIP, tmp_path / "film.mp4", 2.0) == (40, 30)
    with av.open(str(tmp_path / "film.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == len(STRIP) + 3  # 2 frames a second, held for 1.5 s
    assert frames[-1].mean() == pytest.approx(200, abs=6)


def test_a_still_is_the_picture_of_that_step_at_its_own_size(tmp_path: Path) -> None:
    recorder = recorded([0.2, 0.4], format="none", stills=(2, 77))
    (still,) = recorder.stage(FINISHED, tmp_path)
    assert still.with_stem("sub/a--mosaic").path == "sub/a--mosaic.step-0002.png"
    with Image.open(still.path) as picture:
        assert picture.size == (still.width, still.height) == (64, 48)
        assert picture.getpixel((0, 0)) == (102, 102, 102)


def test_each_kind_of_output_has_a_name_of_its_own() -> None:
    def named(kind: str, path: str) -> str:
        return Output(kind, path, "", 1, 1, 1).with_stem("a--b").path

    assert named("timelapse", "/s/timelapse.gif") == "a--b.timelapse.gif"
    assert named("still", "/s/step-99999.png") == "a--b.step-99999.png"


@pytest.mark.parametrize(
    ("wrong", "about"),
    [({"format": "avi"}, "format"), ({"frames": 1}, "frames"), ({"stills": [0]}, "stills"),
     ({"seconds": 0}, "seconds"), ({"fps": 3}, "fps")],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong: dict, about: str) -> None:
    with pytest.raises(ValidationError, match=about):
        Timelapse.model_validate(wrong)


# --- a whole job ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("photos")
    painting, content = photo(folder / "style.png", 7), photo(folder / "a.png")
    images = (StyleImage(painting, 1.0, digest(painting)),)
    transfer = Transfer(size=48, scales=(32, 48), steps=(3, 2))
    recipe = Recipe(images, transfer, Enhance(), "embedded", 0)
    return Job("a.png", content, digest(content), "s", recipe)


def test_a_job_leaves_its_film_and_stills_among_its_outputs(job: Job, tmp_path: Path) -> None:
    workspace = Workspace("cpu", tmp_path, timelapse=Timelapse(side=32, stills=(1, 5)))
    result = run_job(job, workspace, lambda _: None, lambda: False)
    assert result.error is None
    kinds = [output.kind for output in result.outputs]
    assert kinds == ["stylized", "enhanced", "still", "still", "timelapse"]
    film = result.outputs[-1]
    with Image.open(film.path) as picture:
        assert picture.size == (film.width, film.height) == (32, 24)
        assert 3 <= picture.n_frames <= 6  # five steps, and the finished picture


def test_a_job_taken_up_again_has_a_shorter_film_and_no_broken_one(
    job: Job, tmp_path: Path
) -> None:
    """Three steps at the first scale, two at the second: interrupted at the fifth question."""

    def attempt(name: str, stop_at: int) -> JobResult:
        staging, asked = tmp_path / name, iter(range(99))
        staging.mkdir()
        film = Timelapse(stills=(1, 4))
        workspace = Workspace("cpu", staging, checkpoints=tmp_path / "kept", timelapse=film)
        return run_job(job, workspace, lambda _: None, lambda: next(asked) == stop_at)

    with pytest.raises(Interrupted):
        attempt("first", 4)
    result = attempt("second", 99)
    assert result.error is None
    assert [output.kind for output in result.outputs[2:]] == ["still", "timelapse"]
    with Image.open(result.outputs[-1].path) as film:
        assert 2 <= film.n_frames <= 3


def test_the_curve_has_the_last_step_and_distinguishes_scales(job: Job, tmp_path: Path) -> None:
    result = run_job(job, Workspace("cpu", tmp_path), lambda _: None, lambda: False)
    assert result.curve[0][0] == 1
    assert result.curve[-1] == (5, result.losses["total"], 2)


def test_a_film_is_no_part_of_the_recipe(job: Job) -> None:
    assert "timelapse" not in Recipe.__dataclass_fields__
    assert "timelapse" not in Transfer.model_fields


# --- the command line -----------------------------------------------------------------------


def pipeline(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_stylize_writes_a_film_to_the_path_given(job: Job, tmp_path: Path) -> None:
    film = tmp_path / "other" / "growth.gif"
    film.parent.mkdir()
    done = pipeline("stylize", str(job.path), "builtin:mosaic", "-o", str(tmp_path / "o.png"),
                    "--size", "32", "--steps", "2", "--timelapse", str(film), "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["curve"][-1][1] == pytest.approx(told["losses"]["total"])
    assert told["outputs"][-1]["path"] == str(film)
    with Image.open(film) as picture:
        assert picture.n_frames >= 2


@pytest.mark.parametrize("name", ["film.avi", "film.none", "film", "missing/film.webp"])
def test_an_impossible_film_is_reported_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"film|missing"):
        check_film(tmp_path / name)
