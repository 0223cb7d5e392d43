"""One table says which file names are pictures, for every part of the program."""

import ast
from pathlib import Path

import pytest

from pipeline.config import file_kinds as kinds
from pipeline.config import output as formats
from pipeline.config import sidecar
from pipeline.errors import InputError
from pipeline.gallery.server import files as served
from pipeline.gallery.server import uploads
from pipeline.imaging import decode as decoding
from pipeline.inbox import tree
from pipeline.outbox import thumbnails

PACKAGE = Path(kinds.__file__).parent
PHOTO_NAMES = sorted(kinds.PHOTOS)


def test_no_suffix_stands_for_two_kinds() -> None:
    listed = [suffix for kind in kinds.KINDS for suffix in kind.suffixes]
    assert len(listed) == len(set(listed)) == len(kinds.OF_SUFFIX)


@pytest.mark.parametrize("suffix", PHOTO_NAMES)
def test_a_photo_name_is_one_for_inbox_upload_and_side_file_in_either_case(suffix: str) -> None:
    for name in ("a" + suffix, "A" + suffix.upper()):
        assert tree.InboxTree(Path()).check_name(name) is None
        assert uploads.clean_name(name) == name
        assert sidecar.is_side_file(f"{name}.yaml")
        assert kinds.is_photo_name(name)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".pjpeg", ".apng", ".hif"])
def test_what_browsers_and_cameras_call_their_files_is_taken(suffix: str) -> None:
    assert suffix in kinds.PHOTOS


@pytest.mark.parametrize("name", ["notes.txt", "photo", ".jpg", "a.jpg.exe"])
def test_other_names_are_refused_everywhere_with_the_same_list(name: str) -> None:
    refused = tree.InboxTree(Path()).check_name(name)
    assert refused is not None
    if not name.startswith("."):
        assert refused.message.endswith(kinds.PHOTOS_LISTED)
    with pytest.raises(InputError) as caught:
        uploads.clean_name(name)
    assert caught.value.hint.endswith(kinds.PHOTOS_LISTED)


@pytest.mark.parametrize("name", ["film.mp4", "a.svg", "IMG_1.CR2"])
def test_well_known_files_that_are_no_photos_are_refused_with_what_to_do(name: str) -> None:
    kind = kinds.foreign_kind(name)
    assert kind is not None
    refused = tree.InboxTree(Path()).check_name(name)
    assert refused is not None
    assert refused.message == f"is {kind.what}: {kind.hint}"
    with pytest.raises(InputError) as caught:
        uploads.clean_name(name)
    assert caught.value.hint == kind.hint


def test_no_suffix_is_both_a_photo_and_no_photo() -> None:
    foreign = [suffix for kind in kinds.FOREIGN_KINDS for suffix in kind.suffixes]
    assert len(foreign) == len(set(foreign))
    assert not kinds.PHOTOS & set(foreign)


def test_every_suffix_that_can_be_written_is_served_with_its_media_type() -> None:
    for suffixes in formats.SUFFIXES.values():
        for suffix in suffixes:
            assert served.media_type("a" + suffix).startswith("image/")
            assert formats.format_of("a" + suffix) is not None
    assert {s for kind in kinds.KINDS for s in kind.suffixes} >= thumbnails.SHOWN
    assert served.media_type("index.html") == ""


def test_what_is_written_can_be_read() -> None:
    assert [kind.name for kind in kinds.KINDS if kind.written and not kind.photo] == []


def test_every_kind_of_photo_has_a_decoder() -> None:
    decoders = {name.lower() for name in (*decoding.FORMATS, "HEIF")}
    assert {kind.name for kind in kinds.KINDS if kind.photo} == decoders
    recognised = [*decoding.SIGNATURES, *decoding.BRANDS]
    assert sorted(name.lower() for name in recognised) == sorted(decoders)


def test_no_file_that_can_be_decoded_counts_as_no_photo_by_its_first_bytes() -> None:
    heads = [head for kind in kinds.FOREIGN_KINDS for head in kind.heads]
    assert [head for head in heads if decoding.has_known_format(head.ljust(128, b"\0"))] == []


def test_no_other_module_lists_suffixes_or_media_types_of_pictures() -> None:
    """Two in one literal are a table; a single one is a name."""
    known = kinds.OF_SUFFIX.keys() | {kind.media for kind in kinds.KINDS}
    for path in PACKAGE.rglob("*.py"):
        if path.name == "file_kinds.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict | ast.Set | ast.List | ast.Tuple):
                texts = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant)]
                listed = known.intersection(text for text in texts if isinstance(text, str))
                assert len(listed) < 2, f"{path.name}:{node.lineno} lists {listed}"
