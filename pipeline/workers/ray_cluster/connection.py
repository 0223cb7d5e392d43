"""Reaching a Ray cluster: whether it answers, and whether untrusted hosts could reach it as well.

Whoever reaches a cluster's ports can run anything on it, with the rights of those who started it.
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
    """Ray, connected to the cluster of the config, or to one started here.

    Raises:
        ConfigError: It does not answer in time, or untrusted hosts could reach it.
        MissingExtraError: Ray is not installed.
    """
    ray, address = load_ray(), cluster.address
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == "local":
            # Newer Ray asks for a token on its own clusters too: one of this run only.
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
    """Ray puts the current folder first on its workers' path of modules: let it be ours."""
    root = package_root()
    with chdir(root if os.path.isdir(root) else "/"):  # noqa: PTH112
        yield


def load_ray() -> Any:
    """The library.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no statistics are sent
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise MissingExtraError.of("ray", "ray") from None
    return ray


def describe_cluster(cluster: Cluster) -> str:
    """Which Ray this is, and what the cluster has, in words; for `doctor`.

    Raises:
        ConfigError: It does not answer in time, or untrusted hosts could reach it.
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
    """How many nodes there are, and what they have together."""
    has = {kind: sum(node["Resources"].get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    plural = "" if len(nodes) == 1 else "s"
    return f"{len(nodes)} node{plural}, {has['CPU']:g} CPUs, {has['GPU']:g} GPUs"


def token_required() -> bool:
    """Whether Ray asks everybody for a token (Ray 2.60 and newer)."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def check_reachable(cluster: Cluster) -> None:
    """Ask an address, within the time allowed, in a process that may hang or break over it.

    Raises:
        ConfigError: No cluster answers there, or anybody might reach it.
    """
    address, until = cluster.address, time.monotonic() + cluster.connect_seconds
    where = f"ray.address: {address}"
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not _is_local(host.strip("[]")) and not token_required():
            raise ConfigError(
                "a cluster beyond this machine without token", where=where, hint=AUTH_HINT
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), cluster.connect_seconds).close()
        except (OSError, OverflowError) as error:
            hint = "is `ray start --head` running there?"
            raise ConfigError(f"does not answer: {error}", where=where, hint=hint) from None
    try:
        asked = subprocess.run(  # noqa: S603  # ourselves
            python_command(f"import sys; {_PROBE}", address),
            env=child_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=max(1.0, until - time.monotonic()),
        )
    except subprocess.TimeoutExpired:
        what = f"no Ray answers within {cluster.connect_seconds:g} s"
        raise ConfigError(what, where=where, hint="see ray.connect_seconds") from None
    if asked.returncode:
        raise ConfigError(last_error_line(asked.stderr), where=where, hint="see `ray status`")


def check_private(nodes: list[Mapping[str, Any]], token: bool) -> None:
    """Refuse a cluster whose ports untrusted hosts can reach: they could run anything there.

    Raises:
        ConfigError: A node listens beyond localhost, and Ray asks for no token.
    """
    open_ones = [n["NodeManagerAddress"] for n in nodes if not _is_local(n["NodeManagerAddress"])]
    if open_ones and not token:
        what = f"node {open_ones[0]} listens beyond localhost without token"
        raise ConfigError(what, where="ray", hint=AUTH_HINT)


def check_dashboard(url: str, token: bool) -> None:
    """The same for the dashboard, whose page starts jobs.

    Raises:
        ConfigError: It listens beyond localhost, and Ray asks for no token.
    """
    host = url.removeprefix("http://").rpartition(":")[0]
    if host and not _is_local(host.strip("[]")) and not token:
        raise ConfigError("its dashboard is open to everybody", where=f"ray: {url}", hint=AUTH_HINT)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def connection_lost(error: Exception) -> bool:
    """Whether an error means that a cluster's client port is gone; gRPC's own come through, too."""
    return (
        isinstance(error, ConnectionError)
        or type(error).__module__.partition(".")[0] == "grpc"
        or "closed channel" in str(error)
    )
