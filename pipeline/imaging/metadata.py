"""EXIF and XMP: which metadata of a photo its pictures keep, and how they are written.

Only what is known to stay true of a painting: who, what, when, with which camera. Orientation is 1
since pictures stand upright, sizes are the picture's own; thumbnails, makers' notes, editing
histories and develop settings are of the photo alone, and makers hide places in theirs. What is
damaged, too large or hostile is left out, and never a reason to fail.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress

from pipeline.errors import InputError
from pipeline.imaging import tiff_tags as ifd

# EXIF 2.32. Of the main directory: description, make, model, date, artist, rating, copyright, and
# the names, comments and keywords that Windows keeps.
MAIN = frozenset(
    {0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x4746, 0x4749, 0x8298} | set(range(0x9C9B, 0x9CA0))
)
# Of the camera's directory: exposure, dates, lens, owner; no maker's note (0x927C).
CAMERA = frozenset({
    0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x8833, 0x8834, 0x8835,
    0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203, 0x9204,
    0x9205, 0x9206, 0x9207, 0x9208, 0x9209, 0x920A, 0x9214, 0x9286, 0x9290, 0x9291, 0x9292,
    0xA20B, 0xA20E, 0xA20F, 0xA210, 0xA215, 0xA217, 0xA300, 0xA301, 0xA401, 0xA402, 0xA403,
    0xA404, 0xA405, 0xA406, 0xA407, 0xA408, 0xA409, 0xA40A, 0xA40C, 0xA420, 0xA430, 0xA431,
    0xA432, 0xA433, 0xA434, 0xA435, 0xA500,
})  # fmt: skip
ORIENTATION, SOFTWARE, COLOUR_SPACE, WIDTH, HEIGHT = 0x0112, 0x0131, 0xA001, 0xA002, 0xA003
VERSION = 0x9000
SRGB, UNCALIBRATED = 1, 0xFFFF  # the only colour spaces that EXIF can name

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
OURS = "urn:pipeline:provenance#"
# Vocabularies of XMP that are carried over. Develop settings (crs), histories (xmpMM), depth maps,
# gain maps and makers' own are not.
KEPT = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
    "http://creativecommons.org/ns#": "cc",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
}
# Names within those that are true of the photo's file only.
DROPPED = frozenset({
    "Orientation", "ImageWidth", "ImageLength", "PixelXDimension", "PixelYDimension",
    "ColorSpace", "ICCProfile", "ColorMode", "BitsPerSample", "Compression",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "YCbCrPositioning", "YCbCrSubSampling", "YCbCrCoefficients", "WhitePoint",
    "PrimaryChromaticities", "TransferFunction", "ReferenceBlackWhite", "XResolution",
    "YResolution", "ResolutionUnit", "NativeDigest", "MakerNote", "Thumbnails",
    "CreatorTool", "MetadataDate", "History", "DocumentAncestors", "SidecarForExtension",
    "EmbeddedXMPDigest", "LegacyIPTCDigest", "TextLayers",
})  # fmt: skip
MAX_XMP = 32_768  # bytes carried over; a JPEG takes 65,502 with our own
MAX_DEPTH = 24

for _uri, _prefix in {**KEPT, RDF: "rdf", "adobe:ns:meta/": "x", OURS: "pipeline"}.items():
    ET.register_namespace(_prefix, _uri)


# --- EXIF -----------------------------------------------------------------------------------


def filter_exif(exif: bytes, *, gps: bool) -> ifd.Directories:
    """What is kept of a photo's EXIF; empty directories where it is damaged or absent."""
    try:
        found = ifd.read(exif)
    except InputError:
        return ifd.Directories()
    camera = {t: v for t, v in found.under.get(ifd.EXIF, {}).items() if t in CAMERA}
    place = found.under.get(ifd.GPS, {}) if gps else {}
    main = {tag: value for tag, value in found.main.items() if tag in MAIN}
    return ifd.Directories(found.order, main, {ifd.EXIF: camera, ifd.GPS: place})


