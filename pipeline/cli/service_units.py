"""Builds the systemd unit or launchd agent that runs `watch` permanently with a config.

The config decides which folders are writable, and whether the service gets network and accelerator.
Everything else is denied.
"""

import getpass
import plistlib
import sys
from pathlib import Path

from pipeline.config.model import Config
from pipeline.errors import UsageError
from pipeline.system.interpreter import module_command
from pipeline.system.paths import is_folder, real_path

KINDS = ("systemd", "launchd")
LABEL = "org.pipeline.watch"
WATCHDOG_SECONDS = 120  # a tick of the loop that takes longer counts as hung
RESTART_SECONDS = 30  # between two starts; with an invalid config each costs one log line
STOP_SECONDS = 90  # jobs stop at their next step, then a running hook may finish
_HOMES = ("/home", "/root", "/run/user")


def build_service_file(
    kind: str, config: Config, path: Path, *, user: bool = False, account: str = ""
) -> str:
    """Build the text of the unit or agent file.

    Args:
        kind: One of KINDS.
        config: The config at ``path``.
        path: The config file; the result holds its absolute path.
        user: systemd only: a unit for ``systemctl --user``.
        account: systemd only: the user it runs as; the inbox's owner when empty.
    """
    path = real_path(path)
    for place in (path, Path(sys.executable), *_writable_folders(config), config.inbox):
        if not str(place).isprintable():
            hint = "rename it, because service managers do not accept such names"
            raise UsageError(
                "the name contains control characters", where=ascii(str(place)), hint=hint
            )
    if kind == "launchd":
        return _launchd_agent(config, path)
    if user:
        return _unit(config, path, _user_sandbox(config), "default.target", "")
    account = account or _find_owner(config.inbox)
    return _unit(config, path, _system_sandbox(config, path), "multi-user.target", account)


# --- systemd --------------------------------------------------------------------------------


def _unit(config: Config, path: Path, sandbox: list[str], target: str, account: str) -> str:
    command = " ".join(map(_quote_argument, _watch_command(path)))
    mounts = " ".join(map(_quote_path, dict.fromkeys([config.inbox, *_writable_folders(config)])))
    network = ["After=network-online.target", "Wants=network-online.target"]
    lines = [
        "# Made by `pipeline service systemd`; print it again when folders in the config change.",
        "[Unit]",
        "Description=Pipeline: paints what is dropped into its inbox",
        f"RequiresMountsFor={mounts}",
        *(network if _needs_internet(config) else []),
        "# It is restarted without limit: a disk may be mounted late, a config may be corrected.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={command}",
        f"WorkingDirectory={_escape_specifiers(str(path.parent))}",
        *([f"User={account}"] if account else []),
        "Environment=PYTHONUNBUFFERED=1",
        "UMask=0027",
        "# The loop reports that it ticks and no worker is stuck; without reports it is restarted.",
        f"WatchdogSec={WATCHDOG_SECONDS}",
        "TimeoutStartSec=5min",
        f"TimeoutStopSec={STOP_SECONDS}",
        "# Only the main process gets SIGTERM: it stops its workers and puts their jobs back.",
        "KillMode=mixed",
        "Restart=always",
        f"RestartSec={RESTART_SECONDS}",
        "# 1: a clean stop after some photos had failed. After 2 it is restarted too: a moved",
        "# painting, a missing disk and an invalid config can be corrected meanwhile.",
        "SuccessExitStatus=1",
        "",
        "# What it may use. A worker that uses too much is killed, not the service.",
        "OOMPolicy=continue",
        "MemoryHigh=80%",
        "MemoryMax=90%",
        "Nice=5",
        "",
        *sandbox,
        "",
        "[Install]",
        f"WantedBy={target}",
    ]
    return "\n".join(lines) + "\n"


# These need no namespaces, so they also work in a user's own service manager.
_EVERYWHERE = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "SystemCallArchitectures=native",
    "# Not MemoryDenyWriteExecute: torch compiles CPU kernels when they are first needed.",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
)


def _user_sandbox(config: Config) -> list[str]:
    return ["# What it may do.", *_EVERYWHERE, _allowed_address_families(config)]


