"""Ships files to a Ray cluster and pictures back, by their SHA-256."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.jobs.job import Output
from pipeline.system.safe_files import new_file, read_verified

MAX_FILES = 500  # stored as objects; older ones are shipped again when needed


class ShippedFiles:
    """Files stored as objects in the cluster.

    Args:
        put: Stores bytes in the cluster and returns a reference; `ray.put`.
    """

    def __init__(self, put: Callable[[bytes], Any]) -> None:
        self._put = put
        self._files: OrderedDict[str, Any] = OrderedDict()

    def reference(self, sha256: str, path: Path) -> Any:
        """A reference to the bytes of a file, which is stored in the cluster once.

        Raises:
            OSError: It cannot be read.
            ChangedError: It is gone, or has another SHA-256.
        """
        if sha256 not in self._files:
            self._files[sha256] = self._put(read_verified(path, sha256))
        self._files.move_to_end(sha256)
        while len(self._files) > MAX_FILES:
            self._files.popitem(last=False)
        return self._files[sha256]

    def clear(self) -> None:
        """Release all objects."""
        self._files.clear()


def unpack_outputs(
    outputs: Iterable[Output], files: Mapping[str, bytes], staging: Path
) -> tuple[Output, ...]:
    """Write the files that came back with a job into its staging folder; return the outputs.

    Raises:
        KeyError, ValueError: A picture is missing or damaged, or its name leads out of the folder.
        OSError: They cannot be written.
    """
    found = tuple(_write_output(output, files, staging) for output in outputs)
    for name in files.keys() - {PurePosixPath(output.path).name for output in found}:
        _write(staging, name, files[name])
    return found


def _write_output(output: Output, files: Mapping[str, bytes], staging: Path) -> Output:
    name = PurePosixPath(output.path).name
    content = files[name]
    if hashlib.sha256(content).hexdigest() != output.sha256:
        raise ValueError(name)
    return replace(output, path=str(_write(staging, name, content)))


def _write(staging: Path, name: str, content: bytes) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise ValueError(name)
    path = staging.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path
