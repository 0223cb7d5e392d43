"""Sends notifications to the service manager by systemd's protocol (sd_notify(3)).

Its dozen lines replace a dependency.
"""

import os
import socket
from collections.abc import Mapping

MIN_SECONDS = 0.5


class Notifier:
    """Notifies systemd that the service is ready, alive or stopping; silent without NOTIFY_SOCKET.

    Args:
        environment: Holds NOTIFY_SOCKET and WATCHDOG_USEC.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # the abstract namespace of Linux
            self._address = "\0" + self._address[1:]
        self.seconds = _watchdog_seconds(environment)
        self._next = 0.0
        self._last_status = ""

    def notify_ready(self) -> None:
        """Report that the service has started."""
        self._send("READY=1")

    def notify_alive(self, now: float) -> None:
        """Report that the service works, three times within systemd's time limit."""
        if self.seconds and now >= self._next:
            self._next = now + self.seconds / 3
            self._send("WATCHDOG=1")

    def notify_status(self, words: str) -> None:
        """Send one line for `systemctl status`, if it has changed."""
        if words != self._last_status:
            self._last_status = words
            self._send(f"STATUS={' '.join(words.split())}")

    def notify_stopping(self) -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1")

    def _send(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
                client.setblocking(False)
                client.sendto(words.encode("utf-8", "replace"), self._address)
        except OSError:
            return  # the service runs on when no manager listens


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Seconds within which systemd expects a notification; 0: none, or from another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0
    return max(MIN_SECONDS, seconds) if seconds > 0 else 0.0
