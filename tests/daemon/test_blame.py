"""A fault is blamed on its cause: no photo fails for what its machine or its painting has done."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_work import FakeExecutor, done, failed, photo
from support.stock import make_job
from support.studio import CONFIG, Studio

from pipeline.cli import doctor
from pipeline.config.enhancement import Enhance
from pipeline.config.loading import load
from pipeline.config.sections import Limits
from pipeline.config.transfer import Transfer
from pipeline.daemon import run as running
from pipeline.daemon.blame import WaitingRecipes, check_of, needs_check
from pipeline.errors import Failure, InputError, PlaceError, Reason, StateError
from pipeline.imaging import sandbox as decoding
from pipeline.imaging.sandbox import Decoder
from pipeline.jobs.job import DEFAULT_LIMITS, JobResult, JobState, Workspace
from pipeline.jobs.recipe import Recipe, StyleImage
from pipeline.jobs.retry_policy import LONGEST_REPAIR_WAIT, repair_wait_seconds
from pipeline.ledger.ledger import Ledger
from pipeline.render.run_job import run_job
from pipeline.system.file_version import hash_file
from pipeline.workers.executor import GivenBack
from pipeline.workers.local import LocalExecutor
from pipeline.workers.messages import WorkerSettings

pytestmark = pytest.mark.slow

QUARANTINE = CONFIG + "failed: quarantine\n"
TWO_STYLES = QUARANTINE.replace("styles:\n", 'styles:\n  ink: {image: "builtin:ink_hatching"}\n')
GOOD = ["a.png", "b.png", "c.png"]
LONG = 1800.0


@pytest.fixture
def make(make_studio):
    return lambda config=QUARANTINE, **more: make_studio(config, **more)


def filled(studio: Studio) -> Studio:
    """Good photos, and one that is really broken."""
    for seed, name in enumerate(GOOD):
        studio.put(name, seed)
    (studio.inbox / "broken.jpg").write_bytes(b"no picture at all")
    return studio


class Faulty:
    """What the machine does to every job, until it is repaired."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.executor, self.tries = studio, studio.executor, 0

    def live(self, seconds: float) -> None:
        """Time goes by; each job that is begun ends as the machine lets it, the last one too."""
        until = self.studio.wall + seconds
        while self.studio.wall < until:
            self.studio.tick(5.0)
            self.end_all()
            while self.examines():  # in no time: a slow examiner would shift all later tries
                self.studio.tick(0.0)
                self.end_all()
        while self.executor.events:  # a try under way says nothing yet
            self.studio.tick(0.0)
            self.end_all()

    def examines(self) -> bool:
        service = self.studio.service
        return bool(service.examiner.pending and not service.fault_pause)

    def end_all(self) -> None:
        while self.executor.jobs:
            self.tries += 1
            self.end()

    def end(self) -> None:
        self.executor.end(done)

    def repair(self) -> None:
        raise NotImplementedError


def of_code(code: Reason) -> type[Faulty]:
    """Every job ends with a code, on whatever photo."""

    class OfCode(Faulty):
        def __init__(self, studio: Studio) -> None:
            super().__init__(studio)
            self.executor.broken = code

        def end(self) -> None:
            self.executor.fail(code)

        def repair(self) -> None:
            self.executor.broken = None
            self.end = lambda: self.executor.end(done)

    return OfCode


class NoProcess(Faulty):
    """No process can be had: neither fork nor memory for one."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.executor.submit = self.refuse

    def refuse(self, *_: object) -> None:
        self.tries += 1
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    def repair(self) -> None:
        del self.executor.submit


class NoDevice(Faulty):
    """The only device has gone: jobs come back, and the executor says why."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.executor.poll = self.refuse

    def refuse(self, _timeout: float) -> list:
        if self.executor.jobs:
            self.executor.interrupt()
        if self.executor.events:
            return FakeExecutor.poll(self.executor, 0.0)
        raise PlaceError("this machine has no such device", where="cuda:0")

    def end(self) -> None:
        self.executor.interrupt()

    def repair(self) -> None:
        del self.executor.poll
        self.end = lambda: self.executor.end(done)


