"""`try`: which words are photos and which are paintings, the sheet, the ranking, foreign files."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cli.trials.arguments import sort_arguments
from pipeline.config.loading import Loaded, load_or_starters
from pipeline.config.manifest import starter_styles
from pipeline.config.yaml_file import read_yaml
from pipeline.errors import UsageError
from pipeline.render.output_files import is_made_here

SMALL = ["--size", "24"]


@pytest.fixture(autouse=True)
def cheap_statistic(folder: Path) -> None:
    """At 24 px nearly all of a step would be matrix roots."""
    with (folder / "config.yaml").open("a") as config:
        config.write("transfer: {statistic: mean_std}\n")


@pytest.fixture
def paintings(folder: Path) -> Path:
    """A folder of two paintings beside the inbox."""
    (folder / "paintings").mkdir()
    for name, color in (("sun.jpg", "#e0b020"), ("sea.png", "#2060c0")):
        image = Image.new("RGB", (40, 40), color)
        image.paste("#101010", (0, 0, 10, 40))
        image.save(folder / "paintings" / name)
    return folder / "paintings"


def sort(*words: str, **more: list[str]) -> tuple[list[str], list[str]]:
    """Names of photos and styles among words, in the folder that is current."""
    loaded: Loaded = load_or_starters(Path("config.yaml"))
    photos, styles = sort_arguments(words, more.get("photo", []), more.get("style", []), loaded)
    return [path.name for path in photos], [style.name for style in styles]


# --- photos and paintings -------------------------------------------------------------------


def test_a_photo_alone_is_tried_in_all_styles_of_the_config(folder):
    assert sort("inbox/cup.jpg") == (["cup.jpg"], ["mosaic", "mix"])


def test_without_a_config_all_starter_styles_are_tried(folder):
    (folder / "config.yaml").unlink()
    assert sort("inbox/cup.jpg") == (["cup.jpg"], list(starter_styles()))


def test_after_the_photo_come_paintings_in_any_form(folder, paintings):
    words = ["mix", "builtin:woodcut_waves", "paintings/sun.jpg"]
    assert sort("inbox/cup.jpg", *words) == (["cup.jpg"], ["mix", "woodcut_waves", "sun"])


def test_a_folder_is_the_paintings_in_it_each_once(folder, paintings):
    (paintings / "notes.txt").write_text("no painting")
    assert sort("inbox/cup.jpg", "paintings", "paintings/sea.png")[1] == ["sea", "sun"]


def test_further_files_of_the_inbox_are_photos_and_others_paintings(folder, paintings):
    """As a shell writes out `inbox/*.jpg`."""
    Image.new("RGB", (32, 24)).save(folder / "inbox" / "dish.jpg")
    found = sort("inbox/cup.jpg", "inbox/dish.jpg", "paintings/sun.jpg")
    assert found == (["cup.jpg", "dish.jpg"], ["sun"])


def test_options_say_what_a_file_is_where_its_place_would_say_otherwise(folder, paintings):
    found = sort("inbox/cup.jpg", photo=["paintings/sun.jpg"], style=["inbox/cup.jpg"])
    assert found == (["cup.jpg", "sun.jpg"], ["cup"])


def test_a_painting_of_a_style_is_tried_as_that_style(folder):
    """So that its options count, and it does not get a second name."""
    assert sort("inbox/cup.jpg", "builtin:mosaic", "mosaic")[1] == ["mosaic"]


def test_a_new_painting_gets_a_name_that_no_style_has(folder, paintings):
    (paintings / "sun.jpg").rename(paintings / "mosaic.jpg")
    assert sort("inbox/cup.jpg", "paintings/mosaic.jpg")[1] == ["mosaic_2"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["mosaic"], "name a photo first"),
        (["builtin:mosaic", "inbox/cup.jpg"], "name a photo first"),
        (["inbox"], "name one picture in it"),
        (["inbox/cup.jpg", "inbox"], "name the photos one by one"),
        (["inbox/cup.jpg", "mosiac"], "did you mean 'mosaic'?"),
        (["inbox/cup.jpg", "paintings/sum.jpg"], r"did you mean 'paintings/sun\.jpg'\?"),
    ],
)
def test_a_word_that_is_neither_is_refused_with_what_was_meant(folder, paintings, words, hint):
    with pytest.raises(UsageError, match=hint):
        sort(*words)


# --- what is printed and written ------------------------------------------------------------


@pytest.mark.slow
def test_try_writes_a_sheet_and_a_ranking_and_prints_the_lines_for_the_best(
    pipeline, folder, paintings
):
    said = pipeline("try", "inbox/cup.jpg", "paintings", *SMALL, "-o", "trial")
    assert (said.code, said.err) == (0, "")
    first, second = said.out.splitlines()[:2]
    assert first == "1 photo: cup.jpg; 2 styles: sea, sun"
    assert second.startswith("2 pairs to do")
    assert sorted(path.name for path in (folder / "trial").iterdir()) == [
        "contact-sheet.png",
        "ranking.json",
    ]
    report = json.loads((folder / "trial/ranking.json").read_text())
    assert report["complete"]
    assert [each["rank"] for each in report["ranking"]] == [1, 2]
    scores = [each["score"] for each in report["ranking"]]
    assert scores == sorted(scores, reverse=True)
    best = report["ranking"][0]
    assert f"for {best['style']}, write into config.yaml:" in said.out
    (folder / "new.yaml").write_text(best["yaml"])
    styles = read_yaml(folder / "new.yaml")[0]["styles"]
    file = {"sea": "paintings/sea.png", "sun": "paintings/sun.jpg"}[best["style"]]
    assert styles == {best["style"]: {"image": file}}
    assert pipeline("try", "inbox/cup.jpg", "paintings", *SMALL, "-o", "trial").code == 0


@pytest.mark.slow
def test_several_photos_of_one_style_are_ranked_by_how_well_they_suit_it(pipeline, folder):
    Image.new("RGB", (32, 24), "white").save(folder / "inbox" / "blank.jpg")
    said = pipeline("try", "inbox/cup.jpg", "inbox/blank.jpg", "mosaic", "-o", "d", "--size", "16")
    assert said.code == 0
    ranked = re.findall(r"^ +(\d)  (\w+\.jpg) ", said.out, re.MULTILINE)
    assert ranked == [("1", "cup.jpg"), ("2", "blank.jpg")]


@pytest.mark.slow
def test_a_painting_that_may_have_been_meant_as_a_photo_is_named(pipeline, folder, paintings):
    """As a shell writes out `paintings/*`."""
    said = pipeline("try", "paintings/sea.png", "paintings/sun.jpg", "-o", "d", "--size", "16")
    assert said.code == 0
    assert "sun.jpg is taken for a painting; put --photo before it for a photo" in said.out


@pytest.mark.slow
def test_a_damaged_painting_is_left_out_and_reported_and_the_others_are_ranked(
    pipeline, folder, paintings
):
    (paintings / "torn.jpg").write_bytes((paintings / "sun.jpg").read_bytes()[:300])
    said = pipeline("try", "inbox/cup.jpg", "paintings", *SMALL, "-o", "trial", "--json")
    assert said.code == 1
    report = json.loads(said.out)
    assert report == json.loads((folder / "trial/ranking.json").read_text())
    assert {each["style"] for each in report["ranking"]} == {"sea", "sun"}
    (failed,) = report["failed"]
    assert (failed["style"], failed["photo"]) == ("torn", "cup.jpg")


@pytest.mark.slow
def test_a_damaged_photo_ends_it_before_anything_is_written(pipeline, folder):
    said = pipeline("try", "inbox/notes.jpg", "-o", "trial")
    assert said.code == 2
    assert "notes.jpg" in said.err
    assert not (folder / "trial").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["contact-sheet.png", "ranking.json"])
def test_a_file_of_somebody_else_is_not_overwritten_without_force(pipeline, folder, name):
    (folder / "trial").mkdir()
    target = folder / "trial" / name
    Image.new("RGB", (8, 8)).save(folder / "own.png")
    target.write_bytes((folder / "own.png").read_bytes() if ".png" in name else b"{}")
    before = target.read_bytes()
    words = ["try", "inbox/cup.jpg", "mosaic", *SMALL, "-o", "trial"]
    said = pipeline(*words)
    assert said.code == 2
    assert name in said.err
    assert "--force" in said.err
    assert target.read_bytes() == before
    assert pipeline(*words, "--force").code == 0
    assert is_made_here(target)


@pytest.mark.parametrize("text", ["[]", "{}", '{"program": "other 1"}', "{", "\udcff"])
def test_a_json_file_is_ours_only_if_it_says_so(folder, text):
    path = folder / "ranking.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert not is_made_here(path)
    path.write_text('{"program": "pipeline 0.0.1"}')
    assert is_made_here(path)
