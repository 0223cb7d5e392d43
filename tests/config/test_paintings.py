"""A folder of paintings: each picture in it is a style; what is wrong is named with its remedy."""

import os
from pathlib import Path

import pytest
from support.fake_work import photo
from typer.testing import CliRunner

from pipeline.cli import main as cli
from pipeline.config.loading import Loaded, load
from pipeline.config.paintings.folder import MOST_PAINTINGS, list_folder, style_name
from pipeline.errors import ConfigError
from pipeline.jobs.recipe import Recipes


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of two paintings, one of them with options."""
    photo(tmp_path / "paintings/starry.png", 1)
    photo(tmp_path / "paintings/Café am Abend.jpg", 2)
    (tmp_path / "paintings/starry.png.yaml").write_text(
        "transfer: {content_weight: 0.2}\nregions: {sky: {strength: 0.3}}\n"
    )
    return tmp_path / "paintings"


def loaded(folder: Path, text: str = "styles: paintings/\n", **options) -> Loaded:
    path = folder.parent / "config.yaml"
    path.write_text(text)
    return load(path, **options)


def complaint(folder: Path, text: str = "styles: paintings/\n") -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    assert caught.value.exit_code == 2
    return str(caught.value)


# --- what is a style ------------------------------------------------------------------------


def test_each_picture_is_a_style_named_by_its_file_with_the_options_beside_it(folder):
    found = loaded(folder).manifest
    assert list(found.styles) == ["Café am Abend", "starry"]
    starry = found.styles["starry"]
    assert starry.images == ((folder / "starry.png", 1.0),)
    assert starry.transfer.content_weight == 0.2
    assert starry.regions["sky"].strength == 0.3
    assert starry.side_file == folder / "starry.png.yaml"
    assert found.styles["Café am Abend"].transfer.content_weight == 0.3
    assert [style.name for style in found.styles_for("any/cup.jpg")] == list(found.styles)


def test_a_list_joins_folders_starter_styles_and_styles_with_names(folder):
    photo(folder.parent / "more/sea.png", 3)
    text = 'styles:\n  - paintings\n  - more/\n  - "builtin:mosaic"\n'
    found = loaded(folder, text + "  - {a: more/sea.png, b: {images: {more/sea.png: 1}}}\n")
    assert list(found.manifest.styles) == ["Café am Abend", "starry", "sea", "mosaic", "a", "b"]


def test_a_style_may_be_the_picture_alone(folder):
    found = loaded(folder, 'styles: {a: "builtin:mosaic", b: paintings/starry.png}\n').manifest
    assert found.styles["a"].origins == ("builtin:mosaic",)
    assert found.styles["b"].images == ((folder / "starry.png", 1.0),)


def test_a_painting_gives_the_same_recipe_as_by_its_path(folder):
    (folder / "starry.png.yaml").unlink()
    digests = []
    for text in ("styles: paintings\n", "styles: {x: {image: paintings/starry.png}}\n"):
        found = loaded(folder, text)
        style = found.manifest.styles.get("starry") or found.manifest.styles["x"]
        digests.append(Recipes(found.config).recipe_for(style).digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("starry", "starry"),
        ("Café am Abend", "Café am Abend"),
        ("Cafe\u0301", "Café"),  # as macOS writes it
        ("The Starry Night (1889)", "The Starry Night_1889"),
        ("a & b", "a_b"),
        ("-sea", "sea"),
        ("_sea", "_sea"),
        ("x²", "x"),
        ("हिंदी", "हिंदी"),
        ("🎨", "painting"),
        ("a" * 99, "a" * 64),
    ],
)
def test_a_name_that_no_style_may_have_is_changed_as_little_as_possible(folder, stem, name):
    assert style_name(stem) == name
    (folder / "Café am Abend.jpg").unlink()
    photo(folder / "new.png", 5).rename(folder / f"{stem[:60]}.png")
    assert name[:60] in loaded(folder).manifest.styles


def test_what_is_no_painting_is_ignored_in_one_finding(folder):
    (folder / "notes.txt").write_text("milk, eggs")
    (folder / "raw.nef").write_text("")
    (folder / "gone.jpg.yaml").write_text("")
    (folder / "_folder.yaml").write_text("")
    (folder / "old.jpg").mkdir()
    os.mkfifo(folder / "pipe.png")
    for name in (".DS_Store", "Thumbs.db", "sea.jpg.part", "~$x.jpg"):  # without a word
        (folder / name).write_text("")
    found = loaded(folder)
    assert list(found.manifest.styles) == ["Café am Abend", "starry"]
    (only,) = found.config.folders
    assert only.ignored == (
        f"ignored in {folder}: _folder.yaml (options are named after their picture, as in "
        "a.jpg.yaml), gone.jpg.yaml (options, but the picture is not beside it), notes.txt (not a "
        "picture), old.jpg (a folder), pipe.png (not a regular file) and 1 other"
    )


def test_a_link_is_followed_and_one_that_leads_nowhere_keeps_its_own_style_waiting(folder):
    (folder / "link.png").symlink_to(folder / "starry.png")
    (folder / "lost.png").symlink_to("nowhere.png")
    found = loaded(folder)
    recipes = Recipes(found.config)
    made = {n: recipes.recipe_if_readable(s) for n, s in found.manifest.styles.items()}
    assert [name for name, recipe in made.items() if recipe is None] == ["lost"]
    assert "lost waits until" in recipes.trouble


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_painting_that_cannot_be_read_keeps_its_own_style_waiting(folder):
    (folder / "starry.png").chmod(0)
    found = loaded(folder)
    assert Recipes(found.config).recipe_if_readable(found.manifest.styles["starry"]) is None


def test_a_name_that_is_not_utf8_is_ignored(folder):
    try:
        photo(folder / "new.png", 5).rename(folder / "caf\udce9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = loaded(folder)
    assert len(found.manifest.styles) == 2
    assert "its name is not UTF-8" in found.config.folders[0].ignored


# --- what is wrong --------------------------------------------------------------------------


WRONG = {
    "styles: painting\n": ["no such folder", "did you mean", "paintings"],
    "styles: nowhere/else\n": ["no such folder", "create it"],
    "styles: paintings/starry.png\n": ["not a folder", "{starry: paintings/starry.png}"],
    "styles: [paintings, paintings]\n": ["'Café am Abend'", "rename"],
    "styles: [paintings, {starry: paintings/starry.png}]\n": ["'starry'", "styles.1.starry"],
    "styles: [paintings, {a: {image: x, size: 3}}]\n": [":1", "styles.a.size", "styles.a.transfer"],
    "styles: ''\n": ["''", "a folder of paintings"],
    "styles: 3\n": ["3", "a folder of paintings"],
    "styles: [[paintings]]\n": ["this is not accepted"],
    "styles: [builtin:none]\n": ["no starter style 'none'"],
    "styles: paintings\nmatch: folder\n": ["'folder'", "by_folder"],
    "styles: paintings\nmatch: [{styles: [stary]}]\n": ["'stary'", "did you mean 'starry'"],
    "styles: paintings\ninbox: paintings\n": ["inside the inbox", "as a photo"],
    "styles: paintings\noutbox: paintings\n": ["inside the outbox"],
    "styles: paintings\narchive: .\nstate: /x\n": ["inside the archive"],
    "styles: paintings\nquarantine: paintings\n": ["inside the quarantine"],
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_config_is_named_with_file_key_and_remedy(folder, text):
    said = complaint(folder, text)
    for words in ["config.yaml", *WRONG[text]]:
        assert words in said


def test_an_empty_folder_says_what_to_put_into_it(folder):
    for file in folder.iterdir():
        file.unlink()
    (folder / "notes.txt").write_text("milk")
    said = complaint(folder)
    for words in ("config.yaml:1", "there is no picture", "notes.txt", "a .jpg or .png"):
        assert words in said


def test_two_paintings_of_one_name_are_both_named(folder):
    photo(folder / "starry.jpg", 3)
    assert "starry.jpg and starry.png" in complaint(folder)


def test_a_folder_of_photos_is_not_taken_for_one_of_paintings(folder):
    for number in range(MOST_PAINTINGS):
        (folder / f"{number}.jpg").touch()
    assert f"more than {MOST_PAINTINGS} pictures" in complaint(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("transfer: {contnt_weight: 1}", ["starry.png.yaml:1", "did you mean 'content_weight'"]),
        ("transfer: {size: big}", ["starry.png.yaml:1", "transfer.size", "'big'"]),
        ("\nimage: x.jpg", ["starry.png.yaml:2", "image", "remove this key"]),
        ("preset: fine", ["starry.png.yaml:1", "'preset'", "config.yaml"]),
        ("- a", ["starry.png.yaml", "keys with values"]),
        ("a: [", ["starry.png.yaml"]),
    ],
)
def test_wrong_options_of_a_painting_are_named_with_their_own_file(folder, text, words):
    (folder / "starry.png.yaml").write_text(text + "\n")
    said = complaint(folder)
    for word in words:
        assert word in said


def test_options_that_name_a_style_that_is_not_there_are_named_with_their_own_file(folder):
    (folder / "starry.png.yaml").write_text("regions: {sky: {styles: [stary]}}\n")
    said = complaint(folder)
    assert f"{folder}/starry.png.yaml: regions.sky.styles names 'stary'" in said


def test_paths_among_the_options_are_relative_to_the_folder(folder):
    (folder / "starry.png.yaml").write_text('transfer: {init: "Café am Abend.jpg"}\n')
    assert loaded(folder).manifest.styles["starry"].transfer.init == str(
        folder / "Café am Abend.jpg"
    )


def test_empty_options_are_none(folder):
    (folder / "starry.png.yaml").write_text("")
    assert loaded(folder).manifest.styles["starry"].transfer.content_weight == 0.3


def test_paintings_may_lie_beside_everything_else(folder):
    loaded(folder, "styles: paintings\nstate: .\n")
    photo(folder.parent / "a.png", 1)
    loaded(folder, "styles: .\n")


# --- reports --------------------------------------------------------------------------------


def test_reports_need_no_painting_and_no_folder(folder):
    text = "styles: [paintings, {a: {image: x.png, regions: {sky: {styles: [starry]}}}}]\n"
    text += "match: [{styles: [starry, a]}]\n"
    folder.rename(folder.parent / "elsewhere")
    found = loaded(folder, text, complete=False)
    assert [style.name for style in found.manifest.styles_for("cup.jpg")] == ["a"]
    assert Recipes(found.config).recipe_if_readable(found.manifest.styles["a"]) is None


def test_a_listing_leaves_out_what_is_still_being_copied(folder):
    found = list_folder(folder, {folder / "starry.png"})
    assert list(found.paintings) == ["Café am Abend"]
    assert found.ignored == ""
    assert found.state != list_folder(folder).state


def invoked(folder: Path, command: str, text: str) -> tuple[list[str], str]:
    """What a command prints, and what it warns of."""
    path = folder.parent / "config.yaml"
    path.write_text(text)
    said = CliRunner().invoke(cli.app, [command, "--config", str(path)])
    assert said.exit_code == 0, said.exception
    return said.stdout.splitlines(), said.stderr


def test_styles_lists_each_painting_with_its_options(folder):
    lines, _ = invoked(folder, "styles", "styles: paintings\n")
    assert f"Café am Abend       {folder}/Café am Abend.jpg" in lines
    assert f"starry              {folder}/starry.png, options in starry.png.yaml" in lines


def test_check_lists_what_each_folder_of_the_inbox_gets(folder):
    for name in ("Starry/deep", "star", "holiday", ".hidden"):
        (folder.parent / "inbox" / name).mkdir(parents=True)
    (folder / "notes.txt").write_text("milk")
    lines, warned = invoked(folder, "check", "styles: paintings\nmatch: by_folder\n")
    assert warned == f"warning: ignored in {folder}: notes.txt (not a picture)\n"
    assert "2 styles, each photo gets the style that has the name of its folder" in lines[0]
    assert lines[1:] == [
        "  Starry/: starry",
        "  Starry/deep/: starry",
        "  holiday/: no style has this name, so every style",
        "  star/: no style has this name, so every style (did you mean 'starry'?)",
        "  all other photos: every style",
    ]


# --- match: by_folder -----------------------------------------------------------------------


def test_a_photo_gets_the_style_that_has_the_name_of_its_folder(folder):
    photo(folder / "Nacht (1889).png", 4)
    manifest = loaded(folder, "styles: paintings\nmatch: by_folder\n").manifest

    def names(content: str) -> list[str]:
        return [style.name for style in manifest.styles_for(content)]

    assert names("starry/cup.jpg") == ["starry"]
    assert names("holiday/Starry/deep/cup.jpg") == ["starry"]
    assert names("Nacht (1889)/cup.jpg") == ["Nacht_1889"]
    assert names("starry/Cafe\u0301 am Abend/cup.jpg") == ["Café am Abend"]
    assert names("cup.jpg") == names("star/cup.jpg") == ["Café am Abend", "Nacht_1889", "starry"]


def test_styles_that_differ_in_case_alone_are_two(folder):
    text = 'styles: {a: "builtin:mosaic", A: "builtin:mosaic"}\nmatch: by_folder\n'
    manifest = loaded(folder, text).manifest
    assert [s.name for s in manifest.styles_for("A/x.jpg")] == ["A"]
    assert [s.name for s in manifest.styles_for("a/x.jpg")] == ["a"]
