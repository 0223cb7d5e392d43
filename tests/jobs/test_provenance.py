"""A finished picture tells how it was made, and can be made again from that alone."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.stock import make_job

from pipeline.cli import main as cli
from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import starter_styles
from pipeline.config.output import OutputFormat
from pipeline.config.sections import Limits
from pipeline.config.transfer import Transfer
from pipeline.imaging.icc_profiles import icc_bytes
from pipeline.imaging.metadata import read_record, xmp_packet
from pipeline.imaging.tensors import load_image
from pipeline.jobs.job import Job, Workspace
from pipeline.jobs.provenance import Provenance, is_cut, is_ours, parse, record
from pipeline.jobs.recipe import StyleImage, digest
from pipeline.render.reproduce import rebuild_job
from pipeline.render.run_job import run_job

pytestmark = pytest.mark.slow

SMALL = ["--size", "32", "--steps", "2", "--enhance", "none"]
MOSAIC = starter_styles()["mosaic"]


def job(**changes: object) -> Job:
    """A job with a starter style image and one of the user's."""
    images = (
        StyleImage(MOSAIC, 0.75, digest(MOSAIC)),
        StyleImage(Path("/home/ada/private/sea.jpg"), 0.25, "b" * 64),
    )
    plain = make_job("holiday/nice/cup.jpg")
    return replace(plain, recipe=replace(plain.recipe, images=images, **changes))


# --- the record ---------------------------------------------------------------------------------


def test_the_record_rebuilds_the_very_recipe() -> None:
    wanted = job(
        transfer=Transfer(size=96, steps=(3, 2), style_layers={"relu1_1": 1.0, "relu3_1": 0.3}),
        output=OutputFormat(format="webp", quality=70, profile="display-p3"),
        seed=7,
    )
    found = parse(record(wanted, "enhanced"))
    assert found is not None
    assert found.kind == "enhanced"
    paths = tuple(image.path for image in wanted.recipe.images)
    assert found.rebuild_recipe(paths, None, "embedded") == wanted.recipe
    assert found.rebuild_recipe(paths, None, "embedded").digest == found.recipe


def test_the_record_contains_no_folder() -> None:
    wanted = job(
        transfer=Transfer(init="/home/ada/private/start.png"),
        init_sha256="c" * 64,
        weights="/home/ada/private/vgg.pth",
        weights_sha256="d" * 64,
    )
    said = record(wanted, "stylized")
    assert all(name in said for name in ("sea.jpg", "cup.jpg", "start.png", "vgg.pth"))
    assert "/" not in said
    assert all(private not in said for private in ("home", "private", "holiday", "nice"))


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200).filter(lambda raw: b"/" not in raw and b"\0" not in raw))
def test_any_file_name_goes_through_a_picture_and_back(raw: bytes) -> None:
    name = os.fsdecode(b"x" + raw)
    said = record(replace(job(), content=f"a/{name}"), "stylized")
    packet = xmp_packet(b"", gps=False, software="pipeline", record=said)
    found = parse(read_record(packet))
    assert found is not None
    assert found.photo.name == (b"x" + raw).decode("utf-8", "backslashreplace")


@pytest.mark.parametrize(("count", "whole"), [(100, True), (170, True), (1000, False)])
def test_a_blend_of_many_paintings_leaves_a_record_that_names_its_maker(
    count: int, whole: bool
) -> None:
    """Without names first, and at last without paintings; the recipe's digest is always there."""
    image = StyleImage(Path(f"/{'painting' * 8}.jpg"), 1 / count, "a" * 64)
    plain = make_job()
    wanted = replace(plain, recipe=replace(plain.recipe, images=(image,) * count))
    said = record(wanted, "stylized")
    assert is_ours(said)
    assert is_cut(said) is not whole
    assert json.loads(said)["recipe"] == wanted.recipe.digest
    if whole:
        made = parse(said)
        assert made is not None
        assert made.rebuild_recipe((image.path,) * count, None, "embedded") == wanted.recipe


@pytest.mark.parametrize(
    "forged",
    ["", "{", "[]", "null", '{"program": 1}', "[" * 100_000, '{"seed": NaN}', '"text"'],
    ids=lambda text: text[:12],
)
def test_a_forged_record_is_ignored(forged: str) -> None:
    assert parse(forged) is None


def test_a_record_with_keys_of_a_later_version_is_still_read() -> None:
    said = json.loads(record(job(), "stylized")) | {"mood": "good"}
    assert isinstance(parse(json.dumps(said)), Provenance)


@pytest.mark.parametrize(
    ("key", "value"), [("recipe", "x" * 65), ("paintings", [{"name": "a", "sha256": "../etc"}])]
)
def test_a_record_with_impossible_values_is_ignored(key: str, value: object) -> None:
    assert parse(json.dumps(json.loads(record(job(), "stylized")) | {key: value})) is None


