"""What a running job reports about itself."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_work import photo

from pipeline.config.enhancement import Enhance
from pipeline.config.sections import Timelapse
from pipeline.config.transfer import Transfer
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Interrupted, Job, Progress, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.render import progress
from pipeline.render.run_job import run_job


def job_of(folder: Path, enhance: Enhance, **options: Any) -> tuple[Job, Workspace]:
    painting, content = photo(folder / "style.png", 7), photo(folder / "a.png")
    images = (StyleImage(painting, 1.0, digest(painting)),)
    transfer = Transfer(**{"size": 48, "scales": (48,), "steps": (3,)} | options)
    recipe = Recipe(images, transfer, enhance, "embedded", 0)
    (folder / "staging").mkdir()
    workspace = Workspace(
        "cpu",
        folder / "staging",
        checkpoints=folder / "kept",
        timelapse=Timelapse(format="none"),
    )
    return Job("a.png", content, digest(content), "s", recipe), workspace


def reports_of(folder: Path, enhance: Enhance) -> list[Progress]:
    seen: list[Progress] = []
    job, workspace = job_of(folder, enhance)
    assert run_job(job, workspace, seen.append, lambda: False).error is None
    return seen


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.slow
def test_a_job_says_that_it_finishes_while_it_enhances_and_writes(tmp_path, upscale):
    seen = reports_of(tmp_path, Enhance(upscale=upscale))
    phases = [report.finishing for report in seen]
    assert phases == sorted(phases)
    first = seen[phases.index(True)]
    assert (first.step, first.steps, first.seconds_left) == (3, 3, 0.0)
    # Enlarging renders the larger picture, with steps of its own.
    assert (max(report.side for report in seen) == 96) == (upscale == 2)


@pytest.mark.slow
def test_a_stop_while_the_picture_is_enlarged_keeps_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "CHECKPOINT_SECONDS", 0.0)
    seen: list[Progress] = []
    job, workspace = job_of(tmp_path, Enhance(upscale=2), scales=(24, 48), steps=(2, 2))

    def should_stop() -> bool:
        return any(report.side == 96 for report in seen)  # the enlarged picture is painted

    with pytest.raises(Interrupted):
        run_job(job, workspace, seen.append, should_stop)
    scale, picture = Checkpoints(workspace.checkpoints).load(job.id, 0)
    assert (scale, max(picture.shape)) == (1, 24)
