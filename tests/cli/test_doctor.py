"""`doctor` in words: devices that are not there, several under one name, a cluster or none."""

import builtins

import pytest

from pipeline.cli import doctor
from pipeline.config.loading import load_config
from pipeline.config.sections import Cluster
from pipeline.errors import ConfigError, MissingExtraError
from pipeline.nst import devices
from pipeline.workers.ray_cluster.connection import describe_cluster, describe_nodes


@pytest.fixture
def engine(tmp_path):
    """Findings of `doctor` on where jobs run, for lines of a config."""

    def findings(lines):
        path = tmp_path / "config.yaml"
        path.write_text('styles: {a: {image: "builtin:mosaic"}}\n' + lines)
        return doctor.check_engine(load_config(path))

    return findings


def test_a_listed_device_that_is_not_there_is_named_beside_those_that_are(engine):
    cpu, gone = engine("device: [cpu, 'cuda:97', cpu]\n")
    assert (cpu["name"], cpu["good"]) == ("device cpu", True)
    assert (gone["name"], gone["good"]) == ("device cuda:97", False)
    assert "cuda:97" in gone["says"]


def test_auto_names_and_tries_every_device_that_it_stands_for(engine, monkeypatch):
    two = (("cpu", 3 << 30), ("cpu:0", 0))
    monkeypatch.setattr(devices, "find_devices", lambda _name: two)
    (found,) = engine("")
    assert found["good"]
    assert found["says"].startswith("2 devices, each a worker: cpu")
    assert "3.0 GiB free; cpu:0" in found["says"]


def test_a_cluster_without_the_extra_is_told_with_the_line_that_installs_it(engine, monkeypatch):
    real = builtins.__import__

    def without_ray(name, *rest):
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    (found,) = engine("engine: ray\n")
    assert (found["name"], found["good"]) == ("cluster", False)
    assert 'pip install -e ".[ray]"' in found["says"]
    with pytest.raises(MissingExtraError):
        describe_cluster(Cluster())


def test_a_cluster_says_its_nodes_and_what_they_have_together():
    nodes = [{"Resources": {"CPU": 8.0, "GPU": 2.0}}, {"Resources": {"CPU": 4.0}}]
    assert describe_nodes(nodes) == "2 nodes, 12 CPUs, 2 GPUs"
    assert describe_nodes(nodes[1:]) == "1 node, 4 CPUs, 0 GPUs"


@pytest.mark.slow
def test_a_cluster_that_strangers_can_reach_is_told_by_doctor_too(engine, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    (found,) = engine('engine: ray\nray: {address: "192.0.2.1:6379"}\n')
    assert not found["good"]
    assert "without a token" in found["says"]
    with pytest.raises(ConfigError, match="without a token"):
        describe_cluster(Cluster(address="192.0.2.1:6379"))
