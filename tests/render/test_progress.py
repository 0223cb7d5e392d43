"""What a running job reports about itself."""

from pathlib import Path

import pytest
from support.fake_work import photo

from pipeline.config.enhancement import Enhance
from pipeline.config.sections import Timelapse
from pipeline.config.transfer import Transfer
from pipeline.jobs.job import Job, Progress, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.render.run_job import run_job


def reports_of(folder: Path, enhance: Enhance) -> list[Progress]:
    painting, content = photo(folder / "style.png", 7), photo(folder / "a.png")
    images = (StyleImage(painting, 1.0, digest(painting)),)
    transfer = Transfer(size=48, scales=(48,), steps=(3,))
    recipe = Recipe(images, transfer, enhance, "embedded", 0)
    job, seen = Job("a.png", content, digest(content), "s", recipe), []
    (folder / "staging").mkdir()
    workspace = Workspace("cpu", folder / "staging", timelapse=Timelapse(format="none"))
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
