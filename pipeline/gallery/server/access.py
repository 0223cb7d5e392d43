"""Access control: checks host names, origins and the token. Pure functions of the headers."""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from email.message import Message
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

Headers = Message | dict[str, str]


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides whether a request is allowed.

    Attributes:
        token: The secret that a request must present; None: no secret is needed.
        names: Host names of this server, besides localhost and IP addresses.
        cookie: Name of the cookie that replaces the token. Cookies ignore ports, so servers on
            different ports of a machine need different names.
    """

    token: str | None = None
    names: frozenset[str] = frozenset()
    cookie: str = "pipeline"

    def knows_host(self, host: str | None) -> bool:
        """Whether the request names this server as its host.

        A foreign page can make its own host name resolve to this address (DNS rebinding) and then
        read our responses. It cannot do so with an IP address or with one of our names.
        """
        name = _strip_port(host or "")
        return name == "localhost" or name in self.names or _is_ip_address(name)

    def is_cross_site(self, headers: Headers) -> bool:
        """Whether a page of another site sent the request, and not a user who followed a link."""
        site = headers.get("Sec-Fetch-Site", "none")
        navigates = headers.get("Sec-Fetch-Mode") == "navigate"
        return site not in ("same-origin", "none") and not navigates

    def may_change(self, headers: Headers) -> bool:
        """Whether a request may change something: it comes from our own page, or from no page."""
        site = headers.get("Sec-Fetch-Site", "none")
        origin = headers.get("Origin")
        ours = origin is None or _host_of(origin) == headers.get("Host", "").lower()
        return ours and site in ("same-origin", "none")

    def is_authorized(self, headers: Headers) -> bool:
        """Whether the request holds the token, or the cookie that was set for it."""
        if self.token is None:
            return True
        kind, _, word = headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(word):
            return True
        return _equal(self._read_cookie(headers), self.cookie_value)

    def is_token(self, word: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is not None and _equal(word, self.token)

    @property
    def cookie_value(self) -> str:
        """The value of the cookie: it gives access to this server without revealing the token."""
        return hmac.digest((self.token or "").encode(), b"cookie", hashlib.sha256).hex()

    def _read_cookie(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("Cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return found.value if found else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    return host == "localhost" or (_is_ip_address(host) and ipaddress.ip_address(host).is_loopback)


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None where it is not a valid address."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _strip_port(host: str) -> str:
    """``[::1]:80`` -> ``::1``, ``Name:80`` -> ``name``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
