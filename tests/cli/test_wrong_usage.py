"""Errors on the command line: one line that names the place, and an exit code."""

import os
import subprocess
import sys

import pytest
from support.command_line import SMALL


@pytest.mark.parametrize(
    "swallowed", ["raise", "raise RuntimeError('of a class') from None", "exec('raise')", "pass"]
)
@pytest.mark.parametrize("module", ["typer", "pydantic"])
def test_ctrl_c_while_the_program_is_being_loaded_gives_130_in_one_line(folder, module, swallowed):
    """Also where the library that is being loaded swallows it or makes another error of it."""
    program = f"""
import os, signal, sys
sys.argv = ["pipeline", "run"]
class Pressed:
    def find_spec(self, name, *_):
        if name == "{module}":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                {swallowed}
sys.meta_path.insert(0, Pressed())
from pipeline.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr in ("", "error: interrupted\n")
    assert "started" not in done.stdout


WRONG = {
    "bogus": ["No such command 'bogus'", "--help"],
    "run --nope": ["--nope", "run --help"],
    "run --limit 0": ["--limit"],
    "run --config none.yaml": ["none.yaml", "no such file"],
    "retry": ["retry", "--all"],
    "retry 0123456789ab": ["0123456789ab", "no such job", "status"],
    "retry 0123456789ab --all": ["retry"],
    "explain /etc/passwd": ["/etc/passwd", "not in the inbox"],
    "stylize": ["CONTENT"],
    "stylize inbox/cup.jpg builtin:mosaic": ["--out"],
    "stylize inbox/none.jpg builtin:mosaic -o o.png": ["inbox/none.jpg", "no such image"],
    "stylize inbox/cup.jpg builtin:mosiac -o o.png": ["mosiac", "did you mean builtin:mosaic"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.bmp": ["o.bmp", ".png"],
    "stylize inbox/cup.jpg builtin:mosaic -o none/o.png": ["none", "create the folder"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --preset drat": ["--preset", "draft"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --size 3": ["--size", "16"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --size big": ["source", "example, --size 1024"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --optimizer sgd": ["--optimizer", "adam"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --content-weight x": ["--content-weight", "'x'"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --style-layers relu9_1": ["relu5_1"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --init none.png": ["--init", "none.png"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --shares 1,2": ["--shares", "1 styles"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --device foo": ["--device", "foo"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --weights none.pth": ["--weights", "none.pth"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --rows foo=1": ["--rows", "foo=1"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --columns tv_weight=": ["--columns"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --columns tv_weight=x": ["--columns", "tv_weight"],
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_one_line_that_names_the_place_and_exit_code_2(pipeline, folder, line):
    before = sorted(path.name for path in folder.iterdir())
    said = pipeline(*line.split())
    assert said.code == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ")
    for word in WRONG[line]:
        assert word in said.err
    assert sorted(p.name for p in folder.iterdir() if p.name != ".state") == before


def test_a_wrong_config_is_named_with_file_line_and_nearest_key(pipeline, folder):
    (folder / "config.yaml").write_text('stiles: {a: {image: "builtin:mosaic"}}\n')
    for command in ("run", "watch", "check", "status", "styles", "doctor"):
        said = pipeline(command)
        assert said.code == 2
        assert said.err.splitlines() == [
            "error: config.yaml:1: unknown key 'stiles' (did you mean 'styles'?)"
        ]


def test_a_photo_that_is_none_is_a_failed_job_not_wrong_usage(pipeline, folder):
    said = pipeline("stylize", "inbox/notes.jpg", "builtin:mosaic", "-o", "o.png", *SMALL)
    assert said.code == 1
    assert len(said.err.splitlines()) == 1
    assert "notes.jpg" in said.err
    assert not list(folder.glob("*.png"))


def test_debug_shows_where_and_nothing_else_does(pipeline):
    quiet = pipeline("run", "--config", "none.yaml")
    assert "Traceback" not in quiet.err
    for words in (["--debug", "run"], ["run", "--debug"]):
        loud = pipeline(*words, "--config", "none.yaml")
        assert "Traceback" in loud.err
        assert loud.err.splitlines()[-1] == quiet.err.strip()


def test_an_error_cannot_play_tricks_on_the_terminal(pipeline):
    said = pipeline("run", "--config", "\x1b[31mred\nconfig.yaml")
    assert "\x1b" not in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["--help", "schema"])
def test_a_reader_that_went_away_is_no_error(folder, command):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", command], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
