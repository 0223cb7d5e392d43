"""`serve`: the gallery on an address of this machine, until Ctrl-C."""

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
from pipeline.gallery.server.uploads import sweep
from pipeline.system.paths import is_folder
from pipeline.system.text import visible


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen."""

    host: str
    port: int


def serve(loaded: Loaded, host: str | None = None, port: int | None = None) -> int:
    """Serve until a signal; returns the exit code. Works beside a running `watch` and alone.

    Raises:
        ConfigError: When there is no inbox or no state folder can be made.
        UsageError: When the address cannot be had.
    """
    config = loaded.config
    wanted = config.serve.host if host is None else host
    place = Place(wanted, config.serve.port if port is None else port)
    if not is_folder(config.inbox):
        hint = "make it, or name another folder"
        raise ConfigError("no such folder", where=f"inbox: {config.inbox}", hint=hint)
    config.state.mkdir(parents=True, exist_ok=True)
    sweep(config.inbox)
    token = config.serve.token or ("" if is_loopback(place.host) else secrets.token_urlsafe(24))
    with _server(config, place, token) as server:
        for line in _greeting(config, place, server.port, token):
            _print_line(line)
        return _until_signal(server)


def _server(config: Config, place: Place, token: str) -> GalleryServer:
    names = frozenset(name.lower() for name in (*config.serve.names, socket.gethostname()))
    cookie = f"pipeline-{place.port or 'any'}"
    guard = Guard(token or None, names, cookie)
    site = Site(
        config.outbox, config.inbox, config.state, config.limits, guard, config.serve.upload
    )
    try:
        note = _print_line
        return GalleryServer((place.host, place.port), site, note=note)
    except (OSError, OverflowError, UnicodeError) as error:
        where = f"{place.host}:{place.port}"
        hint = "choose another --port, or --port 0 for any that is free"
        what = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen there: {what.lower()}", where=where, hint=hint) from None


def _greeting(config: Config, place: Place, port: int, token: str) -> list[str]:
    host = socket.gethostname() if place.host in ("", "0.0.0.0", "::") else place.host  # noqa: S104  # compared, not bound
    host = f"[{host}]" if ":" in host else host
    secret = f"?token={token}" if token else ""
    lines = [f"the gallery of {config.outbox}: http://{host}:{port}/{secret}", "Ctrl-C ends it"]
    if token and not is_loopback(place.host):
        lines.insert(1, "whoever has this address may look and add photos; it travels unencrypted")
    return lines


def _print_line(line: str) -> None:
    with suppress(OSError):  # a reader that went away, a full disk: serving goes on
        print(visible(line), flush=True)


def _until_signal(server: GalleryServer) -> int:
    heard: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if not heard:
            # From a thread of its own: it waits for the loop, which this handler interrupts.
            Thread(target=server.shutdown, daemon=True).start()
        heard.append(number)

    stops = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    # What is ignored stays so: `nohup pipeline serve` outlives its terminal.
    heeded = {s for s in stops if signal.getsignal(s) != signal.SIG_IGN}
    before = {s: signal.signal(s, stop) for s in heeded}
    try:
        server.serve_forever(POLL_SECONDS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 130 if signal.SIGINT in heard else 0
