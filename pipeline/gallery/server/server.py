"""The sockets: a thread for each of a bounded number of connections, each with a deadline.

The standard library's server, because all that is wanted is few files for few visitors, and what
has to be bounded can be seen here. For more than that put a web server in front.
"""

import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any

from pipeline.gallery.server.context import Site
from pipeline.gallery.server.files import OutboxFiles
from pipeline.gallery.server.request_handler import Handler

MOST_CONNECTIONS = 48  # a browser opens six for each tab
POLL_SECONDS = 0.5
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class GalleryServer(ThreadingHTTPServer):
    """Listens from the moment it is built.

    Args:
        address: Host and port; port 0 takes one that is free.
        site: What is served.
        clock: Monotonic seconds; deadlines are kept by it.
        note: Called with a line for people, now and then, from any thread.

    Raises:
        OSError: When the address cannot be had.
    """

    daemon_threads = True
    block_on_close = False  # a client that stays connected must not keep the program from ending
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        site: Site,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.site, self.clock, self.note = site, clock, note
        self.files = OutboxFiles(site.outbox)
        self._slots = BoundedSemaphore(MOST_CONNECTIONS)
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Like the library's, without asking the network for our own name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.port

    # --- bounds -------------------------------------------------------------------------

    def expect(self, connection: socket.socket, seconds: float) -> None:
        """The connection is ended unless it comes to its next stage within so many seconds."""
        with self._lock:
            self._deadlines[connection] = self.clock() + seconds

    def service_actions(self) -> None:
        """Called twice a second: end what takes too long, however busily."""
        now = self.clock()
        with self._lock:
            late = [each for each, deadline in self._deadlines.items() if now > deadline]
        for connection in late:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, if there is room for one more."""
        if not self._slots.acquire(blocking=False):
            with suppress(OSError):
                request.settimeout(1)
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._deadlines.pop(request, None)
            self._slots.release()

    def handle_error(self, *_: Any) -> None:
        """A client that disconnected is no error; anything else is reported in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            self.note(f"unexpected {type(error).__name__}: {error}")
