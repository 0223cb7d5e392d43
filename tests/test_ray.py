"""A real cluster of two nodes on this machine: shipped once, published once, a node killed."""

import os
import secrets
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
from fake_work import photo
from stock import make_job, pictures, read_log

from pipeline.cluster import Cluster
from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.jobs import JobState
from pipeline.ledger import Ledger
from pipeline.manifest import load_manifest
from pipeline.outbox import Outbox
from pipeline.ray_connect import check_dashboard, check_private, check_reachable
from pipeline.ray_engine import open_cluster, places
from pipeline.ray_node import localised, needed
from pipeline.service import Service
from pipeline.view import View
from pipeline.workshop import Place

pytestmark = [
    pytest.mark.ray,
    # Ray's own files and sockets, closed by its interpreter's end.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}, waves: {image: "builtin:woodcut_waves"}}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
engine: ray
"""


# --- refusals: no cluster is needed ---------------------------------------------------------


def test_an_address_where_nobody_listens_is_told_at_once():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"ray\.address.*does not answer"):
        check_reachable(Cluster(address=f"127.0.0.1:{port}"))
    assert time.monotonic() - began < 10


def test_an_address_that_is_no_ray_is_told_within_the_time_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match="no Ray answers within 2 s"):
            check_reachable(Cluster(address=address, connect_seconds=2.0))


def test_a_cluster_beyond_this_machine_is_refused_without_token(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ConfigError, match=r"without token.*RAY_AUTH_MODE"):
        check_reachable(Cluster(address="ray://192.0.2.1:10001"))
    node = {"NodeManagerAddress": "192.0.2.1"}
    with pytest.raises(ConfigError, match="beyond localhost"):
        check_private([node], token=False)
    with pytest.raises(ConfigError, match="dashboard"):
        check_dashboard("0.0.0.0:8265", token=False)
    check_private([node], token=True)
    check_dashboard("127.0.0.1:8265", token=False)


def test_workers_fill_a_node_by_what_each_declares():
    assert places({"CPU": 8}, None, 0) == (8, 1)
    assert places({"CPU": 8}, 2.0, 0) == (2, 4)
    assert places({"CPU": 8, "GPU": 2}, None, 1.0) == (1, 2)
    assert places({"CPU": 8, "GPU": 2}, None, 0.5) == (1, 4)
    assert places({"CPU": 8}, None, 1.0) == (1, 0)
    assert places({}, None, 0) == (0, 0)


def test_a_job_is_the_same_job_on_a_node(tmp_path):
    job = make_job()
    there = localised(job, lambda sha: tmp_path / sha)
    assert there.path == tmp_path / job.sha256
    assert (there.id, there.recipe.digest) == (job.id, job.recipe.digest)
    assert needed(job) == {job.sha256: job.path}


# --- two nodes ------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("PAINT_SECONDS", "0.3")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Its nodes have this machine's own address: without a token we would refuse it.
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    from ray._private.authentication.authentication_token_setup import _enable_token_auth
    from ray.cluster_utils import Cluster as Nodes

    _enable_token_auth()  # Ray has read its environment already
    small = {"object_store_memory": 80 << 20, "num_cpus": 1}
    nodes = Nodes(initialize_head=True, head_node_args=small | {"include_dashboard": False})
    nodes.second = nodes.add_node(**small)
    yield nodes
    import ray

    ray.shutdown()
    nodes.shutdown()


def test_a_node_killed_in_mid_run_costs_no_pair_and_doubles_none(cluster, tmp_path):
    from fake_work import paint

    config_file = tmp_path / "config.yaml"
    config_file.write_text(CONFIG + f'ray: {{address: "{cluster.address}", connect_seconds: 60}}\n')
    config = load_config(config_file)
    names = [f"{number}.png" for number in range(12)]
    for number, name in enumerate(names):
        photo(tmp_path / "inbox" / name, seed=number)
    executor = open_cluster(config, Place(do=paint))
    try:
        with Ledger(tmp_path / ".state" / "jobs.sqlite3") as ledger:
            service = Service(config, load_manifest(config, config_file), ledger, executor, View())
            service.start()
            killed, until = False, time.monotonic() + 120
            while not service.idle or not killed:
                service.wake()
                service.tick(time.monotonic(), time.time(), 0.1)
                assert time.monotonic() < until, [p.state for p in ledger.pairs()]
                hosts = {node for node, _ in executor.shipped}
                if not killed and len(hosts) == 2:  # both have given results
                    cluster.remove_node(cluster.second, allow_graceful=False)
                    killed = True
            service.finish()
            service.close()
            pairs = ledger.pairs()
        assert Counter(pair.state for pair in pairs) == {JobState.DONE: 24}
        lines = read_log(Outbox(config.outbox))
        assert len({(line["content"], line["style"]) for line in lines}) == len(lines) == 24
        assert {line["status"] for line in lines} == {"done"}
        assert len(pictures(Outbox(config.outbox))) == 48
        # Photos and paintings: once for each node that needed them.
        assert set(executor.shipped.values()) == {1}
        assert not (config.outbox / ".staging").exists()
    finally:
        executor.close(force=True)
