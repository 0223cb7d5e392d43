"""The style cache: statistics of paintings on disk, measured once and not once per photo.

Entries that are missing, damaged or from another version are measured again.
"""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from pipeline.jobs.recipe import ENGINE_VERSION
from pipeline.nst.cache import Tensors, fingerprint
from pipeline.system.safe_files import opened, whole_file

# A change of the measurements that leaves their keys as they are needs a new engine version.
VERSION = f"{ENGINE_VERSION}.1"  # .1: with a checksum
MAX_BYTES = 1 << 30
ENTRIES = 200  # files kept, about 1 to 3 MB each; the least recently used are removed first


class DiskCache:
    """A folder of tensors by key; created when first needed.

    Args:
        folder: The folder, on any disk.
        entries: How many files are kept.
    """

    def __init__(self, folder: Path, entries: int = ENTRIES) -> None:
        self.folder, self.entries = folder, entries

    def get(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors stored under ``key``; without any, those of ``make()``, which it stores."""
        path = self.folder / f"{key}.v{VERSION}.pt"
        with suppress(
            OSError,
            RuntimeError,
            ValueError,
            EOFError,
            LookupError,
            TypeError,
            AttributeError,
            pickle.UnpicklingError,
        ):
            # These files are our own; even so, only tensors are loaded from them.
            with opened(path, most=MAX_BYTES) as file:
                found = torch.load(file, weights_only=True)
            kept: Tensors = found["tensors"]
            if found["sha256"] == _checksum(kept):  # torch does not notice a flipped bit
                os.utime(path)
                return kept
        made = make()
        with suppress(OSError):  # on a full disk the cache fails, not the job
            self._store(path, made)
        return made

    def _store(self, path: Path, tensors: Tensors) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            kept = {key: value.cpu() for key, value in tensors.items()}
            torch.save({"tensors": kept, "sha256": _checksum(kept)}, file)
        self._trim()

    def _trim(self) -> None:
        files = sorted(self.folder.glob("*.pt"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[: -self.entries]:
            path.unlink(missing_ok=True)


def _checksum(tensors: Tensors) -> str:
    return fingerprint(*(part for item in sorted(tensors.items()) for part in item))
