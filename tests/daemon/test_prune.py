"""`prune` removes the pictures that no rule wants any more, and no other file."""

import json
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.stock import pictures, read_log
from support.studio import Studio
from typer.testing import CliRunner

from pipeline.cli import main as cli
from pipeline.cli.dry_run import print_dry_run
from pipeline.cli.explain import explain_report, explain_text
from pipeline.config.loading import Loaded, load
from pipeline.daemon.instance import instance_lock
from pipeline.daemon.paintings.prune import find_prunable, prune
from pipeline.daemon.paintings.unwanted import Unwanted
from pipeline.daemon.restore import restore
from pipeline.errors import ConfigError, LockedError
from pipeline.gallery.writer import FOLDER, Gallery, read_arguments
from pipeline.outbox.versions import Versions

REST = "watch: {settle_seconds: 0}\nlimits: {free_bytes: 0}\n"
BOTH = 'styles: {sea: "builtin:woodcut_waves", wood: "builtin:mosaic"}\n' + REST
SEA = 'styles: {sea: "builtin:woodcut_waves"}\n' + REST


@pytest.fixture
def studio(make_studio) -> Studio:
    """Two photos, one of them in a folder, painted in two styles."""
    studio = make_studio(BOTH)
    studio.put("cup.png", 1)
    studio.put("sub/jar.png", 2)
    studio.until_idle()
    assert len(pictures(studio.outbox)) == 8
    return studio


def loaded(studio: Studio, text: str | None = None) -> Loaded:
    path = studio.root / "config.yaml"
    if text is not None:
        path.write_text(text)
    return load(path)


@contextmanager
def stopped(studio: Studio, text: str | None = None):
    """While no instance works there, and with another config."""
    studio.close()
    yield loaded(studio, text)
    studio.configure((studio.root / "config.yaml").read_text())
    studio.open()


def pruned(studio: Studio, text: str = SEA) -> list[str]:
    """The pairs whose pictures `prune` removes."""
    with stopped(studio, text) as config:
        return names(prune(config))


def names(found) -> list[str]:
    return [f"{o.pair.content} x {o.pair.style}" for o in found if o.pictures and not o.changed]


def run(studio: Studio, *words: str) -> tuple[int, str]:
    config = ["--config", str(studio.root / "config.yaml")]
    said = CliRunner().invoke(cli.app, [*words, *config])
    return said.exit_code, said.output


def shown(studio: Studio) -> set[str]:
    """The pictures on the gallery page."""
    gallery = Gallery(studio.outbox.root)
    chunks = len(list((studio.outbox.root / FOLDER).glob("chunk-*.js")))
    entries = gallery._current_entries(chunks)
    return {picture["url"] for entry in entries for picture in entry["pictures"]}


# --- what is removed ------------------------------------------------------------------------


def test_the_pictures_of_a_style_that_is_gone_become_earlier_versions(studio):
    assert pruned(studio) == ["cup.png x wood", "sub/jar.png x wood"]
    assert pictures(studio.outbox) == [
        *("cup--sea.enhanced.png", "cup--sea.png"),
        *("sub/jar--sea.enhanced.png", "sub/jar--sea.png"),
    ]
    kept = studio.ledger.history.earlier()
    assert {(version.content, version.style) for version in kept} == {
        ("cup.png", "wood"), ("sub/jar.png", "wood"),
    }  # fmt: skip
    outputs = [output for version in kept for output in version.outputs]
    assert len(outputs) == 4
    assert all(Versions(studio.outbox.root).is_intact(output) for output in outputs)


def test_a_second_time_finds_nothing(studio):
    assert pruned(studio)
    before = read_log(studio.outbox)
    with stopped(studio) as config:
        assert prune(config) == find_prunable(config) == []
    assert read_log(studio.outbox) == before


def test_run_log_and_gallery_forget_them(studio):
    assert len(shown(studio)) == 8
    pruned(studio)
    line = read_log(studio.outbox)[-1]
    assert (line["event"], line["status"]) == ("job_pruned", "skipped")
    assert line["error"]["code"] == "no_match"
    assert [output["path"] for output in line["outputs"]] == [
        *("sub/jar--wood.png", "sub/jar--wood.enhanced.png")
    ]
    assert shown(studio) == {
        *("./cup--sea.png", "./cup--sea.enhanced.png"),
        *("./sub/jar--sea.png", "./sub/jar--sea.enhanced.png"),
    }
    entry = read_arguments(studio.outbox.root / FOLDER / "chunk-0001.js")[1][-1]
    assert entry["pruned"] is True


