"""Draw docs/pictures/artefacts.jpg: what older recipes leave in a picture, beside the defaults.

    python scripts/make_artefacts.py [PAIR ...]    # the sheet, or some of its rows
    python scripts/make_artefacts.py sizes         # one pair with draft, balanced and fine
    python scripts/make_artefacts.py hero          # the README's picture, with balanced

Each row is one photo and one painting, twice with the same steps: with an older method, and with
the defaults. Methods that the program does not have any more are patched in here.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pipeline import paint
from pipeline.config.transfer import PRESETS, Transfer
from pipeline.imaging.tensors import add_caption, load_image, resize
from pipeline.nst import Vgg19, colors, load_weights, pyramid, stylize
from pipeline.nst.objective import Objective
from pipeline.nst.preconditioner import Smoothing
from pipeline.render.contact_sheet import build_contact_sheet

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs/pictures/artefacts.jpg"
DRAFT: dict[str, Any] = PRESETS["draft"]
SHOWN = 300  # px, long side of each picture on the sheet
SCALES = sys.modules["pipeline.nst.stylize"]  # the package gives this name to the function


@contextmanager
def swapped(owner: object, name: str, value: object) -> Iterator[None]:
    """An attribute replaced for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def zeros_around() -> AbstractContextManager[None]:
    """The paper's padding."""
    pad = F.pad
    return swapped(F, "pad", lambda x, by, **_: pad(x, by))


def odd_edges_dropped() -> AbstractContextManager[None]:
    """Pooling that leaves out the last odd row and column, as torchvision's VGG-19 does."""
    pool = F.max_pool2d
    return swapped(F, "max_pool2d", lambda x, side, **_: pool(x, side))


def bicubic() -> AbstractContextManager[None]:
    """Scales enlarged as photos are."""
    return swapped(SCALES, "enlarge", pyramid.resize)


def plain_gradient() -> AbstractContextManager[None]:
    """L-BFGS as it comes, without a metric."""
    return swapped(Smoothing, "__call__", lambda _, image: image)


def photos_own_colors() -> AbstractContextManager[None]:
    """The content target is the photo as it is, not in the painting's colours."""
    begin = Objective.__init__  # its last argument, of seven, is the recoloured photo
    return swapped(Objective, "__init__", lambda self, *given: begin(self, *given[:6]))


def photos_own_hues() -> AbstractContextManager[None]:
    """Colours by mean and covariance alone."""
    return swapped(colors, "_nearest", lambda _: lambda image: image)


def paintings_light() -> AbstractContextManager[None]:
    """The content target is the photo with its light and dark moved to the painting's too."""
    return swapped(SCALES, "combine_luma_and_color", lambda _, recolored: recolored)


@dataclass(frozen=True)
class Pair:
    """An artefact: the older method that brings it back, and where it is seen."""

    name: str
    before: str
    after: str
    photo: str
    style: str
    options: dict[str, Any] = field(default_factory=dict)  # of the older method
    method: Callable[[], AbstractContextManager[None]] = nullcontext
    both: dict[str, Any] = field(default_factory=dict)
    corner: tuple[int, int] | None = None  # only the last rows and columns, enlarged


PAIRS = (
    Pair("borders", "zeros around the picture", "edges repeated", "coffee", "ink_hatching",
         method=zeros_around, corner=(100, 150),),
    Pair("odd", "odd rows and columns dropped", "kept", "coffee", "brush_strokes",
         method=odd_edges_dropped, both={"size": 255}, corner=(96, 144)),
    Pair("mud", "noise, Gram, one scale, 74 steps", "defaults, 74 steps", "astronaut",
         "stained_glass",
         {"init": "noise", "statistic": "gram", "scales": (256,), "steps": (74,), "depths": (5,)}),
    Pair("specks", "Adam, no total variation", "defaults", "astronaut", "oil_impasto",
         {"optimizer": "adam", "learning_rate": 0.1, "tv_weight": 0.0}),
    Pair("fight", "content: the photo's features", "in the painting's style", "astronaut",
         "mosaic", {"content_target": "photo", "content_weight": 1.5}),
    Pair("patches", "the gradient as it is", "large forms first", "astronaut", "brush_strokes",
         {"content_weight": 2.0}, method=plain_gradient),
    Pair("colours", "content in the photo's colours", "in the painting's", "astronaut",
         "ink_hatching", method=photos_own_colors),
    Pair("hues", "colours by mean and covariance", "hues of the painting's", "coffee",
         "brush_strokes", method=photos_own_hues),
    Pair("light", "the painting's light and dark", "the photo's", "astronaut", "brush_strokes",
         method=paintings_light),
    Pair("focus", "kept everywhere alike", "where the photo has detail", "astronaut",
         "stained_glass", {"content_focus": "even"}),
    Pair("grid", "bicubic between scales", "by cosine series", "astronaut", "oil_impasto",
         method=bicubic, corner=(80, 80)),
)  # fmt: skip


