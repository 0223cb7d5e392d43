"""Anything may happen, in any order: what must hold whatever happens, and in the end.

Hypothesis makes up lives of a project folder. After each step the invariants are checked; at the
end all troubles are over, and the outbox must come to hold what inbox and manifest ask for.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.fake_work import done, honest, photo
from support.stock import amiss_among_versions, pictures, plain_picture, read_log, swap
from support.studio import Studio

from pipeline.errors import OutputError, Reason
from pipeline.jobs import recipe as recipes
from pipeline.jobs.job import JobState
from pipeline.jobs.retry_policy import MAX_ATTEMPTS
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox
from pipeline.system.file_version import hash_file

pytestmark = pytest.mark.slow

NAMES = st.sampled_from(["a.png", "b.png", "sub/a.png", "sub/c.jpg"])
SEEDS = st.integers(0, 3)
MEMORY = Path("/dev/shm")
TRANSIENT = (Reason.OUT_OF_MEMORY, Reason.IO_ERROR, Reason.WORKER_CRASHED, Reason.STALLED)
# All that a picture can be made of besides its photo; weights and model are never looked into.
INGREDIENTS = {"images": "sea.bmp", "init": "start.bmp", "weights": "vgg.pth", "model": "grow.pth"}
CONFIG = """
styles: {mosaic: {image: sea.bmp, transfer: {init: start.bmp}}}
weights: vgg.pth
enhance: {upscale: 2, upscale_by: model, upscale_model: grow.pth}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""
OTHER = CONFIG + "seed: 1\n"


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        for seed, name in enumerate(INGREDIENTS.values()):
            plain_picture(self.root / name, seed)
        # All happens within one step of the disk's clock here.
        self.plan_ns, recipes.PLAN_NS = recipes.PLAN_NS, 0
        self.studio = Studio(self.root, CONFIG, slots=2)
        self.full = False
        self.config = CONFIG
        self.publish = Outbox.publish
        Outbox.publish = self.publishing

    def teardown(self) -> None:
        Outbox.publish = self.publish
        recipes.PLAN_NS = self.plan_ns
        self.studio.close()
        shutil.rmtree(self.root)

    def publishing(self, *args, **options):
        if self.full:
            raise OutputError("no space left", code=Reason.DISK_FULL)
        return self.publish(self.studio.outbox, *args, **options)

    # --- what people do -----------------------------------------------------------------

    @rule(name=NAMES, seed=SEEDS)
    def drop(self, name, seed):
        photo(self.studio.inbox / name, seed)

    @rule(name=NAMES, seed=SEEDS)
    def rename_in(self, name, seed):
        new = photo(self.root / f"new{Path(name).suffix}", seed)
        (self.studio.inbox / name).parent.mkdir(exist_ok=True)
        new.rename(self.studio.inbox / name)

    @rule(name=NAMES)
    def append(self, name):
        path = self.studio.inbox / name
        if path.exists():
            with path.open("ab") as file:
                file.write(b"more")

    @rule(name=NAMES)
    def cut(self, name):
        path = self.studio.inbox / name
        if path.exists():
            path.write_bytes(path.read_bytes()[:50])

    @rule(name=NAMES)
    def delete(self, name):
        (self.studio.inbox / name).unlink(missing_ok=True)

    @rule(
        name=NAMES, text=st.sampled_from(["enhance: {sharpen: 0.9}\n", "styles: [nothing]\n", None])
    )
    def side_file(self, name, text):
        path = self.studio.inbox / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True) if text is None else path.write_text(text)

    @rule(name=NAMES)
    def foreign_file(self, name):
        place = self.studio.outbox.root / f"{Path(name).stem}--mosaic.png"
        if not place.exists():
            place.write_text("not ours")

    @rule()
    def retry(self):
        with Ledger(self.root / ".state" / "jobs.sqlite3") as elsewhere:
            elsewhere.retry()

    @rule(name=st.sampled_from(sorted(INGREDIENTS.values())), seed=SEEDS)
    def replace_painting_or_weights_under_the_old_time(self, name, seed):
        swap(self.root / name, plain_picture(self.root / "new.bmp", 10 + seed))

    @rule()
    def change_config(self):
        self.config = OTHER if self.config == CONFIG else CONFIG
        self.studio.configure(self.config)
        self.studio.service.configure(self.studio.config, self.studio.manifest)

    # --- what machines do ---------------------------------------------------------------

    @rule(count=st.integers(1, 5), seconds=st.sampled_from([0.01, 1.0, 40.0]))
    def time_passes(self, count, seconds):
        for _ in range(count):
            self.studio.tick(seconds)
            self.studio.examined()

    @rule()
    def work_goes_on(self):
        self.studio.tick(0.01)
        self.studio.examined()
        self.studio.tick(0.01)

    @rule()
    def a_job_ends(self):
        if self.studio.executor.jobs:
            self.studio.executor.end(honest)

    @rule(
        code=st.sampled_from([*TRANSIENT, Reason.ENGINE_ERROR, Reason.DISK_FULL, Reason.VANISHED])
    )
    def a_job_fails(self, code):
        if self.studio.executor.jobs:
            self.studio.executor.fail(code)

    @rule()
    def a_result_rots(self):
        def rotten(job, staging):
            result = done(job, staging)
            Path(result.outputs[1].path).write_text("rot")
            return result

        if self.studio.executor.jobs:
            self.studio.executor.end(rotten)

    @rule()
    def the_daemon_is_killed(self):
        self.studio.again()

    @rule(full=st.booleans())
    def the_disk_fills_or_empties(self, full):
        self.full = full

    @rule(seconds=st.sampled_from([-1e8, -4000.0, 4000.0, 1e8]))
    def the_clock_jumps(self, seconds):
        self.studio.wall += seconds

    # --- what must hold -----------------------------------------------------------------

    @invariant()
    def nothing_half_written_stands_under_a_final_name(self):
        for name in pictures(self.studio.outbox):
            text = (self.studio.outbox.root / name).read_text()
            assert text == "not ours" or text.endswith("END"), name

    @invariant()
    def no_picture_has_two_owners(self):
        # Of one pair the same path may stand twice: as it was, and as it is about to be.
        pairs = self.studio.ledger.pairs()
        paths = [path for pair in pairs for path in {output.path for output in pair.outputs}]
        assert len(paths) == len(set(paths))

    @invariant()
    def done_means_that_the_pictures_stand(self):
        for pair in self.studio.ledger.pairs(JobState.DONE):
            for output in pair.outputs:
                text = (self.studio.outbox.root / output.path).read_text()
                assert text.startswith(pair.job), output.path

    @invariant()
    def attempts_are_bounded(self):
        for pair in self.studio.ledger.pairs():
            assert pair.attempt <= MAX_ATTEMPTS + 1

    @invariant()
    def something_waits_for_a_time_or_everything_is_settled(self):
        service = self.studio.service
        open_ones = self.studio.ledger.pairs(JobState.RUNNING)
        mine = {e.job.id for e in [*service.events, *self.studio.executor.events]}
        mine |= {job.id for _, job in self.studio.executor.running()}
        assert all(pair.job in mine for pair in open_ones)


