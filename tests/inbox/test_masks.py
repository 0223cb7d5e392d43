"""Mask files beside photos: never photos, settled and examined before their photo is taken."""

import os

import numpy as np
import pytest
from PIL import Image
from support.inbox_stock import OLD, later, names, put, reasons

from pipeline.config.sections import Limits
from pipeline.errors import InputError
from pipeline.gallery.server.uploads import clean_name
from pipeline.imaging.decode import decode_file
from pipeline.imaging.masks import region_mask
from pipeline.imaging.sandbox import Decoder
from pipeline.imaging.tensors import DecodeLimits
from pipeline.inbox.backlog import list_photos
from pipeline.inbox.examiner import examine_masks
from pipeline.inbox.scanner import Found
from pipeline.inbox.tree import InboxTree
from pipeline.system.file_version import Stamp

# --- scanning -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cat.jpg.mask.sky.png", "cat.jpg.regions.png", "cat.jpg.mask.the sky.png"]
)
def test_a_mask_is_no_photo_with_and_without_its_photo(root, inbox, name):
    put(root, name)
    scan = inbox.scan(0.0, later())
    assert names(scan) == []
    assert reasons(scan) == {name: ("skipped", "ignored")}
    put(root, "cat.jpg")
    assert names(inbox.scan(1.0, later())) == ["cat.jpg"]


def test_a_mask_is_not_counted_among_the_photos_that_wait(root):
    for name in ("cat.jpg", "cat.jpg.mask.sky.png", "cat.jpg.regions.png"):
        put(root, name)
    assert [content for content, _ in list_photos(InboxTree(root))] == ["cat.jpg"]


def test_a_photo_waits_until_its_mask_has_settled(root, inbox):
    os.utime(put(root, "cat.jpg"), (OLD, OLD))
    inbox.scan(0.0, later())
    mask = put(root, "cat.jpg.mask.sky.png")
    scan = inbox.scan(5.0, mask.stat().st_mtime)
    assert names(scan) == []
    assert scan.unsettled["cat.jpg"] == "its mask is still changing"
    assert scan.next_look is not None
    scan = inbox.scan(7.5, mask.stat().st_mtime)
    assert (names(scan), list(scan.masks)) == (["cat.jpg"], ["cat.jpg.mask.sky.png"])


def test_a_changed_mask_is_a_change_of_the_inbox(root, inbox):
    put(root, "cat.jpg")
    mask = put(root, "cat.jpg.mask.sky.png")
    inbox.scan(0.0, later())
    assert not inbox.scan(1.0, later()).changed
    mask.write_text("another")
    assert inbox.scan(2.0, later()).changed


@pytest.mark.parametrize("end", ["", ".", "~", " ", ". .~"])
@pytest.mark.parametrize(
    "name", ["cat.jpg.mask.sky", "cat.jpg.regions", f"{'c' * 108}.jpg.regions"]
)
def test_an_upload_may_not_be_the_mask_of_another_photo(name, end):
    """Nor once its name is cleaned, or cut to its length."""
    with pytest.raises(InputError, match="is the ma"):
        clean_name(f"{name}{end}.png")
    if len(name.encode()) == 120:
        with pytest.raises(InputError, match="is the ma"):
            clean_name(f"{name}-and-more.png")


# --- examining ------------------------------------------------------------------------------


