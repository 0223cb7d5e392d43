"""Differential: files of generated features, written by others, against readers that are not ours.

What is decoded equals what tifffile, pypng or FFmpeg read of the same file; where we and they
differ, the file is refused as unsupported. A silent difference fails here.
"""

import io
import itertools
from typing import Any

import av
import numpy as np
import png
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from support import wild_stock as wild

from pipeline.errors import InputError, Reason
from pipeline.imaging.decode import DEFAULT_LIMITS, Decoded, decode

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 19, 37  # no multiples of tiles, nor of bytes
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
SHARES = np.stack(  # (H, W, 6) in 0..1, smooth; all channels differ
    [
        *(COLUMNS / (WIDTH - 1), ROWS / (HEIGHT - 1), (ROWS + COLUMNS) / (HEIGHT + WIDTH - 2)),
        *(0.5 + COLUMNS / (2 * WIDTH), ROWS / HEIGHT, 1 - COLUMNS / WIDTH),
    ],
    -1,
)
ONE_LEVEL = 1.01 / 255


def stored(dtype: str, channels: int) -> wild.Samples:
    """The shares as numbers of a type, over all of its range; floats over 0..1."""
    shares, kind = SHARES[..., :channels] if channels > 1 else SHARES[..., 0], np.dtype(dtype)
    if kind.kind == "f":
        return shares.astype(kind)
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    return np.array([low + round(share * (high - low)) for share in shares.flat], kind).reshape(
        shares.shape
    )


def ours(data: bytes) -> Decoded | None:
    """What we make of a file; None where it is refused as a kind that is not decoded."""
    try:
        return decode(io.BytesIO(data), None, DEFAULT_LIMITS)
    except InputError as error:
        if error.code is not Reason.UNSUPPORTED_FORMAT:
            raise  # a whole file, called damaged
        return None


def distance(found: Decoded, shares: Any, alpha: Any = None) -> float:
    """The largest difference of any sample, in 0..1."""
    worst = np.abs(found.rgb / 255 - shares).max()
    if alpha is None and found.alpha is None:
        return float(worst)
    got = np.ones((HEIGHT, WIDTH)) if found.alpha is None else found.alpha / 255
    return float(max(worst, np.abs(got - (1 if alpha is None else alpha)).max()))


# ---- TIFF ----------------------------------------------------------------------------------

# channels, photometric, extra samples
LAYOUTS: list[tuple[int, str, list[str]]] = [
    (1, "minisblack", []), (1, "miniswhite", []), (2, "minisblack", ["unassalpha"]),
    (3, "rgb", []), (4, "rgb", ["unassalpha"]), (4, "rgb", ["assocalpha"]),
    (4, "rgb", ["unspecified"]), (5, "rgb", ["unspecified"] * 2), (6, "rgb", ["unspecified"] * 3),
    (4, "separated", []),
]  # fmt: skip


def tiff_by_tifffile(
    dtype: str,
    layout: tuple[int, str, list[str]],
    planes: bool,
    compression: str | None,
    order: Any,
    tiled: bool,
    predictor: bool,
    big: bool = False,
) -> bytes | None:
    """None where tifffile cannot write such a file."""
    channels, photometric, extra = layout
    samples = stored(dtype, channels)
    if photometric == "miniswhite":
        if samples.dtype.kind != "u":
            return None
        samples = np.iinfo(samples.dtype).max - samples
    planar = None if channels == 1 else "separate" if planes else "contig"
    file = io.BytesIO()
    try:
        tifffile.imwrite(
            file,
            np.moveaxis(samples, -1, 0) if planar == "separate" else samples,
            photometric=photometric,
            planarconfig=planar,
            compression=compression,
            byteorder=order,
            tile=(16, 16) if tiled else None,
            predictor=(predictor and compression == "zlib") or None,
            extrasamples=extra or None,
            bigtiff=big,
        )
    except (ValueError, NotImplementedError, KeyError):
        return None
    return file.getvalue()


def read_by_tifffile(data: bytes, layout: tuple[int, str, list[str]]) -> tuple[Any, Any]:
    """Colour (H, W, 3) and alpha in 0..1, as tifffile's numbers mean by the TIFF standard."""
    channels, photometric, extra = layout
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        numbers = page.asarray()
        if channels > 1 and numbers.shape[0] == channels:
            numbers = np.moveaxis(numbers, 0, -1)
    numbers = numbers.reshape(HEIGHT, WIDTH, channels)
    if numbers.dtype.kind == "f":
        shares = numbers.astype(float)
    else:
        low, high = np.iinfo(numbers.dtype).min, np.iinfo(numbers.dtype).max
        shares = (numbers.astype(float) - low) / (float(high) - low)
    alpha = shares[..., -1] if extra in (["unassalpha"], ["assocalpha"]) else None
    if photometric == "separated":
        return (1 - shares[..., :3]) * (1 - shares[..., 3:4]), None
    colour = shares[..., :3] if channels > 2 else np.repeat(shares[..., :1], 3, -1)
    if photometric == "miniswhite":
        colour = 1 - colour
    if extra == ["assocalpha"]:
        colour = np.clip(colour / shares[..., -1:], 0, 1)
    return colour, alpha


def tolerance(layout: tuple[int, str, list[str]]) -> float:
    """One level; Pillow's CMYK is of 8 bits twice, and alpha is divided out in 8 bits."""
    return {"separated": 2, "rgb": 5 if layout[2] == ["assocalpha"] else 1}.get(layout[1], 1) * (
        ONE_LEVEL
    )


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"]),
    layout=st.sampled_from(LAYOUTS),
    planes=st.booleans(),
    compression=st.sampled_from([None, "zlib", "packbits"]),
    order=st.sampled_from(["<", ">"]),
    tiled=st.booleans(),
    predictor=st.booleans(),
    big=st.booleans(),
)
def test_a_tiff_is_what_tifffile_reads_or_it_is_refused(layout: Any, **features: Any) -> None:
    data = tiff_by_tifffile(layout=layout, **features)
    if data is None:
        return
    found = ours(data)
    if found is not None:
        assert distance(found, *read_by_tifffile(data, layout)) <= tolerance(layout)


