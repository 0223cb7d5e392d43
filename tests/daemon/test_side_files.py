"""Side files choose styles and options for their photo or folder only."""

import os

import pytest
from support.stock import read_log
from support.studio import CONFIG

from pipeline.config.transfer import Transfer

TWO = CONFIG.replace("styles:\n", 'styles:\n  waves: {image: "builtin:woodcut_waves"}\n')


def test_side_files_pick_styles_and_options_for_their_photo_and_folder_only(make_studio):
    studio = make_studio(TWO)
    for seed, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        studio.put(name, seed)
    (studio.inbox / "sub/_folder.yaml").write_text("styles: [waves]\ntransfer: {seed_: 1}\n"[:16])
    (studio.inbox / "sub/c.png.yaml").write_text("transfer: {content_weight: 0.5}\n")
    studio.until_idle()
    made = {(j.content, j.style): j.recipe.transfer.content_weight for j in studio.executor.begun}
    default = Transfer().content_weight
    assert made == {
        ("a.png", "waves"): default,
        ("a.png", "mosaic"): default,
        ("sub/b.png", "waves"): default,
        ("sub/c.png", "waves"): 0.5,
    }


def test_a_changed_side_file_plans_exactly_its_photo_anew(studio):
    for seed, name in enumerate(("a.png", "b.png")):
        studio.put(name, seed)
    studio.until_idle()
    studio.executor.begun.clear()
    (studio.inbox / "a.png.yaml").write_text("enhance: {sharpen: 0.9}\n")
    studio.until_idle()
    assert [job.content for job in studio.executor.begun] == ["a.png"]
    (studio.inbox / "a.png.yaml").unlink()
    studio.until_idle()
    assert [job.content for job in studio.executor.begun] == ["a.png", "a.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("styles: [mosiac]\n", "a.png.yaml:1: styles: there is no style 'mosiac'"),
        ("\ntransfer: {init: /etc/passwd}\n", "a.png.yaml:2: transfer.init"),
        ("transfer: {size: 20000}\n", "at most 4096 px"),
        ("transfer: {size: source}\n", "at most 4096 px"),
        ("transfer: {steps: [99999]}\n", "at most 2000"),
        ("hooks: {on_done: [rm]}\n", "a.png.yaml:1: unknown key 'hooks'"),
        ("outbox: /tmp\n", "unknown key 'outbox'"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed"),
        ("styles: [mosaic]\nstyles: [waves]\n", "a.png.yaml:2: the key 'styles' is given twice"),
        ("x" * (64 << 10) + "yz", "larger than 65536 bytes"),
        ("[" * 30000, "not valid YAML"),
        ("- a\n", "the top level must be keys with values"),
        ("!!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_wrong_side_file_fails_its_photo_with_its_line_until_it_is_mended(studio, text, words):
    studio.put("a.png")
    side = studio.inbox / "a.png.yaml"
    side.write_text(text)
    studio.until_idle()
    (line,) = [line for line in read_log(studio.outbox) if line["content"] == "a.png"]
    assert (line["status"], line["error"]["code"]) == ("failed", "sidecar_invalid")
    assert words in line["error"]["message"]
    studio.good_one_survives()
    side.write_text("styles: [mosaic]\n")
    studio.until_idle()
    assert studio.states()["a.png"] == "done"
    assert [r.content for r in studio.ledger.files.refusals() if r.status == "failed"] == []


def test_side_files_that_together_leave_nothing_to_paint_fail_their_photo_alone(studio):
    """Each is valid by itself: that of the folder, that of the photo, and the style."""
    for seed, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        studio.put(name, seed)
    (studio.inbox / "sub/_folder.yaml").write_text("transfer: {style_weight: 0}\n")
    (studio.inbox / "sub/b.png.yaml").write_text("transfer: {content_weight: 0}\n")
    studio.until_idle()
    assert sorted(job.content for job in studio.executor.begun) == ["a.png", "sub/c.png"]
    (error,) = [line["error"] for line in read_log(studio.outbox) if line["status"] == "failed"]
    assert error["code"] == "sidecar_invalid"
    assert (
        "sub/b.png.yaml: transfer: content_weight and style_weight are both 0" in error["message"]
    )


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda path, real: path.symlink_to(real), "is a symbolic link"),
        (lambda path, real: path.hardlink_to(real), "second name"),
        (lambda path, real: os.mkfifo(path), "is a named pipe"),
        (lambda path, real: path.mkdir(), "is a folder"),
    ],
)
@pytest.mark.parametrize("name", ["a.png.yaml", "_folder.yaml", "a.png.mask.sky.png"])
def test_a_photo_is_not_painted_without_a_file_beside_it_that_cannot_be_read(
    studio, name, make_it, words
):
    """But when a copy is in its place; others of the inbox are painted."""
    real = studio.root / "real"
    real.write_text("transfer: {content_weight: 2}\n")
    if "mask" in name and words == "second name":
        return  # such a mask is used
    studio.put("a.png")
    make_it(studio.inbox / name, real)
    studio.until_idle()
    assert studio.executor.begun == []
    (error,) = [line["error"] for line in read_log(studio.outbox) if line["status"] == "failed"]
    assert error["code"] == "sidecar_invalid"
    assert name in error["message"]
    assert words in error["message"]
    place = studio.inbox / name
    place.rmdir() if place.is_dir() else place.unlink()
    studio.until_idle()
    assert [job.content for job in studio.executor.begun] == ["a.png"]
