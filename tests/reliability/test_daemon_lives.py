"""The daemon lives: what people do to its config, its paintings, its disk and its terminal."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.fake_work import photo
from support.live_program import ENVIRONMENT, painted, project, started, until
from support.nasty_values import NASTY, PLACES, TEXTS, as_yaml, with_value
from support.stock import pictures, read_log
from support.studio import CONFIG, STYLES, Studio
from support.watch_loop import WatchLoop

from pipeline.cli import main as cli
from pipeline.cli.explain import explain_report, explain_text
from pipeline.config.loading import load
from pipeline.daemon.preview import preview
from pipeline.daemon.run import RELOAD_SECONDS
from pipeline.errors import StateError

pytestmark = pytest.mark.slow

PATTERNS = [("match",), ("queue", "folders"), ("watch", "ignore"), ("hooks", "on_done")]

OWN_STYLES = """
styles:
  mosaic: {image: "builtin:mosaic"}
  harbour: {image: painting.png}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""


@pytest.fixture
def make(tmp_path, make_studio):
    photo(tmp_path / "painting.png", seed=99)
    return lambda config=CONFIG: make_studio(config)


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
        (pair.content, pair.style, pair.why) for pair in preview(loaded).plan.pairs
    }
    assert "harbour: waits until its painting" in explain_text(
        explain_report(loaded, Path("b.png"))
    )

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


@pytest.mark.parametrize(("at", "size"), [(0, 100), (0, 4096), (40, 40)])
def test_garbage_over_the_database_while_it_works_blames_no_photo_and_is_recognised(
    make, at, size
) -> None:
    studio = make()
    studio.put("a.png", 1)
    studio.until_idle()
    studio.put("b.png", 2)
    studio.until_running()
    path = studio.root / ".state" / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5\x17\xc3\x08" * (size // 4))
    studio.executor.end()
    with pytest.raises(StateError, match=r"damaged.*move it away"):
        studio.until_idle()
    with pytest.raises(StateError, match=r"damaged.*move it away"):
        studio.again()
    assert [line["status"] for line in read_log(studio.outbox)] == ["done"]
    for file in path.parent.glob("jobs.sqlite3*"):
        file.rename(file.with_name(f"damaged-{file.name}"))
    studio.open()
    studio.until_idle()
    assert studio.states() == {"a.png": "done", "b.png": "done"}
    assert {"a--mosaic.png", "b--mosaic.png"} <= set(pictures(studio.outbox))
    assert studio.codes() == {}


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
    assert studio.service.fault_pause is None
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


# --- the config -----------------------------------------------------------------------------


def test_a_wrong_edit_is_reported_once_and_taken_up_by_itself_when_it_is_right(make) -> None:
    studio = make()
    loop = WatchLoop(studio)
    new = STYLES + "watch: {settle_seconds: 0}\nlimits: {free_bytes: 0}\n"
    assert "no such image" in loop.edit(new.replace("builtin:mosaic", "coming.png"))
    assert loop.look(RELOAD_SECONDS * 2) == ""
    assert loop.look(RELOAD_SECONDS * 2) == ""
    assert "config not reloaded" in loop.loop.refused  # `status` says it
    photo(studio.root / "coming.png", 3)
    assert "config reloaded" in loop.look(RELOAD_SECONDS * 2)
    assert loop.loop.refused == ""
    studio.put("a.png")
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_status_shows_the_newest_reason_why_an_edit_is_not_applied(make) -> None:
    loop = WatchLoop(make())
    good = loop.path.read_text()
    loop.edit(good + "preset: nonee\n")
    assert "nonee" in loop.loop.refused
    assert "outbox change only at the next start" in loop.edit(good + "outbox: other\n")
    assert "nonee" not in loop.loop.refused
    assert "outbox change only at the next start" in loop.loop.refused
    loop.edit(good)
    assert loop.loop.refused == ""


