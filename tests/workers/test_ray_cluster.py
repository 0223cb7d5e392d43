"""A real cluster of two nodes on this machine: shipped once, published once, a node killed."""

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import torch
from support import ROOT, TESTS
from support.fake_work import photo
from support.stock import make_job, make_recipe, pictures, read_log

from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest
from pipeline.config.sections import Cluster
from pipeline.daemon.service import Service
from pipeline.errors import ClusterLostError, ConfigError, Reason
from pipeline.jobs.checkpoints import Checkpoints
from pipeline.jobs.job import Job, JobResult, JobState
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.view import View
from pipeline.outbox.publisher import Outbox
from pipeline.workers.messages import AHEAD, WorkerSettings
from pipeline.workers.ray_cluster.cluster_process import ClusterProcess
from pipeline.workers.ray_cluster.connection import (
    check_dashboard,
    check_private,
    check_reachable,
    is_connection_lost,
)
from pipeline.workers.ray_cluster.executor import open_cluster
from pipeline.workers.ray_cluster.node_folder import NodeFolder
from pipeline.workers.ray_cluster.node_worker import files_by_sha256, with_local_paths
from pipeline.workers.ray_cluster.remote_worker import worker_capacity

pytestmark = [
    pytest.mark.slow,
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
THREE_SCALES = """
transfer: {size: 64, scales: [32, 48, 64], steps: [2, 2, 2]}
match: [{inbox: "**", styles: [mosaic]}]
"""
# How soon a dead node is told from a silent one.
QUICK = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500}
NODE = {"object_store_memory": 80 << 20, "num_cpus": 1}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def await_port(port: int) -> None:
    """A process that was started listens there when its libraries are loaded."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port)).close()
        time.sleep(0.1)  # another process's time
    raise TimeoutError(port)


# --- refusals: no cluster is needed ---------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_reported_at_once(scheme):
    port = free_port()
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"ray\.address.*does not answer"):
        check_reachable(Cluster(address=f"{scheme}127.0.0.1:{port}"))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_is_no_ray_is_reported_within_the_time_allowed(scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match="Ray does not answer within 2 s"):
            check_reachable(Cluster(address=address, connect_seconds=2.0))


def test_a_cluster_beyond_this_machine_is_refused_without_token(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ConfigError, match=r"without a token.*RAY_AUTH_MODE"):
        check_reachable(Cluster(address="ray://192.0.2.1:10001"))
    node = {"NodeManagerAddress": "192.0.2.1"}
    with pytest.raises(ConfigError, match="beyond localhost"):
        check_private([node], token=False)
    with pytest.raises(ConfigError, match="dashboard"):
        check_dashboard("0.0.0.0:8265", token=False)
    check_private([node], token=True)
    check_dashboard("127.0.0.1:8265", token=False)


def test_workers_fill_a_node_by_what_each_declares():
    assert worker_capacity({"CPU": 8}, None, 0) == (8, 1)
    assert worker_capacity({"CPU": 8}, 2.0, 0) == (2, 4)
    assert worker_capacity({"CPU": 8, "GPU": 2}, None, 1.0) == (1, 2)
    assert worker_capacity({"CPU": 8, "GPU": 2}, None, 0.5) == (1, 4)
    assert worker_capacity({"CPU": 8}, None, 1.0) == (1, 0)
    assert worker_capacity({}, None, 0) == (0, 0)


def test_a_job_is_the_same_job_on_a_node(tmp_path):
    job = make_job()
    there = with_local_paths(job, lambda sha: tmp_path / sha)
    assert there.path == tmp_path / job.sha256
    assert (there.id, there.recipe.digest) == (job.id, job.recipe.digest)
    assert files_by_sha256(job) == {job.sha256: job.path}


def test_how_far_a_job_came_goes_to_another_machine_unless_it_is_too_large(tmp_path, monkeypatch):
    here, there = Checkpoints(tmp_path / "here"), Checkpoints(tmp_path / "there")
    here.save("abc", 2, torch.ones(3, 8, 8))
    there.unpack("abc", here.pack("abc"))
    scale, image = there.load("abc")
    assert (scale, image.shape) == (2, (3, 8, 8))
    monkeypatch.setattr("pipeline.jobs.checkpoints.MAX_PACKED_BYTES", 100)
    assert here.pack("abc") == here.pack("unknown") == b""


def test_a_lost_client_port_is_distinguished_from_our_own_errors():
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed: pip install -e '.[ray]'")
    assert is_connection_lost(ConnectionError("gone"))
    assert is_connection_lost(grpc.RpcError())
    assert is_connection_lost(ValueError("Cannot invoke RPC on closed channel!"))
    assert not is_connection_lost(ValueError("a mistake"))


# --- folders of nodes -----------------------------------------------------------------------

RUN = "0123456789abcdef-01000000"
HOLD = """
import sys, time
from pathlib import Path
from pipeline.workers.ray_cluster.node_folder import NodeFolder
NodeFolder(sys.argv[1], Path(sys.argv[2])).path.joinpath("file").touch()
print("held", flush=True)
time.sleep(600)
"""


def test_the_folder_of_a_node_goes_when_its_last_worker_leaves(tmp_path):
    first, second = NodeFolder(RUN, tmp_path), NodeFolder(RUN, tmp_path)
    first.path.joinpath("file").touch()
    first.leave()
    assert list(second.path.iterdir()) == [first.path / "file"]
    second.leave()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_workers_folder_goes_with_the_next_worker_and_nothing_else_does(tmp_path):
    prefix = f"pipeline-{os.getuid()}-"
    strange = [tmp_path / f"{prefix}notes", tmp_path / f"pipeline-0{os.getuid()}-{RUN}"]
    link = tmp_path / f"{prefix}00000000000000aa-00000000"
    for folder in strange:
        folder.mkdir()
    link.symlink_to(strange[0])
    held = NodeFolder("00000000000000bb-01000000", tmp_path)
    killed = "00000000000000cc-01000000"
    command = [sys.executable, "-c", HOLD, killed, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"held\n"
        NodeFolder("00000000000000dd-01000000", tmp_path).leave()
        assert (tmp_path / f"{prefix}{killed}" / "file").exists()  # it lives
        worker.kill()
    NodeFolder("00000000000000ee-01000000", tmp_path).leave()
    assert set(tmp_path.iterdir()) == {*strange, link, held.path}
    held.leave()


def test_a_folder_that_others_can_look_into_is_not_used(tmp_path):
    (tmp_path / f"pipeline-{os.getuid()}-{RUN}").mkdir(mode=0o755)
    with pytest.raises(RuntimeError, match="belongs to another user"):
        NodeFolder(RUN, tmp_path)


# --- a node of the daemon's own --------------------------------------------------------------


def raylets_below(process: int) -> list[int]:
    """The nodes of Ray that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            if name.endswith("(raylet") and int(rest.split()[1]) == process:
                found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_the_daemon_survives_the_death_of_the_node_on_its_own_machine(studio, monkeypatch):
    """Ray ends the process that is attached to it, and every other one that stands for it."""
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    from support.fake_work import paint

    monkeypatch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # a short path, for its sockets
    monkeypatch.setenv("PAINT_SECONDS", "0.3")
    studio.open("local", paint, photos=4, how=ClusterProcess)
    child = studio.executor.process
    studio.work_until(lambda: len(read_log(Outbox(studio.config.outbox))) >= 1)
    (raylet,) = raylets_below(child.pid)
    os.kill(raylet, signal.SIGKILL)
    studio.work_until(lambda: studio.service.pause_reason)
    assert child.returncode == 1
    assert "its process ended (exit 1)" in studio.service.pause_reason
    lines = studio.finish()
    assert [(line["status"], line["attempt"]) for line in lines] == [("done", 1)] * 8


