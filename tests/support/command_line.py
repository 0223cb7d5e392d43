"""How a command is called in tests, and what it ended with."""

from collections.abc import Callable
from dataclasses import dataclass

SMALL = ["--size", "48", "--steps", "2"]


@dataclass
class Ended:
    code: int
    out: str
    err: str


Pipeline = Callable[..., Ended]