def test_no_edit_of_the_config_ends_the_daemon(make) -> None:
    """Each nasty value in each place of the config, reloaded while photos come in."""
    studio = make()
    loop = WatchLoop(studio)
    studio.put("a.png", 1)
    studio.until_idle()
    good = CONFIG.replace("limits:", "seed: 7\nlimits:")
    edits = [CONFIG + text + "\n" for text in TEXTS]
    edits += [as_yaml(with_value(key, value)) for value in NASTY for key in [*PLACES, *PATTERNS]]
    for text in edits:
        said = loop.edit(text)
        assert "unexpected" not in said
        assert len(said.splitlines()) <= 1
    for text in edits[::40]:
        loop.edit(text)
        studio.until_idle()  # whatever was taken up can be worked with
    assert "config reloaded" in loop.edit(good)
    studio.put("b.png", 2)
    studio.until_idle()
    assert studio.states() == {"a.png": "done", "b.png": "done"}


WRONG = (
    *("outbox: ~nosuchuser/x", "archive: loop/x", f"archive: {'a' * 5000}", "a: !!bool x"),
    'match: [{inbox: "{1..100000}", styles: [mosaic]}]',
)


def test_a_real_daemon_outlives_wrong_edits_and_a_painting_that_goes_and_comes(tmp_path) -> None:
    root = project(tmp_path, photos=0)
    config, painting = root / "config.yaml", photo(root / "painting.png", 99)
    good = OWN_STYLES.replace("settle_seconds: 0", "settle_seconds: 0, scan_seconds: 0.3")
    config.write_text(good)
    (root / "loop").symlink_to("loop")
    record = root / ".state" / "instance.json"
    status = [sys.executable, "-m", "pipeline", "status", "--json"]

    def trouble() -> str:
        said = subprocess.run(status, cwd=root, env=ENVIRONMENT, capture_output=True, text=True)
        return json.loads(said.stdout)["trouble"] if said.returncode == 0 else said.stderr

    with started(root, "watch", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as daemon:
        photo(root / "inbox" / "a.png", 1)
        until(lambda: painted(root) == 2)
        painting.rename(root / "away.png")
        photo(root / "inbox" / "b.png", 2)
        until(lambda: painted(root) == 3)
        until(lambda: "style harbour waits until" in trouble())
        for wrong in WRONG:
            config.write_text(good + wrong + "\n")
            until(lambda: "config not reloaded" in record.read_text())
            config.write_text(good)
            (root / "away.png").rename(painting)
            until(lambda: "config not reloaded" not in record.read_text())
            painting.rename(root / "away.png")
        (root / "away.png").rename(painting)
        until(lambda: painted(root) == 4)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=60) == 0
        assert daemon.stderr.read() == b""


# --- the command line -----------------------------------------------------------------------

PATHS_NOBODY_HAS = ["a" * 5000, "a/" * 2500 + "b.png", "loop", "loop/x", "~nosuchuser/a.png"]
LINES = [
    *("explain PATH", "explain inbox/../PATH", "explain a.png --again PATH", "retry PATH"),
    *("stylize PATH builtin:mosaic -o o.png", "stylize p.png PATH -o o.png"),
    *("stylize p.png builtin:mosaic -o PATH", "stylize p.png builtin:mosaic -o o.png --init PATH"),
    *("stylize p.png builtin:mosaic -o o.png --weights PATH", "sweep PATH builtin:mosaic -o d"),
    *("check --config PATH", "run --config PATH", "status --config PATH", "run --until PATH"),
]


@pytest.mark.parametrize("line", LINES)
def test_a_path_that_cannot_be_is_one_line_of_error(make, line, monkeypatch, capsys) -> None:
    studio = make()
    monkeypatch.chdir(studio.root)
    (studio.root / "loop").symlink_to("loop")
    photo(studio.root / "p.png")
    for path in PATHS_NOBODY_HAS:
        words = [word.replace("PATH", path) for word in line.split()]
        monkeypatch.setattr(sys, "argv", ["pipeline", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert "unexpected" not in said, said[:300]
        assert (ended.value.code, said.count("\n")) in ((2, 1), (0, 0)), said[:300]
