"""Earlier pictures in the whole program: dry run, watch, retry, explain, gallery."""

import json
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fake_work import done
from support.stock import books
from support.studio import STYLES, Studio
from support.versions import LARGE, SMALL

from pipeline.cli.dry_run import print_dry_run
from pipeline.cli.explain import explain_report, explain_text
from pipeline.cli.retry import retry_jobs
from pipeline.cli.status import status_report
from pipeline.config.loading import Loaded
from pipeline.daemon import restore as restoring
from pipeline.daemon.paintings.replacements import Replacing
from pipeline.daemon.run import print_run_event
from pipeline.errors import UsageError
from pipeline.gallery.server.files import OutboxFiles
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.terminal.dashboard import Dashboard


@pytest.fixture
def studio(tmp_path):
    studio = Studio(tmp_path, LARGE)
    yield studio
    studio.close()


def loaded(studio: Studio) -> Loaded:
    return Loaded(studio.root / "config.yaml", studio.config, studio.manifest)


def reconfigure(studio: Studio, text: str) -> None:
    studio.configure(text)
    studio.service.configure(studio.config, studio.manifest)


@contextmanager
def stopped(studio: Studio):
    """While no instance works on it."""
    studio.close()
    yield
    studio.open()


def changed_mind(studio: Studio) -> None:
    """Two photos painted, and painted again in another size."""
    studio.put("a.png", 1)
    studio.put("b.png", 2)
    studio.until_idle()
    reconfigure(studio, SMALL)
    studio.until_idle(lambda job, staging: done(job, staging, "small"))


def marks(studio: Studio) -> list[bool]:
    """Whether each painting that stands is of the second size."""
    names = ("a--mosaic.png", "b--mosaic.png")
    return [" small " in (studio.outbox.root / name).read_text() for name in names]


def test_a_dry_run_reports_what_will_be_replaced(studio, capsys):
    studio.put("a.png", 1)
    studio.put("b.png", 2)
    studio.until_idle()
    studio.put("c.png", 3)  # new: it replaces nothing
    studio.configure(SMALL)
    print_dry_run(loaded(studio), as_json=False)
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert (
        "replaces 2 finished pictures, 64 -> 32 px; the old ones move to outbox/.versions"
        in said.err
    )
    studio.configure(SMALL + "keep: latest\n")
    print_dry_run(loaded(studio), as_json=False)
    assert "64 -> 32 px; the old ones are deleted" in capsys.readouterr().err
    (studio.outbox.root / "a--mosaic.png").unlink()
    print_dry_run(loaded(studio), as_json=False)
    assert "replaces 1 finished picture," in capsys.readouterr().err
    studio.configure(LARGE)
    print_dry_run(loaded(studio), as_json=False)
    assert "replaces" not in capsys.readouterr().err


def test_a_config_reloaded_while_watching_reports_replacements_before_any_job_begins(studio):
    said = []
    studio.service._on_run = lambda event: said.append((event, len(studio.executor.begun)))
    studio.put("a.png", 1)
    studio.until_idle()
    studio.put("b.png", 2)
    studio.until_idle()
    assert [event for event, _ in said if event["event"] == "replaces"] == []
    begun = len(studio.executor.begun)
    reconfigure(studio, SMALL)
    studio.until_running()
    ((event, at),) = [(e, at) for e, at in said if e["event"] == "replaces"]
    assert at == begun
    assert event["pictures"] == 2
    assert event["sizes"] == [{"before": 64, "after": 32, "pictures": 2}]
    assert event["words"].startswith("replaces 2 finished pictures, 64 -> 32 px")


def test_what_will_be_replaced_is_a_line_for_people(capsys):
    replaced = Replacing(3, Counter({(64, 32): 2, (48, "source"): 1}), kept=False)
    with Dashboard() as dashboard:
        print_run_event(
            {"event": "replaces", **replaced.as_json(), "words": replaced.words()}, dashboard
        )
    words = "replaces 3 finished pictures, 64 -> 32 px (2 of them), 48 -> the photo's own size (1"
    assert words in capsys.readouterr().out


def test_what_was_restored_stays_until_retry(studio):
    changed_mind(studio)
    assert marks(studio) == [True, True]
    with stopped(studio):
        back = restoring.restore(loaded(studio), [], everything=True)
        assert len(back.versions) == 2
    assert marks(studio) == [False, False]
    begun = len(studio.executor.begun)
    studio.until_idle()
    reconfigure(studio, SMALL + "seed: 5\n")  # whatever is configured
    studio.until_idle()
    assert len(studio.executor.begun) == begun
    report = explain_report(loaded(studio), Path("a.png"))
    assert [(pair["why"], pair["will_be_made"]) for pair in report["plan"]] == [("restored", False)]
    assert "`retry FILE` paints it as configured" in explain_text(report)
    assert retry_jobs(loaded(studio), ["a.png"]) == 1
    studio.until_idle(lambda job, staging: done(job, staging, "small"))
    assert marks(studio) == [True, False]