# --- explain, and the same again ------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A project folder to stand in; the photo has a place, a profile and transparency."""
    (tmp_path / "inbox").mkdir()
    image = Image.effect_noise((64, 48), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 24.0)}
    exif[0x0110] = "Model X"
    exif[0x0112] = 6
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    image.save(tmp_path / "inbox" / "cup.png", exif=exif, icc_profile=icc_bytes("display-p3"))
    shutil.copy(MOSAIC, tmp_path / "sea.jpg")
    (tmp_path / "config.yaml").write_text(
        "styles: {sea: {image: sea.jpg}}\ntransfer: {size: 32, steps: [2]}\n"
        "enhance: {preset: none}\noutput: {format: webp, profile: display-p3}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipeline(monkeypatch, capfd):
    """Call the program within this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capfd.readouterr())

    return call


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".heic"])
def test_a_picture_in_any_format_records_how_it_was_made_wherever_it_lies(
    suffix: str, folder: Path, pipeline
) -> None:
    code, out, err = pipeline(
        "stylize", "inbox/cup.png", "builtin:mosaic", "-o", f"one{suffix}", *SMALL, "--json"
    )
    assert code == 0, err
    names = [Path(output["path"]).name for output in json.loads(out)["outputs"]]
    assert names == [f"one{suffix}", f"one.enhanced{suffix}"]
    (folder / "far").mkdir()
    shutil.move(folder / f"one{suffix}", folder / "far" / f"x{suffix}")
    code, out, _ = pipeline("explain", f"far/x{suffix}", "--json", "--config", "none.yaml")
    made = json.loads(out)["made"]
    assert code == 0
    assert made["photo"]["name"] == "cup.png"
    assert made["paintings"][0]["name"] == "builtin:mosaic"
    assert made["transfer"]["size"] == 32
    assert (folder / "config.yaml").is_file()
    for name in (f"far/x{suffix}", str(folder / "far" / f"x{suffix}")):
        assert pipeline("explain", name)[0] == 0
    said = pipeline("explain", f"far/x{suffix}")[1]
    assert "the stylized picture of cup.png in the style mosaic" in said
    raw = (folder / "far" / f"x{suffix}").read_bytes()
    assert str(folder).encode() not in raw
    with Image.open(folder / "far" / f"x{suffix}") as image:
        assert not image.getexif().get_ifd(0x8825)
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x0110] == "Model X"


def test_a_picture_is_rendered_again_byte_for_byte(folder: Path, pipeline) -> None:
    """From its record alone; the photo is found in the archive, under another name."""
    for out in (folder / "outbox", folder / "archive"):
        out.mkdir()
    made = ["stylize", "inbox/cup.png", "sea.jpg", "-o", "outbox/cup--sea.webp", *SMALL[:4]]
    look = ["--strength", "0.4", "--stroke", "0.7", "--colors", "match", "--color-strength", "0.6"]
    assert (
        pipeline(*made, "--profile", "display-p3", "--seed", "3", "--init", "noise", *look)[0] == 0
    )
    shutil.move(folder / "inbox" / "cup.png", folder / "archive" / "renamed.png")
    for kind, mark in (("stylized", ""), ("enhanced", ".enhanced")):
        picture = folder / "outbox" / f"cup--sea{mark}.webp"
        code, out, err = pipeline("explain", str(picture), "--again", f"{kind}.webp", "--json")
        assert code == 0, err
        assert [output["kind"] for output in json.loads(out)["outputs"]] == [kind]
        first, second = load_image(picture), load_image(folder / f"{kind}.webp")
        assert first.rgb.equal(second.rgb)
        assert first.alpha is not None
        assert second.alpha is not None
        assert first.alpha.equal(second.alpha)
        assert picture.read_bytes() == (folder / f"{kind}.webp").read_bytes()
    assert not list(folder.glob(".pipeline-*"))


def test_a_picture_made_again_is_the_same_whatever_its_files_are_called_now(
    folder: Path, pipeline
) -> None:
    """A painting (a copy of a starter style), the start image, a mask."""
    shutil.copy(folder / "inbox" / "cup.png", folder / "start.png")
    Image.new("L", (48, 64), 255).save(folder / "sky.png")  # the photo lies on its side
    words = ["--init", "start.png", "--mask", "sky=sky.png", "--region", "sky.strength=0.5"]
    named = ["stylize", "inbox/cup.png", "sea.jpg", "-o", "one.png", *SMALL]
    code, _, err = pipeline(*named, *words)
    assert code == 0, err
    for name in ("sea.jpg", "start.png", "sky.png"):
        shutil.move(folder / name, folder / f"other-{name}")
    code, _, err = pipeline("explain", "one.png", "--again", "two.png", "--sources", ".")
    assert code == 0, err
    assert (folder / "two.png").read_bytes() == (folder / "one.png").read_bytes()


def test_weights_and_models_are_found_by_their_contents_and_recorded_by_their_first_names(
    folder: Path,
) -> None:
    for name in ("vgg.pth", "grow.safetensors"):
        (folder / name).write_text(name)
    model = folder / "grow.safetensors"
    grown = Enhance(upscale=2, upscale_by="model", upscale_model=model)
    kept = {"enhance": grown, "upscale_sha256": digest(model), "weights": str(folder / "vgg.pth")}
    photo = folder / "inbox" / "cup.png"
    first = replace(job(**kept, weights_sha256=digest(folder / "vgg.pth")), sha256=digest(photo))
    first = replace(first, recipe=replace(first.recipe, images=first.recipe.images[:1]))
    said = record(first, "enhanced")
    for name in ("vgg.pth", "grow.safetensors"):
        shutil.move(folder / name, folder / f"other-{name}")
    made = parse(said)
    assert made is not None
    again = rebuild_job(made, folder / "one.png", None, [folder])
    assert again.recipe.weights.endswith("other-vgg.pth")
    assert record(again, "enhanced") == said


def test_what_the_recipe_does_not_ask_for_is_recorded_and_used_again(
    folder: Path, pipeline
) -> None:
    """Limits that change a photo's pixels, and the blocks of a job that had failed before."""
    photo, recipe = folder / "inbox" / "cup.png", job().recipe
    images = (StyleImage(folder / "sea.jpg", 1.0, digest(folder / "sea.jpg")),)
    small = Transfer(size=96, scales=(96,), steps=(2,))
    again = replace(recipe, images=images, transfer=small, enhance=Enhance(preset="none"))
    wanted = Job("cup.png", photo, digest(photo), "sea", again)
    seen = []
    for number, (limits, block) in enumerate([(Limits(), 0), (Limits(icc=100), 64)]):
        staging = folder / f"made{number}"
        staging.mkdir()
        workspace = Workspace("cpu", staging, limits, block=block)
        result = run_job(wanted, workspace, lambda _: None, lambda: False)
        made, back = staging / "stylized.png", folder / f"again{number}.png"
        assert result.status == "done"
        code, _, err = pipeline("explain", str(made), "--again", str(back))
        assert code == 0, err
        assert back.read_bytes() == made.read_bytes()
        seen.append(load_image(made).rgb)
    assert not seen[0].equal(seen[1])
    said = json.loads(pipeline("explain", str(made), "--json")[1])["made"]
    assert (said["block"], said["limits"]) == (64, {"icc": 100})


def test_what_is_missing_is_named_with_a_hint(folder: Path, pipeline) -> None:
    pipeline("stylize", "inbox/cup.png", "sea.jpg", "-o", "one.png", *SMALL)
    (folder / "elsewhere").mkdir()
    shutil.move(folder / "inbox" / "cup.png", folder / "elsewhere" / "cup.png")
    shutil.move(folder / "sea.jpg", folder / "elsewhere" / "sea.jpg")
    Image.new("RGB", (9, 9)).save(folder / "sea.jpg")  # the name alone is not enough
    shutil.move(folder / "one.png", folder / "elsewhere" / "deep.png")
    (folder / "pictures").mkdir()
    shutil.move(folder / "elsewhere" / "deep.png", folder / "pictures" / "one.png")
    code, _, err = pipeline("explain", "pictures/one.png", "--again", "two.png")
    assert code == 2
    assert "photo cup.png" in err
    assert "painting" not in err or "sea.jpg" in err  # mosaic itself is a starter style: found
    assert "--sources DIR" in err
    again = ["explain", "pictures/one.png", "--again", "two.png", "--sources", "elsewhere"]
    assert pipeline(*again)[0] == 0
    assert load_image(folder / "two.png").rgb.equal(load_image(folder / "pictures/one.png").rgb)


@pytest.mark.parametrize(
    ("out", "said"), [("two.jpg", "name it .png"), ("no/two.png", "there is no such folder")]
)
def test_an_impossible_output_is_wrong_usage(out: str, said: str, folder: Path, pipeline) -> None:
    pipeline("stylize", "inbox/cup.png", "builtin:mosaic", "-o", "one.png", *SMALL)
    code, _, err = pipeline("explain", "one.png", "--again", out)
    assert code == 2
    assert said in err


def test_a_picture_of_another_engine_or_with_other_options_is_not_guessed_at(
    folder: Path, pipeline
) -> None:
    pipeline("stylize", "inbox/cup.png", "builtin:mosaic", "-o", "one.png", *SMALL)
    with Image.open(folder / "one.png") as image:
        said = json.loads(read_record(image.info["xmp"]))
    for change, word in (
        ({"engine": 99}, "engine 99"),
        ({"seed": 5}, "does not match this version"),
    ):
        forged = xmp_packet(b"", gps=False, software="", record=json.dumps(said | change))
        Image.new("RGB", (8, 8)).save(folder / "forged.jpg", xmp=forged)
        code, _, err = pipeline("explain", "forged.jpg", "--again", "two.png")
        assert code == 2
        assert word in err


def test_a_picture_without_a_record_is_reported_as_such(folder: Path, pipeline) -> None:
    Image.new("RGB", (8, 8)).save(folder / "plain.png")
    code, _, err = pipeline("explain", "plain.png", "--again", "two.png")
    assert code == 2
    assert "no record" in err
    assert "not in the inbox" in pipeline("explain", "plain.png")[2]


def test_a_picture_may_be_made_without_any_metadata(folder: Path, pipeline) -> None:
    bare = ["--metadata", "none", "--provenance", "false"]
    pipeline("stylize", "inbox/cup.png", "builtin:mosaic", "-o", "one.png", *SMALL, *bare)
    with Image.open(folder / "one.png") as image:
        assert set(image.info) == {"srgb"}


def test_an_inbox_file_is_explained_as_before(folder: Path, pipeline) -> None:
    code, out, _ = pipeline("explain", "inbox/cup.png")
    assert code == 0
    assert "will be painted" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "one.bmp"], ".webp"),
        (["-o", "one.jpg", "--depth", "16"], "--depth"),
        (["-o", "one.png", "--quality", "90"], "--quality"),
        (["-o", "one.webp", "--profile", "cmyk"], "--profile"),
    ],
)
def test_a_wrong_format_is_reported_before_any_work(words, said, folder: Path, pipeline) -> None:
    code, _, err = pipeline("stylize", "inbox/cup.png", "builtin:mosaic", *words)
    assert code == 2
    assert said in err


