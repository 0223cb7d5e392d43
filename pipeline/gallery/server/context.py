"""DOCSTRING."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.sections import Limits
from pipeline.gallery.server.access import Guard


@dataclass(frozen=True, slots=True)
class Wing:
    """What is served: where pictures hang, where photos go, who may come."""

    outbox: Path
    inbox: Path
    state: Path
    limits: Limits
    guard: Guard
    upload: bool = True
