"""Handles the HTTP requests of one connection: checks access, then sends or receives files."""

import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.config.file_kinds import PHOTOS
from pipeline.errors import InputError, JobError, OutputError, Reason
from pipeline.gallery.page import build_page
from pipeline.gallery.server.files import HEAD, SCRIPT, Opened
from pipeline.gallery.server.tuning_requests import (
    JSON,
    TEXT,
    TUNING,
    Reply,
    change_tuning,
    get_tuning,
)
from pipeline.gallery.server.uploads import receive
from pipeline.monitoring.live import request_live
from pipeline.system.redaction import Redactor
from pipeline.system.text import encodable

if TYPE_CHECKING:
    from pipeline.gallery.server.context import Host

HEAD_SECONDS = 15.0  # for the header of a request, and between two requests
RESPONSE_SECONDS = 30.0  # for a response, besides the time for its bytes
MIN_BYTES_PER_SECOND = 20_000.0  # of a file or an upload
SILENT_SECONDS = 20.0
MAX_DRAINED = 1 << 22  # bytes of a refused upload that are read, so that the response arrives
COOKIE_SECONDS = 30 * 86400
HTML = "text/html; charset=utf-8"
ALWAYS = {
    # The page has its own policy; nothing else here is ever a document.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
STATUS = {
    Reason.UNSUPPORTED_FORMAT: 415,
    Reason.TOO_LARGE: 413,
    Reason.TRUNCATED: 400,
    Reason.DISK_FULL: 507,
    Reason.IO_ERROR: 503,  # the inbox is away
    Reason.PUBLISH_CONFLICT: 409,
}
_LENGTH = re.compile(r"[0-9]{1,18}")  # int() refuses numbers of thousands of digits
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pipeline", ""
    timeout = SILENT_SECONDS
    server: "Host"  # type: ignore[assignment]  # the library declares its own class

    def handle_one_request(self) -> None:
        """Handle the next request, which must arrive in time."""
        self.server.expect(self.connection, HEAD_SECONDS)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._respond(self._handle_get)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self._respond(self._handle_put)

    # --- access -----------------------------------------------------------------------

    def _respond(self, handle: Callable[[], None]) -> None:
        guard = self.server.site.guard
        self.server.expect(self.connection, RESPONSE_SECONDS)
        if not guard.knows_host(self.headers.get("Host")):
            self._refuse(403, "not a host name of this server (see serve.names)")
        elif not _is_address(self.path):
            self._refuse(400, "not a valid address")
        elif guard.is_cross_site(self.headers):
            self._refuse(403, "request from another site")
        elif not guard.is_authorized(self.headers) and not self._has_token_in_url():
            self._refuse(401, "open the address that `pipeline serve` printed")
        else:
            try:
                handle()
            except JobError as error:
                self._refuse(STATUS.get(error.code, 500), Redactor().redact_text(str(error)))

    def _has_token_in_url(self) -> bool:
        """Whether the URL holds the token, which is then moved into a cookie."""
        words = parse_qs(urlsplit(self.path).query).get("token", [""])
        return self.command == "GET" and self.server.site.guard.is_token(words[0])

    # --- requests -----------------------------------------------------------------------

    def _handle_get(self) -> None:
        path = urlsplit(self.path).path
        if self._has_token_in_url():
            self._set_cookie()
        elif path in ("/", "/index.html"):
            policy = {"Content-Security-Policy": "frame-ancestors 'none'"}
            self._send(200, HTML, build_page(live=True), policy)
        elif path == "/live":
            self._send(200, JSON, json.dumps(self._live_state()).encode())
        elif path.startswith(TUNING):
            self._send_reply(get_tuning(self.server, path))
        else:
            self._handle_file(unquote(path[1:], errors="surrogateescape"))

    def _set_cookie(self) -> None:
        guard = self.server.site.guard
        cookie = f"{guard.cookie}={guard.cookie_value}; Path=/; HttpOnly; SameSite=Lax"
        more = {"Location": "/", "Set-Cookie": f"{cookie}; Max-Age={COOKIE_SECONDS}"}
        self._send(303, TEXT, b"", more)

    def _live_state(self) -> Mapping[str, object]:
        site = self.server.site
        return {
            "now": request_live(site.state, time.time()),
            "upload": site.upload,
            "tune": self.server.tunings is not None,
            "bytes": site.limits.bytes,
            "suffixes": sorted(PHOTOS),
        }

    def _handle_file(self, path: str) -> None:
        found = self.server.files.open(path)
        if found is None and path == HEAD:
            self._send(200, SCRIPT, b'gallery.head({"chunks": 0, "told": 0})\n')
        elif found is None:
            self._refuse(404, "no such picture")
        else:
            with found.file:
                self._send_file(found)

    def _handle_put(self) -> None:
        site, path = self.server.site, urlsplit(self.path).path
        length = self.headers.get("Content-Length", "")
        if not path.startswith(("/inbox/", TUNING)):
            self._refuse(404, "photos go to /inbox/NAME")
        elif not site.upload:
            self._refuse(403, "uploads are switched off (serve.upload)")
        elif not site.guard.may_change(self.headers):
            self._refuse(403, "request from another site")
        elif path.startswith(TUNING):
            self._handle_tuning(path, length)
        elif not _LENGTH.fullmatch(length) or "Transfer-Encoding" in self.headers:
            self._refuse(411, "a Content-Length is required")
        else:
            self._receive(unquote(path.removeprefix("/inbox/")), int(length))

    def _handle_tuning(self, path: str, length: str) -> None:
        if length not in ("", "0") or "Transfer-Encoding" in self.headers:
            self._refuse(400, "this request has no content")
        else:
            self._send_reply(change_tuning(self.server, path, str(self.client_address[0])))

    def _receive(self, name: str, length: int) -> None:
        site = self.server.site
        self.server.expect(
            self.connection,
            RESPONSE_SECONDS + min(length, site.limits.bytes) / MIN_BYTES_PER_SECOND,
        )
        try:
            saved = receive(site.inbox, name, length, self.rfile.read, site.limits)
        except (InputError, OutputError):
            raise
        except OSError:  # a timeout or a lost connection: no response can arrive
            self.close_connection = True
            return
        self.server.log(f"{saved}: put into the inbox by {self.client_address[0]}")
        self._send(201, JSON, json.dumps({"name": saved}).encode())

    # --- responses ------------------------------------------------------------------------

    def _send_reply(self, reply: Reply) -> None:
        if reply.status < 400:
            self._send(reply.status, reply.kind, reply.content)
        else:
            self._refuse(reply.status, reply.content.decode())

    def _send(
        self, status: int, kind: str, content: bytes, more: Mapping[str, str] | None = None
    ) -> None:
        self._send_headers(status, kind, len(content), more or {})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_headers(self, status: int, kind: str, length: int, more: Mapping[str, str]) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(length)}
        for name, value in {**ALWAYS, **own, **more}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send_file(self, found: Opened) -> None:
        more = {"ETag": found.etag, "Accept-Ranges": "bytes"}
        if found.immutable:
            more["Cache-Control"] = "private, max-age=31536000, immutable"
        if self.headers.get("If-None-Match") == found.etag:
            self._send(304, found.kind, b"", more)
            return
        self.server.expect(self.connection, RESPONSE_SECONDS + found.size / MIN_BYTES_PER_SECOND)
        span = _parse_range(self.headers.get("Range", ""), found.size)
        if span is None:
            self._send_headers(200, found.kind, found.size, more)
            span = (0, found.size)
        else:
            more["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{found.size}"
            self._send_headers(206, found.kind, span[1] - span[0], more)
        if self.command != "HEAD" and span[1] > span[0]:
            self.connection.sendfile(found.file, span[0], span[1] - span[0])

    def _refuse(self, status: int, what: str) -> None:
        """Send the reason as text; what the client still sends is not read as another request."""
        self.close_connection = True
        self._send(status, TEXT, encodable(f"{what}\n").encode())
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            left = MAX_DRAINED
            while left > 0 and (block := self.rfile.read1(1 << 16)):
                left -= len(block)

    def send_error(self, code: int, message: str | None = None, _: str | None = None) -> None:
        """Send an error of the library as plain text, never as a page."""
        self.command = getattr(self, "command", None) or "GET"
        self._refuse(code, message or "refused")

    def log_message(self, *_: object) -> None:
        """Log no line for each request."""


def _parse_range(wanted: str, size: int) -> tuple[int, int] | None:
    """First and last (exclusive) byte of a valid Range header, as video players send it."""
    match = _RANGE.fullmatch(wanted)
    if match is None or wanted == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    begin, end = int(first), min(size, int(last) + 1) if last else size
    return (begin, end) if begin < end else None


def _is_address(target: str) -> bool:
    """Whether the target of a request can be read as a URL."""
    try:
        urlsplit(target)
    except ValueError:
        return False
    return True
