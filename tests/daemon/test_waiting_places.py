"""A place in the outbox that cannot be used is no photo's fault: its pairs wait, others go on."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_work import done, failed
from support.stock import pictures
from support.studio import CONFIG, Studio

from pipeline.daemon.bookkeeping import NAMES_TRIED
from pipeline.errors import Reason
from pipeline.jobs.retry_policy import LONGEST_REPAIR_WAIT
from pipeline.outbox import publisher

QUARANTINE = CONFIG + "failed: quarantine\n"
HALF_AN_HOUR = 1800.0


class Place:
    """A fault of the place for photos below ``sub``; nothing happens to others."""

    def __init__(self, studio: Studio, patch: pytest.MonkeyPatch) -> None:
        self.studio, self.patch = studio, patch
        self.sub = studio.outbox.root / "sub"
        self.tries = 0

    def break_it(self) -> None: ...

    def repair(self) -> None:
        self.patch.undo()

    def render(self, job, staging: Path):
        return done(job, staging)


class Link(Place):
    """The folder was moved to a larger disk, and linked."""

    def break_it(self) -> None:
        (self.studio.root / "large").mkdir()
        self.sub.symlink_to(self.studio.root / "large")

    def repair(self) -> None:
        self.sub.unlink()


class LinkLater(Link):
    """The same, once pictures of the folder stand."""

    def break_it(self) -> None:
        self.studio.put("sub/a.png", 77)
        self.studio.until_idle()
        self.sub.rename(self.studio.root / "large")
        self.sub.symlink_to(self.studio.root / "large")

    def repair(self) -> None:
        self.sub.unlink()
        (self.studio.root / "large").rename(self.sub)


class NothingFits(Place):
    """The disk refuses the names, or does not know such a call."""

    number = errno.ENAMETOOLONG

    def break_it(self) -> None:
        link = os.link

        def refused(source, name, **how):
            if "a--mosaic" in str(name):
                self.tries += 1
                raise OSError(self.number, os.strerror(self.number))
            link(source, name, **how)

        self.patch.setattr(os, "link", refused)


class NotAllowed(NothingFits):
    number = errno.EINVAL


class Busy(NothingFits):
    number = errno.EBUSY


class NamesTaken(Place):
    """Another program takes each name at the moment in which it is given."""

    def break_it(self) -> None:
        link = os.link

        def faster(source, name, **how):
            if "a" in str(name)[:1]:
                self.tries += 1
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            link(source, name, **how)

        self.patch.setattr(os, "link", faster)


class StagedRemoved(Place):
    """Another program clears hidden folders before the pictures are published."""

    damage = staticmethod(lambda folder: shutil.rmtree(folder))

    def break_it(self) -> None:
        verify = publisher.verify_staged

        def late(staged):
            if Path(staged.path).parent.name.startswith(self.job):
                self.tries += 1
                self.damage(Path(staged.path).parent)
            verify(staged)

        self.job = "never"
        self.patch.setattr(publisher, "verify_staged", late)

    def render(self, job, staging: Path):
        if job.content == "sub/a.png":
            self.job = job.id
        return done(job, staging)


class StagedDamaged(StagedRemoved):
    """The disk keeps other bytes than were written."""

    @staticmethod
    def damage(folder: Path) -> None:
        for file in folder.iterdir():
            if file.is_file():
                file.write_bytes(b"rot")


class RemovedWhileRendered(Place):
    """The same, while the worker still writes into them."""

    def break_it(self) -> None:
        self.broken = True

    def repair(self) -> None:
        self.broken = False

    def render(self, job, staging: Path):
        if not (self.broken and job.content == "sub/a.png"):
            return done(job, staging)
        self.tries += 1
        shutil.rmtree(staging)
        return failed(job, Reason.IO_ERROR)


PLACES = [
    *(Link, LinkLater, NothingFits, NotAllowed, Busy, NamesTaken, StagedRemoved, StagedDamaged),
    RemovedWhileRendered,
]


def live(studio: Studio, place: Place, seconds: float) -> None:
    for _ in range(20):
        studio.tick(seconds / 20)
        studio.examined()
        while studio.executor.jobs:
            studio.executor.end(place.render)


@pytest.fixture
def places(make_studio, monkeypatch) -> Callable[[type[Place]], tuple[Studio, Place]]:
    def make(kind: type[Place]) -> tuple[Studio, Place]:
        studio = make_studio(QUARANTINE)
        place = kind(studio, monkeypatch)
        place.break_it()
        return studio, place

    return make


@pytest.mark.parametrize("kind", PLACES, ids=lambda kind: kind.__name__)
def test_no_photo_fails_for_its_place_in_the_outbox_and_the_others_go_on(kind, places):
    studio, place = places(kind)
    studio.put("sub/a.png", 1)
    studio.put("sub/same.png", 1)
    studio.put("b.png", 2)
    live(studio, place, HALF_AN_HOUR)
    studio.put("c.png", 3)
    live(studio, place, 5.0)
    live(studio, place, HALF_AN_HOUR)
    states = studio.states()
    assert (states["b.png"], states["c.png"]) == ("done", "done")
    assert states["sub/a.png"] in ("queued", "staged")
    assert "sub/a.png waits: " in studio.view.message
    assert (studio.inbox / "sub/a.png").exists()
    assert not (studio.root / "quarantine").exists()
    assert studio.codes() == {}
    assert studio.service.idle  # a run does not wait for it, and says so
    assert studio.ledger.pair("sub/a.png", "mosaic").attempt <= 1
    assert place.tries <= NAMES_TRIED * (2 * HALF_AN_HOUR / LONGEST_REPAIR_WAIT + 12)

    place.repair()
    live(studio, place, LONGEST_REPAIR_WAIT + 5)
    assert studio.states() == states | {"sub/a.png": "done", "sub/same.png": "skipped"}
    assert studio.view.message == ""
    assert sum("a--mosaic.png" in name or "a~" in name for name in pictures(studio.outbox)) >= 1


@pytest.mark.parametrize("kind", [Link, StagedRemoved], ids=lambda kind: kind.__name__)
def test_a_restart_forgets_no_pair_that_waits_for_its_place(kind, places):
    studio, place = places(kind)
    studio.put("sub/a.png", 1)
    live(studio, place, 60.0)
    studio.again()
    live(studio, place, 60.0)
    assert "sub/a.png waits: " in studio.view.message
    place.repair()
    live(studio, place, LONGEST_REPAIR_WAIT + 5)
    assert studio.states() == {"sub/a.png": "done"}
    if kind is Link:
        assert studio.executor.begun == []  # what was rendered is kept


def test_a_pair_whose_photo_is_taken_away_waits_no_longer(places):
    studio, place = places(RemovedWhileRendered)
    photo = studio.put("sub/a.png", 1)
    live(studio, place, 60.0)
    assert "sub/a.png waits: " in studio.view.message
    photo.unlink()
    live(studio, place, 60.0)
    assert studio.view.message == ""
