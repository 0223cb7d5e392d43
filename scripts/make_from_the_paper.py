"""Draw docs/pictures/from-the-paper.jpg: the steps of docs/from-the-paper.md, and what each costs.

    python scripts/make_from_the_paper.py [--side PX]

Also writes the time of each picture into the page, as a share of the paper's (seconds of one core).
"""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

import pipeline
from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.imaging.arrays import from_python, to_pillow
from pipeline.imaging.tensors import add_caption
from pipeline.render.contact_sheet import build_contact_sheet

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/from-the-paper.md"
OUT = ROOT / "docs/pictures/from-the-paper.jpg"
PHOTO, PAINTING = ROOT / "inbox/coffee.jpg", "builtin:brush_strokes"
ACROSS = 3


def steps() -> Iterator[tuple[str, Transfer]]:
    """Each step's heading on the page, and the options with its lines and those before it."""
    changed: dict[str, Any] = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
        if block:
            changed |= yaml.safe_load(block[1]).get("transfer", {})
            layer = Transfer.model_validate(changed)
            yield section.partition("\n")[0], resolve_transfer("paper", layer)


def write_time(heading: str, ratio: float) -> None:
    """Write a time at the end of its section: ``Time: 0.45.``"""
    before, head, section = PAGE.read_text().partition(f"## {heading}\n")
    after = re.sub(
        r"(?s)Time:\s+\S+\.$", f"Time: {ratio:.2f}.", section, count=1, flags=re.MULTILINE
    )
    PAGE.write_text(before + head + after)


def main(arguments: list[str]) -> None:
    """Write the sheet."""
    side = int(arguments[arguments.index("--side") + 1]) if "--side" in arguments else 192
    torch.set_num_threads(1)  # the seconds of one core count, which other programs do not change
    small = {"size": side, "scales": [side], "steps": [1]}
    pipeline.paint(PHOTO, PAINTING, preset="paper", **small)  # loads the network
    cells, first = [], 0.0
    for heading, options in steps():
        chosen = options.model_dump() | {"size": side}
        before = time.process_time()
        picture = pipeline.paint(PHOTO, PAINTING, preset="paper", **chosen)
        seconds = time.process_time() - before
        first = first or seconds
        print(f"{heading}: {seconds:.1f} s, {seconds / first:.2f}", flush=True)
        write_time(heading, seconds / first)
        cells.append(add_caption(from_python(picture, "picture")[0], heading))
    to_pillow(build_contact_sheet(cells, ACROSS), None).save(OUT, quality=86)
    print(OUT.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
