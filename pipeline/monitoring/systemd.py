"""Notifications to the service manager: systemd's protocol (sd_notify(3)), one datagram each.

Own code instead of a library: it is a dozen lines, and nothing to install.
"""

import os
import socket
from collections.abc import Mapping

LEAST_SECONDS = 0.5


class Notifier:
    """Notifies systemd that the service is ready, alive or stopping; silent without NOTIFY_SOCKET.

    Args:
        environment: Where NOTIFY_SOCKET and WATCHDOG_USEC are looked for.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # the abstract namespace of Linux
            self._address = "\0" + self._address[1:]
        self.seconds = _watchdog_seconds(environment)
        self._next = 0.0
        self._said = ""

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def alive(self, now: float) -> None:
        """The service works: sent three times in the time after which systemd would restart it."""
        if self.seconds and now >= self._next:
            self._next = now + self.seconds / 3
            self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """One line for `systemctl status`; sent when it changes."""
        if words != self._said:
            self._said = words
            self._send(f"STATUS={' '.join(words.split())}")

    def stopping(self) -> None:
        """The service was asked to end, and does."""
        self._send("STOPPING=1")

    def _send(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.setblocking(False)
                speaker.sendto(words.encode("utf-8", "replace"), self._address)
        except OSError:
            return  # a manager that does not listen must not end the service


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Seconds within which systemd expects a notification; 0: never, or of another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0
    return max(LEAST_SECONDS, seconds) if seconds > 0 else 0.0
