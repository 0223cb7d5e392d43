"""A file name used for one photo after another: every photo keeps its own pictures.

Hypothesis makes up lives of an inbox in which cameras and phones use the same few names again and
again. Each painting says which photo it was made of, so what is lost or changed shows at once.
"""

import shutil
import sqlite3
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.fake_work import done, photo
from support.stock import books, bring_back, pictures, read_log
from support.studio import CONFIG, Studio

from pipeline.cli.explain import explain_report, explain_text
from pipeline.cli.status import status_report, status_text
from pipeline.config.loading import load
from pipeline.daemon.restore import stage_version
from pipeline.errors import Reason
from pipeline.gallery.writer import Gallery
from pipeline.inbox.originals import Originals
from pipeline.jobs.job import JobState
from pipeline.ledger.database import APPLICATION_ID, MIGRATIONS
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Version
from pipeline.outbox.versions import absolute_paths
from pipeline.system.file_version import hash_file

pytestmark = pytest.mark.slow

NAMES = st.sampled_from(["image.png", "image.jpg", "sub/image.png", "runs.jsonl/image.png"])
SEEDS = st.integers(0, 5)
AFTER = st.sampled_from(["keep", "archive", "delete"])
ACTS = st.sampled_from(["_delete", "_move"])
MEMORY = Path("/dev/shm")


def files_of(root: Path, version: Version) -> list[Path]:
    return [Path(output.path) for output in absolute_paths(root, version.outputs)]


class Killed(BaseException):
    """Stands for the end of the process at this very point."""


