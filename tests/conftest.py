"""Shared parts: the real network, a photo-like and a painting-like picture, all small."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from support import TESTS
from support.kept_decoders import end_kept_decoders
from support.studio import Studio
from torch import Tensor

from pipeline.nst import Vgg19, load_weights

# A busy machine breaks no promise of ours; and CI judges a change, not the luck of the draw:
# new examples are found at home.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
_numbers = count()
settings.load_profile("ci" if os.environ.get("CI") else "home")

# Where the tests run in the background of a shell without job control, Ctrl-C is ignored, and so it
# would be in every program that they start: those that are to end by it would not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # `nohup make test`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The files that take longest begin first: begun last, one of them would keep one core busy while
# the others have nothing left to do. Those marked so mostly wait: one at a time, so that the other
# processes keep both cores busy meanwhile.
LONGEST = [
    "project/test_shown_commands.py",
    "reliability/test_soak.py",  # waits
    "end_to_end/test_main_job.py",
    "nst/test_stylize.py",
    "gallery/page/test_accessibility.py",  # waits for the browser
    "nst/test_known_artefacts.py",
    "workers/test_ray_cluster.py",  # waits
    "nst/look/test_strength.py",
    "jobs/test_provenance.py",
    "reliability/test_crash_points.py",
    "reliability/test_swapped_files.py",  # waits for the disk
    "render/test_guidance.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first; within a file the order stays."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_sessionfinish() -> None:
    end_kept_decoders()


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensor]:
    """The real embedded weights."""
    return load_weights("embedded")


@pytest.fixture(scope="session")
def network(weights: dict[str, Tensor]) -> Vgg19:
    """The real network."""
    return Vgg19(weights)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On pictures this small threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photo() -> Tensor:
    """(3, 64, 64): a bright disc over a dark gradient, as plain as a photo can be."""
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij"
    )
    disc = ((rows**2 + columns**2) < 0.4).float()
    return torch.stack([0.2 + 0.6 * disc, 0.3 + 0.1 * rows + 0.3 * disc, 0.5 - 0.2 * disc])


@pytest.fixture(scope="session")
def painting() -> Tensor:
    """(3, 96, 96): diagonal strokes in three colours."""
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    stroke = torch.sin((rows + columns) / 4)
    return torch.stack([0.5 + 0.4 * stroke, 0.5 + 0.3 * stroke.roll(5), 0.3 - 0.25 * stroke])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees rates that another one, or the user's own studios, have measured."""
    folder = tmp_path_factory.getbasetemp() / f"cache-{next(_numbers)}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture
def make_studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Opens services over the test's folder, and closes them at its end."""
    with ExitStack() as opened:
        yield lambda *args, **more: opened.enter_context(closing(Studio(tmp_path, *args, **more)))


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    return make_studio()
