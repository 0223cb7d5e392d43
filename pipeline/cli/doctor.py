"""`doctor`: checks machine, folders, weights and device, each by using it."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config.loading import Loaded
from pipeline.config.model import Config
from pipeline.errors import ConfigError, JobError
from pipeline.imaging.sandbox import Decoder
from pipeline.render.self_check import check_decoder, check_device, check_weights
from pipeline.system.paths import real_path
from pipeline.system.safe_files import new_file
from pipeline.workers.worker_process import describe_failure

Finding = dict[str, Any]
LOW_BYTES = 1 << 30


def doctor_report(loaded: Loaded) -> dict[str, Any]:
    """Run all checks; the report is ``healthy`` when every check succeeds."""
    config = loaded.config
    findings = [
        _describe_machine(),
        *_check_folders(loaded),
        _check("decoder", check_decoder, config.limits),
        *_find_broken_paintings(loaded),
        _check("weights", check_weights, config.weights),
        *check_engine(config),
    ]
    return {"healthy": all(f["good"] for f in findings), "findings": findings}


def doctor_text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{'ok  ' if f['good'] else 'FAIL'} {f['name']:18}{f['says']}" for f in report["findings"]
    ]
    return "\n".join([*lines, "no problems found" if report["healthy"] else "see FAIL above"])


def _check(name: str, check: Callable[[Any], str], subject: Any) -> Finding:
    try:
        return {"name": name, "good": True, "says": check(subject)}
    except ModuleNotFoundError:  # an incomplete installation: `main` prints what to type
        raise
    except Exception as error:  # a broken torch may raise anything while it is imported
        return {"name": name, "good": False, "says": describe_failure(error)}


def _describe_machine() -> Finding:
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "pillow", "watchdog"))
    computer = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    says = f"{computer}, Python {platform.python_version()}, {packages}"
    return {"name": "machine", "good": True, "says": says}


def _check_folders(loaded: Loaded) -> list[Finding]:
    """Check the folders of the config, where there is one."""
    if not loaded.found:
        says = "there is none here, so folders are not checked; `init DIR` creates one"
        return [{"name": "config.yaml", "good": True, "says": says}]
    config = loaded.config
    return [
        _check("inbox folder", _check_inbox, config.inbox),
        _check("outbox folder", _check_output_folder, config.outbox),
        _check("state folder", _check_output_folder, config.state),
    ]


def _check_inbox(folder: Path) -> str:
    """Check that the inbox can be read."""
    try:
        count = len(list(folder.iterdir()))
    except FileNotFoundError:
        hint = "create it, or set another folder"
        raise ConfigError("no such folder", where=str(folder), hint=hint) from None
    return f"{folder}: readable; files and folders in it: {count}"


def _check_output_folder(folder: Path) -> str:
    """Write, rename, link and remove a file in a folder, as publishing does."""
    parent = folder if folder.exists() else folder.parent
    with tempfile.TemporaryDirectory(dir=parent, prefix=".pipeline-doctor-") as name:
        first = Path(name, "a")
        new_file(first).close()
        first.rename(Path(name, "b"))
        links = _describe_links(Path(name))
    free = shutil.disk_usage(parent).free
    low = "; little space left" if free < LOW_BYTES else ""
    new = "" if folder.exists() else " (will be created)"
    return f"{folder}{new}: writable, {links}, {free / 2**30:.1f} GiB free{low}"


def _describe_links(folder: Path) -> str:
    try:
        os.link(folder / "b", folder / "c")
    except OSError:
        return "no hard links (files are renamed instead)"
    return "hard links"


def _find_broken_paintings(loaded: Loaded) -> list[Finding]:
    """Find paintings that cannot be decoded: their styles wait. `run` prints the same message."""
    decoder = Decoder(loaded.config.limits, preallocated=0)
    found = []
    try:
        for style in loaded.manifest.styles.values():
            for path, _ in style.images:
                try:
                    decoder.probe(real_path(path))
                except JobError as error:
                    found.append({"name": f"style {style.name}", "good": False, "says": str(error)})
    finally:
        decoder.close()
    return found


def check_engine(config: Config) -> list[Finding]:
    """Check each device once, or the cluster, whose nodes check their own devices."""
    if config.engine == "ray":
        from pipeline.workers.ray_cluster.connection import describe_cluster

        return [_check("cluster", describe_cluster, config.ray)]
    devices = [config.device] if isinstance(config.device, str) else config.device
    return [_check(f"device {name}", check_device, name) for name in dict.fromkeys(devices)]
