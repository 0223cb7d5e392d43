"""Caches for later runs: the sums of a painting, and the features of a photo.

nst knows no folders: a caller that wants a disk cache passes an object with the method below.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


class Cache(Protocol):
    """Stores tensors by key."""

    def get(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors stored under ``key``; if there are none, those that ``make()`` returns."""
        ...


class MemoryCache:
    """Keeps the most recently used entries in memory.

    Args:
        entries: How many; 0 stores nothing.
    """

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self._stored: OrderedDict[str, Tensors] = OrderedDict()

    def get(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        found = self._stored.pop(key, None)
        found = make() if found is None else found
        self._stored[key] = found
        while len(self._stored) > self.entries:
            self._stored.popitem(last=False)
        return found


def fingerprint(*parts: object) -> str:
    """A key that changes with any of the parts; tensors count by shape and content."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(repr(tuple(part.shape)).encode())
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Caches:
    """One cache for paintings, for all photos, and one for photos, for their next few styles."""

    styles: Cache = field(default_factory=lambda: MemoryCache(0))
    photos: Cache = field(default_factory=lambda: MemoryCache(0))


def pack(sums: Mapping[str, Any]) -> Tensors:
    """Sums by layer as flat tensors: ``relu1_1.second`` ..."""
    return {
        f"{layer}.{part.name}": value
        for layer, found in sums.items()
        for part in fields(found)
        if (value := getattr(found, part.name)) is not None
    }


def unpack(tensors: Tensors, kind: type, device: torch.device) -> dict[str, Any]:
    """The reverse of `pack`: sums of ``kind`` by layer, on a device."""
    layers = dict.fromkeys(name.partition(".")[0] for name in tensors)
    return {layer: _sums(tensors, layer, kind, device) for layer in layers}


def _sums(tensors: Tensors, layer: str, kind: type, device: torch.device) -> Any:
    parts = {part.name: tensors.get(f"{layer}.{part.name}") for part in fields(kind)}
    return kind(**{k: None if v is None else v.to(device) for k, v in parts.items()})