class WholeLife(Life):
    """Ends well, whatever happened."""

    def teardown(self) -> None:
        try:
            self.in_the_end()
        finally:
            super().teardown()

    def in_the_end(self) -> None:
        self.full = False
        studio = self.studio
        for _ in range(300):
            studio.tick(30)
            while studio.executor.jobs:
                studio.executor.end(honest)
            if not studio.executor.events and studio.service.idle:
                break
        assert studio.service.idle, studio.view.message
        studio.service.finish()
        assert not (studio.outbox.root / ".staging").exists()
        assert amiss_among_versions(studio.outbox, studio.ledger) == []
        settled = {line["content"] for line in read_log(studio.outbox)}
        states = {pair.content: pair for pair in studio.ledger.pairs()}
        for found in studio.service.planner.intake.files.values():
            assert found.content in settled, found.content
            refused = studio.ledger.files.find(found.content)
            if refused is not None and refused.status == "failed":
                continue
            pair = states[found.content]
            assert pair.sha256 == hash_file(found.path)
            assert pair.state in (JobState.DONE, JobState.FAILED, JobState.SKIPPED)
            if pair.state is JobState.DONE:
                self.made_of_what_lies_there(pair)

    def made_of_what_lies_there(self, pair) -> None:
        """The engine has written into each picture what the files held that it read."""
        wanted = {hash_file(self.root / name) for name in INGREDIENTS.values()}
        for output in pair.outputs:
            used = (self.studio.outbox.root / output.path).read_text().split()
            assert wanted <= set(used), output.path


TestLife = WholeLife.TestCase
TestLife.__doc__ = "Nothing lost, nothing doubled, whatever happens in whatever order."
TestLife.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
