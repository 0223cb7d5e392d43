"""A config -> what runs `watch` for good: systemd's unit, launchd's agent.

Everything is derived: which folders may be written to, whether the network and the accelerator are
needed. What is not needed is closed.
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
WATCHDOG_SECONDS = 120  # the loop may be busy that long with one tick before it counts as hung
RESTART_SECONDS = 30  # between two starts; a config that stays wrong costs a line each time
STOP_SECONDS = 90  # jobs stop at their next step, then a hook may end
_HOMES = ("/home", "/root", "/run/user")


def text(kind: str, config: Config, path: Path, *, user: bool = False, account: str = "") -> str:
    """The file for a service manager.

    Args:
        kind: One of KINDS.
        config: The config at ``path``.
        path: As it was given; the file names it absolutely.
        user: systemd only: a unit for ``systemctl --user``.
        account: systemd only: whose unit it is; the caller's when empty.
    """
    path = real_path(path)
    for place in (path, Path(sys.executable), *_written(config), config.inbox):
        if not str(place).isprintable():
            hint = "rename it: service managers do not take such names"
            raise UsageError("a name with control characters", where=ascii(str(place)), hint=hint)
    if kind == "launchd":
        return plist(config, path)
    if user:
        return _unit(config, path, _user_sandbox(config), "default.target", "")
    account = account or _owner(config.inbox)
    return _unit(config, path, _sandbox(config, path), "multi-user.target", account)


# --- systemd --------------------------------------------------------------------------------


def _unit(config: Config, path: Path, sandbox: list[str], target: str, account: str) -> str:
    command = " ".join(map(_argument, _command(path)))
    mounts = " ".join(map(_path, dict.fromkeys([config.inbox, *_written(config)])))
    lines = [
        "# Made by `pipeline service systemd`; make it anew when folders in the config change.",
        "[Unit]",
        "Description=Pipeline: paints what is dropped into its inbox",
        f"RequiresMountsFor={mounts}",
        *(["After=network-online.target", "Wants=network-online.target"] * _online(config)),
        "# It is started again for as long as it takes: a disk may come late, a config be mended.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={command}",
        f"WorkingDirectory={_specifiers(str(path.parent))}",
        *([f"User={account}"] if account else []),
        "Environment=PYTHONUNBUFFERED=1",
        "UMask=0027",
        "# The loop tells that it ticks and that no worker is stuck; silent, it is started anew.",
        f"WatchdogSec={WATCHDOG_SECONDS}",
        "TimeoutStartSec=5min",
        f"TimeoutStopSec={STOP_SECONDS}",
        "# Only the main process is asked to end: it ends its workers, their jobs are put back.",
        "KillMode=mixed",
        "Restart=always",
        f"RestartSec={RESTART_SECONDS}",
        "# 1: stopped well, some photos had failed. 2 is started again, too: a painting that was",
        "# moved away, a disk that is missing and a wrong config can all be put right meanwhile.",
        "SuccessExitStatus=1",
        "",
        "# What it may take. A worker that takes too much is ended, not the service.",
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


# No namespaces are needed for these: they hold in a user's own service manager, too.
_EVERYWHERE = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "SystemCallArchitectures=native",
    "# Not MemoryDenyWriteExecute: the CPU kernels of torch are compiled when first needed.",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
)


def _user_sandbox(config: Config) -> list[str]:
    return ["# What it may do.", *_EVERYWHERE, _families(config)]


def _sandbox(config: Config, path: Path) -> list[str]:
    """Read-only but for its own folders, no privileges, no other processes, no network."""
    places = [path, Path(sys.executable), Path(sys.prefix), config.inbox, *_written(config)]
    at_home = any(str(place).startswith(_HOMES) for place in places)
    writable = " ".join(map(_path, _written(config)))
    return [
        "# What it may do: write to its own folders, and nothing else.",
        *_EVERYWHERE,
        _families(config),
        *(["IPAddressDeny=any", "IPAddressAllow=localhost"] if _local_only(config) else []),
        *(["PrivateNetwork=yes"] if not _networked(config) else []),
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if at_home else 'yes'}",
        f"ReadWritePaths={writable}",
        "PrivateTmp=yes",
        *_devices(config),
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


def _devices(config: Config) -> list[str]:
    if config.device == "cpu" or config.device == ("cpu",):
        return ["PrivateDevices=yes"]
    kinds = ("char-nvidia", "char-nvidia-uvm", "char-nvidia-caps", "char-drm")
    return [
        "# The accelerators, and no other device.",
        "DevicePolicy=closed",
        *(f"DeviceAllow={kind} rw" for kind in (*kinds, "/dev/kfd")),
    ]


def _families(config: Config) -> str:
    networks = " AF_INET AF_INET6" + " AF_NETLINK" * _online(config) if _networked(config) else ""
    return f"RestrictAddressFamilies=AF_UNIX{networks}"


def _online(config: Config) -> bool:
    """Whether other machines are talked to: by Ray, by a download, perhaps by a hook."""
    hooks = config.hooks.on_done or config.hooks.on_failed or config.hooks.on_batch
    return bool(config.engine == "ray" or config.weights == "torchvision" or hooks)


def _networked(config: Config) -> bool:
    return _online(config) or config.metrics.listen is not None


def _local_only(config: Config) -> bool:
    return _networked(config) and not (_online(config) or config.metrics.anywhere)


def _written(config: Config) -> list[Path]:
    """Folders that the service writes to."""
    places = [config.outbox, config.state]
    if config.after != "keep" or config.failed == "quarantine":
        places.append(config.inbox)
    places += [config.archive] * (config.after == "archive")
    places += [config.quarantine] * (config.failed == "quarantine")
    places += [file.parent for file in (config.metrics.file, config.log.file) if file]
    return list(dict.fromkeys(places))


def _command(path: Path) -> list[str]:
    return module_command("pipeline", "watch", "--config", str(path))


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _owner(folder: Path) -> str:
    """Whose folder it is: who may write there."""
    try:
        return folder.owner()
    except (OSError, KeyError, NotImplementedError):  # no such account; Windows knows no owners
        return getpass.getuser()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _argument(word: str) -> str:
    """One word of a command line, in which systemd puts in variables."""
    return _quoted(_specifiers(word).replace("$", "$$"))


def _path(path: Path) -> str:
    return _quoted(_specifiers(str(path)))


# --- launchd --------------------------------------------------------------------------------


def plist(config: Config, path: Path) -> str:
    """A launchd agent, for ~/Library/LaunchAgents."""
    log = str(config.state / "logs" / "launchd.log")
    agent = {
        "Label": LABEL,
        "ProgramArguments": _command(path),
        "WorkingDirectory": str(path.parent),
        "RunAtLoad": True,
        # Started anew whatever it ended with, a wrong config included; at most once a minute.
        "KeepAlive": True,
        "ThrottleInterval": 60,
        "ExitTimeOut": STOP_SECONDS,
        # Not Background: that is the slow cores only.
        "ProcessType": "Standard",
        "LowPriorityIO": True,
        "Nice": 5,
        "Umask": 0o027,
        # 256 otherwise: too few for a folder of thousands on a disk that is watched by name.
        "SoftResourceLimits": {"NumberOfFiles": 4096},
        "EnvironmentVariables": {"PYTHONUNBUFFERED": "1"},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def missing(config: Config) -> list[Path]:
    """Folders that must be there before a service manager can build a sandbox around them."""
    return [place for place in (config.inbox, *_written(config)) if not is_folder(place)]
