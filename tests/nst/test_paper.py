"""`preset: paper`: the method as published, and the way from there to the default."""

import importlib
import sys

import pytest
from support import ROOT
from torch import Tensor

from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.enhance import StyleDistance
from pipeline.nst import Iterate, Vgg19, stylize
from pipeline.nst.pyramid import options_by_scale, scale_sides

sys.path.insert(0, str(ROOT / "scripts"))
from_the_paper = importlib.import_module("make_from_the_paper")


def test_its_options_are_those_of_the_paper() -> None:
    found = resolve_transfer("paper").model_dump(exclude_none=True)
    wanted = {
        "size": 384,
        "scales": (384,),
        "steps": (150,),
        "depths": (5,),
        "content_depths": (5,),
        "strength": 0.5,
        "stroke": 0.5,
        "content_weight": 0.3,
        "style_weight": 1.0,
        "tv_weight": 0.0,
        "content_layers": {"relu4_2": 1.0},
        "content_target": "photo",
        "content_focus": "even",
        "style_layers": {
            "relu1_1": 1.0,
            "relu2_1": 1.0,
            "relu3_1": 1.0,
            "relu4_1": 1.0,
            "relu5_1": 1.0,
        },
        "statistic": "gram",
        "init": "noise",
        "optimizer": "adam",
        "learning_rate": 0.1,
        "style_loss": "whole",
        "attention_by": "vgg",
        "protect": "all",
        "protect_strength": 1.0,
        "style_scale": 1.0,
        "colors": "style",
        "color_strength": 1.0,
        "pooling": "average",
    }
    assert found == wanted


@pytest.mark.parametrize("size", [64, 256, 384])
def test_it_has_one_scale_with_all_layers_at_any_smaller_size(size: int) -> None:
    options = resolve_transfer("paper", Transfer(size=size))
    assert scale_sides(options, size) == [size]
    (there,) = options_by_scale(options, 1)
    assert there == options


@pytest.mark.slow
def test_its_loss_falls_and_its_picture_is_of_the_style(
    weights: dict[str, Tensor], photo: Tensor, painting: Tensor
) -> None:
    network, totals = Vgg19(weights, "average"), list[float]()

    def observe(iterate: Iterate) -> None:
        totals.append(iterate.losses()["total"])

    options = resolve_transfer("paper", Transfer(size=64, steps=(40,)))
    picture = stylize(photo, painting, options, observe, network=network)
    assert totals[-1] < 0.4 * totals[0]
    assert totals[-1] == min(totals)
    assert StyleDistance(network, photo, [painting], [1.0])(picture) < 0.4


def test_the_steps_of_the_page_lead_from_the_paper_to_the_default() -> None:
    (first, paper), *_, (_, last) = from_the_paper.steps()
    assert first == "0 the paper"
    assert paper == resolve_transfer("paper")
    default = resolve_transfer("balanced")
    size = {"size": default.size}
    assert last.model_copy(update=size) == default
