"""Small pictures as cameras, browsers, scanners and bad disks leave them. No test stands here."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, PngImagePlugin

Samples = npt.NDArray[Any]

WIDTH, HEIGHT = 96, 64


def ramp() -> npt.NDArray[np.uint8]:
    """(64, 96, 3): red rises to the right, green falls, blue is even."""
    red = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    return np.stack([red, red[:, ::-1], np.full_like(red, 90)], -1)


def picture() -> Image.Image:
    return Image.fromarray(ramp())


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# ---- PNG -----------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    head = struct.pack(">I", len(data)) + kind + data
    return head + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, image: Image.Image | None = None, **options: Any) -> bytes:
    """A PNG with more chunks behind its header."""
    plain = saved(image or picture(), "PNG", **options)
    return plain[:33] + b"".join(chunks) + plain[33:]


def with_wrong_sum(data: bytes, kind: bytes) -> bytes:
    """The PNG with one bit of the first such chunk's checksum turned."""
    at = data.index(kind)
    (size,) = struct.unpack(">I", data[at - 4 : at])
    end = at + 4 + size
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


def png_with_text(size: int, *, xmp: bool = False) -> bytes:
    info = PngImagePlugin.PngInfo()
    if xmp:
        packet = "<x:xmpmeta>" + " " * size + "</x:xmpmeta>"
        info.add_itxt("XML:com.adobe.xmp", packet, zip=True)
    else:
        info.add_text("Comment", "a" * size, zip=True)
    return saved(picture(), "PNG", pnginfo=info)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gamma(exponent: float) -> bytes:
    """gAMA: the exponent of the file's values."""
    return chunk(b"gAMA", struct.pack(">I", round(exponent * 100_000)))


def chromaticities(*xy: float) -> bytes:
    """cHRM: x and y of white, red, green and blue."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in xy)))


def code_points(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, matrix, full]))


# ---- JPEG ----------------------------------------------------------------------------------


def jpeg(**options: Any) -> bytes:
    return saved(picture(), "JPEG", **{"quality": 92, **options})


def cut_and_closed() -> bytes:
    """Six tenths of a JPEG, and the mark of its end."""
    whole = jpeg()
    return whole[: len(whole) * 6 // 10] + b"\xff\xd9"


def flipped(data: bytes, number: int) -> bytes:
    """A JPEG with one bit of its coded pixels turned, another one for each number."""
    start = data.index(b"\xff\xda") + 14
    place = start + (number * 7919) % (len(data) - 2 - start)
    return data[:place] + bytes([data[place] ^ 1 << number % 8]) + data[place + 1 :]


# ---- TIFF ----------------------------------------------------------------------------------

LETTERS = {3: "H", 4: "I", 5: "II"}


def tiff(
    samples: Samples,
    *,
    bits: int = 0,
    kind: int = 1,
    photometric: int = 2,
    planes: bool = False,
    order: str = "<",
    fill_order: int = 1,
    more: dict[int, tuple[int, list[int]]] | None = None,
) -> bytes:
    """An uncompressed TIFF of one page: (H, W) or (H, W, C), one strip for each plane.

    Below 8 bits the samples of a row are packed. ``more`` are tags: type and values.
    """
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    bits = bits or samples.itemsize * 8
    parts = [samples[..., c] for c in range(channels)] if planes else [samples]
    data = [_packed(part, bits, order, fill_order) for part in parts]
    tags: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * channels), 259: (3, [1]),
        262: (3, [photometric]), 266: (3, [fill_order]), 273: (4, [0] * len(data)),
        277: (3, [channels]), 278: (4, [height]), 279: (4, [len(part) for part in data]),
        284: (3, [2 if planes else 1]), 339: (3, [kind] * channels), **(more or {}),
    }  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    sizes = {tag: struct.calcsize(order + LETTERS[t] * 1) * n for tag, t, n in _counts(tags)}
    at = start + sum(size for size in sizes.values() if size > 4)
    offsets = []
    for part in data:
        offsets.append(at)
        at += len(part)
    tags[273] = (4, offsets)
    table, body = struct.pack(order + "H", len(tags)), b""
    for tag, (letter, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{LETTERS[letter][0]}", *values)
        if len(raw) > 4:
            body, raw = body + raw, struct.pack(order + "I", start + len(body))
        count = len(values) // len(LETTERS[letter])
        table += struct.pack(order + "HHI", tag, letter, count) + raw.ljust(4, b"\0")
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "I", 8) + table + bytes(4) + body + b"".join(data)


def _counts(tags: dict[int, tuple[int, list[int]]]) -> list[tuple[int, int, int]]:
    return [(tag, t, len(values) // len(LETTERS[t])) for tag, (t, values) in tags.items()]


def _packed(samples: Samples, bits: int, order: str, fill_order: int) -> bytes:
    rows = samples.reshape(len(samples), -1)
    if bits >= 8:
        return np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder(order))).tobytes()
    single = (rows[..., None] >> np.arange(bits)[::-1]) & 1
    raw = np.packbits(single.reshape(len(rows), -1).astype(np.uint8), axis=1)
    if fill_order == 2:
        raw = np.packbits(np.unpackbits(raw, axis=1, bitorder="little"), axis=1)
    return raw.tobytes()


def thumbnail_first(mark: int = 254, *, both: bool = False) -> bytes:
    """A TIFF whose first page is a small copy of the second one."""
    small, whole = picture().resize((24, 16)), picture()
    small.encoderinfo = {"tiffinfo": {mark: 1 if mark == 254 else 2}}
    if both:
        return saved(small, "TIFF", save_all=True, append_images=[whole], tiffinfo={254: 1})
    pages = [saved(small, "TIFF", tiffinfo={mark: 1 if mark == 254 else 2}), saved(whole, "TIFF")]
    return _chained(*pages)


def _chained(first: bytes, second: bytes) -> bytes:
    """Two little-endian TIFFs of one page as one of two."""
    base = len(first) + len(first) % 2
    moved = bytearray(second)
    (start,) = struct.unpack_from("<I", moved, 4)
    (count,) = struct.unpack_from("<H", moved, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from("<HHI", moved, place)
        size = {3: 2, 4: 4, 5: 8}.get(kind, 1) * number
        if size > 4 or tag == 273:
            assert tag != 273 or number == 1
            (value,) = struct.unpack_from("<I", moved, place + 8)
            struct.pack_into("<I", moved, place + 8, value + base)
    whole = bytearray(first.ljust(base, b"\0")) + moved
    (start_first,) = struct.unpack_from("<I", whole, 4)
    (count_first,) = struct.unpack_from("<H", whole, start_first)
    struct.pack_into("<I", whole, start_first + 2 + 12 * count_first, base + start)
    return bytes(whole)


# ---- HEIC and AVIF -------------------------------------------------------------------------


def with_colours(data: bytes, primaries: int, transfer: int) -> bytes:
    """A HEIC or AVIF whose `nclx` says other primaries and another transfer."""
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">2H", primaries, transfer) + data[at + 4 :]
