"""What a connection finds at its server: what is served, and what the server keeps for all."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.config.sections import Limits
from pipeline.gallery.server.access import Guard
from pipeline.gallery.server.files import OutboxFiles


@dataclass(frozen=True, slots=True)
class Site:
    """What is served: where pictures hang, where photos go, who may come."""

    outbox: Path
    inbox: Path
    state: Path
    limits: Limits
    guard: Guard
    upload: bool = True


class Host(Protocol):
    """The server, as a connection sees it."""

    site: Site
    files: OutboxFiles
    note: Callable[[str], None]

    def expect(self, connection: socket.socket, seconds: float) -> None:
        """End the connection unless it comes to its next stage within so many seconds."""
        ...
