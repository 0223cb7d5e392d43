"""Commands that write where their user says: never over an input, nor over what is not ours."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cli import main as cli
from pipeline.errors import UsageError
from pipeline.render import single
from pipeline.render.output_files import Target, check_target, is_made_here

pytestmark = pytest.mark.slow

SMALL = ["--size", "48", "--steps", "2"]
STYLIZE = ["stylize", "cup.jpg", "painting.png", *SMALL]
SWEEP = ["sweep", "cup.jpg", "painting.png", *SMALL, "--rows", "content_weight=1", "--columns",
         "style_scale=1"]  # fmt: skip
CELL = "cup--content_weight-1--style_scale-1.png"
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    image = Image.new("RGB", (32, 24), "#c08040")
    image.paste("#2050a0", (0, 0, 16, 12))
    for name in ("cup.jpg", "painting.png", "start.png", "mine.png"):
        image.save(name)
    return tmp_path


@pytest.fixture
def call(folder, monkeypatch, capfd) -> Call:
    """Call the program within this process: its exit code, and what it says on stderr."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capfd.readouterr().err

    return call


@pytest.fixture
def idle(monkeypatch) -> None:
    """Nothing is computed: whatever is refused is refused before."""

    def run_job(*_: object) -> None:
        raise AssertionError("a job was begun")

    monkeypatch.setattr(single, "run_job", run_job)


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def links(folder: Path) -> None:
    """Other spellings of the inputs."""
    (folder / "link.png").symlink_to("cup.jpg")
    os.link(folder / "painting.png", folder / "second.png")
    (folder / "sub").mkdir()


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    "out", ["cup.jpg", "./cup.jpg", "sub/../painting.png", "link.png", "second.png", "start.png"]
)
def test_an_input_is_never_written_over(call, folder, idle, out, force):
    links(folder)
    before = held(folder)
    code, err = call(*STYLIZE, "--init", "start.png", "-o", out, *force)
    assert code == 2, err
    assert "never overwritten" in err
    assert held(folder) == before


@pytest.mark.parametrize(
    ("command", "taken"),
    [
        ([*STYLIZE, "-o", "mine.png"], "mine.png"),
        ([*STYLIZE, "-o", "new.png"], "new.enhanced.png"),
        ([*STYLIZE, "-o", "new.png", "--timelapse", "mine.gif"], "mine.gif"),
        ([*SWEEP, "-o", "trial"], f"trial/{CELL}"),
        ([*SWEEP, "-o", "trial"], "trial/contact-sheet.png"),
        (["explain", "--layers", "cup.jpg", "-o", "mine.png"], "mine.png"),
        (["explain", "--layers", "cup.jpg", "painting.png"], "cup-layers.png"),
    ],
)
def test_a_file_of_somebody_elses_is_not_replaced(call, folder, idle, command, taken):
    (folder / "trial").mkdir()
    Image.new("RGB", (8, 8)).save(folder / taken)
    before = held(folder)
    code, err = call(*command)
    assert code == 2, err
    assert taken in err
    assert "--force" in err
    assert held(folder) == before


def test_own_pictures_are_replaced_and_others_by_force(call, folder):
    assert call(*STYLIZE, "-o", "one.png") == (0, "")
    assert is_made_here(folder / "one.png")
    assert not is_made_here(folder / "mine.png")
    assert call(*STYLIZE, "-o", "one.png")[0] == 0
    assert call(*STYLIZE, "-o", "mine.png")[0] == 2
    assert call(*STYLIZE, "-o", "mine.png", "--force")[0] == 0
    assert is_made_here(folder / "mine.png")
    assert not list(folder.glob(".pipeline-*"))


def test_a_sweep_replaces_its_own_grid(call, folder):
    assert call(*SWEEP, "-o", "trial")[0] == 0
    assert call(*SWEEP, "-o", "trial")[0] == 0
    assert len(list((folder / "trial").iterdir())) == 3


def test_a_picture_painted_again_replaces_neither_itself_nor_a_strange_file(call, folder):
    call(*STYLIZE, "-o", "one.png")
    again = ["explain", "one.png", "--again"]
    before = held(folder)
    for out in ("one.png", "painting.png", "mine.png"):
        code, err = call(*again, out)
        assert (code, held(folder)) == (2, before), err
    assert call(*again, "one.png", "--force")[0] == 2
    assert call(*again, "two.png")[0] == 0
    assert (folder / "two.png").read_bytes() == before["one.png"]


def test_two_cells_of_a_sweep_never_share_a_name(call, folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        Image.new("RGB", (32, 24), {"a": "red", "b": "blue"}[name]).save(f"{name}/start.png")
    rows = ["--rows", "init=a/start.png,b/start.png", "--columns", "style_scale=1"]
    assert call("sweep", *STYLIZE[1:], *rows, "-o", "trial")[0] == 0
    names = sorted(path.name for path in (folder / "trial").iterdir())
    assert len(names) == 5, names


# --- the moment of publishing ---------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_meanwhile_stays_and_so_does_the_work(folder, monkeypatch, links):
    def link(*_: object, **__: object) -> None:
        raise OSError(1, "no second names here")

    if not links:
        monkeypatch.setattr(os, "link", link)
    place = check_target(folder / "new.png", ())
    made = folder / "made"
    made.write_text("hours of work")
    (folder / "new.png").write_text("somebody's")
    with pytest.raises(UsageError, match=r"new~2\.png"):
        place.place(made)
    assert (folder / "new.png").read_text() == "somebody's"
    assert (folder / "new~2.png").read_text() == "hours of work"


def test_what_was_replaceable_and_has_changed_since_is_not_replaced(folder):
    place = Target(folder / "mine.png", (), force=False, before=None)
    made = folder / "made"
    made.write_text("hours of work")
    with pytest.raises(UsageError, match=r"mine~2\.png"):
        place.place(made)


def test_force_never_means_an_input_that_took_the_name_meanwhile(folder):
    place = check_target(folder / "new.png", (folder / "cup.jpg",), force=True)
    os.link(folder / "cup.jpg", folder / "new.png")
    made = folder / "made"
    made.write_text("hours of work")
    with pytest.raises(UsageError, match=r"new~2\.png"):
        place.place(made)
    assert (folder / "new.png").samefile(folder / "cup.jpg")


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_never_replaced(folder, kind):
    os.mkfifo(folder / "new.png") if kind == "fifo" else (folder / "new.png").mkdir()
    with pytest.raises(UsageError, match=r"is a folder|regular file"):
        check_target(folder / "new.png", (), force=True)


def test_by_force_a_link_is_replaced_and_what_it_leads_to_stays(folder):
    (folder / "new.png").symlink_to("mine.png")
    with pytest.raises(UsageError, match="--force"):
        check_target(folder / "new.png", ())
    made = folder / "made"
    made.write_text("new")
    check_target(folder / "new.png", (), force=True).place(made)
    assert (folder / "new.png").read_text() == "new"
    assert (folder / "mine.png").read_bytes().startswith(b"\x89PNG")
