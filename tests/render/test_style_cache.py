"""Paintings are measured once: their sums wait on disk, and nothing breaks when they do not."""

import os
from pathlib import Path

import pytest
import torch

from pipeline.config.transfer import Transfer
from pipeline.nst import Vgg19, stylize
from pipeline.nst.cache import Caches, MemoryCache, Tensors
from pipeline.nst.objective import STATISTICS
from pipeline.render.style_cache import DiskCache


def made(count: list[int]) -> Tensors:
    count.append(1)
    return {"relu1_1.first": torch.arange(3.0)}


def test_what_was_measured_is_read_back_and_not_measured_again(tmp_path: Path) -> None:
    count: list[int] = []
    first = DiskCache(tmp_path / "styles").get("key", lambda: made(count))
    again = DiskCache(tmp_path / "styles").get("key", lambda: made(count))
    assert len(count) == 1
    torch.testing.assert_close(first, again)


@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", None])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    count: list[int] = []
    DiskCache(tmp_path).get("key", lambda: made(count))
    (path,) = tmp_path.glob("*.pt")
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    DiskCache(tmp_path).get("key", lambda: made(count))
    assert len(count) == 2
    DiskCache(tmp_path).get("key", lambda: made(count))
    assert len(count) == 2


def test_a_flipped_bit_in_an_entry_is_noticed(tmp_path: Path) -> None:
    """Nothing in the file's format does; the picture would have other pixels than its recipe."""
    count: list[int] = []
    DiskCache(tmp_path).get("key", lambda: made(count))
    (path,) = tmp_path.glob("*.pt")
    numbers = torch.arange(3.0).numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(numbers) + 5] ^= 1
    path.write_bytes(content)
    assert torch.equal(
        DiskCache(tmp_path).get("key", lambda: made(count))["relu1_1.first"], torch.arange(3.0)
    )
    assert len(count) == 2


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert DiskCache(tmp_path / "file").get("key", lambda: made([]))


def test_the_least_lately_used_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, entries=2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda: made([]))
        for path in tmp_path.glob("*.pt"):  # file times in this test: one tick a look
            stat = path.stat()
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))
    assert sorted(path.name[0] for path in tmp_path.glob("*.pt")) == ["a", "c"]


@pytest.mark.parametrize("statistic", sorted(STATISTICS))
@pytest.mark.slow
def test_a_style_read_from_disk_paints_the_same_picture(
    statistic: str, tmp_path: Path, photo: torch.Tensor, painting: torch.Tensor, network: Vgg19
) -> None:
    options = Transfer(size=48, steps=(3,), statistic=statistic)
    pictures = [
        stylize(
            photo, painting, options, network=network,
            caches=Caches(DiskCache(tmp_path), MemoryCache(2)),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert torch.equal(*pictures)
    assert list(tmp_path.glob("*.pt"))
