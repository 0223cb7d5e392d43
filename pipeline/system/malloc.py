"""Memory that a step frees is kept for the next one, where the C library is glibc.

glibc takes each large block from the system separately and returns it as soon as it is freed.
Feature maps are such blocks: every step would fault them in again, page by page, which at 512 px
is a fifth of its time. No effect on other systems: their allocators keep large blocks themselves.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt(3)
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1
_GLIBC_TRIM_THRESHOLD, _GLIBC_MMAP_MAX = 128 << 10, 65536  # its own defaults


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def use_one_arena() -> None:
    """All threads of this process share one heap; to be called before there are any.

    What one job's thread frees then serves the next one's: a quarter less memory at most.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_ARENA_MAX, 1)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Within this context freed memory stays with the process; at its end all is given back."""
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _GLIBC_MMAP_MAX)
        library.mallopt(_TRIM_THRESHOLD, _GLIBC_TRIM_THRESHOLD)
        library.malloc_trim(0)
