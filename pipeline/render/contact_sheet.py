"""Contact sheets: several small pictures on one, each with a caption, in a PNG of our own."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.imaging.metadata import xmp_packet
from pipeline.imaging.tensors import Labels, add_caption, resize, save
from pipeline.jobs.provenance import SOFTWARE
from pipeline.jobs.recipe import PLAIN_OUTPUT
from pipeline.render.output_files import Target
from pipeline.system.text import visible

SHEET_NAME = "contact-sheet.png"
LONGEST, SHORTEST = 320, 160  # px, of the long side of one picture on a sheet
NARROWEST = 120  # px: a caption such as `content_weight 0.03` fits into it
GAP = 8  # px


def captioned(rgb: Tensor, *lines: str) -> Tensor:
    """A picture (3, H, W) as a cell of a sheet (3, h, w): at a size to look at, with a caption.

    Small pictures are enlarged, so that the caption, which has to be readable, stays the smaller
    part of the cell.
    """
    side = max(rgb.shape[1:])
    factor = min(max(side, SHORTEST), LONGEST) / side
    size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[2] * factor)))
    shown = rgb if factor == 1 else resize(rgb, size)
    spare = max(0, NARROWEST - shown.shape[2])
    wide = functional.pad(shown, (spare // 2, spare - spare // 2), value=1.0)
    return add_caption(wide, "\n".join(map(visible, lines)))


def build_contact_sheet(cells: Sequence[Tensor], across: int) -> Tensor:
    """Put pictures (3, h, w) of any sizes on white (3, H, W), ``across`` of them per row.

    Columns are equally wide; a row is as high as its highest picture.
    """
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    heights = [max(cell.shape[1] for cell in row) + GAP for row in rows]
    width = max(cell.shape[2] for cell in cells) + GAP
    sheet = torch.ones(3, sum(heights) + GAP, across * width + GAP)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left = GAP + column * width
            sheet[:, top : top + cell.shape[1], left : left + cell.shape[2]] = cell
        top += height
    return sheet


def write_contact_sheet(cells: Sequence[Tensor], across: int, target: Target) -> Target:
    """Write a sheet in one step, with a record that this program made it.

    Returns:
        The same target, for the next version of the sheet.

    Raises:
        UsageError: Another file has taken the name.
    """
    with tempfile.TemporaryDirectory(dir=target.path.parent, prefix=".pipeline-") as name:
        path = Path(name, target.path.name)
        made = json.dumps({"program": SOFTWARE, "kind": "contact sheet"})
        xmp = xmp_packet(b"", gps=False, software=SOFTWARE, record=made)
        save(build_contact_sheet(cells, across), path, PLAIN_OUTPUT, None, Labels(xmp=xmp))
        target.place(path)
    return target.renewed()
