"""`explain`: what is said of a file and of its pictures."""

import json

import pytest
from PIL import Image


@pytest.mark.slow
def test_explain_says_what_of_the_photo_was_not_used(pipeline, folder):
    with Image.open(folder / "inbox/cup.jpg") as photo:
        photo.convert("RGB").save(folder / "inbox/odd.jpg", icc_profile=b"no profile" * 20)
    (folder / "inbox/cup.jpg").unlink()
    with (folder / "config.yaml").open("a") as config:
        config.write("transfer: {size: 32, scales: [32], steps: [2], depths: [5]}\n")
    assert pipeline("run").code == 1  # for the text that is called notes.jpg
    said = pipeline("explain", "inbox/odd.jpg")
    (note,) = [line for line in said.out.splitlines() if line.startswith("  note: ")]
    assert "profile" in note
    report = json.loads(pipeline("explain", "inbox/odd.jpg", "--json").out)
    assert all(note == f"  note: {pair['notes'][0]}" for pair in report["pairs"])


def test_explain_and_check_say_which_options_are_set_and_multiply(pipeline, folder):
    (folder / "config.yaml").write_text(
        "preset: draft\ntransfer: {strength: 0.3}\n"
        'styles: {mosaic: {image: "builtin:mosaic", transfer: {stroke: 0.8, style_scale: 2}}}\n'
    )
    (folder / "inbox/cup.jpg.yaml").write_text("transfer: {colors: match, color_strength: 0.5}\n")
    said = pipeline("explain", "inbox/cup.jpg").out
    chosen = {"strength": 0.3, "stroke": 0.8, "style_scale": 2, "colors": "match"}
    for name, value in (chosen | {"color_strength": 0.5}).items():
        assert f"{name} {value}" in said
    note = "stroke and style_scale are both set, and both count"
    assert note in said
    assert "strength and content_weight" not in said
    (pair,) = json.loads(pipeline("explain", "inbox/cup.jpg", "--json").out)["plan"]
    assert pair["options"] == chosen | {"color_strength": 0.5}
    checked = pipeline("check")
    assert checked.code == 0
    assert f"style mosaic: {note}" in checked.err


@pytest.mark.slow
def test_a_picture_with_a_target_records_the_strength_found_and_is_painted_again_without_a_search(
    pipeline, folder
):
    options = ("--target", "structure:0.7", "--size", "48", "--steps", "4", "--protect", "none")
    made = pipeline("stylize", "inbox/cup.jpg", "builtin:mosaic", *options, "-o", "one.png")
    assert made.code == 0, made.err
    assert "note: target structure 0.7: strength 0." in made.out + made.err
    used = json.loads(pipeline("explain", "one.png", "--json").out)["made"]["transfer"]
    assert used["target"] is None
    assert 0 < used["strength"] < 1
    assert pipeline("explain", "one.png", "--again", "two.png").code == 0
    assert (folder / "two.png").read_bytes() == (folder / "one.png").read_bytes()


@pytest.mark.slow
def test_layers_are_written_beside_no_file_of_the_users(pipeline, folder):
    made = pipeline("explain", "--layers", "inbox/cup.jpg", "-o", "sheet.jpg")
    assert made.code == 2
    assert "PNG" in made.err
    assert pipeline("explain", "inbox/cup.jpg", "builtin:mosaic").code == 2
    assert pipeline("explain", "inbox/cup.jpg", "-o", "sheet.png").code == 2
    assert not list(folder.glob("*.png"))
