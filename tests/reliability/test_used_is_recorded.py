"""What was used is what is recorded: the bytes a picture was made of are those its recipe names.

Files are replaced by others of the same size and time, as `cp -p`, archives and backups do.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.fake_work import done, honest
from support.stock import plain_picture, read_log, swap
from support.studio import Studio

from pipeline.config.enhancement import Enhance
from pipeline.config.loading import Loaded, load
from pipeline.config.transfer import Transfer
from pipeline.daemon.instance import instance_lock
from pipeline.daemon.recipe_files import DOUBT_SECONDS, RecipeFiles
from pipeline.daemon.run import Loop
from pipeline.daemon.signals import StopRequests
from pipeline.enhance import learned_upscaler as learned
from pipeline.errors import ChangedError, WeightsError
from pipeline.jobs import recipe as recipes
from pipeline.jobs.job import Job, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage, digest
from pipeline.monitoring.terminal.dashboard import Dashboard
from pipeline.nst import Vgg19, load_weights
from pipeline.nst.weights import CONVS
from pipeline.render import run_job as worker
from pipeline.system.file_version import Stamp
from pipeline.workers.executor import GivenBack

pytestmark = pytest.mark.slow

SEA = """
styles: {sea: {image: sea.bmp}}
limits: {free_bytes: 0}
watch: {settle_seconds: %s}
"""


# --- the worker -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory, weights) -> dict[str, tuple[Path, Path]]:
    """Of all that a picture is made of, a file and another of the same size."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for seed, name in enumerate(("photo", "painting", "init")):
        found[name] = tuple(plain_picture(folder / f"{name}{n}.bmp", 10 * seed + n) for n in (1, 2))
    half = {key: tensor.half() for key, tensor in weights.items()}
    # Biases and the first layer stay the same: two trainings may share any part.
    changed = half | {"features.14.weight": half["features.14.weight"] * 1.5}
    found["weights"] = folder / "vgg1.pth", folder / "vgg2.pth"
    for path, state in zip(found["weights"], (half, changed), strict=True):
        torch.save(state, path)
    found["model"] = folder / "grow1.safetensors", folder / "grow2.safetensors"
    for seed, path in enumerate(found["model"]):
        save_file(enlarging_model(seed), path)
    return found


def enlarging_model(seed: int) -> dict[str, torch.Tensor]:
    """A tiny network of a kind that spandrel knows, doubling."""
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.PReLU(8)]
    layers += [torch.nn.Conv2d(8, 8, 3), torch.nn.PReLU(8), torch.nn.Conv2d(8, 3 * 2 * 2, 3)]
    shapes = torch.nn.ModuleDict({"body": torch.nn.Sequential(*layers)}).state_dict()
    generator = torch.Generator().manual_seed(seed)
    return {k: 0.1 * torch.randn(t.shape, generator=generator) for k, t in shapes.items()}


def job_of(made_of: dict[str, Path]) -> Job:
    """The job that the planner would make of these files now."""
    grown = Enhance(preset="none", upscale=2, upscale_by="model", upscale_model=made_of["model"])
    recipe = Recipe(
        (StyleImage(made_of["painting"], 1.0, digest(made_of["painting"])),),
        Transfer(size=32, scales=(32,), steps=(2,), init=str(made_of["init"])),
        grown,
        str(made_of["weights"]),
        seed=0,
        weights_sha256=digest(made_of["weights"]),
        init_sha256=digest(made_of["init"]),
        upscale_sha256=digest(made_of["model"]),
    )
    return Job("photo1.bmp", made_of["photo"], digest(made_of["photo"]), "sea", recipe)


def forget_everything(about: str) -> None:
    """As in a worker that has just started; the network only where it matters: it takes long."""
    cached = [worker.cached_photo, worker._cached_style, worker._caches, learned._model]
    for function in cached + [worker._load_network] * (about == "weights"):
        function.cache_clear()


@pytest.fixture
def paint(tmp_path: Path, one_thread) -> Callable[[Job, str], list[str]]:
    """Does a job with the caches of a state folder; digests of its pictures."""
    count = iter(range(100))

    def run(job: Job, state: str) -> list[str]:
        staging = tmp_path / f"staging{next(count)}"
        staging.mkdir()
        workspace = Workspace("cpu", staging, checkpoints=tmp_path / state / "checkpoints")
        result = worker.run_job(job, workspace, lambda _: None, lambda: False)
        assert result.status == "done", result.error
        return [output.sha256 for output in result.outputs]

    return run


