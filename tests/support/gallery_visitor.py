"""A gallery server, and a visitor."""

import http.client
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from pipeline.config.sections import Limits
from pipeline.gallery.server import GalleryServer, Site
from pipeline.gallery.server.access import Guard
from pipeline.gallery.server.tunings import Tunings
from pipeline.gallery.writer import Gallery
from support.gallery_stock import write_log

LIMITS = Limits(bytes=100_000, free_bytes=0)
TOKEN = "correct horse battery"


class Answer(SimpleNamespace):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Visitor:
    """A server, and a visitor."""

    def __init__(
        self,
        root: Path,
        guard: Guard | None = None,
        tunings: Tunings | None = None,
        **site: object,
    ) -> None:
        for name in ("inbox", "outbox", "state"):
            (root / name).mkdir(exist_ok=True)
        self.inbox, self.outbox, self.state = root / "inbox", root / "outbox", root / "state"
        self.now = 0.0
        self.notes: list[str] = []
        places = (self.outbox, self.inbox, self.state, LIMITS, guard or Guard())
        self.server = GalleryServer(
            ("127.0.0.1", 0),
            Site(*places, **site),
            lambda: self.now,
            self.notes.append,
            tunings=tunings,
        )
        self.loop = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.loop.start()

    def end(self) -> None:
        self.server.shutdown()
        self.loop.join()
        self.server.server_close()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **more: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        connection.request(method, path, body, headers)
        got = connection.getresponse()
        answer = Answer(status=got.status, headers=got.headers, body=got.read())
        connection.close()
        return answer

    def put(self, name: str, body: bytes = b"picture", **more: str) -> Answer:
        return self.ask(f"/inbox/{name}", "PUT", body, **more)

    def raw(self, text: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        connection.sendall(text)
        return connection

    def arrived(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.inbox.iterdir()}


def told(visitor: Visitor, *lines: dict) -> None:
    write_log(visitor.outbox, lines)
    Gallery(visitor.outbox).update()


def until(true: Callable[[], object]) -> None:
    """Waits for another thread or process, which does not say when it is done."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