class Lifetimes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.configured = CONFIG + "after: delete\nfailed: quarantine\n"
        self.studio = Studio(self.root, self.configured)
        self.changed: set[tuple[str, str]] = set()  # (name, SHA-256) changed in their place
        self.deleted: set[tuple[str, str]] = set()  # (name, SHA-256) deleted by the service
        self.standing: dict[str, tuple[str, str]] = {}  # path -> (name of its photo, text)
        self.delete = Originals._delete
        Originals._delete = self.deleting()

    def deleting(self):
        def delete(originals, content, version):
            sha256 = hash_file(self.studio.inbox / content)
            gone = self.delete(originals, content, version)
            self.deleted |= {(content, sha256)} if gone else set()
            return gone

        return delete

    def teardown(self) -> None:
        try:
            self.in_the_end()
        finally:
            Originals._delete = self.delete
            self.studio.close()
            shutil.rmtree(self.root)

    # --- what people do -----------------------------------------------------------------

    @rule(name=NAMES, seed=SEEDS)
    def drop(self, name, seed):
        self.drop_there(name, seed)

    def drop_there(self, name, seed):
        new = photo(self.root / f"new{Path(name).suffix}", seed)
        place = self.studio.inbox / name
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            self.changed.add((name, hash_file(place)))
            self.deleted.discard((name, hash_file(place)))
        self.changed.discard((name, hash_file(new)))
        new.rename(place)

    @rule(name=NAMES)
    def remove(self, name):
        place = self.studio.inbox / name
        if place.exists():
            place.unlink()
            self.studio.tick()  # it is seen that it is gone

    @rule(after=AFTER)
    def change_what_becomes_of_originals(self, after):
        self.configured = CONFIG + f"after: {after}\nfailed: quarantine\n"
        self.studio.configure(self.configured)
        self.studio.service.configure(self.studio.config, self.studio.manifest)

    @rule()
    def retry_everything(self):
        jobs = [pair.job for pair in self.studio.ledger.pairs()]
        with Ledger(self.root / ".state" / "jobs.sqlite3") as elsewhere:
            elsewhere.retry(jobs)

    @rule(choice=st.integers(0, 9), running=st.booleans())
    def restore_an_earlier_version(self, choice, running):
        if not (earlier := self.kept_versions()):
            return
        version = earlier[choice % len(earlier)]
        pair = (version.content, version.style, version.life)
        for path in self.paths_of(*pair):  # they become an earlier version themselves
            self.standing.pop(path, None)
        with Ledger(self.root / ".state" / "jobs.sqlite3") as elsewhere:
            if running:
                stage_version(books(elsewhere, self.studio.outbox), version)
            else:
                bring_back(elsewhere, self.studio.outbox, version)
        if running:
            self.goes_on(done)
        else:
            self.studio.again()
        texts = [(self.studio.outbox.root / path).read_text() for path in self.paths_of(*pair)]
        assert texts
        assert all(text.split()[1] == version.sha256 for text in texts)

    def paths_of(self, content, style, life) -> list[str]:
        """The present pictures of a pair."""
        current = self.studio.ledger.history.current(content, style, life)
        return [output.path for output in current.outputs] if current else []

    def kept_versions(self):
        """Earlier versions whose pictures are all there."""
        root = self.studio.outbox.root
        kept = self.studio.ledger.history.earlier()
        return [v for v in kept if all(o.exists() for o in files_of(root, v))]

    @rule()
    def bring_back_from_the_archive(self):
        for place in sorted(self.studio.config.archive.rglob("image*")):
            target = self.studio.inbox / "image.png"
            if place.is_file() and not target.exists():
                shutil.copy(place, target)

    # --- what machines do ---------------------------------------------------------------

    @rule()
    def work(self):
        self.goes_on(done)

    @rule()
    def work_fails(self):
        if self.running():
            self.studio.executor.fail(Reason.ENGINE_ERROR)
        self.goes_on(done)

    @rule()
    def the_process_is_killed(self):
        self.studio.again()

    @rule(act=ACTS, moment=st.sampled_from(["before", "after"]))
    def killed_as_a_photo_leaves(self, act, moment):
        def deadly(real, content, *args):
            if moment == "after":
                real(content, *args)
            raise Killed

        self.leaving(act, deadly)

    @rule(act=ACTS, seed=SEEDS, killed=st.booleans())
    def its_name_is_used_again_at_once(self, act, seed, killed):
        seeds = [seed]

        def reused(real, content, *args):
            left = real(content, *args)
            if left and seeds:
                self.drop_there(content, seeds.pop())
            if killed:
                raise Killed
            return left

        self.leaving(act, reused)

    def leaving(self, act, how) -> None:
        """Work goes on, and where a photo leaves the inbox it goes as the test says."""
        real = getattr(Originals, act)
        setattr(Originals, act, lambda self, *args: how(partial(real, self), *args))
        try:
            self.goes_on(done)
        except Killed:
            self.studio.again()
        finally:
            setattr(Originals, act, real)

    def running(self) -> bool:
        for _ in range(20):
            self.studio.tick(0.01)
            self.studio.examined()
            if self.studio.executor.jobs:
                return True
        return False

    def goes_on(self, how) -> None:
        for _ in range(5):
            self.studio.tick(40.0)
            self.studio.examined()
            while self.studio.executor.jobs:
                self.studio.executor.end(how)

    # --- what must hold -----------------------------------------------------------------

    @invariant()
    def no_painting_disappears_or_changes_unless_its_own_photo_did(self):
        owners = {o.path: pair.content for pair in self.studio.ledger.pairs() for o in pair.outputs}
        now = {}
        for path in pictures(self.studio.outbox):
            text = (self.studio.outbox.root / path).read_text()
            now[path] = owners[path], text
        for path, (owner, text) in self.standing.items():
            assert now.get(path) == (owner, text) or (owner, text.split()[1]) in self.changed, path
        self.standing = now

    @invariant()
    def what_was_deleted_is_painted(self):
        painted = {text.split()[1] for _, text in self.standing.values()}
        painted |= {version.sha256 for version in self.kept_versions()}  # until it is restored
        assert {sha256 for _, sha256 in self.deleted} <= painted

    @invariant()
    def no_picture_has_two_owners(self):
        pairs = self.studio.ledger.pairs()
        paths = Counter(path for pair in pairs for path in {o.path for o in pair.outputs})
        assert not paths or max(paths.values()) == 1

    @invariant()
    def done_means_that_the_pictures_stand(self):
        for pair in self.studio.ledger.pairs(JobState.DONE):
            for output in pair.outputs:
                assert (self.studio.outbox.root / output.path).read_text().startswith(pair.job)

    @invariant()
    def the_outbox_keeps_its_own_names(self):
        root = self.studio.outbox.root
        assert not (root / "runs.jsonl").is_dir()

    def in_the_end(self) -> None:
        self.goes_on(done)
        self.studio.until_idle()
        for found in self.studio.service.planner.intake.files.values():
            sha256 = hash_file(found.path)
            states = {p.state for p in self.studio.ledger.pairs() if p.sha256 == sha256}
            assert states & {JobState.DONE, JobState.FAILED}, found.content
        self.no_painting_disappears_or_changes_unless_its_own_photo_did()