class NoDecoder(Faulty):
    """The process that decodes pictures cannot be started."""

    real = decoding.PROGRAM

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        decoding.PROGRAM = "raise SystemExit(1)"

    def repair(self) -> None:
        decoding.PROGRAM = self.real


CODES = [
    *(Reason.WEIGHTS_INVALID, Reason.ENGINE_UNAVAILABLE, Reason.DECODER_UNAVAILABLE),
    *(Reason.STYLE_INVALID, Reason.ENGINE_ERROR, Reason.OUT_OF_MEMORY, Reason.WORKER_CRASHED),
    *(Reason.STALLED, Reason.IO_ERROR, Reason.OUTPUT_INVALID, Reason.DISK_FULL),
]
FAULTS = {code.value: of_code(code) for code in CODES}
FAULTS |= {kind.__name__: kind for kind in (NoProcess, NoDevice, NoDecoder)}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_photo_fails_for_a_fault_of_the_machine_and_all_are_done_after_the_repair(fault, make):
    studio = filled(make())
    machine = FAULTS[fault](studio)
    try:
        machine.live(LONG)
        assert "failed" not in studio.states().values()
        assert [name for name in GOOD if not (studio.inbox / name).exists()] == []
        assert studio.view.message, "no message"
        assert not any(pair.attempt > 5 for pair in studio.ledger.pairs())
        assert machine.tries < 120, "it is tried again and again"
    finally:
        machine.repair()
    machine.live(3 * LONGEST_REPAIR_WAIT + 600)
    assert {name: state for name, state in studio.states().items() if state != "done"} == {}
    assert sorted(studio.states()) == GOOD
    assert [path.name for path in (studio.root / "quarantine").glob("*.jpg")] == ["broken.jpg"]
    assert studio.codes()["broken.jpg"] == "unsupported_format"
    assert studio.view.message == ""


@pytest.mark.parametrize("code", [Reason.ENGINE_ERROR, Reason.WORKER_CRASHED])
def test_a_photo_that_fails_where_another_works_has_failed(code, make):
    studio = make()
    studio.put("a.png")
    for _ in range(60):
        studio.tick(1.0)
        if studio.executor.jobs:
            studio.executor.fail(code)
    assert (studio.root / "quarantine/a.png").exists()
    assert [set(check.recipe.transfer.steps) for check in studio.executor.checks] == [{1}, {1}]
    studio.good_one_survives()


def test_a_photo_that_failed_just_before_the_repair_is_not_blamed(make):
    studio = make()
    studio.put("a.png")
    studio.until_running()
    studio.executor.fail(Reason.ENGINE_ERROR)  # and its check works already
    studio.until_idle()
    assert len(studio.executor.checks) == 1
    assert studio.states() == {"a.png": "done"}


def test_a_broken_painting_holds_its_own_style_only(make):
    studio = filled(make(TWO_STYLES))

    def ends(job, staging: Path) -> JobResult:
        broken = job.style == "ink"
        return failed(job, Reason.STYLE_INVALID) if broken else done(job, staging)

    studio.until_idle(ends)
    assert {pair.state.value for pair in studio.ledger.pairs() if pair.style == "mosaic"} == {
        "done"
    }
    assert {pair.state.value for pair in studio.ledger.pairs() if pair.style == "ink"} == {"queued"}
    assert "style ink waits" in studio.view.message
    for _ in range(100):
        studio.tick(1.0)
        while studio.executor.jobs:
            studio.executor.end(done)
    assert {pair.state.value for pair in studio.ledger.pairs()} == {"done"}
    assert studio.view.message == ""


