"""The style cache: paintings' sums on disk, so that a style is measured once, not once per photo.

Whatever is missing, damaged or from another version is measured again.
"""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from pipeline.jobs.recipe import ENGINE_VERSION
from pipeline.nst.cache import Tensors
from pipeline.system.safe_files import opened, whole_file

# If measurements change without their key, the engine version must change.
VERSION = f"{ENGINE_VERSION}"
MOST_BYTES = 1 << 30
ENTRIES = 200  # files kept, about 1 to 3 MB each; the least lately used go first


class DiskCache:
    """A folder of tensors by key; made when first needed.

    Args:
        folder: Where; on any disk.
        entries: How many files are kept.
    """

    def __init__(self, folder: Path, entries: int = ENTRIES) -> None:
        self.folder, self.entries = folder, entries

    def get(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors kept under ``key``; ``make()`` where there are none to be read."""
        path = self.folder / f"{key}.v{VERSION}.pt"
        with suppress(OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            # Files here are ours, and still only ever read as tensors.
            with opened(path, most=MOST_BYTES) as file:
                kept: Tensors = torch.load(file, weights_only=True)
            os.utime(path)
            return kept
        made = make()
        with suppress(OSError):  # a full disk costs the cache, never the picture
            self._keep(path, made)
        return made

    def _keep(self, path: Path, tensors: Tensors) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            torch.save({key: value.cpu() for key, value in tensors.items()}, file)
        self._trim()

    def _trim(self) -> None:
        files = sorted(self.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[: -self.entries]:
            path.unlink(missing_ok=True)
