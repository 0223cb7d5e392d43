"""Who may ask, and from where: host names, origins, the token. Pure functions of the headers."""

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
    """What a request must present.

    Attributes:
        token: The secret that it must know; None: no secret.
        names: Host names, besides localhost and numbers, that stand for this server.
        cookie: Name of the cookie that stands for the token. Cookies know no ports, so servers on
            other ports of the machine need other names.
    """

    token: str | None = None
    names: frozenset[str] = frozenset()
    cookie: str = "pipeline"

    def knows_host(self, host: str | None) -> bool:
        """Whether the request was meant for us.

        A foreign page can make its own name resolve to this address (DNS rebinding) and then read
        our answers as its own. It cannot do so with an address or with one of our names.
        """
        name = _name(host or "")
        return name == "localhost" or name in self.names or _is_number(name)

    def is_cross_site(self, headers: Headers) -> bool:
        """Whether another site's page asks, other than by a link that somebody follows."""
        site = headers.get("Sec-Fetch-Site", "none")
        followed = headers.get("Sec-Fetch-Mode") == "navigate"
        return site not in ("same-origin", "none") and not followed

    def may_change(self, headers: Headers) -> bool:
        """Whether a request that changes something comes from our own page, or from no page."""
        site = headers.get("Sec-Fetch-Site", "none")
        origin = headers.get("Origin")
        ours = origin is None or urlsplit(origin).netloc.lower() == headers.get("Host", "").lower()
        return ours and site in ("same-origin", "none")

    def admits(self, headers: Headers) -> bool:
        """Whether the token, or the cookie that was given for it, came along."""
        if self.token is None:
            return True
        kind, _, word = headers.get("Authorization", "").partition(" ")
        return (kind.lower() == "bearer" and self.is_token(word)) or _same(
            self._cookie_of(headers), self.pass_word
        )

    def is_token(self, word: str) -> bool:
        """Whether this is the token; takes equally long for any word."""
        return self.token is not None and _same(word, self.token)

    @property
    def pass_word(self) -> str:
        """What the cookie holds: it admits here, and does not reveal the token."""
        return hmac.digest((self.token or "").encode(), b"cookie", hashlib.sha256).hex()

    def _cookie_of(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("Cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return found.value if found else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _name(host: str) -> str:
    """``[::1]:80`` -> ``::1``, ``Name:80`` -> ``name``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
