"""Draw the starter styles: `python scripts/make_styles.py [--out DIR] [--size N] [NAME ...]`.

Every picture comes from formulas and a fixed seed; no outside picture goes in. With the same
numpy, scipy and Pillow the files come out the same to the byte.
"""

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from starter_styles import STYLES
from starter_styles.primitives import Array

SHIPPED = Path(__file__).resolve().parent.parent / "pipeline" / "styles"


def draw(name: str, size: int) -> Image.Image:
    """The starter style `name`, size x size px; the seed is the name itself."""
    picture: Array = STYLES[name](size, np.random.default_rng(zlib.crc32(name.encode())))
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the starter styles.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(STYLES)}")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for the JPEG files")
    parser.add_argument("--size", type=int, default=1024, help="side in px")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.names) - set(STYLES)):
        parser.error(f"no starter style named {', '.join(unknown)}; there are {', '.join(STYLES)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or STYLES:
        path = args.out / f"{name}.jpg"
        draw(name, args.size).save(path, quality=88, optimize=True)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
