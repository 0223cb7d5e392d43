"""`tune`: answers in the terminal, the options that are printed and saved, foreign files."""

import http.client
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from support.gallery_visitor import until

from pipeline.config.yaml_file import read_yaml

pytestmark = pytest.mark.slow

TUNE = ["tune", "inbox/cup.jpg", "mosaic", "--size", "24"]


@pytest.fixture(autouse=True)
def cheap_statistic(folder) -> None:
    """At 24 px nearly all of a step would be matrix roots."""
    with (folder / "config.yaml").open("a") as config:
        config.write("transfer: {statistic: mean_std}\n")


@pytest.fixture
def answer(monkeypatch) -> Callable[[str], None]:
    """Answers that a user will type."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_five_answers_give_lines_for_the_config_and_a_side_file(pipeline, folder, answer):
    answer("1\n2\nno\n=\n1\n2\n")
    said = pipeline(*TUNE, "--save", "inbox/cup.jpg.yaml")
    assert (said.code, said.err) == (0, "")
    assert "round 5 of 5" in said.out
    assert "type 1, 2, = or q" in said.out
    chosen = read_yaml(folder / "inbox/cup.jpg.yaml")[0]["transfer"]
    assert set(chosen) == {"strength", "stroke"}
    line = "transfer: {" + ", ".join(f"{key}: {value:g}" for key, value in chosen.items()) + "}"
    assert said.out.count(line) == 2
    assert "for the style mosaic, write into config.yaml" in said.out
    with Image.open(folder / "compare.png") as pair:
        assert pair.width > pair.height  # side by side


def test_it_can_be_ended_early_and_then_prints_what_was_chosen_so_far(pipeline, folder, answer):
    answer("2\n")
    said = pipeline(*TUNE)
    assert said.code == 0
    assert "transfer: {strength: 0.7}" in said.out
    answer("q\n")
    assert "nothing was chosen" in pipeline(*TUNE, "--size", "16").out


@pytest.mark.parametrize("option", ["-o", "--save"])
def test_a_file_of_somebody_else_is_not_overwritten(pipeline, folder, answer, option):
    name = {"-o": "own.png", "--save": "own.yaml"}[option]
    Path(name).write_text("mine")
    answer("q\n")
    said = pipeline(*TUNE, option, name)
    assert said.code == 2
    assert "--force" in said.err
    assert Path(name).read_text() == "mine"


def test_a_folder_of_paintings_is_too_much(pipeline, folder):
    (folder / "paintings").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(folder / "paintings" / name)
    said = pipeline("tune", "inbox/cup.jpg", "paintings")
    assert said.code == 2
    assert "names 2 paintings" in said.err
    assert "`try`" in said.err


def test_a_browser_can_answer_instead_of_the_terminal(folder):
    program = [sys.executable, "-m", "pipeline", *TUNE, "--browser"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as running:
        address = urlsplit(running.stdout.readline().split()[-1])
        bearer = {"Authorization": f"Bearer {address.query.partition('=')[2]}"}

        def ask(method: str, path: str) -> bytes:
            with closing(http.client.HTTPConnection(address.netloc, timeout=60)) as visitor:
                visitor.request(method, path, headers=bearer)
                return visitor.getresponse().read()

        until(lambda: ask("GET", "/state") == b'{"round": 1, "rounds": 5}')
        assert ask("GET", "/picture/1/2").startswith(b"\x89PNG")
        ask("PUT", "/answer/1/1")
        until(lambda: ask("GET", "/state") == b'{"round": 2, "rounds": 5}')
        ask("PUT", "/answer/2/q")
        ends: list[bytes] = []
        until(lambda: b"end" in (ends.append(ask("GET", "/state")) or ends[-1]))
        assert b"transfer: {strength: 0.3}" in ends[-1]
        assert "transfer: {strength: 0.3}" in running.stdout.read()
    assert running.returncode == 0
