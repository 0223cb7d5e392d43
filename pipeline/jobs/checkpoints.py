"""What a long job has reached, so that an interruption costs one scale and not the night.

One file a job, named by its id, which names photo, style and recipe: what fits is taken up, what is
torn or does not fit is as if it were not there. It is an aid and never the truth, so nothing here
fails a job.
"""

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
CARRIED = 64 << 20  # bytes between machines at most: 5 megapixels; larger ones start anew there
Reached = tuple[int, "Tensor"]  # how many scales are finished, (3, H, W) the last ended with


class Checkpoints:
    """A folder of checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, job: str) -> "Reached | None":
        """Where a job may go on."""
        import torch

        path = self._path(job)
        try:
            with opened(path, most=MOST_BYTES) as file:
                found = torch.load(file, map_location="cpu", weights_only=True)
            scale, image = int(found["scale"]), found["image"]
            good = scale > 0 and image.ndim == 3 and image.shape[0] == 3
            return (scale, image) if good and bool(image.isfinite().all()) else None
        except FileNotFoundError:
            return None
        except Exception:  # torch raises anything at all on torn files
            self.drop(job)
            return None

    def save(self, job: str, scale: int, image: "Tensor") -> None:
        """Keep where a job stands; a full disk keeps nothing."""
        import torch

        reached = {"scale": scale, "image": image.detach().cpu()}
        self._keep(job, lambda half: torch.save(reached, half))  # into an open file

    def version(self, job: str) -> str:
        """Another one each time that a job has come further; "" where nothing is kept."""
        return str(Stamp.at(self._path(job)) or "")

    def packed(self, job: str) -> bytes:
        """What is kept, for another machine; empty where nothing is, or too much."""
        path = self._path(job)
        with suppress(OSError):
            return read_bounded(path, CARRIED)
        return b""

    def unpack(self, job: str, content: bytes) -> None:
        """Keep what another machine has packed; `load` finds out whether it is any good."""
        self._keep(job, lambda half: half.write(content))

    def _keep(self, job: str, write: Callable[[BinaryIO], object]) -> None:
        path = self._path(job)
        with suppress(OSError, RuntimeError):  # torch's zip writer raises RuntimeError
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path, spare=path.with_suffix(".half")) as file:
                write(file)

    def drop(self, job: str) -> None:
        """The job has ended."""
        with suppress(OSError):
            self._path(job).unlink(missing_ok=True)

    def sweep(self, keep: Collection[str]) -> None:
        """Remove what belongs to no job that is still to be done."""
        with suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.removesuffix(SUFFIX) not in keep:
                    Path(entry.path).unlink(missing_ok=True)

    def _path(self, job: str) -> Path:
        return self.folder / f"{job}{SUFFIX}"
