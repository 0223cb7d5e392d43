"""Resizes a preview picture to terminal characters, in plain integers."""

from collections.abc import Iterator

Preview = tuple[int, int, bytes]  # height, width, height x width x 3 bytes of sRGB
Pixel = tuple[int, int, int]  # red, green, blue: 0 to 255

RAMP = " .:-=+*#%@"  # dark to bright on a dark terminal, for a picture without colours
# 32 levels per channel look smooth enough, and are few enough that most colours stay the same from
# one frame to the next, which makes drawing several times cheaper.
LEVELS = bytes((value & 0xF8) | (value >> 5) for value in range(256))


def character_size(preview: Preview, columns: int, rows: int) -> tuple[int, int]:
    """Columns and rows of the largest preview that fits: a character is two pixels high."""
    height, width, _ = preview
    scale = min(columns / width, 2 * rows / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def resize(preview: Preview, columns: int, rows: int) -> list[list[Pixel]]:
    """Resize to ``rows`` x ``columns`` pixels, each the mean of the old pixels that it covers."""
    height, width, rgb = preview
    lines = [rgb[start : start + width * 3] for start in range(0, height * width * 3, width * 3)]
    spans = list(_covered_spans(width, columns))
    pixels = []
    for top, bottom in _covered_spans(height, rows):
        sums = list(map(sum, zip(*lines[top:bottom], strict=True)))
        channels = (_means(sums[channel::3], spans, bottom - top) for channel in range(3))
        pixels.append(list(zip(*channels, strict=True)))
    return pixels


def _covered_spans(old: int, new: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) old pixel under each new one; always at least one pixel."""
    for i in range(new):
        start = i * old // new
        yield start, max(start + 1, (i + 1) * old // new)


def _means(sums: list[int], spans: list[tuple[int, int]], rows: int) -> list[int]:
    return [LEVELS[sum(sums[a:b]) // ((b - a) * rows)] for a, b in spans]


def shade(upper: Pixel, lower: Pixel) -> str:
    """The character that is as bright as the two pixels together."""
    # Rec. 601 luma of both pixels, in 256ths.
    luma = sum(w * (a + b) for w, a, b in zip((77, 150, 29), upper, lower, strict=True))
    return RAMP[luma * len(RAMP) // (2 * 65536)]