# --- an untrusted picture -------------------------------------------------------------------------


def test_the_enlarging_model_counts_by_what_it_holds(tmp_path: Path) -> None:
    """Its name stands in the record, its folder does not; the recipe comes back with it."""
    model = tmp_path / "grow.safetensors"
    model.write_bytes(b"model")
    grown = Enhance(upscale=2, upscale_by="model", upscale_model=model)
    wanted = job(enhance=grown, upscale_sha256=digest(model))
    said = record(wanted, "enhanced")
    found = parse(said)
    assert found is not None
    assert str(tmp_path) not in said
    assert "grow.safetensors" in said
    paths = tuple(image.path for image in wanted.recipe.images)
    assert found.rebuild_recipe(paths, None, "embedded", model) == wanted.recipe


@pytest.mark.parametrize(
    "named",
    [
        {"enhance": {"upscale": 2, "upscale_by": "model", "upscale_model": "trap.pth"}},
        {"transfer": {"init": "trap.pth"}},
        {"weights": "trap.pth"},
    ],
    ids=lambda named: next(iter(named)),
)
def test_no_file_is_opened_because_an_untrusted_picture_names_it(
    named: dict[str, object], folder: Path, pipeline
) -> None:
    """A forged record whose recipe fits; files count by what they hold alone."""
    os.mkfifo(folder / "trap.pth")  # to open it would never end
    pipeline("stylize", "inbox/cup.png", "builtin:mosaic", "-o", "one.png", *SMALL)
    with Image.open(folder / "one.png") as image:
        said = json.loads(read_record(image.info["xmp"]))
    models = {"enhance": Enhance, "transfer": Transfer}
    options = {k: models[k].model_validate(v) if k in models else v for k, v in named.items()}
    honest = Provenance.model_validate(said).rebuild_recipe((MOSAIC,), None, "embedded")
    packet = json.dumps(said | named | {"recipe": replace(honest, **options).digest})
    xmp = xmp_packet(b"", gps=False, software="", record=packet)
    Image.new("RGB", (8, 8)).save(folder / "forged.jpg", xmp=xmp)
    code, _, err = pipeline("explain", "forged.jpg", "--again", "two.png")
    assert code == 2
    assert "names files without a checksum" in err


def test_an_endless_record_is_ignored() -> None:
    said = json.loads(record(job(), "stylized"))
    assert parse(json.dumps(said | {"transfer": {"a": "x" * 1_000_000}})) is None
    assert parse(json.dumps(said | {"transfer": {"a": float("nan")}})) is None