def save(path, mode="L", size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size)
    image.paste(255, (0, 0, size[0], size[1] // 2))
    image.convert(mode).save(path)
    return path


def examined(root, name, photo):
    found = [Found(path.name, path, Stamp.of(path.stat())) for path in (root / name, photo)]
    mask = Found(found[0].content, found[0].path, found[0].stamp, photo=found[1])
    (answer,) = examine_masks([mask], Limits())
    return answer


@pytest.fixture
def cat(root):
    return save(root / "cat.jpg", "RGB")


@pytest.mark.parametrize("size", [(64, 48), (640, 480), (32, 24), (61, 46), (66, 49)])
def test_a_mask_may_have_another_size_in_the_same_proportions(root, cat, size):
    save(root / "cat.jpg.mask.sky.png", size=size)
    answer = examined(root, "cat.jpg.mask.sky.png", cat)
    assert (answer.failure, len(answer.sha256)) == (None, 64)


@pytest.mark.parametrize("size", [(48, 64), (640, 500), (600, 480)])
def test_a_mask_in_other_proportions_names_both_sizes(root, cat, size):
    save(root / "cat.jpg.mask.sky.png", size=size)
    failure = examined(root, "cat.jpg.mask.sky.png", cat).failure
    assert failure is not None
    assert f"{size[0]} x {size[1]} px, and its photo 64 x 48 px" in failure.message


def test_a_photo_is_measured_as_it_is_shown_upright(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(root / "cat.jpg", exif=exif)
    save(root / "cat.jpg.mask.sky.png", size=(48, 64))
    assert examined(root, "cat.jpg.mask.sky.png", root / "cat.jpg").failure is None


def test_a_damaged_mask_says_what_is_wrong(root, cat):
    path = save(root / "cat.jpg.mask.sky.png", size=(640, 480))
    path.write_bytes(path.read_bytes()[:-40])
    failure = examined(root, path.name, cat).failure
    assert failure is not None
    assert "cut off or damaged" in failure.message


def test_a_map_is_read_for_its_colours_and_their_shares(root, cat):
    image = Image.new("RGBA", (640, 480), (0, 0, 255, 255))
    image.paste((255, 0, 0, 255), (0, 240, 320, 480))
    image.paste((0, 255, 0, 0), (320, 240, 640, 480))  # transparent
    image.save(root / "cat.jpg.regions.png")
    assert examined(root, "cat.jpg.regions.png", cat).colors == (
        ("#0000ff", 0.5),
        ("#ff0000", 0.25),
    )


def test_a_photo_of_many_megapixels_is_measured_without_decoding_it(root):
    Image.new("RGB", (4000, 3000)).save(root / "cat.jpg")
    cut = root / "cat.jpg"
    cut.write_bytes(cut.read_bytes()[:2000])
    decoder = Decoder(Limits())
    try:
        assert decoder.measure(cut) == (4000, 3000)
    finally:
        decoder.close()


# --- what a mask says -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_of_any_mode_is_read_by_its_luminance(tmp_path, mode):
    path = tmp_path / "mask.png"
    if mode == "I;16":
        deep = np.zeros((48, 64), np.uint16)
        deep[:24] = 65535
        Image.fromarray(deep).save(path)
    else:
        save(path, mode)
    mask = region_mask(decode_file(path, None, DecodeLimits()))
    assert mask.shape == (48, 64)
    assert (mask[:24].min(), mask[24:].max()) == (1.0, 0.0)


def test_greys_are_soft_and_what_is_transparent_is_outside(tmp_path):
    image = Image.new("LA", (3, 1))
    for x, pixel in enumerate([(128, 255), (255, 128), (255, 0)]):
        image.putpixel((x, 0), pixel)
    image.save(tmp_path / "mask.png")
    (row,) = region_mask(decode_file(tmp_path / "mask.png", None, DecodeLimits()))
    assert row == pytest.approx([0.5, 0.5, 0.0], abs=0.01)


def test_a_region_of_a_map_is_where_its_colour_is_or_nearly(tmp_path):
    image = Image.new("RGB", (3, 1))
    for x, pixel in enumerate([(0, 0, 255), (30, 20, 230), (255, 0, 0)]):
        image.putpixel((x, 0), pixel)
    image.save(tmp_path / "map.png")
    found = decode_file(tmp_path / "map.png", None, DecodeLimits())
    assert region_mask(found, "#0000ff").tolist() == [[1, 1, 0]]
