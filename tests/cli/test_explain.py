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
