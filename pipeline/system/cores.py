"""Counts the cores that this process may use, which may be fewer than the machine has."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.system.safe_files import read_bounded

MOST_BYTES = 1 << 16  # of a file of the kernel's

_CPUS = Path("/sys/devices/system/cpu")
_GROUPS = Path("/sys/fs/cgroup")


def count_usable_cores(cpus: Path = _CPUS, groups: Path = _GROUPS) -> int:
    """Physical cores in this process's affinity, within its control group's quota; at least 1.

    Two hyperthreads share one core's arithmetic: counting both slows the sums of torch down.
    OMP_NUM_THREADS, where it is set, is an upper bound too: a picture must be rendered again with
    as many threads as the first time, since their number decides the order of sums.
    """
    mine = _affinity()
    cores = len({_siblings(cpu, cpus) for cpu in mine}) or os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(groups)), *_requested()]))


def _requested() -> Iterable[int]:
    """The number in OMP_NUM_THREADS (of nested levels the first); none where there is none."""
    with suppress(ValueError):
        if (count := int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])) > 0:
            yield count


def _affinity() -> Iterable[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)  # macOS, Windows


def _siblings(cpu: int, cpus: Path) -> str:
    """The logical CPUs of one core, as the kernel lists them; its own number where it does not."""
    with suppress(OSError):
        return _line(cpus / f"cpu{cpu}/topology/thread_siblings_list")
    return str(cpu)


def _line(path: Path) -> str:
    return read_bounded(path, MOST_BYTES).decode().strip()


def _quotas(groups: Path) -> Iterable[float]:
    """CPUs that the control group may use: version 2, then version 1. None where unbounded."""
    with suppress(OSError, ValueError):
        quota, period = _line(groups / "cpu.max").split()
        if quota != "max":
            yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = _line(groups / "cpu/cpu.cfs_quota_us")
        period = _line(groups / "cpu/cpu.cfs_period_us")
        if int(quota) > 0:
            yield int(quota) / int(period)


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Processes started in this context use ``count`` threads, unless OMP_NUM_THREADS is set.

    Read when torch is loaded, for all threads of the process: a job runs in a thread of its own,
    of which `torch.set_num_threads`, called in the first one, knows nothing.
    """
    configured = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(count))
    try:
        yield
    finally:
        if configured is None:
            del os.environ["OMP_NUM_THREADS"]