def test_the_common_tiffs_are_taken_not_refused() -> None:
    """So that the test above cannot pass by refusing everything."""
    common = [
        layout for layout in LAYOUTS if layout[0] in (1, 3, 4) and "unspecified" not in layout[2]
    ]
    for layout, dtype, compression, order in itertools.product(
        common, ["u1", "u2"], [None, "zlib"], ["<", ">"]
    ):
        if (layout[1], dtype, order) == ("miniswhite", "u2", ">"):
            continue  # Pillow knows no ink of 16 bits in that order
        data = tiff_by_tifffile(dtype, layout, False, compression, order, False, False)
        assert data is not None
        found = ours(data)
        assert found is not None, (layout, dtype, compression, order)
        assert distance(found, *read_by_tifffile(data, layout)) <= tolerance(layout)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_greys_are_read_in_every_bit_order(
    bits: int, fill_order: int, photometric: int
) -> None:
    top = 2**bits - 1
    numbers = np.rint(SHARES[..., 0] * top).astype(int)
    kept = top - numbers if photometric == 0 else numbers
    data = wild.tiff(kept, bits=bits, photometric=photometric, fill_order=fill_order)
    found = ours(data)
    assert found is not None
    assert distance(found, np.repeat(numbers[..., None] / top, 3, -1)) <= ONE_LEVEL


@pytest.mark.parametrize("compression", ["tiff_lzw", "lzma", "zstd", "jpeg", "group4", "packbits"])
def test_what_libtiff_can_pack_is_unpacked(compression: str) -> None:
    image = wild.picture().convert("1") if compression == "group4" else wild.picture()
    quality = {"quality": 100} if compression == "jpeg" else {}
    data = wild.saved(image, "TIFF", compression=compression, **quality)
    found = ours(data)
    assert found is not None
    assert np.abs(found.rgb.astype(int) - np.array(image.convert("RGB"))).mean() < 2


# ---- PNG -----------------------------------------------------------------------------------

PNGS = [
    *(("grey", depth) for depth in (1, 2, 4, 8, 16)),
    *((kind, depth) for kind in ("grey-alpha", "rgb", "rgba") for depth in (8, 16)),
    *((kind, depth) for kind in ("palette", "palette-alpha") for depth in (1, 2, 4, 8)),
]
PNG_CHANNELS = {"grey": 1, "grey-alpha": 2, "rgb": 3, "rgba": 4}


def png_by_pypng(kind: str, depth: int, seed: int, interlaced: bool, keyed: bool) -> bytes:
    rng, top = np.random.default_rng(seed), 2**depth - 1
    channels = PNG_CHANNELS.get(kind, 1)
    numbers = rng.integers(0, top + 1, (HEIGHT, WIDTH, channels))
    how: dict[str, Any] = {"bitdepth": depth, "interlace": interlaced}
    if kind.startswith("palette"):
        colours = rng.integers(0, 256, (top + 1, 4 if kind == "palette-alpha" else 3))
        how["palette"] = [tuple(int(part) for part in colour) for colour in colours]
    else:
        how |= {"greyscale": channels < 3, "alpha": channels in (2, 4)}
        if keyed and channels in (1, 3):
            key = [int(part) for part in numbers[0, 0]]
            how["transparent"] = key if channels == 3 else key[0]
    file = io.BytesIO()
    png.Writer(WIDTH, HEIGHT, **how).write(file, numbers.reshape(HEIGHT, -1).tolist())
    return file.getvalue()


def read_by_pypng(data: bytes) -> tuple[Any, Any]:
    width, height, rows, info = png.Reader(bytes=data).asRGBA()
    numbers = np.array(list(rows)).reshape(height, width, 4) / (2 ** info["bitdepth"] - 1)
    return numbers[..., :3], numbers[..., 3]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(PNGS), seed=st.integers(0, 99), interlaced=st.booleans(),
    keyed=st.booleans(),
)  # fmt: skip
def test_a_png_is_what_pypng_reads_or_it_is_refused(
    kind: tuple[str, int], seed: int, interlaced: bool, keyed: bool
) -> None:
    data = png_by_pypng(*kind, seed, interlaced, keyed)
    found = ours(data)
    if found is None:
        assert keyed, "only one colour declared transparent, of 16 bits, may be refused"
        assert kind[1] == 16
    else:
        assert distance(found, *read_by_pypng(data)) <= ONE_LEVEL


# ---- A third reader, for what the two above do not know --------------------------------------


def read_by_ffmpeg(data: bytes) -> Any:
    with av.open(io.BytesIO(data)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24") / 255


@pytest.mark.parametrize(
    ("kind", "options", "most"),
    [
        ("PNG", {}, 0), ("BMP", {}, 0), ("GIF", {}, 0), ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0), ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 3), ("JPEG", {"progressive": True}, 8),
    ],
)  # fmt: skip
def test_ffmpeg_reads_the_same_pixels(kind: str, options: dict[str, Any], most: int) -> None:
    """Lossless ones alike to the bit; of JPEG each library rounds its own way."""
    data = wild.saved(wild.picture(), kind, **options)
    found = ours(data)
    assert found is not None
    assert np.abs(found.rgb / 255 - read_by_ffmpeg(data)).mean() * 255 <= most + 1e-9
