"""Earlier pictures of a pair: kept within bounds, and brought back."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest
from support.stock import books, bring_back, make, make_job, pictures, publish, read_log, render

from pipeline.config.sections import Versions as Bounds
from pipeline.daemon import restore as restoring
from pipeline.errors import OutputError, Reason
from pipeline.jobs.job import JobState
from pipeline.ledger.database import APPLICATION_ID, MIGRATIONS
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.names import VERSIONS
from pipeline.outbox.publisher import Outbox
from pipeline.outbox.versions import Versions


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    outbox = Outbox(tmp_path / "outbox")
    outbox.prepare()
    return outbox


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "state" / "jobs.sqlite3") as ledger:
        yield ledger


def read(outbox: Outbox, name: str) -> str:
    return (outbox.root / name).read_text().split()[1]


def kept(outbox: Outbox) -> list[str]:
    """The marks of all earlier pictures."""
    folder = outbox.root / VERSIONS
    return sorted(p.read_text().split()[1] for p in folder.rglob("*") if p.is_file())


def paint(ledger: Ledger, outbox: Outbox, mark: str, seed: int, **options) -> None:
    """A pair made by another recipe for each seed."""
    begun = ledger.begin(make_job("sub/a.jpg", seed=seed))
    accounts = books(ledger, outbox, **options)
    accounts.stage(render(outbox, begun, mark), 0.0)
    publish(accounts)


# --- kept -----------------------------------------------------------------------------------


def test_pictures_that_are_replaced_are_kept_and_listed_latest_first(ledger, outbox):
    for seed, mark in enumerate(("one", "two", "three")):
        paint(ledger, outbox, mark, seed)
    assert read(outbox, "sub/a--mosaic.png") == "three"
    assert pictures(outbox) == ["sub/a--mosaic.enhanced.png", "sub/a--mosaic.png"]
    versions = ledger.history.earlier("sub/a.jpg")
    assert [version.job for version in versions] == [
        make_job("sub/a.jpg", seed=seed).id for seed in (1, 0)
    ]
    assert kept(outbox) == ["one", "one", "two", "two"]
    for version in versions:
        for output in version.outputs:
            assert output.path.startswith(f".versions/sub/a--mosaic~{version.id}.")
            assert Versions(outbox.root).is_intact(output)


def test_pictures_made_again_byte_by_byte_are_no_earlier_version(ledger, outbox):
    paint(ledger, outbox, "one", 0)
    (pair,) = ledger.pairs()
    ledger.retry([pair.job])
    paint(ledger, outbox, "one", 0)
    assert (ledger.history.earlier(), kept(outbox)) == ([], [])


def test_keep_latest_keeps_none_and_leaves_what_was_kept(ledger, outbox):
    paint(ledger, outbox, "one", 0)
    paint(ledger, outbox, "two", 1)
    paint(ledger, outbox, "three", 2, version_limits=None)
    assert kept(outbox) == ["one", "one"]


def test_what_somebody_deleted_or_retouched_is_not_kept_as_ours(ledger, outbox):
    paint(ledger, outbox, "one", 0)
    (outbox.root / "sub/a--mosaic.png").unlink()
    (outbox.root / "sub/a--mosaic.enhanced.png").write_text("retouched by hand")
    paint(ledger, outbox, "two", 1)
    assert (ledger.history.earlier(), kept(outbox)) == ([], [])
    assert (outbox.root / "sub/a--mosaic.enhanced.png").read_text() == "retouched by hand"


def test_the_oldest_go_first_beyond_so_many_for_each_pair(ledger, outbox):
    for seed in range(5):
        paint(ledger, outbox, f"{seed}", seed, version_limits=Bounds(per_pair=2))
    assert kept(outbox) == ["2", "2", "3", "3"]
    assert [version.line["seconds"] for version in ledger.history.earlier()] == [1.5, 1.5]


def test_the_oldest_go_first_beyond_so_many_bytes_of_all(ledger, outbox):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        for seed in (0, 1):
            make(ledger, outbox, make_job(name, seed=seed), mark=f"{name}-{seed}")
    _, size = ledger.history.size_of_earlier()
    accounts = books(ledger, outbox, version_limits=Bounds(bytes=size - 1))
    accounts.flush(0.0, force=True)
    assert {mark[0] for mark in kept(outbox)} == {"b", "c"}
    accounts = books(ledger, outbox, version_limits=Bounds(bytes=0))
    accounts.flush(0.0, force=True)
    assert not (outbox.root / VERSIONS).exists()
    assert len(pictures(outbox)) == 6


def test_a_clock_that_was_set_back_does_not_make_the_newest_the_oldest(tmp_path, outbox):
    clock = iter(range(10**9, 0, -1000))
    with Ledger(tmp_path / "state" / "jobs.sqlite3", clock=lambda: next(clock)) as ledger:
        for seed in range(4):
            paint(ledger, outbox, f"{seed}", seed, version_limits=Bounds(per_pair=1))
    assert kept(outbox) == ["2", "2"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM])
def test_on_another_disk_and_on_one_without_links_whole_copies_are_kept(
    ledger, outbox, monkeypatch, number
):
    near = os.link

    def no_link(source, name, **options):
        if number == errno.EXDEV and str(source).startswith("."):  # a copy beside its name
            return near(source, name, **options)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_link)
    paint(ledger, outbox, "one", 0)
    paint(ledger, outbox, "two", 1)
    assert kept(outbox) == ["one", "one"]
    assert read(outbox, "sub/a--mosaic.png") == "two"
    (version,) = ledger.history.earlier()
    bring_back(ledger, outbox, version)
    assert kept(outbox) == ["two", "two"]
    assert read(outbox, "sub/a--mosaic.png") == "one"
    assert not list(outbox.root.rglob(".*.part"))


def test_no_picture_is_replaced_while_the_earlier_one_cannot_be_kept(ledger, outbox, tmp_path):
    paint(ledger, outbox, "one", 0)
    outside = tmp_path / "outside"
    outside.mkdir()
    for spoil in (
        lambda: (outbox.root / VERSIONS).write_text("a file"),
        lambda: (outbox.root / VERSIONS).symlink_to(outside),
    ):
        spoil()
        with pytest.raises(OutputError, match=r"\.versions") as caught:
            paint(ledger, outbox, "two", 1)
        assert caught.value.code is Reason.IO_ERROR  # waited out: no photo fails for it
        assert read(outbox, "sub/a--mosaic.png") == "one"
        (outbox.root / VERSIONS).unlink()
        publish(books(ledger, outbox))  # goes on where it stopped
        assert read(outbox, "sub/a--mosaic.png") == "two"
        (version,) = ledger.history.earlier()
        bring_back(ledger, outbox, version)
        assert list(outside.iterdir()) == []
        for path in sorted((outbox.root / VERSIONS).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (outbox.root / VERSIONS).rmdir()
        ledger.retry([make_job("sub/a.jpg", seed=0).id])


def test_a_disk_that_fills_while_a_copy_is_made_costs_no_picture(ledger, outbox, monkeypatch):
    paint(ledger, outbox, "one", 0)
    with monkeypatch.context() as full:

        def no_link(source, name, **_):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        def no_room(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "link", no_link)
        full.setattr(os, "fsync", no_room)
        with pytest.raises(OutputError) as caught:
            paint(ledger, outbox, "two", 1)
    assert caught.value.code is Reason.DISK_FULL
    assert (read(outbox, "sub/a--mosaic.png"), kept(outbox)) == ("one", [])
    publish(books(ledger, outbox))  # there is room again
    assert (read(outbox, "sub/a--mosaic.png"), kept(outbox)) == ("two", ["one", "one"])


def test_names_at_the_limit_of_a_disk_are_kept_and_restored(ledger, outbox):
    for seed in (0, 1):
        make(ledger, outbox, make_job("x" * 240 + ".jpg", seed=seed), mark=f"{seed}")
    assert kept(outbox) == ["0", "0"]
    (version,) = ledger.history.earlier()
    bring_back(ledger, outbox, version)
    assert kept(outbox) == ["1", "1"]


def test_pictures_that_an_older_version_of_the_program_made_are_kept_too(tmp_path, outbox):
    path = tmp_path / "state" / "jobs.sqlite3"
    with Ledger(path) as ledger:
        paint(ledger, outbox, "one", 0)
    with sqlite3.connect(path) as db:  # as it was before there were versions
        db.executescript("DROP TABLE versions; ALTER TABLE pairs DROP COLUMN restored;")
        db.execute("PRAGMA user_version = 4")
    db.close()
    assert len(MIGRATIONS) >= 5
    assert APPLICATION_ID
    with Ledger(path) as ledger:
        paint(ledger, outbox, "two", 1)
        (version,) = ledger.history.earlier()
        assert (version.job, version.recipe) == (make_job("sub/a.jpg").id, make_job().recipe.digest)
        bring_back(ledger, outbox, version)
    assert (read(outbox, "sub/a--mosaic.png"), kept(outbox)) == ("one", ["two", "two"])


# --- brought back ---------------------------------------------------------------------------


def test_a_restored_version_changes_places_with_the_current_one(ledger, outbox):
    for seed, mark in enumerate(("one", "two")):
        paint(ledger, outbox, mark, seed)
    (first,) = ledger.history.earlier()
    bring_back(ledger, outbox, first)
    assert read(outbox, "sub/a--mosaic.png") == read(outbox, "sub/a--mosaic.enhanced.png") == "one"
    assert kept(outbox) == ["two", "two"]
    (second,) = ledger.history.earlier()
    bring_back(ledger, outbox, second)
    assert (read(outbox, "sub/a--mosaic.png"), kept(outbox)) == ("two", ["one", "one"])
    events = [(line["event"], line["job"], line["status"]) for line in read_log(outbox)]
    jobs = [make_job("sub/a.jpg", seed=seed).id for seed in (0, 1)]
    assert events == [
        ("job_done", jobs[0], "done"),
        ("job_done", jobs[1], "done"),
        ("job_restored", jobs[0], "done"),
        ("job_restored", jobs[1], "done"),
    ]


def test_a_job_planned_before_an_earlier_version_was_asked_for_does_not_begin(ledger, outbox):
    paint(ledger, outbox, "one", 0)
    paint(ledger, outbox, "two", 1)
    planned = make_job("sub/a.jpg", seed=2)
    (version,) = ledger.history.earlier()
    restoring.stage_version(books(ledger, outbox), version)
    assert ledger.begin(planned) is None
    publish(books(ledger, outbox))
    assert ledger.begin(planned) is None
    assert ledger.begin(make_job("sub/a.jpg", sha="6" * 64, seed=2)) is not None  # another photo


def test_a_version_damaged_at_the_last_moment_leaves_all_as_it_was(ledger, outbox):
    paint(ledger, outbox, "one", 0)
    paint(ledger, outbox, "two", 1)
    (version,) = ledger.history.earlier()
    before = ledger.pair("sub/a.jpg", "mosaic")
    restoring.stage_version(books(ledger, outbox), version)
    (outbox.root / version.outputs[0].path).write_text("rotten")
    publish(books(ledger, outbox))
    after = ledger.pair("sub/a.jpg", "mosaic")
    assert (after.job, after.state, after.restored) == (before.job, JobState.DONE, "")
    assert read(outbox, "sub/a--mosaic.png") == "two"
