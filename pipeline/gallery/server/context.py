"""What all connections share: the site that is served, and the server's own state."""

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
    """What is served: the outbox, the inbox for uploads, and who has access."""

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