@pytest.mark.parametrize("mount_point", [False, True])
def test_while_the_outbox_is_away_nothing_is_removed_or_forgotten(studio, mount_point):
    with stopped(studio, SEA) as config:
        outbox, elsewhere = studio.outbox.root, studio.root / "elsewhere"
        outbox.rename(elsewhere)
        if mount_point:  # of a disk that is not mounted
            outbox.mkdir()
        for attempt in (prune, find_prunable):
            with pytest.raises(ConfigError, match=r"has no runs\.jsonl") as refused:
                attempt(config)
            assert refused.value.exit_code == 2
        assert not mount_point or not any(outbox.iterdir())
        assert outbox.exists() == mount_point
        if mount_point:
            outbox.rmdir()
        elsewhere.rename(outbox)
        assert names(prune(config)) == ["cup.png x wood", "sub/jar.png x wood"]


def test_with_keep_latest_they_are_deleted(studio):
    assert pruned(studio, SEA + "keep: latest\n")
    assert studio.ledger.history.earlier() == []
    assert not (studio.outbox.root / ".versions").exists()
    assert len(pictures(studio.outbox)) == 4


def test_a_folder_of_the_outbox_that_becomes_empty_goes_too(studio):
    (studio.outbox.root / "sub/mine.txt").write_text("mine")
    pruned(studio, 'styles: {other: "builtin:mosaic"}\n' + REST)
    assert [path.name for path in (studio.outbox.root / "sub").iterdir()] == ["mine.txt"]
    (studio.outbox.root / "sub/mine.txt").unlink()
    studio.until_idle()
    pruned(studio)  # of the style other
    assert not (studio.outbox.root / "sub").exists()


def test_photos_that_a_rule_gives_the_style_no_more_lose_their_pictures(studio):
    text = BOTH + "match: [{inbox: 'sub/**', styles: [wood]}, {styles: [sea, wood]}]\n"
    assert pruned(studio, text) == ["sub/jar.png x sea"]


def test_so_do_photos_whose_side_file_chooses_another_style(studio):
    (studio.inbox / "cup.png.yaml").write_text("styles: [sea]\n")
    assert pruned(studio, BOTH) == ["cup.png x wood"]


def test_pictures_of_all_photos_that_had_a_name_go_with_their_style(studio):
    (studio.inbox / "cup.png").unlink()
    studio.until_idle()
    studio.put("cup.png", 7)  # another photo of the same name
    studio.until_idle()
    assert "cup~2--wood.png" in pictures(studio.outbox)
    assert pruned(studio) == ["cup.png x wood", "cup.png x wood", "sub/jar.png x wood"]
    assert not any("wood" in name for name in pictures(studio.outbox))
    assert len(studio.ledger.history.earlier("cup.png")) == 2


# --- what stays -----------------------------------------------------------------------------


def test_pictures_of_photos_that_have_left_the_inbox_stay_while_their_style_is_there(studio):
    (studio.inbox / "cup.png").unlink()
    studio.until_idle()
    only_sea = BOTH + "match: [{styles: [sea]}]\n"
    assert pruned(studio, only_sea) == ["sub/jar.png x wood"]
    assert "cup--wood.png" in pictures(studio.outbox)
    assert pruned(studio) == ["cup.png x wood"]  # the style is gone


@pytest.mark.parametrize("name", ["cup--wood.png", "cup--wood.enhanced.png"])
def test_a_pair_with_a_picture_that_someone_changed_stays_whole(studio, name):
    (studio.outbox.root / name).write_text("retouched")
    assert pruned(studio) == ["sub/jar.png x wood"]
    assert {"cup--wood.png", "cup--wood.enhanced.png"} <= set(pictures(studio.outbox))
    with stopped(studio) as config:
        (left,) = find_prunable(config)
        assert left.changed == name
        assert names(prune(config)) == []
    assert (studio.outbox.root / name).read_text() == "retouched"


def test_a_picture_under_a_folder_that_is_a_link_now_stays(studio):
    sub = studio.outbox.root / "sub"
    sub.rename(studio.root / "elsewhere")
    sub.symlink_to(studio.root / "elsewhere")
    assert pruned(studio) == ["cup.png x wood"]
    assert (studio.root / "elsewhere/jar--wood.png").exists()


def test_a_picture_that_serves_a_copy_of_its_photo_stays(make_studio):
    studio = make_studio(BOTH)
    studio.put("a/cup.png", 1)
    studio.until_idle()
    studio.put("b/cup.png", 1)  # the same photo: it shares the pictures
    studio.until_idle()
    text = BOTH + "match: [{inbox: 'a/**', styles: [sea]}, {styles: [sea, wood]}]\n"
    assert pruned(studio, text) == []
    assert pruned(studio) == ["a/cup.png x wood"]


def test_photos_that_were_not_examined_yet_keep_their_pictures(studio):
    studio.put("cup.png", 7)  # another photo in its place
    with stopped(studio, BOTH + "match: [{styles: [sea]}]\n") as config:
        assert names(find_prunable(config)) == ["sub/jar.png x wood"]


