"""Memory that a step frees serves the next step, and is given back in the end."""

import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="only glibc gives large blocks back at once"
    ),
]

# In a process of its own: what other tests did to this one's heap would be counted as well.
STEPS = """
import resource, torch
from pipeline.system.malloc import keep_freed_memory, use_one_arena

def faults(steps=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(10_000_000).add(1)  # two blocks of 40 MB, as feature maps are
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 2**20

use_one_arena()
before, without = held(), faults()
with keep_freed_memory():
    faults(40)  # the heap settles: a hole may be a few bytes too small at first
    within, inside = faults(), held()
print(without, within, before, inside, held(), faults())
"""


@pytest.fixture(scope="module")
def figures() -> list[int]:
    made = subprocess.run(
        [sys.executable, "-c", STEPS], capture_output=True, text=True, check=True, timeout=120
    )
    return [int(figure) for figure in made.stdout.split()]


def test_a_step_does_not_ask_the_system_for_the_memory_of_the_last_one(figures: list[int]) -> None:
    without, within, *_ = figures
    assert without > 10_000  # pages of 4 KB; fewer would mean that the test measures nothing
    assert within < without / 100


def test_what_was_kept_is_given_back_at_the_end(figures: list[int]) -> None:
    _, _, before, inside, after, again = figures
    assert inside > before + 60
    assert after < before + 20
    assert again > 10_000  # and the allocator is as it was