# --- two nodes ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """A cluster of one node, for all tests of this file."""
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    paths = [str(TESTS), str(ROOT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("PAINT_SECONDS", "0.3")
        patch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # a short path, for its sockets
        patch.setenv("TMPDIR", str(folders := tmp_path_factory.mktemp("nodes")))
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")  # see docs/scale.md
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Its nodes have this machine's own address: without a token we would refuse it.
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_AUTH_MODE", "token")
        from ray._private.authentication.authentication_token_setup import _enable_token_auth
        from ray.cluster_utils import Cluster as Nodes

        _enable_token_auth()  # Ray has read its environment already
        args = {"include_dashboard": False, "_system_config": QUICK}
        args["ray_client_server_port"] = port = free_port()  # as `ray start --head` has one
        nodes = Nodes(initialize_head=True, head_node_args=NODE | args)
        nodes.client_address = f"ray://127.0.0.1:{port}"
        nodes.folders = folders
        yield nodes
        import ray

        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def cluster(head):
    """The same with a second node, which a test may kill."""
    second = head.add_node(**NODE)
    head.kill_second = lambda: head.remove_node(second, allow_graceful=False)
    yield head
    if second in head.worker_nodes:
        head.kill_second()


@pytest.fixture
def studio(tmp_path):
    """A project of so many photos, worked on by a cluster until something is the case."""

    class Studio:
        def open(self, address: str, do, photos: int, more: str = "", how=open_cluster) -> None:
            address = f'ray: {{address: "{address}", connect_seconds: 60}}\n'
            config_file = tmp_path / "config.yaml"
            config_file.write_text(CONFIG + address + more)
            self.config = config = load_config(config_file)
            for number in range(photos):
                photo(tmp_path / "inbox" / f"{number}.png", seed=number)
            self.executor = how(config, WorkerSettings(config.limits, config.state, do=do))
            closing.callback(self.executor.close, force=True)
            while self.executor.free() < AHEAD * self.executor.slots:
                self.executor.poll(0.1)  # until all nodes are up: each gets its share
            ledger = closing.enter_context(Ledger(config.state / "jobs.sqlite3"))
            manifest = load_manifest(config, config_file)
            self.service = Service(config, manifest, ledger, self.executor, View())
            self.service.start()

        def work_until(self, enough) -> None:
            until = time.monotonic() + 120
            while not enough():
                self.service.wake()
                self.service.tick(time.monotonic(), time.time(), 0.1)
                assert time.monotonic() < until, [p.state for p in self.service.ledger.pairs()]

        def finish(self) -> list[dict]:
            """The run log, once everything is done."""
            self.work_until(lambda: self.service.idle)
            self.service.finish()
            self.service.close()
            return read_log(Outbox(self.config.outbox))

    with ExitStack() as closing:
        yield Studio()


def test_a_node_killed_in_mid_run_costs_no_pair_and_doubles_none(cluster, studio):
    from support.fake_work import paint

    studio.open(cluster.address, paint, photos=12)
    assert len(list(cluster.folders.glob("pipeline-*"))) == 2
    both = lambda: len({node for node, _ in studio.executor.shipped}) == 2  # noqa: E731
    studio.work_until(both)  # have given results
    cluster.kill_second()
    lines = studio.finish()
    states = Counter(pair.state for pair in studio.service.ledger.pairs())
    assert states == {JobState.DONE: 24}
    assert len({(line["content"], line["style"]) for line in lines}) == len(lines) == 24
    assert {line["status"] for line in lines} == {"done"}
    assert len(pictures(Outbox(studio.config.outbox))) == 48
    # Photos and paintings: once for each node that needed them.
    assert set(studio.executor.shipped.values()) == {1}
    assert not (studio.config.outbox / ".staging").exists()
    studio.executor.close()
    NodeFolder(RUN, cluster.folders).leave()  # the killed node's goes with the next worker there
    assert list(cluster.folders.glob("pipeline-*")) == []


def test_a_worker_that_dies_while_its_node_lives_is_a_crash_of_its_job(cluster, studio, tmp_path):
    from support.fake_work import paint

    studio.open(cluster.address, paint, photos=0)
    poison = photo(tmp_path / "poison.png")
    sha256 = hashlib.sha256(poison.read_bytes()).hexdigest()
    job = Job("poison.png", poison, sha256, "mosaic", make_recipe())
    studio.executor.submit(job, tmp_path)
    ends: list = []
    until = time.monotonic() + 60
    while not ends and time.monotonic() < until:
        ends = [event for event in studio.executor.poll(0.1) if isinstance(event, JobResult)]
    assert [end.error.code for end in ends] == [Reason.WORKER_CRASHED]


def test_a_job_resumes_from_its_last_scale_after_a_lost_node_and_after_a_stop(cluster, studio):
    from support.fake_work import held_at_its_last_scale

    studio.open(cluster.address, held_at_its_last_scale, photos=2, more=THREE_SCALES)
    checkpoints, executor = studio.config.state / "checkpoints", studio.executor
    # One job on each node, for none gets past its last scale.
    told = lambda: [lane.progress for lane in studio.service.view.running]  # noqa: E731
    studio.work_until(lambda: [progress and progress.scale for progress in told()] == [3, 3])
    cluster.kill_second()
    studio.work_until(lambda: executor.slots == 1)
    executor.interrupt()  # as SIGTERM and the end of the hours do
    lines = studio.finish()
    assert [(line["status"], line["attempt"]) for line in lines] == [("done", 1)] * 2
    # Both runs that came to an end began at the third scale of three.
    assert [{scale for _, _, scale in line["curve"]} for line in lines] == [{3}, {3}]
    assert list(checkpoints.iterdir()) == []


def test_a_cluster_is_used_through_its_client_port_and_its_loss_is_reported(
    head, studio, monkeypatch
):
    from support.fake_work import paint

    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "1")
    await_port(int(head.client_address.rpartition(":")[2]))
    studio.open(head.client_address, paint, photos=1)
    lines = studio.finish()
    assert [line["status"] for line in lines] == ["done", "done"]
    assert len(pictures(Outbox(studio.config.outbox))) == 4
    head.head_node.all_processes["ray_client_server"][0].process.kill()
    with pytest.raises(ClusterLostError, match="the whole cluster is lost") as lost:
        studio.work_until(lambda: False)
    assert lost.value.exit_code == 2
    assert "start the cluster again" in str(lost.value)