def test_another_photo_in_its_place_is_rendered_though_an_earlier_version_was_restored(studio):
    changed_mind(studio)
    with stopped(studio):
        restoring.restore(loaded(studio), ["a.png"], everything=False)
    studio.put("a.png", 7)
    studio.until_idle(lambda job, staging: done(job, staging, "small"))
    assert marks(studio) == [True, True]
    assert len(explain_report(loaded(studio), Path("a.png"))["versions"]) == 2


def test_the_original_is_not_consumed_for_an_earlier_version(studio):
    changed_mind(studio)
    with stopped(studio):
        restoring.restore(loaded(studio), ["a.png"], everything=False)
        studio.configure(SMALL + "after: delete\n")
    studio.until_idle()
    assert sorted(path.name for path in studio.inbox.iterdir()) == ["a.png"]


def test_a_running_watch_restores_it_itself(studio):
    changed_mind(studio)
    with Ledger(studio.root / ".state" / "jobs.sqlite3") as other:  # `restore`, another process
        accounts = books(other, studio.outbox)
        for version in other.history.earlier():
            restoring.stage_version(accounts, version)
    studio.tick()
    assert marks(studio) == [False, False]
    studio.until_idle()
    assert studio.executor.begun[4:] == []


def test_a_pair_that_is_being_rendered_gives_way_to_the_earlier_version(studio):
    changed_mind(studio)
    reconfigure(studio, SMALL + "seed: 5\n")
    studio.until_running()
    with Ledger(studio.root / ".state" / "jobs.sqlite3") as other:
        accounts = books(other, studio.outbox)
        (wanted,) = (
            v for v in other.history.earlier() if v.content == studio.executor.jobs[0][0].content
        )
        restoring.stage_version(accounts, wanted)
    studio.until_idle(lambda job, staging: done(job, staging, "small"))
    assert sorted(marks(studio)) == [False, True]


def test_versions_are_named_by_id_job_file_photo_and_picture(studio):
    changed_mind(studio)
    first = explain_report(loaded(studio), Path("a.png"))["versions"][0]
    outbox = studio.outbox.root
    for name in (
        lambda v: v["version"],
        lambda v: v["job"],
        lambda v: str(outbox / v["outputs"][1]["path"]),
        lambda v: "a.png",
        lambda v: str(outbox / "a--mosaic.enhanced.png"),
    ):
        with stopped(studio):
            (version,) = explain_report(loaded(studio), Path("a.png"))["versions"]
            back = restoring.restore(loaded(studio), [name(version)], everything=False)
            assert [v.id for v in back.versions] == [version["version"]]
    assert explain_report(loaded(studio), Path("a.png"))["versions"][0]["job"] != first["job"]


def test_the_gallery_shows_the_current_pictures_and_no_earlier_version(studio):
    changed_mind(studio)
    files = OutboxFiles(studio.outbox.root)
    (version,) = explain_report(loaded(studio), Path("a.png"))["versions"]
    assert files.open(version["outputs"][0]["path"]) is None
    shown = files.open("a--mosaic.png")
    assert shown is not None
    shown.file.close()
    folder = studio.outbox.root / ".gallery"
    assert not any(".versions" in path.read_text() for path in folder.glob("*.js"))


def test_explain_lists_when_what_how_large_and_where(studio):
    changed_mind(studio)
    report = explain_report(loaded(studio), Path("a.png"))
    (version,) = report["versions"]
    assert version["summary"].startswith("mosaic (builtin:mosaic), 64 x 48 px, steps 2, seed 0")
    assert version["missing"] == []
    text = explain_text(report)
    assert f"  {version['version']}  " in text
    assert version["outputs"][0]["path"] in text
    assert json.loads(json.dumps(report)) == report
    assert status_report(loaded(studio))["versions"]["count"] == 2


def test_what_cannot_be_restored_is_refused_with_its_cause(studio):
    changed_mind(studio)
    (version,) = explain_report(loaded(studio), Path("a.png"))["versions"]
    (studio.outbox.root / version["outputs"][0]["path"]).write_text("changed")
    with stopped(studio):
        for name, words in (
            (version["version"], "is missing or was changed"),
            ("nowhere.png", "no earlier version"),
        ):
            with pytest.raises(UsageError, match=words):
                restoring.restore(loaded(studio), [name], everything=False)
    assert marks(studio) == [True, True]


def test_a_style_of_one_name_for_another_painting_keeps_what_the_first_one_made(studio):
    studio.put("a.png", 1)
    studio.until_idle()
    swapped = LARGE.replace(STYLES, STYLES.replace("builtin:mosaic", "builtin:ink_hatching"))
    assert swapped != LARGE
    reconfigure(studio, swapped)
    studio.until_idle(lambda job, staging: done(job, staging, "small"))
    assert len(studio.ledger.history.earlier("a.png")) == 1
