"""The commands: help, pictures, and what they report."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.command_line import SMALL

from pipeline.daemon.planned_pauses import read_user_pause
from pipeline.errors import PipelineError
from pipeline.render.single import build_contact_sheet

COMMANDS = [
    "run", "watch", "serve", "pause", "resume", "status", "explain", "retry", "restore",
    "prune", "accept", "stylize", "sweep", "init", "styles", "check", "schema", "doctor", "service",
]  # fmt: skip


# --- help -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(pipeline, command):
    said = pipeline(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert f" {command} [OPTIONS]" in said.out.splitlines()[0]
    assert said.out.splitlines()[2].endswith(".")


def test_the_program_lists_exactly_its_commands(pipeline):
    said = pipeline("--help").out
    listed = [line.split()[0] for line in said.partition("Commands:\n")[2].splitlines()]
    assert listed == COMMANDS
    assert "..." not in said.partition("Commands:\n")[2]  # no sentence is cut off


def test_without_a_command_the_help_is_shown_and_nothing_done(pipeline):
    said = pipeline()
    assert said.code == 2
    assert said.out == pipeline("--help").out


def test_every_option_of_the_config_is_a_flag_of_stylize(pipeline):
    from pipeline.cli.flags import RENAMED
    from pipeline.config.enhancement import Enhance
    from pipeline.config.output import OutputFormat
    from pipeline.config.transfer import Transfer

    said = pipeline("stylize", "--help").out
    enhancement = [RENAMED.get(name, name) for name in Enhance.model_fields]
    output = [name for name in OutputFormat.model_fields if name != "format"]  # the suffix says it
    for name in [*Transfer.model_fields, *enhancement, *output]:
        assert f"  --{name.replace('_', '-')} " in said


@pytest.mark.parametrize("command", ["stylize", "sweep"])
def test_the_many_options_are_listed_in_groups(pipeline, command):
    lines = pipeline(command, "--help").out.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Arguments:", "Common options:", "Size:", "Look:", "Finish:", "Output:",
        "Expert:",
    ]  # fmt: skip


def test_help_loads_nothing_slow(folder):
    program = (
        "import sys; sys.argv = ['pipeline', '--help']\n"
        "from pipeline.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'pydantic', 'yaml', 'rich', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


# --- one picture ----------------------------------------------------------------------------


@pytest.mark.slow
def test_stylize_paints_one_picture_and_its_enhanced_version(pipeline, folder):
    said = pipeline("stylize", "inbox/cup.jpg", "builtin:mosaic", "-o", "o.png", *SMALL)
    assert (said.code, said.err) == (0, "")
    assert "o.png, o.enhanced.png" in said.out
    for name in ("o.png", "o.enhanced.png"):
        with Image.open(folder / name) as image:
            assert image.size == (48, 36)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml", "inbox", "o.enhanced.png", "o.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_stylize_takes_every_option_as_a_flag_and_reports_as_json(pipeline, folder):
    flags = [
        "--init", "noise", "--optimizer", "adam", "--shares", "2,1", "--seed", "3",
        "--content-weight", "0.5", "--style-layers", "relu1_1:2,relu2_1", "--scales", "32,48",
        "--denoise", "0", "--contrast", "0", "--sharpen", "0", "--json",
    ]  # fmt: skip
    command = ["stylize", "inbox/cup.jpg", "builtin:mosaic", "builtin:watercolor", *SMALL, *flags]
    first = pipeline(*command, "-o", "a.png")
    assert first.code == 0, first.err
    report = json.loads(first.out)
    assert [(o["kind"], o["path"]) for o in report["outputs"]] == [
        ("stylized", "a.png"), ("enhanced", "a.enhanced.png"),
    ]  # fmt: skip
    assert {"content", "style", "total"} <= set(report["losses"])

    pipeline(*command, "-o", "b.png")
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    pipeline(*command, "-o", "c.png", "--seed", "4")
    assert (folder / "a.png").read_bytes() != (folder / "c.png").read_bytes()


@pytest.mark.slow
def test_sweep_paints_a_grid_and_a_contact_sheet(pipeline, folder):
    said = pipeline(
        "sweep", "inbox/cup.jpg", "builtin:mosaic", "-o", "grid", *SMALL,
        "--rows", "content_weight=0.1,1", "--columns", "optimizer=lbfgs,adam",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert "contact sheet: grid/contact-sheet.png" in said.out
    cells = [
        f"cup--content_weight-{row}--optimizer-{column}{suffix}"
        for row in ("0.1", "1")
        for column in ("lbfgs", "adam")
        for suffix in (".png", ".enhanced.png")
    ]
    made = {path.name for path in (folder / "grid").iterdir()}
    assert made == {*cells, "contact-sheet.png"}
    with Image.open(folder / "grid" / "contact-sheet.png") as sheet:
        assert sheet.width > 2 * 48
        assert sheet.height > 2 * 36


def test_a_row_of_a_contact_sheet_is_as_high_as_its_highest_picture():
    tall, flat = torch.zeros(3, 40, 20), torch.full((3, 10, 30), 0.5)
    sheet = build_contact_sheet([tall, flat, flat], 2)
    edge = (sheet.shape[2] - 2 * 30) // 3
    assert sheet.shape == (3, 40 + 10 + 3 * edge, 2 * 30 + 3 * edge)
    assert torch.equal(sheet[:, edge : edge + 40, edge : edge + 20], tall)
    assert torch.equal(sheet[:, edge : edge + 10, -edge - 30 : -edge], flat)
    assert torch.equal(sheet[:, -edge - 10 : -edge, edge : edge + 30], flat)


@pytest.mark.slow
def test_weights_from_a_file_are_taken(pipeline, folder, weights):
    torch.save(weights, folder / "vgg.pth")
    command = ["stylize", "inbox/cup.jpg", "builtin:mosaic", *SMALL]
    assert pipeline(*command, "-o", "a.png").code == 0
    assert pipeline(*command, "-o", "b.png", "--weights", "vgg.pth").code == 0
    with Image.open("a.png") as a, Image.open("b.png") as b:
        assert a.tobytes() == b.tobytes()


def test_weights_that_are_none_are_wrong_usage(pipeline):
    command = ["stylize", "inbox/cup.jpg", "builtin:mosaic", *SMALL, "-o", "o.png"]
    said = pipeline(*command, "--weights", "config.yaml")
    assert said.code == 2
    assert "config.yaml" in said.err
    assert len(said.err.splitlines()) == 1


# --- looking --------------------------------------------------------------------------------


def test_styles_names_each_style_with_its_origin_and_what_else_there_is(pipeline):
    said = pipeline("styles").out.splitlines()
    assert said[0].split() == ["mosaic", "builtin:mosaic"]
    assert said[1].split(maxsplit=1) == [
        "mix", "builtin:watercolor (75%), builtin:ink_hatching (25%)",
    ]  # fmt: skip
    assert "  builtin:woodcut_waves" in said
    report = json.loads(pipeline("styles", "--json").out)
    assert [image["weight"] for image in report["styles"][1]["images"]] == [0.75, 0.25]


def test_check_approves_a_good_config(pipeline):
    said = pipeline("check")
    assert (said.code, said.out) == (0, "config.yaml: ok; 2 styles, every photo gets every style\n")


def test_check_warns_of_a_painting_in_the_inbox(pipeline, folder):
    (folder / "config.yaml").write_text("styles: {a: {image: inbox/cup.jpg}}\n")
    said = pipeline("check")
    assert said.code == 0
    assert "warning: styles.a: " in said.err
    assert "inbox/cup.jpg lies in the inbox" in said.err


def test_schema_is_a_json_schema_of_every_key(pipeline):
    from pipeline.config.model import Config

    schema = json.loads(pipeline("schema").out)
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False


@pytest.mark.slow
def test_doctor_examines_machine_folders_weights_and_device(pipeline):
    said = pipeline("doctor", "--json")
    report = json.loads(said.out)
    assert (said.code, report["healthy"]) == (0, True)
    assert {"machine", "inbox folder", "outbox folder", "state folder", "weights"} <= {
        finding["name"] for finding in report["findings"]
    }
    assert "no problems found" in pipeline("doctor").out


def test_doctor_finds_what_is_wrong(pipeline, folder):
    (folder / "inbox").rename(folder / "elsewhere")
    said = pipeline("doctor")
    assert said.code == 1
    bad = [line for line in said.out.splitlines() if line.startswith("FAIL")]
    assert len(bad) == 1
    assert "inbox" in bad[0]


def test_status_of_a_new_project_is_all_zero(pipeline, folder):
    report = json.loads(pipeline("status", "--json").out)
    assert set(report["jobs"].values()) == {0}
    assert "no `run` or `watch` is running" in pipeline("status").out
    assert not (folder / ".state").exists()  # looking leaves nothing behind


def test_explain_tells_what_will_be_made_of_a_file(pipeline):
    said = pipeline("explain", "inbox/cup.jpg").out
    assert "mosaic: will be painted: new" in said
    assert said == pipeline("explain", "cup.jpg").out  # as seen from the inbox
    report = json.loads(pipeline("explain", "cup.jpg", "--json").out)
    assert [pair["will_be_made"] for pair in report["plan"]] == [True, True]


def test_explain_tells_why_a_file_is_not_taken(pipeline, folder):
    (folder / "inbox" / "list.txt").touch()
    (folder / "inbox" / "gone.jpg").symlink_to("nowhere.jpg")
    assert "unsupported_format" in pipeline("explain", "inbox/list.txt").out
    assert "not_regular_file" in pipeline("explain", "inbox/gone.jpg").out


def test_explain_of_a_file_that_never_was_is_wrong_usage(pipeline, folder):
    (folder / "inbox" / "harbour.jpg").write_bytes(b"")
    said = pipeline("explain", "inbox/harbor.jpg")
    assert (said.code, said.out) == (2, "")
    assert "no such file (did you mean 'harbour.jpg'?)" in said.err


def test_retry_with_nothing_failed_puts_nothing_back(pipeline):
    said = pipeline("retry", "--all")
    assert said.code == 0
    assert said.out.startswith("0 jobs back in the queue")


def test_a_style_may_be_named_as_the_config_names_it(tmp_path: Path) -> None:
    from pipeline.cli.order import resolve_style_names

    path = tmp_path / "config.yaml"
    path.write_text(
        'styles:\n  tiles: {image: "builtin:mosaic"}\n'
        '  both: {images: {"builtin:mosaic": 1, "builtin:watercolor": 1}}\n'
    )
    (found, other) = resolve_style_names(["tiles", "a.jpg"], path)
    assert Path(found).name == "mosaic.jpg"
    assert other == "a.jpg"
    with pytest.raises(PipelineError, match="--shares"):
        resolve_style_names(["both"], path)


# --- when work is done ----------------------------------------------------------------------


def test_pause_and_resume_say_what_they_did_and_status_tells(pipeline, folder):
    assert "paused by you (" in pipeline("pause").out
    assert "paused by you (" in pipeline("status").out
    assert "paused by you until " in pipeline("pause", "--until", "8h", "--now").out
    assert "paused by you until " in json.loads(pipeline("status", "--json").out)["held"]
    assert read_user_pause(folder / ".state", 0.0).at_once
    assert pipeline("resume").out == "resumed\n"
    assert pipeline("resume").out == "nothing to resume: there was no pause\n"
    assert json.loads(pipeline("status", "--json").out)["held"] is None


@pytest.mark.parametrize("command", ["pause", "run"])
def test_a_time_that_cannot_be_meant_is_wrong_usage(pipeline, command):
    ended = pipeline(command, "--until", "tomorrowish")
    assert ended.code == 2
    assert "--until: 'tomorrowish' is not a time, such as 06:00" in ended.err


def test_a_run_outside_the_hours_says_what_waits_and_ends_well(pipeline, folder):
    (folder / "inbox" / "notes.jpg").unlink()
    later = datetime.now(UTC) + timedelta(hours=3)
    with (folder / "config.yaml").open("a") as file:
        file.write(f'schedule: {{hours: "{later:%H}:00-{later:%H}:01", timezone: UTC}}\n')
        file.write("watch: {settle_seconds: 0}\n")
    ended = pipeline("run", "--json")
    assert ended.code == 0
    started, last = map(json.loads, ended.out.splitlines())
    assert started == {"event": "run_started", "pairs": 2, "seconds": None, "unmeasured": 2}
    assert (last["event"], last["done"]) == ("run_ended", 0)
    assert last["held"].startswith("outside the hours of work, continues at ")
    opening = datetime.fromtimestamp(
        json.loads(pipeline("status", "--json").out)["next_opening"], UTC
    )
    assert (opening.hour, opening.minute) == (later.hour, 0)
    plan = pipeline("run", "--dry-run")
    assert len(plan.out.splitlines()) == 2
    assert plan.err == "2 pairs to do; how long is unknown until the first is done\n"
