"""Draw the pictures of docs/enhancement.md.

`python scripts/show_enhancement.py steps PAINTED.png PHOTO.jpg LEFT,TOP,SIDE OUT_PREFIX` writes
OUT_PREFIX-steps.jpg, each step alone on the square that was named, and OUT_PREFIX-presets.jpg, the
whole. `... upscale PAINTED.png ENHANCED.png LEFT,TOP,SIDE OUT.jpg` writes the square of an enhanced
picture that was enlarged by transfer beside what Lanczos makes of the painted one.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from pipeline.config.enhancement import ORDER, PRESETS, Enhance
from pipeline.enhance import enhance
from pipeline.imaging.tensors import add_caption, load_image, save_small
from pipeline.render.contact_sheet import build_contact_sheet

# Stronger than in any preset, so that a small picture shows what each step does.
STRENGTH, WEAKER = 1.0, {"contrast": 0.8, "grain": 0.5, "canvas": 0.5}
ZOOM = 2


def steps(painted: str, photo_path: str, square: str, prefix: str) -> None:
    picture, photo = load_image(Path(painted)).rgb, load_image(Path(photo_path)).rgb

    def cut(rgb: Tensor, caption: str) -> Tensor:
        wide = _part(rgb, square).repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2)
        return add_caption(wide, caption)

    cells = [cut(picture, "stylized")]
    for name in ORDER:
        strength = WEAKER.get(name, STRENGTH)
        options = Enhance.model_validate({"preset": "none", name: strength})
        cells.append(cut(enhance(picture, options, photo).picture, f"{name} {strength:g}"))
    _save(build_contact_sheet(cells, 4), f"{prefix}-steps.jpg")
    whole = [add_caption(picture, "stylized")]
    for preset in PRESETS:
        if preset != "none":
            whole.append(add_caption(enhance(picture, Enhance(preset=preset)).picture, preset))
    _save(build_contact_sheet(whole, 2), f"{prefix}-presets.jpg")


def upscale(painted: str, enhanced: str, square: str, out: str) -> None:
    small, large = load_image(Path(painted)).rgb, load_image(Path(enhanced)).rgb
    times = large.shape[1] // small.shape[1]
    options = Enhance.model_validate({"upscale": times, "upscale_by": "lanczos"})
    pictures = {"lanczos": enhance(small, options).picture, "transfer": large}
    cells = [add_caption(_part(rgb, square), f"{by}, {times} x") for by, rgb in pictures.items()]
    _save(build_contact_sheet(cells, 2), out)


def _part(rgb: Tensor, square: str) -> Tensor:
    left, top, side = map(int, square.split(","))
    return rgb[:, top : top + side, left : left + side]


def _save(sheet: Tensor, path: str) -> None:
    with torch.no_grad():
        save_small(sheet, Path(path), max(sheet.shape[1:]))


if __name__ == "__main__":
    {"steps": steps, "upscale": upscale}[sys.argv[1]](*sys.argv[2:])
