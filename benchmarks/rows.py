"""Rows of the benchmark table, and functions that measure time."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A line of the table; ``target`` is the aim, "" where there is none."""

    name: str
    value: str
    target: str = ""


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_of(work: Callable[[], Any], rounds: int) -> float:
    """Median wall seconds of ``rounds`` calls."""
    return statistics.median(seconds(work) for _ in range(rounds))
