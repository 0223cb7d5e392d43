"""One browser for all, one outbox that does not change, a fresh look at it for each test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.gallery_stock import (
    add_film,
    add_map,
    done_line,
    failed_line,
    hang,
    pruned_line,
    write_log,
)
from support.looking import PAIRS, Visit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def find_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium: `make browser` installs it, and CI must have it")
        pytest.skip("no chromium on this machine: `make browser` installs it")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos in two styles, one with timelapse and map, and what went wrong with others."""
    root = tmp_path_factory.mktemp("outbox")
    lines = [done_line(*pair) for pair in PAIRS]
    for line in lines:
        hang(root, line)
    add_film(root, lines[0])
    add_map(root, lines[0])
    write_log(root, lines)
    write_log(root, [
        failed_line("broken.jpg", "truncated", "the file is cut off or damaged"),
        failed_line("notes.txt", "unsupported_format", "no picture", status="skipped"),
        failed_line("sea/1.jpg", "out_of_memory", "too large", style="mosaic"),
        failed_line("2.jpg", "truncated", "mended since"),
        done_line("2.jpg", "ink_hatching"),
        done_line("pruned.jpg"),
        pruned_line("pruned.jpg"),
    ])  # fmt: skip
    return root


@pytest.fixture
def page(browser: Browser, outbox: Path) -> Iterator[Page]:
    visit = Visit(browser, outbox)
    yield visit.page
    visit.end()