def stated(
    found: ifd.Directories, size: tuple[int, int], software: str, *, srgb: bool
) -> ifd.Directories:
    """The directories with what is true of the picture: upright, its size in px, its maker."""
    order = found.order
    main = found.main | {ORIENTATION: ifd.numbers(ifd.SHORT, 1, order=order)}
    if software:
        main[SOFTWARE] = ifd.text(software)
    camera = found.under.get(ifd.EXIF, {}) | {
        WIDTH: ifd.numbers(ifd.LONG, size[0], order=order),
        HEIGHT: ifd.numbers(ifd.LONG, size[1], order=order),
        COLOUR_SPACE: ifd.numbers(ifd.SHORT, SRGB if srgb else UNCALIBRATED, order=order),
    }
    camera.setdefault(VERSION, ifd.opaque(ifd.UNDEFINED, b"0232"))
    return ifd.Directories(order, main, {**found.under, ifd.EXIF: camera})


# --- XMP ------------------------------------------------------------------------------------


def xmp_packet(photo: bytes, *, gps: bool, software: str, record: str) -> bytes:
    """An XMP packet: what is kept of the photo's, who made this, and a record of how.

    Empty when there would be nothing in it.
    """
    description = ET.Element(f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    _copy_kept(photo, description, gps)
    if software:
        description.set("{http://ns.adobe.com/xap/1.0/}CreatorTool", software)
    if record:
        ET.SubElement(description, f"{{{OURS}}}Recipe").text = record
    if len(description) + len(description.attrib) == 1:
        return b""
    root = ET.Element("{adobe:ns:meta/}xmpmeta")
    ET.SubElement(root, f"{{{RDF}}}RDF").append(description)
    body: bytes = ET.tostring(root, encoding="utf-8")
    return (
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        + body.removeprefix(b"<?xml version='1.0' encoding='utf-8'?>\n")
        + b'<?xpacket end="r"?>'
    )


def read_record(xmp: bytes) -> str:
    """The record that `xmp_packet` wrote; "" where there is none."""
    for description in _descriptions(xmp):
        if text := description.findtext(f"{{{OURS}}}Recipe"):
            return text
    return ""


def _copy_kept(photo: bytes, target: ET.Element, gps: bool) -> None:
    for source in _descriptions(photo):
        for name, value in source.attrib.items():
            if _kept(name, gps):
                target.set(name, value)
        for child in source:
            if _kept(child.tag, gps) and target.find(child.tag) is None:
                _prune(child, gps)
                target.append(child)
    if len(ET.tostring(target)) > MAX_XMP:
        for child in list(target):
            target.remove(child)
        target.attrib = {f"{{{RDF}}}about": ""}


def _prune(element: ET.Element, gps: bool) -> None:
    """Take away, at any depth, what would not be kept at the top."""
    element.tail = None
    for name in [name for name in element.attrib if not _structure(name) and not _kept(name, gps)]:
        del element.attrib[name]
    for child in list(element):
        if _structure(child.tag) or _kept(child.tag, gps):
            _prune(child, gps)
        else:
            element.remove(child)


def _structure(name: str) -> bool:
    return name.startswith((f"{{{RDF}}}", f"{{{XML}}}"))


def _kept(name: str, gps: bool) -> bool:
    uri, _, local = name.removeprefix("{").rpartition("}")
    if uri not in KEPT or local in DROPPED:
        return False
    return gps or not local.upper().startswith("GPS")


def _descriptions(xmp: bytes) -> Iterator[ET.Element]:
    """The descriptions in a packet; none where it is absent, damaged or hostile."""
    with suppress(ET.ParseError, ValueError, LookupError, RecursionError):
        parser = ET.XMLParser(target=_Bounded())  # noqa: S314  # takes no document type: no entities
        if b"<!DOCTYPE" in xmp:  # seen by the parser too, in whatever encoding, but later
            return
        parser.feed(xmp.strip(b"\0 \r\n\t"))
        root: ET.Element = parser.close()
        for block in root.iter(f"{{{RDF}}}RDF"):
            yield from block.findall(f"{{{RDF}}}Description")


class _Bounded(ET.TreeBuilder):
    """Builds a tree, unless it is too deep or declares a document type."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, _name: str, _pubid: str | None, _system: str | None) -> None:
        raise ValueError("a document type")

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("too deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)
