"""On an accelerator: the same pictures as on the CPU, by the same code."""

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19, stylize
from pipeline.nst.guidance.regions import StyleTarget
from pipeline.nst.objective import STATISTICS, Objective, measure_style

accelerator = torch.accelerator.current_accelerator(check_available=True)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(accelerator is None, reason="there is no accelerator here"),
]


@pytest.mark.parametrize("statistic", sorted(STATISTICS))
def test_the_objective_and_its_gradient_agree_with_the_cpus(
    statistic: str, photo: Tensor, painting: Tensor, weights: dict[str, Tensor]
) -> None:
    options = Transfer(size=64, statistic=statistic)
    found = []
    for device in ("cpu", accelerator):
        network = Vgg19(weights).to(device)
        image, paint = photo[None].to(device), painting[None].to(device)
        target = measure_style(network, [paint], [1.0], 64 * 64, options)
        found.append(Objective(network, image, [StyleTarget(target)], options)(image.flip(3)))
    torch.testing.assert_close(found[0].loss, found[1].loss.cpu(), rtol=1e-3, atol=1e-5)
    here, there = found[0].gradient.flatten(), found[1].gradient.cpu().flatten()
    assert torch.nn.functional.cosine_similarity(here, there, 0) > 0.999


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_picture_comes_back_whole_and_in_range(
    optimizer: str, photo: Tensor, painting: Tensor
) -> None:
    options = Transfer(size=64, steps=(10,), optimizer=optimizer)
    picture = stylize(photo, painting, options, device="auto")
    assert picture.device.type == "cpu"
    assert picture.isfinite().all()
    assert picture.min() >= 0
    assert picture.max() <= 1