def test_a_run_that_is_not_patient_ends_with_the_cause_after_a_few_tries(make):
    studio = filled(make())
    studio.service.fault_pauses.patient = False
    machine = of_code(Reason.WEIGHTS_INVALID)(studio)
    with pytest.raises(PlaceError, match="as told"):
        machine.live(LONG)
    assert machine.tries <= 6
    assert "failed" not in studio.states().values()


def test_a_run_that_ends_with_an_error_counts_no_attempt_of_what_it_was_painting(
    tmp_path, monkeypatch
):
    class Broken(FakeExecutor):
        def poll(self, timeout: float) -> list:
            if self.jobs:
                raise StateError("the outbox is out of reach")
            return []

        def close(self, force: bool = False) -> None: ...

    monkeypatch.setattr(running, "open_executor", lambda *_: Broken())
    (tmp_path / "inbox").mkdir()
    photo(tmp_path / "inbox/a.png")
    (tmp_path / "config.yaml").write_text(CONFIG)
    with pytest.raises(StateError, match="out of reach"):
        running.run(load(tmp_path / "config.yaml"), as_json=True, keep_going=False)
    with Ledger(tmp_path / ".state/jobs.sqlite3") as ledger:
        (pair,) = ledger.pairs()
    assert (pair.state, pair.attempt) == (JobState.QUEUED, 0)


def test_a_pair_that_waits_for_its_check_goes_back_into_the_queue_when_the_service_stops(make):
    studio = make()
    studio.put("a.png")
    studio.until_running()
    studio.executor.submit = lambda job, staging: None  # the check takes its time
    studio.executor.fail(Reason.ENGINE_ERROR)
    studio.service.tick(studio.now, studio.wall)
    assert studio.states() == {"a.png": "running"}
    studio.service.stop()
    studio.service.finish()
    assert studio.states() == {"a.png": "queued"}
    assert [pair.attempt for pair in studio.ledger.pairs()] == [0]


def test_waits_for_a_repair_are_bounded_and_survive_a_clock_that_is_set_back():
    waits = [repair_wait_seconds(times) for times in range(1, 100)]
    assert waits == sorted(waits)
    assert waits[0] == 5.0
    assert waits[-1] == LONGEST_REPAIR_WAIT
    recipes, job = WaitingRecipes(), make_job()
    recipes.add(job, "its painting is damaged", 2e9)
    assert recipes.must_wait(job, 2e9 + 1)
    assert not recipes.must_wait(job, 1e9)
    recipes.keep_only({"another recipe"})
    assert (recipes.describe(), job in recipes) == ("", False)


def test_a_check_is_the_recipe_itself_on_another_photo():
    job = make_job()
    check = check_of(job)
    assert check.recipe.transfer.size == job.recipe.transfer.size
    assert check.recipe.images == job.recipe.images
    assert check.path.is_file()
    assert needs_check(Failure(Reason.ENGINE_ERROR, ""))
    assert not needs_check(Failure(Reason.TRUNCATED, ""))


# --- the decoder ----------------------------------------------------------------------------


def test_a_file_is_damaged_only_where_a_good_one_can_be_decoded(tmp_path, monkeypatch):
    damaged = photo(tmp_path / "damaged.png")
    damaged.write_bytes(damaged.read_bytes()[:40])
    decoder = Decoder(Limits())
    try:
        with pytest.raises(InputError) as caught:
            decoder.probe(damaged)
        assert caught.value.code is Reason.TRUNCATED
        monkeypatch.setattr(decoding, "KNOWN_GOOD", damaged)  # as if the decoder broke on all
        with pytest.raises(PlaceError, match="own picture too") as place:
            decoder.probe(damaged)
        assert place.value.code is Reason.DECODER_UNAVAILABLE
    finally:
        decoder.close()


# --- workers --------------------------------------------------------------------------------


