"""Accessibility of each view: names, headings, contrast, focus, zoom, narrow windows, motion."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from support.gallery_stock import done_line, hang, write_log
from support.looking import Visit, open_link
from support.seeing import (
    cut_off,
    faint_text,
    images_without_text,
    misplaced_headings,
    moving_parts,
    nameless_controls,
    walk_by_tab,
)

from pipeline.gallery.writer import Gallery

pytestmark = pytest.mark.slow


def choose(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("radio", name=name).check()


def open_first(page: Page) -> Locator:
    """Open the oldest picture, which has a timelapse and a map."""
    page.get_by_label("Order").select_option("old")
    return open_link(page, page.locator(".tile").first)


def compare(page: Page) -> None:
    open_first(page)
    page.keyboard.press("c")


def show_mode(name: str) -> Callable[[Page], None]:
    def show(page: Page) -> None:
        open_first(page).get_by_role("radio", name=name).check()

    return show


def search_in_vain(page: Page) -> None:
    page.get_by_role("searchbox").fill("no such picture")


VIEWS: dict[str, Callable[[Page], object]] = {
    "by photo": choose("By photo"),
    "by style": choose("By style"),
    "together": choose("Together"),
    "not painted": choose("Not painted"),
    "nothing found": search_in_vain,
    "picture": open_first,
    "compare": compare,
    "photo": show_mode("Photo"),
    "timelapse": show_mode("Timelapse"),
    "learned": show_mode("Where it learned"),
}
every_view = pytest.mark.parametrize("view", VIEWS)


@every_view
def test_images_controls_and_headings_speak(page: Page, view: str) -> None:
    """Every image has a text, every control a name, and headings leave out no level."""
    VIEWS[view](page)
    assert images_without_text(page) == []
    assert nameless_controls(page) == []
    assert misplaced_headings(page) == []


@every_view
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(browser: Browser, outbox: Path, view: str, scheme: str) -> None:
    visit = Visit(browser, outbox, color_scheme=scheme, reduced_motion="reduce")
    VIEWS[view](visit.page)
    assert faint_text(visit.page) == []
    visit.end()


@every_view
def test_the_keyboard_reaches_all_and_shows_where_it_is(page: Page, view: str) -> None:
    VIEWS[view](page)
    stops, wrong = walk_by_tab(page)
    assert len(stops) >= 4
    assert wrong == []


# 1280 px at 200 % are 640 CSS px of twice the density.
@every_view
@pytest.mark.parametrize("window", [(640, 400, 2), (320, 640, 1)], ids=["zoom 200 %", "320 px"])
def test_nothing_is_cut_off(
    browser: Browser, outbox: Path, view: str, window: tuple[int, int, int]
) -> None:
    width, height, density = window
    visit = Visit(browser, outbox, viewport={"width": width, "height": height},
                  device_scale_factor=density)  # fmt: skip
    VIEWS[view](visit.page)
    assert cut_off(visit.page) == []
    visit.end()


@every_view
def test_reduced_motion_stops_all_motion(browser: Browser, outbox: Path, view: str) -> None:
    visit = Visit(browser, outbox, reduced_motion="reduce")
    VIEWS[view](visit.page)
    assert moving_parts(visit.page) == []
    visit.end()


def test_a_timelapse_plays_on_request_where_motion_is_unwanted(
    browser: Browser, outbox: Path
) -> None:
    visit = Visit(browser, outbox, reduced_motion="reduce")
    show_mode("Timelapse")(visit.page)
    picture = visit.page.locator("#picture")
    assert "timelapse" not in picture.get_attribute("src")
    visit.page.get_by_role("button", name="Play").click()
    assert "timelapse" in picture.get_attribute("src")
    visit.page.get_by_role("button", name="Stop").click()
    assert "timelapse" not in picture.get_attribute("src")
    visit.end()


def test_focus_stays_in_the_dialog_and_returns_from_it(page: Page) -> None:
    link = page.locator(".tile").first
    name = link.get_attribute("aria-label")
    open_link(page, link)
    page.get_by_role("button", name="Close").click()
    page.wait_for_function("name => document.activeElement.ariaLabel === name", arg=name)


def test_what_changes_is_announced(browser: Browser, tmp_path: Path) -> None:
    """Matches, the picture turned to, a copied recipe and new pictures reach a live region."""
    for number in (1, 2):
        hang(tmp_path, line := done_line(f"{number}.jpg"))
        write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    page, dialog_status = visit.page, visit.page.get_by_role("dialog").get_by_role("status")
    page.get_by_role("searchbox").fill("2.jpg")
    expect(page.locator("#status")).to_have_text("1 picture")
    page.get_by_role("searchbox").fill("")
    open_link(page, page.locator(".tile").first)
    page.keyboard.press("ArrowRight")
    expect(dialog_status).to_contain_text(["2 of 2: 1.jpg as mosaic"])
    page.get_by_role("button", name="Copy").click()
    expect(dialog_status).to_contain_text(["Copied"])
    page.keyboard.press("Escape")
    hang(tmp_path, line := done_line("3.jpg"))
    write_log(tmp_path, [line])
    Gallery(tmp_path).update()
    expect(page.locator("#status")).to_have_text("Show 1 new picture", timeout=10_000)
    visit.end()
