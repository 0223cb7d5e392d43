"""What of a photo's EXIF and XMP stands in its pictures, and what never does."""

import struct
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pipeline.config.output import SUFFIXES, OutputFormat
from pipeline.imaging import tiff_tags as ifd
from pipeline.imaging.metadata import filter_exif, read_record, stated, xmp_packet
from pipeline.imaging.tensors import Labels, load_image, save

BASE, GPS = ExifTags.Base, ExifTags.GPS
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def camera(*, orientation: int = 6, order: str = "<") -> bytes:
    """EXIF as a telephone writes it, with all that must not be carried over."""
    exif = Image.Exif()
    exif.endian = order
    exif[BASE.Make], exif[BASE.Model] = "Maker", "Model X"
    exif[BASE.Artist], exif[BASE.Copyright] = "Ada", "(c) Ada"
    exif[BASE.Orientation] = orientation
    exif[BASE.ImageWidth], exif[BASE.ImageLength] = 4032, 3024
    exif[BASE.Software] = "Retoucher 9"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[BASE.FNumber], inner[BASE.ISOSpeedRatings] = 2.8, 400
    inner[BASE.DateTimeOriginal] = "2026:05:01 10:00:00"
    inner[BASE.MakerNote] = b"secret place" * 20
    inner[BASE.ExifImageWidth], inner[BASE.ExifImageHeight] = 4032, 3024
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[GPS.GPSLatitudeRef], place[GPS.GPSLatitude] = "N", (48.0, 51.0, 24.0)
    return exif.tobytes()


def xmp(properties: str = "", inside: str = "") -> bytes:
    spaces = {
        "dc": "http://purl.org/dc/elements/1.1/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "tiff": "http://ns.adobe.com/tiff/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
        "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "drone": "http://www.dji.com/drone-dji/1.0/",
    }
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in spaces.items())
    return (
        f'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" {declared} {properties}>'
        f"{inside}</rdf:Description></rdf:RDF></x:xmpmeta>" + " " * 2000 + '<?xpacket end="w"?>'
    ).encode()


TITLE = (
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A boat &amp; more</rdf:li></rdf:Alt>'
    "</dc:title>"
)


def carried(photo: bytes, *, gps: bool = False) -> str:
    return xmp_packet(photo, gps=gps, software="", record="").decode()


def labels(exif: bytes, photo_xmp: bytes = b"", *, gps: bool = False) -> Labels:
    found = stated(filter_exif(exif, gps=gps), (24, 16), "pipeline 1", srgb=True)
    return Labels(found, xmp_packet(photo_xmp, gps=gps, software="pipeline 1", record="{}"), "p 1")


# --- EXIF ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", SUFFIXES)
def test_each_format_holds_the_photos_exif_upright_and_without_place(
    kind: str, order: str, tmp_path: Path
) -> None:
    """Read back by Pillow, from the file."""
    path = tmp_path / "a"
    save(torch.rand(3, 16, 24), path, OutputFormat(format=kind), None, labels(camera(order=order)))
    with Image.open(path) as image:
        exif = image.getexif()
        assert exif[BASE.Model] == "Model X"
        assert exif[BASE.Copyright] == "(c) Ada"
        assert exif.get(BASE.Orientation, 1) == 1
        assert exif[BASE.Software] == "pipeline 1"
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        assert inner[BASE.FNumber] == pytest.approx(2.8)
        assert inner[BASE.DateTimeOriginal] == "2026:05:01 10:00:00"
        assert (inner[BASE.ExifImageWidth], inner[BASE.ExifImageHeight]) == (24, 16)
        assert inner[BASE.ColorSpace] == 1
        assert BASE.MakerNote not in inner
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert b"secret place" not in path.read_bytes()
    assert load_image(path).rgb.shape == (3, 16, 24)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_place_is_carried_over_when_it_is_asked_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    found = labels(camera(), gps=True)
    save(torch.rand(3, 16, 24), path, OutputFormat(format=kind, gps=True), None, found)
    with Image.open(path) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[GPS.GPSLatitude] == (48, 51, 24)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_files_of_16_bits_have_it_too(kind: str, depth: int, tmp_path: Path) -> None:
    path, wanted = tmp_path / "a", OutputFormat(format=kind, depth=depth)
    save(torch.rand(3, 16, 24), path, wanted, None, labels(camera(), xmp(inside=TITLE)))
    with Image.open(path) as image:
        image.load()
        assert image.getexif()[BASE.Model] == "Model X"
        assert b"A boat" in image.info["xmp"]


def test_a_thumbnail_is_left_behind() -> None:
    found = ifd.read(camera())
    block = bytearray(ifd.write(found))
    count = struct.unpack_from("<H", block, 8)[0]
    struct.pack_into("<I", block, 10 + 12 * count, len(block))  # the next directory: IFD1
    thumbnail = ifd.block(ifd.Directories("<", {0x0201: ifd.numbers(ifd.LONG, 99)}), len(block))
    again = ifd.write(filter_exif(bytes(block) + thumbnail + b"JPEGJPEG", gps=False))
    assert b"JPEGJPEG" not in again
    assert Image.Exif().get_ifd(ExifTags.IFD.IFD1) == {}


def bomb(entries: int, size: int) -> bytes:
    """A directory whose every tag claims the same large value: gigabytes from a megabyte."""
    table = struct.pack("<H", entries)
    for number in range(entries):
        table += struct.pack("<HHII", 0x9C9B + number % 5, 7, size, 8)
    return b"II*\0\x08\0\0\0" + table.ljust(size + 8, b"\0")


