"""Comes between the program and one of its system calls."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

FILE_CALLS = ("open", "stat", "rename", "replace", "link", "unlink", "mkdir", "fsync", "read")


@contextmanager
def before_call(
    number: int, act: Callable[[], None], names: Collection[str] = FILE_CALLS
) -> Iterator[list[str]]:
    """Act just before one of the system calls; yields the names of those made so far.

    Those of the jobs database do not count.
    """
    made: list[str] = []

    def counted(name: str, real: Callable) -> Callable:
        def call(*args, **how):
            if "jobs.sqlite3" in str(args[0]):
                return real(*args, **how)
            made.append(name)
            if len(made) == number:
                act()
            return real(*args, **how)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        yield made