def test_nothing_is_removed_where_the_inbox_is_gone_or_another_instance_works(studio):
    config = loaded(studio, SEA)
    studio.close()
    with instance_lock(config.config.state, "watch"), pytest.raises(LockedError, match="watch"):
        prune(config)
    studio.inbox.rename(studio.root / "away")
    assert run(studio, "prune", "--yes")[0] != 0
    assert len(pictures(studio.outbox)) == 8
    (studio.root / "away").rename(studio.inbox)
    studio.open()


# --- afterwards -----------------------------------------------------------------------------


def test_a_style_that_comes_back_has_its_pictures_painted_again(studio):
    begun = len(studio.executor.begun)
    pruned(studio)
    studio.configure(BOTH)
    studio.service.configure(studio.config, studio.manifest)
    studio.until_idle()
    assert begun == 4
    assert [job.style for job in studio.executor.begun] == ["wood", "wood"]
    assert len(pictures(studio.outbox)) == 8
    assert len(shown(studio)) == 8


def test_restore_brings_them_back(studio):
    pruned(studio)
    with stopped(studio) as config:
        restore(config, ["cup.png"], everything=False)
    assert "cup--wood.png" in pictures(studio.outbox)
    assert "./cup--wood.png" in shown(studio)
    assert "x wood" in explain_text(explain_report(loaded(studio), Path("cup.png")))


def test_pictures_that_a_person_deleted_are_forgotten_without_a_word(studio):
    for name in ("cup--wood.png", "cup--wood.enhanced.png"):
        (studio.outbox.root / name).unlink()
    assert pruned(studio) == ["sub/jar.png x wood"]
    assert shown(studio) == {f"./{name}" for name in pictures(studio.outbox)}


@pytest.mark.parametrize("steps", [1, 2])
def test_what_a_crash_has_cut_short_is_completed_by_the_next_time(studio, steps):
    """The pictures are kept, then removed; then the ledger forgets them."""
    pair = next(p for p in studio.ledger.pairs(content="cup.png") if p.style == "wood")
    standing = studio.ledger.history.current("cup.png", "wood")
    Versions(studio.outbox.root).keep(standing.outputs, standing.id)
    if steps == 2:
        studio.outbox.remove(pair.outputs)
    studio.configure(SEA)
    studio.again()  # a start sweeps what it takes for leftovers
    studio.until_idle()
    pruned(studio)
    kept = {v.content: v for v in studio.ledger.history.earlier()}
    assert set(kept) == {"cup.png", "sub/jar.png"}
    assert all(Versions(studio.outbox.root).is_intact(o) for o in kept["cup.png"].outputs)


# --- what is said ---------------------------------------------------------------------------


WORDS = "2 pictures of style wood that no rule wants any more: `pipeline prune` removes them"


def test_check_and_a_dry_run_say_how_many_there_are(studio, capsys):
    with stopped(studio, SEA) as config:
        assert WORDS in run(studio, "check")[1]
        print_dry_run(config, as_json=False)
        assert WORDS in capsys.readouterr().err
        assert run(studio, "prune", "--yes")[0] == 0
        assert WORDS not in run(studio, "check")[1]
        print_dry_run(config, as_json=False)
        assert "prune" not in capsys.readouterr().err


def test_without_yes_they_are_listed_and_nothing_is_removed(studio):
    with stopped(studio, SEA):
        code, said = run(studio, "prune")
        assert code == 0
        assert "no rule wants: cup.png x wood" in said
        assert "cup--wood.png, cup--wood.enhanced.png" in said
        assert "2 pictures" in said
        assert "`pipeline prune --yes` removes them (moved to outbox/.versions" in said
        assert len(pictures(studio.outbox)) == 8
        report = json.loads(run(studio, "prune", "--json")[1])
        assert (report["removed"], report["pictures"], report["left"]) == (False, 2, [])
        report = json.loads(run(studio, "prune", "--yes", "--json")[1])
        assert (report["removed"], report["pictures"]) == (True, 2)
        assert run(studio, "prune")[1] == "nothing to prune\n"


def test_where_nothing_was_painted_there_is_nothing_to_prune(make_studio):
    studio = make_studio(SEA)
    studio.close()
    for file in (studio.root / ".state").iterdir():
        file.unlink()
    assert run(studio, "prune", "--yes") == (0, "nothing to prune\n")
    assert list((studio.root / ".state").iterdir()) == []
    studio.open()


def test_words_for_many_styles():
    styles = Counter({"a": 9, "b": 5, "c": 3, "d": 2, "e": 1})
    assert (
        Unwanted((), styles)
        .words()
        .startswith(
            "9 pictures of style a, 5 pictures of style b, 3 pictures of style c and 3 of 2 other "
        )
    )
