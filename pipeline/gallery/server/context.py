"""What all connections share: the site that is served, and the server's interface."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.config.sections import Limits
from pipeline.gallery.server.access import Guard
from pipeline.gallery.server.files import OutboxFiles
from pipeline.gallery.server.tunings import Tunings


@dataclass(frozen=True, slots=True)
class Site:
    """What is served: the outbox, the inbox for uploads, and who has access."""

    outbox: Path
    inbox: Path
    state: Path
    limits: Limits
    guard: Guard
    upload: bool = True


class Host(Protocol):
    """The part of the server that a connection uses."""

    site: Site
    files: OutboxFiles
    tunings: Tunings | None
    log: Callable[[str], None]

    def expect(self, connection: socket.socket, seconds: float) -> None:
        """Close the connection unless it reaches its next stage within this time."""
        ...
