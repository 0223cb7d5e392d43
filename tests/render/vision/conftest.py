"""Pictures with faces whose places are known, and the detector with its real weights."""

import numpy as np
import pytest
import torch
from skimage import data
from support import ROOT
from torch import Tensor

from pipeline.imaging.tensors import load_image
from pipeline.render.vision import FaceDetector


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="session")
def astronaut() -> Tensor:
    """Eileen Collins, (3, 512, 512)."""
    return to_tensor(data.astronaut())


@pytest.fixture(scope="session")
def coffee() -> Tensor:
    """The sample photo without a face."""
    return load_image(ROOT / "inbox" / "coffee.jpg").rgb


def to_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