def real_job(folder: Path, **recipe: object):
    picture = photo(folder / "a.png")
    painting = folder / "painting.png"
    if not painting.exists():
        photo(painting, seed=3)
    transfer = Transfer(size=64, steps=(1,), scales=(64,))
    images = (StyleImage(painting, 1.0, hash_file(painting)),)
    plain = Recipe(images, transfer, Enhance(), "embedded", 0)
    job = make_job("a.png", sha=hash_file(picture))
    return replace(job, path=picture, recipe=replace(plain, **recipe))


def ended(job, folder: Path) -> JobResult:
    staging = folder / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    workspace = Workspace("cpu", staging, DEFAULT_LIMITS)
    return run_job(job, workspace, lambda _: None, lambda: False)


def test_damaged_weights_are_the_machines_fault_and_say_so(tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"half of them")
    result = ended(real_job(tmp_path, weights=str(weights)), tmp_path)
    assert result.error.code is Reason.WEIGHTS_INVALID
    assert "weights.pth" in result.error.message


def test_a_painting_or_a_start_image_that_is_damaged_is_the_styles_fault(tmp_path):
    (tmp_path / "painting.png").write_bytes(photo(tmp_path / "x.png").read_bytes()[:40])
    result = ended(real_job(tmp_path), tmp_path)
    assert result.error.code is Reason.STYLE_INVALID
    assert "painting.png" in result.error.message


def test_an_error_that_nobody_knows_is_a_result_and_not_the_end_of_the_worker(
    tmp_path, monkeypatch
):
    def broken(*_args, **_options):
        raise AttributeError("module 'torch' has no attribute 'nn'")

    monkeypatch.setattr("pipeline.render.run_job.stylize", broken)
    result = ended(real_job(tmp_path), tmp_path)
    assert result.error.code is Reason.ENGINE_ERROR
    assert "AttributeError" in result.error.message


def broken_torch(_name: str):
    """Stands for the search for devices where torch cannot be loaded."""
    raise ImportError("libtorch_cpu.so: cannot open shared object file")


def dies_at_its_start(_name: str):
    os._exit(9)


@pytest.mark.parametrize("find", [broken_torch, dies_at_its_start])
def test_a_worker_that_never_starts_charges_no_job(find, tmp_path):
    executor = LocalExecutor(["cpu"], WorkerSettings(do=done, find=find))
    try:
        executor.submit(make_job(), tmp_path)
        events = []
        while not events:
            events = executor.poll(0.1)
        assert [type(event) for event in events] == [GivenBack]
        with pytest.raises(PlaceError, match=r"libtorch|ended while starting"):
            executor.poll(0.0)
        assert executor.free() == 0
        executor.renew()
        assert executor.free() > 0
    finally:
        executor.close(force=True)


def test_a_worker_process_that_cannot_be_had_gives_its_job_back(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    executor = LocalExecutor(["cpu"], WorkerSettings(do=done))
    monkeypatch.setattr("pipeline.workers.device_slot.subprocess.Popen", refuse)
    executor.submit(make_job(), tmp_path)
    assert [type(event) for event in executor.poll(0.0)] == [GivenBack]
    with pytest.raises(PlaceError, match="no worker process can be started"):
        executor.poll(0.0)
    executor.close(force=True)


# --- the same words -------------------------------------------------------------------------


def test_doctor_says_of_weights_and_paintings_what_the_work_says(tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "w.pth").write_bytes(b"half of them")
    (tmp_path / "painting.png").write_bytes(photo(tmp_path / "x.png").read_bytes()[:40])
    config = tmp_path / "config.yaml"
    config.write_text("weights: w.pth\nstyles: {half: {image: painting.png}}\n")
    said = {
        found["name"]: found["says"] for found in doctor.doctor_report(load(config))["findings"]
    }
    weights = ended(real_job(tmp_path, weights=str(tmp_path / "w.pth")), tmp_path)
    assert weights.error.message == said["style half"]  # met first
    photo(tmp_path / "painting.png", seed=3)
    weights = ended(real_job(tmp_path, weights=str(tmp_path / "w.pth")), tmp_path)
    assert weights.error.message == f"weights: {said['weights']}"