def cells(pair: Pair, network: Vgg19) -> list[Tensor]:
    """Both pictures of a row, with their captions."""
    photo = load_image(ROOT / f"inbox/{pair.photo}.jpg").rgb
    style = load_image(ROOT / f"pipeline/styles/{pair.style}.jpg").rgb
    plain = DRAFT | pair.both
    with pair.method():
        old = stylize(photo, style, Transfer.model_validate(plain | pair.options), network=network)
    new = painted(pair.photo, pair.style, preset="draft", **pair.both)
    captions = (f"before: {pair.before}", f"now: {pair.after}")
    return [
        add_caption(_shown(picture, pair.corner), text)
        for picture, text in zip((old, new), captions, strict=True)
    ]


def painted(photo: str, style: str, **options: Any) -> Tensor:
    """A sample photo in a starter style as the program paints it, (3, H, W)."""
    picture = paint(ROOT / f"inbox/{photo}.jpg", f"builtin:{style}", **options)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def _shown(picture: Tensor, corner: tuple[int, int] | None, side: int = SHOWN) -> Tensor:
    if corner:
        picture = picture[:, -corner[0] :, -corner[1] :]
    factor = side / max(picture.shape[1:])
    return resize(picture, (round(picture.shape[1] * factor), round(picture.shape[2] * factor)))


def sizes() -> Tensor:
    """The same pair with three presets, and below each what its pixels hold of the head."""
    shown, heads = [], []
    for preset in ("draft", "balanced", "fine"):
        picture, size = painted("astronaut", "mosaic", preset=preset), PRESETS[preset]["size"]
        shown.append(add_caption(_shown(picture, None), f"{preset}, {size} px"))
        top, left, side = (round(share * size) for share in (0.02, 0.24, 0.36))
        head = picture[:, top : top + side, left : left + side]
        heads.append(add_caption(_shown(head, None), "detail"))
    return build_contact_sheet([*shown, *heads], len(shown))


def hero() -> Tensor:
    """Both sample photos, and each in two of the starter styles; the first row has their names."""
    rows = []
    for name in ("astronaut", "coffee"):
        photo = load_image(ROOT / f"inbox/{name}.jpg").rgb
        row, names = [photo], ["photo"]
        for style in ("mosaic", "brush_strokes"):
            row.append(painted(name, style))
            names.append(f"in the style {style}")
        cells = [_shown(picture, None, 400) for picture in row]
        if not rows:
            cells = [add_caption(cell, name) for cell, name in zip(cells, names, strict=True)]
        rows.append(build_contact_sheet(cells, len(row)))
    return torch.cat(rows, 1)


def save(sheet: Tensor, out: Path) -> None:
    """As JPEG: a page of documentation is no place for megabytes."""
    pixels = (sheet * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(out, quality=88)
    print(out.relative_to(ROOT))


def main(names: list[str]) -> None:
    """Write the sheet; of some pairs only where they are named."""
    if names in (["sizes"], ["hero"]):
        save(sizes() if names == ["sizes"] else hero(), OUT.with_name(f"{names[0]}.jpg"))
        return
    network = Vgg19(load_weights())
    chosen = [pair for pair in PAIRS if not names or pair.name in names]
    save(torch.cat([build_contact_sheet(cells(pair, network), 2) for pair in chosen], 1), OUT)


if __name__ == "__main__":
    main(sys.argv[1:])
