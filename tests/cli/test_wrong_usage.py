"""Errors on the command line: one line that names the place, and an exit code."""

import json
import os
import subprocess
import sys

import pytest
from support.command_line import SMALL


@pytest.mark.parametrize(
    "swallowed", ["raise", "raise RuntimeError('of a class') from None", "exec('raise')", "pass"]
)
@pytest.mark.parametrize("module", ["typer", "pydantic"])
@pytest.mark.slow
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
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --shares 1,2": ["--shares", "1 positive number"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --device foo": ["--device", "foo"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --weights none.pth": ["--weights", "none.pth"],
    "statsu": ["Did you mean 'status'?"],
    "status --jsn": ["did you mean --json?"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --sized 3": ["--seed or --size?"],
    "stylize inbox/cpu.jpg builtin:mosaic -o o.png": ["did you mean 'inbox/cup.jpg'?"],
    "stylize inbx/cpu.jpg builtin:mosaic -o o.png": ["did you mean 'inbox/cup.jpg'?"],
    "stylize inbox/cup.jpg mosiac -o o.png": ["did you mean builtin:mosaic?"],
    "stylize inbox/cup.jpg mix -o o.png": ["add --config config.yaml"],
    "stylize inbox/cup.jpg mosiac --config config.yaml -o o.png": ["did you mean 'mosaic'?"],
    "stylize inbox/cup.jpg builtin:mosaic -o inbx/o.png": ["did you mean 'inbox'?"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.jpgg": ["did you mean o.jpg?"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --device gpu": ["did you mean 'auto'?"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --init nois": ["did you mean 'noise'?"],
    "stylize inbox/cup.jpg builtin:mosaic -o o.png --weights embeded": ["'embedded'?"],
    "stylize http://a.org/b.jpg builtin:mosaic -o o.png": [
        "http://a.org",
        "web address",
        "download",
    ],
    "stylize inbox/cup.jpg https://a.org/b.jpg -o o.png": ["https://a.org", "web address"],
    "stylize inbox builtin:mosaic -o o.png": ["folder, not a picture", "such as inbox/cup.jpg"],
    "stylize inbox/cup.jpg builtin:mosaic -o s3://a/o.png": ["web address", "name a file"],
    "explain http://a.org/b.jpg": ["http://a.org/b.jpg", "web address"],
    "explain inbox": ["is a folder", "name a file in it"],
    "retry inbox/cpu.jpg": ["did you mean 'inbox/cup.jpg'?"],
    "run --config confg.yaml": ["did you mean 'config.yaml'?"],
    "run --config http://a.org/config.yaml": ["http://a.org/config.yaml", "web address"],
    "init http://a.org/b": ["http://a.org/b", "web address", "name a folder"],
    "service systmd": ["did you mean 'systemd'?"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --rows content_wieght=1": ["'content_weight'?"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --rows foo=1": ["--rows", "foo=1"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --columns tv_weight=": ["--columns"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --columns tv_weight=x": ["--columns", "tv_weight"],
    "sweep inbox/cup.jpg -o d": ["sweep", "--rows style="],
    "sweep inbox/cup.jpg builtin:mosaic -o d --rows seed=1,x": ["--rows", "seed", "'x'"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --rows preset=drft": ["--rows", "'draft'?"],
    "sweep inbox/cup.jpg builtin:mosaic -o d --rows denoise=2": ["--rows", "denoise"],
    "sweep inbox/cup.jpg -o d --rows style=builtin:mosiac": ["mosaic?"],
    "sweep inbox/cup.jpg -o d --rows seed=1 --columns seed=2": ["both sides"],
    "try inbox/cup.jpg mosiac -o d": ["'mosaic'?"],
    "try inbox -o d": ["inbox/cup.jpg"],
    "try inbox/cup.jpg -o d --device gpu": ["--device"],
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


KINDS = {
    "cat.CR2": "RAW file", "cat.dng": "RAW file", "a.pdf": "PDF", "a.svg": "drawing",
    "a.mov": "video", "a.psd": "layers", "a.zip": "archive", "a.html": "web page",
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_another_kind_is_named_with_what_to_do_instead(pipeline, folder, name):
    """As a photo, as a painting, in a config, and in the inbox, where it is skipped."""
    (folder / "inbox" / name).write_bytes(b"content")
    for pair in ([f"inbox/{name}", "builtin:mosaic"], ["inbox/cup.jpg", f"inbox/{name}"]):
        said = pipeline("stylize", *pair, "-o", "o.png")
        assert said.code == 2
        assert f"inbox/{name}: is " in said.err
        assert KINDS[name] in said.err
    said = pipeline("explain", f"inbox/{name}")
    assert "not taken: unsupported_format: is " in said.out
    assert KINDS[name] in said.out
    (folder / "config.yaml").write_text(f"styles: {{a: {{image: inbox/{name}}}}}\n")
    said = pipeline("check")
    assert said.code == 2
    assert KINDS[name] in said.err


def test_a_web_address_in_a_config_is_no_folder(pipeline, folder):
    (folder / "config.yaml").write_text("inbox: smb://nas/photos\nstyles: {a: {image: a.jpg}}\n")
    said = pipeline("check").err
    assert "config.yaml:1: inbox: is a web address, not a path (mount the share" in said
    (folder / "config.yaml").write_text("styles: {a: {image: 'https://a.org/b.jpg'}}\n")
    assert "download it first" in pipeline("check").err


@pytest.mark.slow
def test_explain_and_retry_find_similar_files_and_jobs(pipeline, folder):
    assert "did you mean 'cup.jpg'?" in pipeline("explain", "inbox/cpu.jpg").err
    with (folder / "config.yaml").open("a") as config:
        config.write(
            "transfer: {size: 32, steps: [1]}\nmatch: [{inbox: cup.jpg, styles: [mosaic]}]\n"
        )
    pipeline("run")
    (pair,) = json.loads(pipeline("explain", "inbox/cup.jpg", "--json").out)["pairs"]
    job = pair["job"]
    assert f"did you mean {job!r}?" in pipeline("retry", job[:-1] + "x").err
    assert "none of its jobs failed" in pipeline("retry", "inbox/cup.jpg").err


def test_help_shows_what_each_option_accepts_and_examples(pipeline):
    out = pipeline("stylize", "--help").out
    for shown in (
        "--size {16..32768|source}",
        "--colors {style|content|luminance|match}",
        "--denoise 0..1",
    ):
        assert shown in out
    assert "VALUE" not in out
    assert "  pipeline stylize inbox/coffee.jpg builtin:mosaic -o coffee.png\n" in out


def test_help_is_also_a_command(pipeline):
    assert "--size" in pipeline("help", "stylize").out
    assert "stylize" in pipeline("help").out
    assert "stylize" in pipeline("-h").out


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
