"""An enlarged picture holds more: brushwork, what a model makes of it, or a plain enlargement."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from support.extremes import newly_extreme
from torch import Tensor

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import Transfer
from pipeline.enhance import enhance, repaint_options
from pipeline.enhance import learned_upscaler as learned_module
from pipeline.enhance.learned_upscaler import upscale_with_model
from pipeline.enhance.upscale import enlarge, lanczos
from pipeline.errors import EngineError
from pipeline.imaging.tensors import load_image, save_png
from pipeline.jobs.recipe import digest
from pipeline.nst import Vgg19, stylize
from pipeline.render.single import Order, stylize_file

pytestmark = pytest.mark.slow


def waves(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, H, W): smooth, and nowhere near black or white."""
    small = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    wide = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")
    return (0.25 + 0.5 * wide[0]).clamp(0.1, 0.9)


# ---- Lanczos -------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 99),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_lanczos_is_pillows(seed: int, old: tuple[int, int], new: tuple[int, int]) -> None:
    plane = torch.rand(1, *old, generator=torch.Generator().manual_seed(seed))
    theirs = Image.fromarray(plane[0].numpy()).resize(new[::-1], Image.Resampling.LANCZOS)
    assert np.allclose(lanczos(plane, new)[0].numpy(), np.asarray(theirs), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 20), st.sampled_from([2, 4]))
def test_an_enlargement_makes_nothing_black_or_white(
    seed: int, height: int, width: int, times: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.randint(0, 3, (3, height, width), generator=generator) * 0.49 + 0.01
    out, (said,) = enhance(rgb, Enhance(preset="none", upscale=times, upscale_by="lanczos"))
    assert out.shape == (3, times * height, times * width)
    assert not newly_extreme(out, torch.full_like(out, 0.5)).any()
    assert said["step"] == "upscale"


def test_a_picture_is_enlarged_before_its_surface_is_made() -> None:
    chain = Enhance(preset="print", upscale=2, upscale_by="lanczos")
    steps = [str(said["step"]) for said in enhance(waves(20, 30), chain).steps]
    assert steps.index("vibrance") < steps.index("upscale") < steps.index("sharpen")


# ---- By transfer ---------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "times"), [(48, 2), (24, 4)])
def test_upscaling_by_transfer_paints_at_the_new_size(
    side: int, times: int, network: Vgg19, photo: Tensor, painting: Tensor
) -> None:
    """Ever nearer to the painting's brushwork from Lanczos on, and the same picture otherwise."""
    style: list[float] = []
    picture = stylize(photo, painting, Transfer(size=side, steps=(4,)), network=network)

    def repaint(wide: Tensor) -> Tensor:
        options = repaint_options(Transfer(size=side), 96)
        return stylize(
            photo,
            painting,
            options,
            lambda iterate: style.append(iterate.losses()["style"]),
            init_image=wide,
            network=network,
        )

    options = Enhance.model_validate({"preset": "none", "upscale": times})
    out, (said,) = enhance(picture, options, repaint=repaint)
    plain = enlarge(picture, times)
    assert out.shape == (3, 96, 96)
    assert said["by"] == "transfer"
    assert style[-1] < 0.8 * style[0]
    assert (out - plain).abs().mean() > 0.01
    assert said["detail"] > 1.1
    assert said["mean_shift"] <= 0.004
    small = torch.nn.functional.avg_pool2d(out, 8), torch.nn.functional.avg_pool2d(plain, 8)
    assert torch.corrcoef(torch.stack([s.flatten() for s in small]))[0, 1] > 0.7


def test_repainting_is_short_shallow_and_in_blocks() -> None:
    options = repaint_options(Transfer(content_weight=0.7, block=128, steps=(500,)), 4096)
    assert (options.size, options.scales, options.content_focus) == (4096, (4096,), "even")
    assert options.content_weight == pytest.approx(0.7 * 8 / 3)
    assert sum(options.steps) <= 10
    assert options.depths == options.content_depths == (3,)
    assert options.block == 128
    assert repaint_options(Transfer(), 4096).block == 1024


def test_without_a_style_there_is_nothing_to_repaint_with() -> None:
    with pytest.raises(EngineError, match="lanczos"):
        enhance(waves(10, 10), Enhance(preset="none", upscale=2))


def test_a_job_writes_an_enhanced_picture_of_twice_the_size(tmp_path: Path) -> None:
    """Through the worker; the photo's transparency is given back at the new size."""
    rows = np.zeros((40, 60, 4), np.uint8)
    rows[..., :3] = (waves(40, 60).permute(1, 2, 0) * 255).byte().numpy()
    rows[:, 10:, 3] = 255
    Image.fromarray(rows).save(tmp_path / "p.png")
    save_png(waves(64, 64, 1), tmp_path / "s.png")
    order = Order(
        content=tmp_path / "p.png",
        styles=((tmp_path / "s.png", 1.0),),
        transfer=Transfer(size=48, steps=(2,)),
        enhance=Enhance(upscale=2),
        weights="embedded",
        seed=0,
        device="cpu",
    )
    result = stylize_file(order, tmp_path / "o.png", lambda *_: None)
    assert [(o.width, o.height) for o in result.outputs] == [(48, 32), (96, 64)]
    assert [said["step"] for said in result.enhanced].count("upscale") == 1
    assert len(result.curve) == result.curve[-1][0]  # the job's own steps only
    finished = load_image(tmp_path / "o.enhanced.png")
    assert finished.alpha is not None
    assert finished.alpha.shape == (1, 64, 96)
    assert digest(tmp_path / "p.png") == result.job.sha256


# ---- By a learned model --------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of a kind that spandrel knows, doubling, with random weights."""
    pytest.importorskip("spandrel")
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.PReLU(8)]
    layers += [torch.nn.Conv2d(8, 8, 3), torch.nn.PReLU(8), torch.nn.Conv2d(8, 3 * 2 * 2, 3)]
    generator = torch.Generator().manual_seed(0)
    shapes = torch.nn.ModuleDict({"body": torch.nn.Sequential(*layers)}).state_dict()
    state = {k: 0.1 * torch.randn(t.shape, generator=generator) for k, t in shapes.items()}
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_file(state, path)
    torch.save({"params_ema": state}, path.with_suffix(".pth"))
    return path


