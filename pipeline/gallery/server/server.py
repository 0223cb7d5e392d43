"""The HTTP server: one thread per connection, a limited number of them, each with a deadline.

It uses the standard library's server, which is enough to send few files to few visitors and lets
this module set every limit. For more visitors, put a web server in front of it.
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
from pipeline.gallery.server.tunings import Tunings

MOST_CONNECTIONS = 48  # a browser opens six for each tab
POLL_SECONDS = 0.5
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class GalleryServer(ThreadingHTTPServer):
    """Serves the gallery; listens as soon as it is created.

    Args:
        address: Host and port; port 0 takes one that is free.
        site: What is served.
        clock: Monotonic seconds; deadlines are kept by it.
        log: Called from any thread with a line for people.
        handler: Handles the requests of a connection.
        tunings: Lets visitors tune styles; None: they may not.

    Raises:
        OSError: The server cannot listen at the address.
    """

    daemon_threads = True
    block_on_close = False  # a connected client must not keep the program from ending
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        site: Site,
        clock: Callable[[], float] = time.monotonic,
        log: Callable[[str], None] = lambda _: None,
        handler: type[Handler] = Handler,
        tunings: Tunings | None = None,
    ) -> None:
        self.site, self.clock, self.log, self.tunings = site, clock, log, tunings
        self.files = OutboxFiles(site.outbox)
        self._slots = BoundedSemaphore(MOST_CONNECTIONS)
        self.deadlines: dict[socket.socket, float] = {}
        self._lock = Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Like the library's method, but without a network query for the host name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.port

    # --- limits -------------------------------------------------------------------------

    def expect(self, connection: socket.socket, seconds: float) -> None:
        """Close the connection unless it reaches its next stage within this time."""
        with self._lock:
            self.deadlines[connection] = self.clock() + seconds

    def service_actions(self) -> None:
        """Close connections past their deadline and tunings left alone; called twice a second."""
        if self.tunings is not None:
            self.tunings.update()
        now = self.clock()
        with self._lock:
            late = [each for each, deadline in self.deadlines.items() if now > deadline]
        for connection in late:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def server_close(self) -> None:
        """Stop listening, and end what runs."""
        super().server_close()
        if self.tunings is not None:
            self.tunings.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the connection, if the limit allows one more."""
        if not self._slots.acquire(blocking=False):
            with suppress(OSError):
                request.settimeout(1)
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the connection; runs in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self.deadlines.pop(request, None)
            self._slots.release()

    def handle_error(self, *_: Any) -> None:
        """Ignore a client that disconnected; report any other error in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            self.log(f"unexpected {type(error).__name__}: {error}")
