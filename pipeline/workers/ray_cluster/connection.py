"""Connects to a Ray cluster, after checks that it responds and that no untrusted host can reach it.

Anyone who can reach the ports of a cluster can run any code there, with the rights of the user who
started it.
"""

import ipaddress
import logging
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from typing import Any

from pipeline.config.sections import Cluster
from pipeline.errors import ConfigError, MissingExtraError
from pipeline.system.interpreter import (
    as_one_line,
    child_environment,
    last_error_line,
    package_root,
    python_command,
)

AUTH_HINT = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH on every node and here"
_PROBE = "import ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"


def connect(cluster: Cluster) -> Any:
    """Connect Ray to the cluster of the config, or to a new local one; return the library.

    Raises:
        ConfigError: It does not respond in time, or untrusted hosts could reach it.
        MissingExtraError: Ray is not installed.
    """
    ray, address = load_ray(), cluster.address
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == "local":
            # Newer Ray wants a token on local clusters too: use one for this run only.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            with _workers_load_our_code():
                ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        else:
            check_reachable(cluster)
            with _workers_load_our_code():
                context = ray.init(address, namespace="pipeline", **quiet)
            check_dashboard(str(getattr(context, "dashboard_url", "") or ""), token_required())
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(as_one_line(str(error)), where=f"ray.address: {address}") from None
    except ConfigError:
        ray.shutdown()
        raise
    return ray


@contextmanager
def _workers_load_our_code() -> Iterator[None]:
    """Change to our own folder, because Ray puts the current one first on its workers' path."""
    root = package_root()
    with chdir(root if os.path.isdir(root) else "/"):  # noqa: PTH112
        yield


def load_ray() -> Any:
    """Import the library.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise MissingExtraError.of("ray", "ray") from None
    return ray


def describe_cluster(cluster: Cluster) -> str:
    """Describe the version of Ray and the cluster, for `doctor`.

    Raises:
        ConfigError: It does not respond in time, or untrusted hosts could reach it.
        MissingExtraError: Ray is not installed.
    """
    library = f"ray {load_ray().__version__}"
    if cluster.address == "local":
        return f"{library}, a cluster of its own for each run"
    ray = connect(cluster)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        check_private(nodes, token_required())
    finally:
        ray.shutdown()
    return f"{library}, {cluster.address} answers: {describe_nodes(nodes)}"


def describe_nodes(nodes: list[Mapping[str, Any]]) -> str:
    """The number of nodes, and their CPUs and GPUs in total."""
    has = {kind: sum(node["Resources"].get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    plural = "" if len(nodes) == 1 else "s"
    return f"{len(nodes)} node{plural}, {has['CPU']:g} CPUs, {has['GPU']:g} GPUs"


def token_required() -> bool:
    """Whether Ray requires a token (Ray 2.60 and newer)."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def check_reachable(cluster: Cluster) -> None:
    """Check that a cluster responds in time; a separate process tries it, because it may hang.

    Raises:
        ConfigError: No cluster responds there, or untrusted hosts could reach it.
    """
    address, until = cluster.address, time.monotonic() + cluster.connect_seconds
    where = f"ray.address: {address}"
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not _is_local(host.strip("[]")) and not token_required():
            raise ConfigError(
                "other machines can reach this cluster without a token", where=where, hint=AUTH_HINT
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), cluster.connect_seconds).close()
        except (OSError, OverflowError) as error:
            hint = "run `ray start --head` there"
            raise ConfigError(f"does not answer: {error}", where=where, hint=hint) from None
    try:
        probe = subprocess.run(  # noqa: S603  # our own program
            python_command(f"import sys; {_PROBE}", address),
            env=child_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=max(1.0, until - time.monotonic()),
        )
    except subprocess.TimeoutExpired:
        what = f"Ray does not answer within {cluster.connect_seconds:g} s"
        raise ConfigError(what, where=where, hint="see ray.connect_seconds") from None
    if probe.returncode:
        raise ConfigError(last_error_line(probe.stderr), where=where, hint="see `ray status`")


def check_private(nodes: list[Mapping[str, Any]], token: bool) -> None:
    """Refuse a cluster whose ports untrusted hosts can reach: they could run any code there.

    Raises:
        ConfigError: A node listens beyond localhost, and Ray requires no token.
    """
    open_ones = [n["NodeManagerAddress"] for n in nodes if not _is_local(n["NodeManagerAddress"])]
    if open_ones and not token:
        what = f"node {open_ones[0]} listens beyond localhost without a token"
        raise ConfigError(what, where="ray", hint=AUTH_HINT)


def check_dashboard(url: str, token: bool) -> None:
    """Refuse a dashboard that untrusted hosts can reach: its page can start jobs.

    Raises:
        ConfigError: It listens beyond localhost, and Ray requires no token.
    """
    host = url.removeprefix("http://").rpartition(":")[0]
    if host and not _is_local(host.strip("[]")) and not token:
        raise ConfigError("anyone can open its dashboard", where=f"ray: {url}", hint=AUTH_HINT)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_connection_lost(error: Exception) -> bool:
    """Whether an error means that the connection is lost; it may be one of gRPC's own errors."""
    return (
        isinstance(error, ConnectionError)
        or type(error).__module__.partition(".")[0] == "grpc"
        or "closed channel" in str(error)
    )
