"""Names in the outbox: portable, never the outbox's own, decided once."""

import pytest
from support.stock import pictures
from support.studio import CONFIG, Studio

from pipeline.gallery.writer import FOLDER
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.names import (
    PAGE,
    RESERVED_NAMES,
    RUN_LOG,
    STAGING,
    candidate_names,
    inbox_to_outbox_folders,
    is_reserved,
)
from pipeline.system.file_names import portable_name


def test_the_root_of_an_outbox_holds_nothing_besides_pictures_but_what_is_reserved(tmp_path):
    studio = Studio(tmp_path)
    studio.put("a.png")
    studio.put("sub/b.png")
    studio.until_running()
    standing = {path.name for path in studio.outbox.root.iterdir()}
    studio.until_idle()
    standing |= {path.name for path in studio.outbox.root.iterdir()}
    studio.close()
    own = {name for name in standing if not name.endswith(".png") and name != "sub"}
    assert {STAGING, RUN_LOG, PAGE, FOLDER} <= own <= set(RESERVED_NAMES)


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_no_spelling_of_a_reserved_name_is_given_to_a_pair(name):
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in name)
    for spelling in (
        name,
        name.upper(),
        name + ".",
        name + " ",
        wide,
        name[0] + "\u200b" + name[1:],
    ):
        (folder,) = inbox_to_outbox_folders(spelling)
        assert not is_reserved(folder), spelling
        assert inbox_to_outbox_folders(f"sub/{name}") == [
            "sub",
            name,
        ]  # only the root is the outbox's own


@pytest.mark.parametrize("name", [RUN_LOG, PAGE, "RUNS.jsonl", "Index.HTML"])
@pytest.mark.slow
def test_a_folder_named_like_one_of_the_outbox_itself_gets_another_name(tmp_path, name):
    studio = Studio(tmp_path)
    studio.put(f"{name}/a.png")
    studio.put(f"{name}/a.jpg", seed=1)
    studio.until_idle()
    studio.again()
    studio.good_one_survives()
    assert set(studio.states().values()) == {"done"}
    assert f"{name}~2/a--mosaic.png" in pictures(studio.outbox)
    assert (studio.outbox.root / RUN_LOG).is_file()
    assert (studio.outbox.root / PAGE).is_file()
    studio.close()


def test_a_file_in_the_place_of_a_folder_stays_and_the_pictures_get_a_folder_beside_it(tmp_path):
    studio = Studio(tmp_path)
    (studio.outbox.root / "sub").write_text("somebody's")
    studio.put("sub/deep/a.png")
    studio.until_idle()
    assert pictures(studio.outbox) == ["sub~2/deep/a--mosaic.enhanced.png",
                                       "sub~2/deep/a--mosaic.png"]  # fmt: skip
    assert (studio.outbox.root / "sub").read_text() == "somebody's"
    studio.close()


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ('a<b>c:d"e|f?g*h\\i', "a_b_c_d_e_f_g_h_i"),
        ("tab\there\x7f\x85", "tab_here__"),
        ("no utf-8 \udcff", "no utf-8 _"),
        ("ends. .", "ends___"),
        ("CON", "CON_"),
        ("nul.tar", "nul_.tar"),
        ("Aux .x", "Aux _.x"),
        ("com1", "com1_"),
        ("LPT³.a", "LPT³_.a"),
        ("console", "console"),
        ("común 日本 (1).b", "común 日本 (1).b"),
    ],
)
def test_a_name_is_what_every_disk_takes(name, taken):
    assert portable_name(name) == taken
    assert portable_name(taken) == taken


def test_whole_names_are_portable_folder_by_folder():
    assert next(candidate_names("aux/12:30 ./what?.jpg", "mosaic")) == "aux_/12_30__/what_--mosaic"


def test_photos_whose_names_become_one_have_two(tmp_path):
    studio = Studio(tmp_path)
    studio.put("a?.png")
    studio.put("a*.png", seed=1)
    studio.until_idle()
    assert {"a_--mosaic.png", "a_~2--mosaic.png"} < set(pictures(studio.outbox))
    studio.close()


def test_pairs_keep_the_names_that_an_earlier_version_gave_them(tmp_path):
    studio = Studio(tmp_path)
    studio.put("a?.png")
    studio.until_idle()
    old = {}
    for suffix in (".png", ".enhanced.png"):
        path = studio.outbox.root / f"a_--mosaic{suffix}"
        old[path.name] = path.rename(path.with_name(f"a?--mosaic{suffix}")).name
    with studio.ledger._db.write():
        sql = "UPDATE pairs SET target = ?, target_key = ?, outputs = replace(outputs, 'a_', 'a?')"
        studio.ledger._db.change(sql, b"a?--mosaic", b"a?--mosaic")
        studio.ledger._db.change("UPDATE versions SET outputs = replace(outputs, 'a_', 'a?')")
    studio.configure(CONFIG + "seed: 1\nkeep: latest\n")
    studio.again()
    studio.until_idle()
    assert pictures(studio.outbox) == sorted(old.values())
    studio.close()


def test_a_name_is_found_at_once_however_often_it_was_used(tmp_path):
    names = candidate_names("image.jpg", "mosaic", lives=50_000)
    assert [next(names), next(names)] == ["image--mosaic", "image~50001--mosaic"]
    with Ledger(tmp_path / "jobs.sqlite3") as ledger:
        assert ledger.count_lives("image.jpg", "mosaic") == 0
