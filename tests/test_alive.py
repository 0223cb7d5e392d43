"""The daemon lives: what people do to its config, its paintings, its disk and its terminal."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_work import photo
from stock import pictures
from test_service import CONFIG, Studio

from pipeline.dryrun import planned
from pipeline.reports import explain, explain_text
from pipeline.running import load

OWN_STYLES = """
styles:
  mosaic: {image: "builtin:mosaic"}
  harbour: {image: painting.png}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""


@pytest.fixture
def make(tmp_path):
    open_ones = []

    def make_studio(config: str = CONFIG) -> Studio:
        photo(tmp_path / "painting.png", seed=99)
        open_ones.append(Studio(tmp_path, config))
        return open_ones[-1]

    yield make_studio
    for studio in open_ones:
        studio.close()


# --- paintings ------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["moved", "folder", "side file"])
def test_a_painting_that_is_gone_holds_its_own_style_back_and_no_other(make, gone) -> None:
    studio = make(OWN_STYLES)
    studio.put("a.png", 1)
    studio.until_idle()
    painting = studio.root / "painting.png"
    painting.rename(studio.root / "elsewhere.png")
    if gone == "folder":
        painting.mkdir()
    if gone == "side file":
        (studio.inbox / "b.png.yaml").write_text("styles: [harbour, mosaic]\n")
    studio.put("b.png", 2)
    studio.until_idle()
    assert "style harbour waits until" in studio.view.message
    assert str(painting) in studio.view.message
    made = pictures(studio.outbox)
    assert "b--mosaic.png" in made
    assert "b--harbour.png" not in made
    loaded = load(studio.root / "config.yaml", complete=False)
    assert ("b.png", "harbour", "style waits") in {
        (pair.content, pair.style, pair.why) for pair in planned(loaded)
    }
    assert "harbour: waits until its painting" in explain_text(explain(loaded, Path("b.png")))

    if gone == "folder":
        painting.rmdir()
    (studio.root / "elsewhere.png").rename(painting)
    studio.until_idle()
    assert "b--harbour.png" in pictures(studio.outbox)
    assert studio.view.message == ""
    assert set(studio.codes().values()) <= {"ignored"}  # the side file; no photo was refused


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_photo_stays_in_the_inbox_while_one_of_its_styles_waits(make, after) -> None:
    studio = make(OWN_STYLES + f"after: {after}\n")
    painting = studio.root / "painting.png"
    painting.rename(studio.root / "elsewhere.png")
    kept = studio.put("a.png", 1)
    studio.until_idle()
    assert pictures(studio.outbox) == ["a--mosaic.enhanced.png", "a--mosaic.png"]
    assert kept.exists()
    (studio.root / "elsewhere.png").rename(painting)
    studio.until_idle()
    assert "a--harbour.png" in pictures(studio.outbox)
    assert not kept.exists()


def test_weights_that_are_gone_hold_every_style_back_in_one_line(make) -> None:
    studio = make(OWN_STYLES)
    weights = studio.root / "vgg.pth"
    weights.write_bytes(b"weights")
    studio.configure(OWN_STYLES + "weights: vgg.pth\n")
    studio.service.configure(studio.config, studio.manifest)
    weights.unlink()
    studio.put("a.png", 1)
    studio.until_idle()
    assert studio.view.message.startswith("styles mosaic, harbour wait until")
    assert pictures(studio.outbox) == []
    weights.write_bytes(b"weights")
    studio.until_idle()
    assert len(pictures(studio.outbox)) == 4


# --- the jobs database ----------------------------------------------------------------------


@contextmanager
def held_by_a_backup(studio: Studio) -> Iterator[None]:
    other = sqlite3.connect(studio.root / ".state" / "jobs.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize("moment", ["before the scan", "while a job runs", "when it has ended"])
def test_work_waits_for_a_backup_that_holds_the_database_and_goes_on(make, moment) -> None:
    studio = make()
    studio.put("a.png", 1)
    if moment != "before the scan":
        studio.until_running()
    if moment == "when it has ended":
        studio.executor.end()
    with held_by_a_backup(studio):
        for _ in range(4):
            studio.tick(3.0)
            if studio.executor.jobs:
                studio.executor.end()
        assert studio.view.message.startswith("paused:")
        assert "the jobs database is busy" in studio.view.message
        assert pictures(studio.outbox) == []
        assert not studio.service.idle  # a run, too, waits for it
    studio.tick(3.0)
    studio.until_idle()
    assert studio.service.paused is None
    assert [line["status"] for line in studio.lines] == ["done"]
    assert len(studio.executor.begun) == 1
    assert studio.ledger.pairs()[0].attempt == 1


def test_a_stop_does_not_fail_for_a_backup(make) -> None:
    studio = make()
    studio.put("a.png", 1)
    studio.until_running()
    with held_by_a_backup(studio):
        studio.service.stop()
        studio.tick()
        studio.service.finish()
    studio.again()
    studio.until_idle()
    assert [line["status"] for line in studio.lines] == ["done"]
