"""`init` sets up a folder that works at once, and touches nothing that is there."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from support import ROOT

from pipeline.cli import main as cli
from pipeline.config.loading import load
from pipeline.config.manifest import starter_styles
from pipeline.config.new_studio import create_studio, created_text
from pipeline.errors import ConfigError, UsageError


@pytest.fixture
def pipeline(monkeypatch, capfd):
    """Call the program within this process, standing in a folder."""

    def call(*arguments: str, cwd: Path) -> tuple[int, str, str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return call


PHOTO = ROOT / "inbox/coffee.jpg"


def styles_of(folder: Path) -> dict[str, dict[str, str]]:
    return yaml.safe_load((folder / "config.yaml").read_text())["styles"]


def test_without_paintings_there_are_two_starter_styles_and_all_folders(tmp_path):
    made = create_studio(tmp_path / "new/studio", [])
    assert made.styles == ("mosaic", "brush_strokes")
    assert {p.name for p in made.config.parent.iterdir()} == {
        "config.yaml", ".config.schema.json", "inbox", "outbox", "paintings",
    }  # fmt: skip
    loaded = load(made.config.parent / "config.yaml")
    assert list(loaded.manifest.styles) == ["mosaic", "brush_strokes"]
    assert [s.name for s in loaded.manifest.styles_for("any.jpg")] == ["mosaic", "brush_strokes"]


def test_paintings_and_folders_of_paintings_are_copied_and_named_by_their_files(tmp_path):
    paintings = tmp_path / "my paintings"
    paintings.mkdir()
    for name in ("Café am Abend.jpg", "2024.png", "yes.jpg", "notes.txt"):
        shutil.copy(PHOTO, paintings / name)
    other = tmp_path / "harbour.jpg"
    shutil.copy(PHOTO, other)
    made = create_studio(tmp_path / "studio", [str(other), str(paintings), "builtin:mosaic"])
    assert made.styles == ("harbour", "2024", "Café_am_Abend", "yes", "mosaic")
    assert styles_of(made.config.parent) == {
        "harbour": {"image": "paintings/harbour.jpg"},
        "2024": {"image": "paintings/2024.png"},
        "Café_am_Abend": {"image": "paintings/Café am Abend.jpg"},
        "yes": {"image": "paintings/yes.jpg"},
        "mosaic": {"image": "builtin:mosaic"},
    }
    assert (made.config.parent / "paintings/harbour.jpg").read_bytes() == PHOTO.read_bytes()


def test_two_paintings_of_one_name_are_two_styles(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(PHOTO, tmp_path / folder / "sea.jpg")
    made = create_studio(tmp_path / "studio", [str(tmp_path / f / "sea.jpg") for f in "ab"])
    assert styles_of(made.config.parent) == {
        "sea": {"image": "paintings/sea.jpg"}, "sea_2": {"image": "paintings/sea_2.jpg"},
    }  # fmt: skip


def test_a_painting_in_the_folder_is_used_where_it_is(tmp_path):
    shutil.copy(PHOTO, tmp_path / "sea.jpg")
    made = create_studio(tmp_path, [str(tmp_path / "sea.jpg")])
    assert styles_of(made.config.parent) == {"sea": {"image": "sea.jpg"}}
    assert not list((tmp_path / "paintings").iterdir())


def test_the_schema_line_leads_editors_to_the_schema(tmp_path):
    made = create_studio(tmp_path, [])
    first = (made.config.parent / "config.yaml").read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first)
    assert named
    assert "styles" in json.loads((tmp_path / named[1]).read_text())["properties"]


def test_every_line_that_is_commented_out_is_valid_when_it_is_used(tmp_path):
    config = create_studio(tmp_path, []).config
    text = config.read_text()
    used = re.sub(r"(?m)^#( *(?:[a-z_]+:|- \{).*)$", lambda m: m[1].removeprefix(" "), text)
    assert used.count("#") < text.count("#")
    config.write_text(used)
    loaded = load(config)
    assert loaded.config.transfer.strength == 0.3
    assert loaded.config.enhance.upscale == 2
    assert [s.name for s in loaded.manifest.styles_for("portraits/a.jpg")] == ["mosaic"]


def test_nothing_that_is_there_is_changed(tmp_path):
    create_studio(tmp_path, [])
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"config\.yaml"):
        create_studio(tmp_path, [])
    assert (tmp_path / "config.yaml").read_text() == "mine"

    (tmp_path / "other/paintings").mkdir(parents=True)
    (tmp_path / "other/paintings/coffee.jpg").write_text("mine too")
    create_studio(tmp_path / "other", [str(PHOTO)])
    assert (tmp_path / "other/paintings/coffee.jpg").read_text() == "mine too"
    assert styles_of(tmp_path / "other") == {"coffee": {"image": "paintings/coffee_2.jpg"}}


@pytest.mark.parametrize("named", ["missing.jpg", "builtin:mosaik", "notes.txt", "empty"])
def test_what_is_no_painting_is_refused_before_anything_is_made(tmp_path, named, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("words")
    Path("empty").mkdir()
    with pytest.raises((UsageError, ConfigError)) as caught:
        create_studio(tmp_path / "studio", [named])
    assert named.removeprefix("builtin:") in str(caught.value)
    assert not (tmp_path / "studio").exists()


def test_the_commands_to_type_next_are_quoted(tmp_path):
    made = create_studio(tmp_path / "my photos", [])
    assert f"cd '{tmp_path}/my photos'" in created_text(made)


def test_the_inbox_is_made_at_the_first_start_and_a_dry_run_writes_nothing(pipeline, tmp_path):
    folder = create_studio(tmp_path / "studio", []).config.parent
    (folder / "inbox").rmdir()
    code, _, err = pipeline("run", "--dry-run", cwd=folder)
    assert code == 0
    assert "`run` creates it" in err
    assert not (folder / "inbox").exists()
    assert pipeline("run", cwd=folder)[0] == 0
    assert (folder / "inbox").is_dir()


def test_an_inbox_under_a_folder_that_does_not_exist_is_not_made(pipeline, tmp_path):
    folder = create_studio(tmp_path / "studio", []).config.parent
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("inbox: inbox", "inbox: disk/inbox"))
    code, _, err = pipeline("run", cwd=folder)
    assert code == 2
    assert "disk/inbox: cannot be created" in err
    assert not (folder / "disk").exists()


def test_styles_works_without_a_config(pipeline, tmp_path):
    code, out, _ = pipeline("styles", cwd=tmp_path)
    assert code == 0
    assert "builtin:mosaic" in out
    assert pipeline("styles", "--config", "none.yaml", cwd=tmp_path)[0] == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_doctor_works_without_a_config(pipeline, tmp_path):
    code, out, _ = pipeline("doctor", cwd=tmp_path)
    assert code == 0
    assert "`init DIR` creates one" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("s\udcff.png", 0, "s\\xff.png: its name is not UTF-8"),
        ("n" * 240 + ".png", 0, "its name has more than"),
        ("big.png", 2 << 30, "big.png: is larger than"),
    ],
)
def test_a_painting_that_cannot_be_copied_is_named_before_anything_is_made(
    tmp_path, name, size, words
):
    shutil.copy(starter_styles()["mosaic"], tmp_path / name)
    if size:
        os.truncate(tmp_path / name, size)  # sparse
    with pytest.raises(UsageError) as caught:
        create_studio(tmp_path / "studio", [str(tmp_path / name)])
    assert words in str(caught.value)
    assert not (tmp_path / "studio").exists()