@pytest.mark.parametrize("name", ["photo", "painting", "init", "weights", "model"])
def test_a_file_replaced_under_its_old_time_is_never_painted_under_the_wrong_recipe(
    name: str, files, paint, tmp_path: Path
) -> None:
    made_of = {}
    for part, (first, _) in files.items():
        made_of[part] = Path(shutil.copy(first, tmp_path)) if part == name else first
    forget_everything(name)
    planned = job_of(made_of)
    first = paint(planned, "worn")
    swap(made_of[name], files[name][1])
    if name != "init":  # which is not remembered
        # What the worker remembers is what the recipe says, whatever became of the file.
        assert paint(planned, "worn") == first
    forget_everything(name)
    with pytest.raises(ChangedError) as caught:
        paint(planned, "worn")
    assert caught.value.path == made_of[name]
    # Planned again: as in a worker, and with a cache on disk, that never knew the other file.
    planned_again = job_of(made_of)
    paint(job_of({part: pair[0] for part, pair in files.items()}), "worn")
    second = paint(planned_again, "worn")
    forget_everything(name)
    assert second == paint(planned_again, "fresh") != first


@pytest.mark.parametrize("name", ["painting", "init", "weights", "model"])
def test_a_file_that_is_gone_fails_no_photo(name: str, files, paint, tmp_path: Path) -> None:
    made_of = {part: pair[0] for part, pair in files.items()}
    planned = job_of(made_of)
    moved = {part: tmp_path / "gone" if part == name else made_of[part] for part in made_of}
    parts = job_of(made_of).recipe
    transfer = parts.transfer.model_copy(update={"init": str(moved["init"])})
    enhance = parts.enhance.model_copy(update={"upscale_model": moved["model"]})
    images = (replace(parts.images[0], path=moved["painting"]),)
    recipe = replace(
        parts, images=images, transfer=transfer, enhance=enhance, weights=str(moved["weights"])
    )
    forget_everything(name)
    with pytest.raises(ChangedError):
        paint(replace(planned, recipe=recipe), "state")


@pytest.mark.parametrize("layer", ["conv1_2", "conv3_4", "conv5_4"])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_networks_that_differ_anywhere_have_different_names_in_caches(layer, part, weights) -> None:
    key = f"features.{CONVS[layer][0]}.{part}"
    changed = weights[key].clone()
    changed.view(-1)[-1] += 1e-3
    assert Vgg19(weights | {key: changed}).identity != Vgg19(weights).identity


