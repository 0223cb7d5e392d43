"""Text that encoders take and terminals show, whatever bytes a file name holds."""

import json
import os

import pytest

from pipeline.errors import InputError
from pipeline.system.text import encodable, join_words, timestamp, visible


@pytest.mark.parametrize("raw", [b"caf\xe9.jpg", b"\xff\xfe", b"\xed\xa0\x80"])
def test_a_name_that_is_not_utf8_reads_the_same_in_records_and_on_a_terminal(raw):
    name = os.fsdecode(raw)
    assert encodable(name) == visible(name)
    assert json.loads(json.dumps(encodable(name)).encode()) == encodable(name)


def test_every_character_can_be_encoded_and_only_surrogates_are_changed():
    for start in range(0, 0x110000, 4096):
        text = "".join(map(chr, range(start, start + 4096)))
        encoded = encodable(text).encode()
        assert encoded.decode() == text or 0xD000 <= start <= 0xDFFF, hex(start)


def test_an_error_names_its_file_in_text_that_can_be_encoded():
    error = InputError("is damaged", where=os.fsdecode(b"caf\xe9.jpg"))
    assert str(error) == r"caf\xe9.jpg: is damaged"
    str(error).encode()


def test_a_timestamp_is_utc_to_the_millisecond():
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1700000000.1239) == "2023-11-14T22:13:20.123Z"


def test_words_of_a_list_are_joined_as_in_a_sentence():
    assert join_words(["png"]) == "png"
    assert join_words(iter(["png", "tiff"]), "or") == "png or tiff"
    assert join_words(["a", "b", "c"]) == "a, b and c"
