"""Where VGG-19 comes from, and that nothing wrong or unsafe is ever taken for it."""

import os
import socket
import threading
import urllib.request
import urllib.response
from email.message import Message
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.errors import WeightsError
from pipeline.nst import Vgg19, load_weights
from pipeline.nst import weights as module

Weights = dict[str, Tensor]


# --- embedded -------------------------------------------------------------------------------


def test_the_embedded_weights_are_all_of_vgg_19s_convolutions(weights):
    assert sum(tensor.numel() for tensor in weights.values()) == 20_024_384
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_embedded_weights_of_another_digest_are_refused(tmp_path, monkeypatch):
    real = module._embedded_path().read_bytes()
    damaged = tmp_path / module.EMBEDDED_FILE
    damaged.write_bytes(real[:1000] + bytes([real[1000] ^ 1]) + real[1001:])
    monkeypatch.setattr(module, "_embedded_path", lambda: damaged)
    with pytest.raises(WeightsError, match="wrong SHA-256") as error:
        load_weights()
    assert "pip install" in error.value.hint


def test_embedded_weights_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(module, "EMBEDDED_FILE", "gone.bin")
    with pytest.raises(WeightsError, match="not installed") as error:
        load_weights()
    assert "gone.bin" in error.value.where
    assert "pip install" in error.value.hint


# --- a file ---------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path, weights) -> Path:
    """What people have: torchvision's state dictionary, classifier and all."""
    path = tmp_path / "vgg19.pth"
    torch.save(weights | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    return path


def test_a_file_of_weights_is_taken_and_equals_what_was_saved(saved, weights):
    loaded = load_weights(str(saved))
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours, theirs = (Vgg19(w)(image, ["relu5_1"])["relu5_1"] for w in (loaded, weights))
    assert torch.equal(ours, theirs)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no such file") as error:
        load_weights(str(tmp_path / "none.pth"))
    assert error.value.where.endswith("none.pth")


class Trap:
    """A pickle that runs code when it is loaded without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, weights):
    torch.save(weights | {"trap": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match="cannot be loaded safely"):
        load_weights(str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "trap.pth", weights_only=False)
    assert (tmp_path / "sprung").exists()  # the trap was a real one


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut off"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_weights(str(tmp_path / "x.pth"))
    assert error.value.where.endswith("x.pth")
    assert "\n" not in str(error.value)


WRONG = {
    "a list": lambda _: [1, 2],
    "a layer is missing": lambda w: {k: v for k, v in w.items() if k != "features.28.bias"},
    "a layer has another shape": lambda w: w | {"features.0.weight": torch.zeros(64, 1, 3, 3)},
    "a number is NaN": lambda w: w | {"features.0.bias": torch.full((64,), torch.nan)},
}


@pytest.mark.parametrize("what", WRONG)
def test_weights_of_another_network_are_refused(tmp_path, weights, what):
    torch.save(WRONG[what](weights), tmp_path / "x.pth")
    with pytest.raises(WeightsError):
        load_weights(str(tmp_path / "x.pth"))


# --- torchvision ----------------------------------------------------------------------------


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No way out: every download ends at a proxy that hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        asked = threading.Event()

        def hang_up() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    asked.set()
                    connection.close()
            except OSError:
                return  # closed: the test is over

        thread = threading.Thread(target=hang_up)
        thread.start()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        # urllib keeps the proxies that it met first.
        monkeypatch.setattr(urllib.request, "_opener", None)
        yield asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_torchvisions_weights_offline_say_so_and_what_works_instead(offline, tmp_path):
    with pytest.raises(WeightsError, match="download failed") as error:
        load_weights("torchvision")
    assert offline.is_set()
    assert "embedded" in error.value.hint
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.pth"))  # nothing half downloaded is left


class Elsewhere(urllib.request.BaseHandler):
    """Answers every https request with one file, as a wrong mirror would."""

    handler_order = 0  # before urllib's own

    def __init__(self, file: Path) -> None:
        self.file = file

    def https_open(self, request):
        response = urllib.response.addinfourl(self.file.open("rb"), Message(), "", 200)
        response.msg = "OK"
        return response


def test_a_torchvision_download_of_another_digest_is_refused(tmp_path, monkeypatch):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other")
    opener = urllib.request.build_opener(Elsewhere(tmp_path / "other"))
    monkeypatch.setattr(urllib.request, "_opener", opener)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsError, match="invalid hash value"):
        load_weights("torchvision")
    assert not list(tmp_path.rglob("*.pth"))