def test_downloaded_weights_are_checked_each_time_they_are_used(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    kept.parent.mkdir(parents=True)
    torch.save({"features.0.weight": torch.zeros(1)}, kept)
    with pytest.raises(WeightsError, match="wrong SHA-256") as caught:
        load_weights("torchvision")
    assert str(kept) in str(caught.value)
    assert "remove it" in str(caught.value)


# --- the daemon -----------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path: Path, make_studio: Callable[..., Studio]) -> Callable[..., Studio]:
    def start(settle: float = 0) -> Studio:
        plain_picture(tmp_path / "sea.bmp", 1)
        studio = make_studio(SEA % settle)
        studio.put("a.png", 7)
        return studio

    return start


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return plain_picture(tmp_path / "other.bmp", 2)


def used(studio: Studio) -> str:
    """What the one picture in the outbox says of its ingredients."""
    return (studio.outbox.root / "a--sea.png").read_text()


def done_lines(studio: Studio) -> list[dict]:
    log = read_log(studio.outbox)
    assert {line["status"] for line in log} == {"done"}
    assert {line["attempt"] for line in log} == {1}
    return log


def test_a_painting_replaced_under_its_old_time_is_noticed_at_the_next_scan(make, other) -> None:
    studio = make()
    studio.until_idle(honest)
    assert digest(studio.root / "sea.bmp") in used(studio)
    swap(studio.root / "sea.bmp", other)
    studio.until_idle(honest)
    assert digest(other) in used(studio)
    assert len(done_lines(studio)) == 2


def test_a_job_whose_painting_is_replaced_on_the_way_comes_back_and_burns_no_attempt(
    make, other
) -> None:
    studio = make()
    studio.until_running()
    swap(studio.root / "sea.bmp", other)
    studio.executor.end(honest)
    studio.until_idle(honest)
    assert digest(other) in used(studio)
    assert len(done_lines(studio)) == 1


def test_a_link_pointed_at_another_painting_is_noticed(make, other, tmp_path) -> None:
    studio = make()
    (tmp_path / "sea.bmp").rename(tmp_path / "first.bmp")
    (tmp_path / "sea.bmp").symlink_to("first.bmp")
    studio.configure(SEA % 0)
    studio.service.configure(studio.config, studio.manifest)
    studio.until_idle(honest)
    (tmp_path / "sea.bmp").unlink()
    (tmp_path / "sea.bmp").symlink_to(other.name)
    studio.until_idle(honest)
    assert digest(other) in used(studio)
    assert len(done_lines(studio)) == 2


def test_a_disk_that_reports_no_change_is_seen_through_by_the_worker(
    make, other, monkeypatch
) -> None:
    studio = make()
    studio.until_idle(honest)
    painting = studio.root / "sea.bmp"
    before = recipes._known[painting]
    stamps = recipes.Stamp.of

    class Frozen(Stamp):
        @classmethod
        def of(cls, status: os.stat_result) -> Stamp:
            return before.stamp if status.st_ino == painting.stat().st_ino else stamps(status)

    monkeypatch.setattr(recipes, "Stamp", Frozen)
    monkeypatch.setattr(recipes, "COARSE_NS", 0)  # as if it had been written long ago
    swap(painting, other)
    studio.put("b.png", 8)
    studio.until_idle(honest)
    assert digest(other) in (studio.outbox.root / "b--sea.png").read_text()
    done_lines(studio)


def test_a_painting_that_goes_on_changing_is_waited_for_and_not_tried_again_and_again(
    make, tmp_path
) -> None:
    studio = make(settle=2)
    studio.until_running()
    for seed in range(60):
        plain_picture(tmp_path / "sea.bmp", 100 + seed)
        studio.tick(1.0)
        while studio.executor.jobs:
            studio.executor.end(honest)
        assert not studio.service.idle
    assert len(studio.executor.begun) == 1
    studio.until_idle(honest)
    assert digest(tmp_path / "sea.bmp") in used(studio)
    assert len(done_lines(studio)) == 1


@pytest.mark.parametrize("which", ["photo", "painting"])
def test_a_worker_that_never_sees_what_the_daemon_sees_makes_no_busy_loop(make, which) -> None:
    studio = make()
    seconds = 30

    def contrary(job: Job, _: Path) -> GivenBack:
        return GivenBack(job, job.path if which == "photo" else studio.root / "sea.bmp")

    for _ in range(seconds * 10):
        studio.tick(0.1)
        studio.examined()
        while studio.executor.jobs:
            studio.executor.end(contrary)
    assert 5 < len(studio.executor.begun) <= seconds / DOUBT_SECONDS + 1
    studio.until_idle(done)
    assert len(done_lines(studio)) == 1


def test_a_file_is_left_alone_until_it_has_held_the_same_for_a_while() -> None:
    files = RecipeFiles(5.0)
    path = Path("/sea.jpg")

    def recipe(sha256: str) -> Recipe:
        return Recipe((StyleImage(path, 1.0, sha256),), Transfer(), Enhance(), "embedded", 0)

    def job(sha256: str) -> Job:
        return Job("a.jpg", Path("/a.jpg"), "", "sea", recipe(sha256))

    files.compare([recipe("1")], 0.0, 100.0)
    assert not files.must_wait(job("1"))  # what lies there at the start is taken to be still
    files.compare([recipe("2")], 1.0, 101.0)
    assert files.must_wait(job("2"))
    assert files.settled_at == 6.0
    files.compare([recipe("2")], 5.9, 105.9)
    assert files.unsettled == {path}
    files.compare([recipe("2")], 6.0, 106.0)
    assert not files.must_wait(job("2"))
    files.doubt(path)
    assert files.must_wait(job("2"))


# --- the config -----------------------------------------------------------------------------


def test_a_config_edited_while_the_program_starts_is_taken_up(make, other) -> None:
    """Also where neither its size nor its time says so."""
    studio = make()
    path = studio.root / "config.yaml"
    text = path.read_text()
    loaded: Loaded = load(path)
    edited = studio.root / "edited"
    edited.write_text(text.replace("sea.bmp", "oth.bmp"))
    other.rename(studio.root / "oth.bmp")
    swap(path, edited)
    with (
        instance_lock(studio.root / "lock", "watch") as record,
        Dashboard(silent=True) as dashboard,
    ):
        loop = Loop(studio.service, loaded, StopRequests(), dashboard, record, None)
        loop.reload_config(0.0, 0.0)
        assert [style.images[0][0].name for style in loop.loaded.manifest.styles.values()] == [
            "oth.bmp"
        ]
        before = loop.loaded
        loop.reload_config(0.0, 0.0)
        assert loop.loaded is before
        edited.write_text(text)
        swap(path, edited)
        loop.reload_config(0.0, 0.0)
        assert loop.loaded.manifest == loaded.manifest