def _system_sandbox(config: Config, path: Path) -> list[str]:
    """Only its own folders are writable; no privileges, no other processes, no network."""
    places = [
        path,
        Path(sys.executable),
        Path(sys.prefix),
        config.inbox,
        *_writable_folders(config),
        *(place.path for place in config.places()),  # paintings and their folders, models
    ]
    at_home = any(str(place).startswith(_HOMES) for place in places)
    writable = " ".join(map(_quote_path, _writable_folders(config)))
    return [
        "# What it may do: write to its own folders, and nothing else.",
        *_EVERYWHERE,
        _allowed_address_families(config),
        *(["IPAddressDeny=any", "IPAddressAllow=localhost"] if _local_only(config) else []),
        *(["PrivateNetwork=yes"] if not _needs_network(config) else []),
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if at_home else 'yes'}",
        f"ReadWritePaths={writable}",
        "PrivateTmp=yes",
        *_allowed_devices(config),
        "PrivateIPC=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "RemoveIPC=yes",
        "KeyringMode=private",
    ]


def _allowed_devices(config: Config) -> list[str]:
    if config.device == "cpu" or config.device == ("cpu",):
        return ["PrivateDevices=yes"]
    kinds = ("char-nvidia", "char-nvidia-uvm", "char-nvidia-caps", "char-drm")
    return [
        "# The accelerators, and no other device.",
        "DevicePolicy=closed",
        *(f"DeviceAllow={kind} rw" for kind in (*kinds, "/dev/kfd")),
    ]


def _allowed_address_families(config: Config) -> str:
    families = ["AF_UNIX"]
    if _needs_network(config):
        families += ["AF_INET", "AF_INET6"]
    if _needs_internet(config):
        families.append("AF_NETLINK")
    return f"RestrictAddressFamilies={' '.join(families)}"


def _needs_internet(config: Config) -> bool:
    """Whether the service contacts other machines: through Ray, a download, or perhaps a hook."""
    hooks = config.hooks.on_done or config.hooks.on_failed or config.hooks.on_batch
    return bool(config.engine == "ray" or config.weights == "torchvision" or hooks)


def _needs_network(config: Config) -> bool:
    return _needs_internet(config) or config.metrics.listen is not None


def _local_only(config: Config) -> bool:
    return _needs_network(config) and not (_needs_internet(config) or config.metrics.anywhere)


def _writable_folders(config: Config) -> list[Path]:
    """Folders that the service writes to."""
    places = [config.outbox, config.state]
    if config.after != "keep" or config.failed == "quarantine":
        places.append(config.inbox)
    if config.after == "archive":
        places.append(config.archive)
    if config.failed == "quarantine":
        places.append(config.quarantine)
    places += [file.parent for file in (config.metrics.file, config.log.file) if file]
    return list(dict.fromkeys(places))


def _watch_command(path: Path) -> list[str]:
    return module_command("pipeline", "watch", "--config", str(path))


def _escape_specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _find_owner(folder: Path) -> str:
    """The owner of a folder, who may write to it."""
    try:
        return folder.owner()
    except (OSError, KeyError, NotImplementedError):  # no such account; Windows has no owners
        return getpass.getuser()


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quote_argument(word: str) -> str:
    """One argument of a command line, in which systemd would expand variables."""
    return _quote(_escape_specifiers(word).replace("$", "$$"))


def _quote_path(path: Path) -> str:
    return _quote(_escape_specifiers(str(path)))


# --- launchd --------------------------------------------------------------------------------


def _launchd_agent(config: Config, path: Path) -> str:
    """A launchd agent, for ~/Library/LaunchAgents."""
    log = str(config.state / "logs" / "launchd.log")
    agent = {
        "Label": LABEL,
        "ProgramArguments": _watch_command(path),
        "WorkingDirectory": str(path.parent),
        "RunAtLoad": True,
        # Restarted whatever the exit code, after an invalid config too; at most once a minute.
        "KeepAlive": True,
        "ThrottleInterval": 60,
        "ExitTimeOut": STOP_SECONDS,
        # Not Background: that uses the slow cores only.
        "ProcessType": "Standard",
        "LowPriorityIO": True,
        "Nice": 5,
        "Umask": 0o027,
        # The default is 256: too few to watch a folder of thousands of files.
        "SoftResourceLimits": {"NumberOfFiles": 4096},
        "EnvironmentVariables": {"PYTHONUNBUFFERED": "1"},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def find_missing_folders(config: Config) -> list[Path]:
    """Folders that must exist before a service manager can start the sandboxed service."""
    return [place for place in (config.inbox, *_writable_folders(config)) if not is_folder(place)]