@pytest.mark.parametrize(
    "hostile",
    [
        *(b"", b"Exif\0\0", b"Exif\0\0junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"),
        *(b"II*\0\x08\0\0\0", bomb(60_000, 900_000), bomb(5, 16_000)),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_hostile_exif_is_left_out_at_no_cost(hostile: bytes) -> None:
    began = time.monotonic()
    block = ifd.write(stated(filter_exif(hostile, gps=True), (1, 1), "p", srgb=False))
    assert time.monotonic() - began < 1
    assert len(block) < 65_000
    assert Image.Exif().load(block) is None


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=400)
    | st.tuples(st.integers(0, 600), st.binary(max_size=20)).map(
        lambda cut: camera()[6 : 6 + cut[0]] + cut[1] + camera()[6 + cut[0] + len(cut[1]) :]
    )
)
def test_whatever_is_read_is_written_so_that_it_reads_the_same(data: bytes) -> None:
    found = filter_exif(data, gps=True)
    there = ifd.read(ifd.write(found))
    assert there.main == found.main
    assert there.under.get(ifd.EXIF, {}) == found.under.get(ifd.EXIF, {})
    assert sum(len(raw) for _, _, raw in there.main.values()) <= ifd.MAX_TOTAL


# --- XMP ----------------------------------------------------------------------------------------


def test_titles_stay_and_places_sizes_settings_and_histories_go() -> None:
    said = carried(
        xmp(
            'exif:FNumber="28/10" exif:GPSLatitude="48,51N" tiff:Orientation="6" '
            'tiff:ImageWidth="4032" crs:Exposure2012="+1.5" xmpMM:DocumentID="xmp.did:1" '
            'drone:GpsLatitude="48.1" xmp:CreatorTool="Retoucher" xmp:Rating="5"',
            TITLE + "<xmpMM:History><rdf:Seq><rdf:li>/home/ada</rdf:li></rdf:Seq></xmpMM:History>",
        )
    )
    assert all(word in said for word in ("A boat &amp; more", "28/10", "x-default", 'Rating="5"'))
    for word in (
        "GPS",
        "Gps",
        "Orientation",
        "4032",
        "Exposure",
        "xmp.did",
        "/home/ada",
        "Retouch",
    ):
        assert word not in said


def test_a_place_is_dropped_at_any_depth_and_kept_when_asked_for() -> None:
    inside = (
        '<Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li rdf:parseType="Resource">'
        "<exif:GPSLatitude>48,51N</exif:GPSLatitude><Iptc4xmpExt:City>Paris</Iptc4xmpExt:City>"
        '<rdf:Description exif:GPSLongitude="2,3E"/></rdf:li></rdf:Bag>'
        "</Iptc4xmpExt:LocationCreated>"
    )
    without, with_place = carried(xmp("", inside)), carried(xmp("", inside), gps=True)
    assert "Paris" in without
    assert "GPS" not in without
    assert "48,51N" in with_place
    assert "2,3E" in with_place


def test_the_packet_is_well_formed_and_padding_is_not_kept() -> None:
    packet = xmp_packet(xmp(inside=TITLE), gps=False, software="pipeline 1", record='{"a": "<&>"}')
    assert ET.fromstring(packet).tag == "{adobe:ns:meta/}xmpmeta"
    assert read_record(packet) == '{"a": "<&>"}'
    assert len(packet) < 1500


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    head = f'<!DOCTYPE x [<!ENTITY a "haha">{entities}]>'.encode()
    return head + xmp('dc:format="&j;"', "<dc:title>&j;</dc:title>").split(b"?>", 1)[1]


@pytest.mark.parametrize(
    "hostile",
    [
        *(b"", b"<x/>", b"<a>" * 100_000, b"\xff\xfe<\0x\0", xmp()[:300], laughs()),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + xmp(inside=TITLE).split(b"?>", 1)[1],
        xmp(inside="<dc:title>" + "<rdf:li>" * 500 + "</rdf:li>" * 500 + "</dc:title>"),
        xmp(inside=f"<dc:title>{'x' * 60_000}</dc:title>"),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_hostile_or_oversized_xmp_is_left_out_and_our_own_is_kept(hostile: bytes) -> None:
    began = time.monotonic()
    packet = xmp_packet(hostile, gps=True, software="pipeline 1", record='{"a":1}')
    assert time.monotonic() - began < 2
    assert read_record(packet) == '{"a":1}'
    assert b"title" not in packet
    assert len(packet) < 2000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 1500))
def test_damaged_xmp_never_fails(noise: bytes, place: int) -> None:
    good = xmp('dc:format="x"', TITLE)
    packet = xmp_packet(
        good[:place] + noise + good[place + len(noise) :], gps=False, software="p", record="{}"
    )
    assert read_record(packet) == "{}"


def test_nothing_to_say_is_no_packet() -> None:
    assert xmp_packet(b"", gps=False, software="", record="") == b""
    assert read_record(b"") == ""


def test_a_photo_full_of_metadata_still_fits_into_a_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[BASE.ImageDescription] = "d" * 16_000
    exif[BASE.Copyright] = "c" * 16_000
    exif[BASE.XPComment] = b"k" * 16_000
    exif[BASE.Artist] = "a" * 16_000
    big = xmp(inside=f"<dc:title>{'x' * 32_000}</dc:title>")
    found = Labels(
        stated(filter_exif(exif.tobytes(), gps=False), (24, 16), "p", srgb=True),
        xmp_packet(big, gps=False, software="p", record="r" * 24_000),
    )
    save(torch.rand(3, 16, 24), tmp_path / "a", OutputFormat(format="jpeg"), None, found)
    with Image.open(tmp_path / "a") as image:
        assert read_record(image.info["xmp"]) == "r" * 24_000
        assert image.getexif()[BASE.ImageDescription] == "d" * 16_000