def test_tiles_make_what_the_model_makes_of_the_whole(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = waves(70, 90)
    whole = upscale_with_model(picture, model)
    monkeypatch.setattr(learned_module, "TILE", 32)
    assert whole.shape == (3, 140, 180)
    assert torch.allclose(upscale_with_model(picture, model), whole, atol=1e-5)


def test_both_kinds_of_file_hold_the_same_model(model: Path) -> None:
    picture = waves(20, 20)
    assert torch.equal(
        upscale_with_model(picture, model), upscale_with_model(picture, model.with_suffix(".pth"))
    )


@pytest.mark.parametrize("times", [2, 4])
def test_a_model_of_another_scale_is_brought_to_the_size_asked_for(model: Path, times: int) -> None:
    options = Enhance(preset="none", upscale=times, upscale_by="model", upscale_model=model)
    out, (said,) = enhance(waves(20, 30), options)
    assert out.shape == (3, times * 20, times * 30)
    assert said["clipped"] == 0
    assert said["mean_shift"] <= 0.004


class Trap:
    """Pickled, it runs a command when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code from a model ran')",)


@pytest.mark.parametrize("name", ["missing.pth", "text.safetensors", "trap.pth", "other.pth"])
def test_a_file_that_is_no_model_is_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    pytest.importorskip("spandrel")
    path = tmp_path / name
    if name == "text.safetensors":
        path.write_text("no tensors")
    elif name == "trap.pth":
        torch.save({"weights": Trap()}, path)
    elif name == "other.pth":
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(EngineError) as caught:
        upscale_with_model(waves(8, 8), path)
    assert str(path) in str(caught.value)


def test_without_the_extra_the_error_names_the_command_that_installs_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    learned_module._model.cache_clear()
    with pytest.raises(EngineError, match=r'pip install -e "\.\[upscale\]"'):
        upscale_with_model(waves(8, 8), model)