TestLifetimes = Lifetimes.TestCase
TestLifetimes.__doc__ = "A name passes from photo to photo, and each one's pictures stay."
TestLifetimes.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# --- what is seen of it ---------------------------------------------------------------------


def two_photos_of_one_name(root: Path) -> Studio:
    studio = Studio(root, CONFIG + "after: delete\n")
    for seed in (1, 2):
        studio.put("image.png", seed)
        studio.until_idle()
    return studio


def test_both_photos_of_a_name_are_in_explain_status_run_log_and_gallery(tmp_path):
    studio = two_photos_of_one_name(tmp_path)
    names = ["image--mosaic.png", "image~2--mosaic.png"]
    logged = [line["outputs"][0]["path"] for line in read_log(studio.outbox)]
    gallery = Gallery(studio.outbox.root)
    gallery.update()
    assert gallery._head is not None
    hung = [entry["pictures"][0]["url"] for entry in gallery._current_entries(gallery._head.chunks)]
    studio.close()
    loaded = load(tmp_path / "config.yaml")
    report = explain_report(loaded, Path("image.png"))
    assert logged == names
    assert sorted(hung) == sorted(f"./{name}" for name in names)
    for text in (explain_text(report), status_text(status_report(loaded))):
        assert all(name in text for name in names), text
        assert text.count("its photo has left the inbox") == 2


def test_a_picture_that_is_made_again_hangs_once(tmp_path):
    studio = two_photos_of_one_name(tmp_path)
    studio.put("image.png", seed=1)
    studio.configure(CONFIG + "seed: 1\n")
    studio.again()
    studio.until_idle()
    gallery = Gallery(studio.outbox.root)
    gallery.update()
    assert gallery._head is not None
    hung = list(gallery._current_entries(gallery._head.chunks))
    studio.close()
    assert len(hung) == 2
    assert len(pictures(studio.outbox)) == 4


# --- databases of an earlier version --------------------------------------------------------


def test_pictures_of_an_earlier_versions_database_are_safe_from_the_next_photo(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    before = next(n for n, script in enumerate(MIGRATIONS) if "CREATE TABLE lives" in script)
    with sqlite3.connect(path, isolation_level=None) as db:
        for script in MIGRATIONS[:before]:
            db.executescript(script)
        db.execute(
            "INSERT INTO pairs (content, style, job, sha256, recipe, state, attempt, target, "
            "target_key, updated) VALUES (?, 'mosaic', 'j', 'one', 'r', 'done', 1, ?, ?, 0)",
            (b"image.png", b"image--mosaic", b"image--mosaic"),
        )
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={before}")
    db.close()
    with Ledger(path) as ledger:
        known = ledger.known()["image.png", "mosaic"]
        assert known.for_photo("one") == known
        assert known.for_photo("two") is None  # whether it changed in its place is not known
        ledger.reopen_photos({("image.png", "one")})  # it lies in the inbox
        known = ledger.known()["image.png", "mosaic"]
        assert known.for_photo("two") == known
