"""What a long job has reached, so that an interruption costs one scale and not the whole job.

One file a job, named by its id, which depends on photo, style and recipe. A file that is damaged or
does not fit counts as missing. Checkpoints only save time, so nothing here fails a job.
"""

import hashlib
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.system.file_version import Stamp
from pipeline.system.safe_files import opened, read_bounded, whole_file

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".pt"
MOST_BYTES = 4 << 30  # of a checkpoint: 300 megapixels
MAX_PACKED_BYTES = (
    64 << 20
)  # bytes between machines at most: 5 megapixels; larger jobs start from the beginning there
Reached = tuple[int, "Tensor"]  # how many scales are finished, (3, H, W) the last ended with


class Checkpoints:
    """A folder of checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, job: str, block: int = 0) -> "Reached | None":
        """Where a job may continue; None: at the beginning.

        ``block`` is the side of the blocks that the rest is computed in. What was computed in
        others has other last bits, and a mixture of both could not be reproduced.
        """
        import torch

        path = self._path(job)
        try:
            with opened(path, most=MOST_BYTES) as file:
                found = torch.load(file, map_location="cpu", weights_only=True)
            scale, image = int(found["scale"]), found["image"]
            good = scale > 0 and image.ndim == 3 and image.shape[0] == 3
            good = good and found["block"] == block and found["sha256"] == _checksum(image)
            return (scale, image) if good and bool(image.isfinite().all()) else None
        except FileNotFoundError:
            return None
        except Exception:  # torch raises anything at all on torn files
            self.drop(job)
            return None

    def size(self, job: str) -> int:
        """The size in px that `transfer.within` has chosen for a job; 0: none, or no valid one."""
        import torch

        try:
            with opened(self._path(job), most=MOST_BYTES) as file:
                found = torch.load(file, map_location="cpu", weights_only=True)
            return max(0, int(found.get("size", 0)))
        except Exception:  # torch raises anything at all on torn files
            return 0

    def save(self, job: str, scale: int, image: "Tensor", block: int = 0, size: int = 0) -> None:
        """Write what a job has reached; on a full disk nothing is written."""
        import torch

        image = image.detach().cpu()
        reached = {"scale": scale, "image": image, "block": block, "sha256": _checksum(image)}
        reached |= {"size": size} if size else {}
        self._keep(job, lambda half: torch.save(reached, half))  # into an open file

    def version(self, job: str) -> str:
        """The stamp of a job's file, which changes with each save; "" where there is none."""
        return str(Stamp.at(self._path(job)) or "")

    def pack(self, job: str) -> bytes:
        """A job's file for another machine; empty where there is none, or it is too large."""
        path = self._path(job)
        with suppress(OSError):
            return read_bounded(path, MAX_PACKED_BYTES)
        return b""

    def unpack(self, job: str, content: bytes) -> None:
        """Write what another machine has packed; `load` checks it."""
        self._keep(job, lambda half: half.write(content))

    def _keep(self, job: str, write: Callable[[BinaryIO], object]) -> None:
        path = self._path(job)
        with suppress(OSError, RuntimeError):  # torch's zip writer raises RuntimeError
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path, spare=path.with_suffix(".half")) as file:
                write(file)

    def drop(self, job: str) -> None:
        """Remove the file of a job that has ended."""
        with suppress(OSError):
            self._path(job).unlink(missing_ok=True)

    def sweep(self, keep: Collection[str]) -> None:
        """Remove the files of all jobs but those to keep."""
        with suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.removesuffix(SUFFIX) not in keep:
                    Path(entry.path).unlink(missing_ok=True)

    def _path(self, job: str) -> Path:
        return self.folder / f"{job}{SUFFIX}"


def _checksum(image: "Tensor") -> str:
    """SHA-256 of an image's numbers: torch does not notice a flipped bit in a file."""
    return hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()
