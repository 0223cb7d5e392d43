"""`serve`: starts the gallery server on an address of this machine and runs it until a signal."""

import secrets
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from pipeline.config.loading import Loaded
from pipeline.config.model import Config
from pipeline.errors import ConfigError, UsageError
from pipeline.gallery.server import GalleryServer, Site
from pipeline.gallery.server.access import Guard, is_loopback
from pipeline.gallery.server.server import POLL_SECONDS
from pipeline.gallery.server.tunings import Tunings
from pipeline.gallery.server.uploads import remove_partial_uploads
from pipeline.system import interrupt
from pipeline.system.paths import is_folder
from pipeline.system.text import visible


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen."""

    host: str
    port: int


def serve_gallery(loaded: Loaded, host: str | None = None, port: int | None = None) -> int:
    """Serve until a signal; return the exit code. Works with or without a running `watch`.

    Raises:
        ConfigError: There is no inbox, or the state folder cannot be created.
        UsageError: The server cannot listen at the address.
    """
    config = loaded.config
    wanted = config.serve.host if host is None else host
    place = Place(wanted, config.serve.port if port is None else port)
    if not is_folder(config.inbox):
        hint = "create it, or set another folder"
        raise ConfigError("no such folder", where=f"inbox: {config.inbox}", hint=hint)
    config.state.mkdir(parents=True, exist_ok=True)
    remove_partial_uploads(config.inbox)
    token = config.serve.token or ("" if is_loopback(place.host) else secrets.token_urlsafe(24))
    with _open_server(loaded, place, token) as server:
        for line in _describe_address(config, place, server.port, token):
            _print_line(line)
        return _run_until_signal(server)


def _open_server(loaded: Loaded, place: Place, token: str) -> GalleryServer:
    config = loaded.config
    names = frozenset(name.lower() for name in (*config.serve.names, socket.gethostname()))
    cookie = f"pipeline-{place.port or 'any'}"
    guard = Guard(token or None, names, cookie)
    site = Site(
        config.outbox, config.inbox, config.state, config.limits, guard, config.serve.upload
    )
    # Who may not add photos may not change a style either.
    tunings = Tunings(loaded.path.absolute()) if site.upload else None
    try:
        return GalleryServer((place.host, place.port), site, log=_print_line, tunings=tunings)
    except (OSError, OverflowError, UnicodeError) as error:
        where = f"{place.host}:{place.port}"
        hint = "choose another --port, or --port 0 for any free port"
        what = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot listen on this address: {what.lower()}", where=where, hint=hint
        ) from None


def _describe_address(config: Config, place: Place, port: int, token: str) -> list[str]:
    host = socket.gethostname() if place.host in ("", "0.0.0.0", "::") else place.host  # noqa: S104  # compared, not bound
    host = f"[{host}]" if ":" in host else host
    secret = f"?token={token}" if token else ""
    lines = [f"the gallery of {config.outbox}: http://{host}:{port}/{secret}", "Ctrl-C stops it"]
    if token and not is_loopback(place.host):
        lines.insert(
            1, "anyone with this address may view and add photos; the connection is not encrypted"
        )
    return lines


def _print_line(line: str) -> None:
    with suppress(OSError):  # a closed pipe or a full disk must not stop the server
        print(visible(line), flush=True)


def _run_until_signal(server: GalleryServer) -> int:
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if not received:
            # In its own thread: shutdown() waits for the loop, which this handler interrupts.
            Thread(target=server.shutdown, daemon=True).start()
        received.append(number)

    with interrupt.handled_by(stop):
        server.serve_forever(POLL_SECONDS)
    return 130 if signal.SIGINT in received else 0
