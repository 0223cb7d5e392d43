"""`run`, `run --dry-run` and `explain` decide alike which files are taken."""

import json
import shutil
from pathlib import Path

import pytest
from support.studio import Studio

from pipeline.cli.dry_run import print_dry_run
from pipeline.cli.explain import explain_report, explain_text
from pipeline.config.loading import Loaded
from pipeline.daemon import preview as previewing
from pipeline.errors import Failure, Reason
from pipeline.inbox.scanner import Refused
from pipeline.system.file_version import Stamp, hash_file

CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}, waves: {image: "builtin:woodcut_waves"}}
match: [{inbox: "*", styles: [mosaic]}]
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""


def refuse(studio: Studio, name: str, code: Reason) -> None:
    """As the service records what its examiner found."""
    path = studio.inbox / name
    version = str(Stamp.of(path.lstat()))
    refused = Refused(name, path, Failure(code, "as a disk said it"), "failed", version)
    studio.service.bookkeeping.refuse(refused, studio.wall)


@pytest.fixture
def studio(tmp_path: Path):
    """An inbox with a file of every kind: done, changed, new, copied, refused for this or that."""
    studio = Studio(tmp_path, CONFIG)
    for seed, name in enumerate(["done.png", "changed.png", "side.png"]):
        studio.put(name, seed)
    (studio.inbox / "broken.jpg").write_bytes(b"no picture")
    (studio.inbox / "list.txt").write_text("no photo")
    studio.put("below/unmatched.png", 7)
    studio.until_idle()
    studio.put("changed.png", 11)
    studio.put("new.png", 12)
    (studio.inbox / "side.png.yaml").write_text("styles: [waves]\n")
    studio.put("wrong.png", 13)
    (studio.inbox / "wrong.png.yaml").write_text("stiles: [waves]\n")
    shutil.copy(studio.inbox / "done.png", studio.inbox / "z-copy.png")
    studio.put("unreadable-then.png", 14)
    refuse(studio, "unreadable-then.png", Reason.UNREADABLE)
    studio.put("decoder-then.png", 15)
    refuse(studio, "decoder-then.png", Reason.DECODER_UNAVAILABLE)
    studio.put("broken-for-good.png", 16)
    refuse(studio, "broken-for-good.png", Reason.TRUNCATED)
    yield studio
    studio.close()


DUE = {
    ("changed.png", "mosaic"),
    ("new.png", "mosaic"),
    ("side.png", "waves"),
    ("unreadable-then.png", "mosaic"),
    ("decoder-then.png", "mosaic"),
}


def test_a_run_its_dry_run_and_explain_agree_on_every_file(studio, capsys):
    loaded = Loaded(studio.root / "config.yaml", studio.config, studio.manifest)
    files = sorted(path for path in studio.inbox.rglob("*") if path.is_file())
    before = studio.ledger.revision()
    reports = [explain_report(loaded, path) for path in files]
    print_dry_run(loaded, as_json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert studio.ledger.revision() == before, "looking wrote something"

    planned = {(row["content"], row["style"], row["why"]) for row in rows}
    assert planned == {(r["content"], p["style"], p["why"]) for r in reports for p in r["plan"]}
    due = {
        (report["content"], pair["style"])
        for report in reports
        for pair in report["plan"]
        if pair["will_be_made"]
    }
    assert due == DUE

    studio.again()  # a fresh process, as `run` is one
    studio.until_idle()
    assert {(job.content, job.style) for job in studio.executor.begun} == DUE
    taken = {content for content, _ in DUE} | {"done.png", "z-copy.png"}
    for report in reports:
        refused = report["refused"] is not None
        assert refused == (report["content"] not in taken), report


def test_explain_does_not_say_that_a_file_is_not_taken_which_is_taken_again(studio):
    loaded = Loaded(studio.root / "config.yaml", studio.config, studio.manifest)
    said = explain_text(explain_report(loaded, Path("unreadable-then.png")))
    assert "mosaic: will be painted: new" in said
    assert "not taken" not in said
    said = explain_text(explain_report(loaded, Path("broken-for-good.png")))
    assert "not taken: truncated" in said


def test_explain_reads_only_the_file_that_it_is_asked_about(studio, monkeypatch):
    loaded = Loaded(studio.root / "config.yaml", studio.config, studio.manifest)
    read: list[str] = []

    def recorded(path: Path, *given: object) -> str | None:
        read.append(path.name)
        return hash_file(path, *given)

    monkeypatch.setattr(previewing, "hash_file", recorded)
    explain_report(loaded, studio.inbox / "new.png")
    assert read == ["new.png"]
    explain_report(loaded, studio.inbox / "done.png")
    assert read == ["new.png"], "what the ledger knows is not read again"


def test_photos_that_were_never_decoded_are_named_as_such(studio):
    """They may turn out to be damaged: the plan cannot promise their pictures."""
    loaded = Loaded(studio.root / "config.yaml", studio.config, studio.manifest)
    found = previewing.preview(loaded)
    planned = {pair.content for pair in found.plan.pairs}
    assert {"new.png", "changed.png"} <= planned & found.unexamined
    assert "done.png" in planned - found.unexamined
    assert "not examined yet" in explain_text(explain_report(loaded, Path("new.png")))
    assert "not examined yet" not in explain_text(explain_report(loaded, Path("done.png")))
