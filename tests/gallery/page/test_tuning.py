"""Tuning a style on the live page, in a real browser, with real pictures of 64 px."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.gallery_visitor import until
from support.looking import opened
from support.seeing import (
    cut_off,
    faint_text,
    images_without_text,
    misplaced_headings,
    moving_parts,
    nameless_controls,
    walk_by_tab,
)
from support.tuning_studio import SILENT, TuningStudio

pytestmark = pytest.mark.slow
PATIENCE = 120_000  # ms: a process that loads torch on a busy machine


class Seat:
    """A browser before the live page of a studio; ends with no error of the page."""

    def __init__(self, browser: Browser, studio: TuningStudio) -> None:
        self.studio = studio
        self.context = browser.new_context(viewport={"width": 1200, "height": 900})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.wrong: list[str] = []
        self.page = self.open()

    def open(self) -> Page:
        page = self.context.new_page()
        page.on("console", lambda message: self.wrong.append(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.goto(f"http://127.0.0.1:{self.studio.server.port}/")
        return page

    def end(self) -> None:
        self.context.close()
        self.studio.end()
        assert self.wrong == []


@pytest.fixture
def seat(browser: Browser, tmp_path: Path) -> Iterator[Seat]:
    here = Seat(browser, TuningStudio(tmp_path))
    yield here
    here.end()


@pytest.fixture
def quiet_seat(browser: Browser, tmp_path: Path) -> Iterator[Seat]:
    """Where the first pair never comes."""
    here = Seat(browser, TuningStudio(tmp_path, program=SILENT))
    yield here
    here.end()


def tune(page: Page, style: str = "dots") -> None:
    opened(page, style=style)
    page.get_by_role("button", name="Tune this style").click()
    expect(page.get_by_role("heading", name=f"Tune {style}")).to_be_visible()


def expect_status(page: Page, text: str) -> None:
    expect(page.locator("#t-status")).to_contain_text(text, timeout=PATIENCE)


def what_is_wrong(page: Page) -> list[str]:
    found = images_without_text(page) + nameless_controls(page) + misplaced_headings(page)
    return found + faint_text(page) + cut_off(page) + moving_parts(page)


def test_five_choices_by_key_and_click_are_copied_and_saved(seat: Seat) -> None:
    page = seat.page
    page.emulate_media(reduced_motion="reduce")
    options = Path(f"{seat.studio.painting}.yaml")
    options.write_text("# chosen with pipeline tune\ntransfer: {strength: 0.4}\n")  # the last time
    tune(page)
    expect_status(page, "which is better?")
    expect(page.locator("#t-status")).to_contain_text("Round 1 of 5, about ")
    for name in ("Picture A", "Picture B"):
        shown = page.get_by_alt_text(name)
        assert shown.evaluate("image => image.naturalWidth") == 64
    assert what_is_wrong(page) == []
    page.keyboard.press("a")
    expect_status(page, "Round 2 of 5")
    expect_status(page, "which is better?")
    page.get_by_role("button", name="B is better").click()
    for number, key in ((3, "="), (4, "ArrowLeft"), (5, "ArrowRight")):
        expect_status(page, f"Round {number} of 5")
        expect_status(page, "which is better?")
        page.keyboard.press(key)
    expect_status(page, "Your choice:")
    lines = page.locator("#t-lines").text_content()
    assert "strength: " in lines
    page.get_by_role("button", name="Copy the lines").click()
    assert page.evaluate("navigator.clipboard.readText()") == lines
    assert what_is_wrong(page) == []
    page.get_by_role("button", name="Save for this style").click()
    expect_status(page, "Saved as dots.png.yaml.")
    assert options.read_text() == f"# chosen with pipeline tune\n{lines}\n"
    assert any("its options are saved" in note for note in seat.studio.notes)
    page.locator("#t-close").click()
    expect(page.get_by_role("button", name="Tune this style")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_view_is_accessible_and_fits_a_phone_while_pictures_are_painted(
    quiet_seat: Seat, scheme: str
) -> None:
    page = quiet_seat.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    tune(page)
    expect_status(page, "The first two pictures are being painted.")
    stops, wrong = walk_by_tab(page)
    assert wrong == []
    assert any("t-close" in stop for stop in stops)
    for width in (480, 320):  # 60 columns, a small phone
        page.set_viewport_size({"width": width, "height": 640})
        assert what_is_wrong(page) == []
    page.keyboard.press("ArrowRight")  # neither an answer nor a turn of the viewer behind
    expect(page.get_by_role("heading", name="Tune dots")).to_be_visible()
    assert "dots" in page.locator("#v-title").text_content()


def test_one_person_at_a_time_and_escape_makes_room(quiet_seat: Seat) -> None:
    first, second = quiet_seat.page, quiet_seat.open()
    tune(first)
    until(lambda: quiet_seat.studio.tunings.is_busy)
    tune(second, "mosaic")
    expect_status(second, "Another style is being tuned")
    assert [line for line in quiet_seat.wrong if "409" in line]  # the browser's own remark
    quiet_seat.wrong.clear()
    first.keyboard.press("Escape")
    until(lambda: not quiet_seat.studio.tunings.is_busy)
    second.keyboard.press("Escape")
    second.get_by_role("button", name="Tune this style").click()
    until(lambda: quiet_seat.studio.tunings.is_busy)


def test_a_page_that_is_left_makes_room_too(quiet_seat: Seat) -> None:
    tune(quiet_seat.page)
    until(lambda: quiet_seat.studio.tunings.is_busy)
    quiet_seat.page.goto("about:blank")
    until(lambda: not quiet_seat.studio.tunings.is_busy)


def test_a_photo_that_is_gone_is_reported(quiet_seat: Seat) -> None:
    (quiet_seat.studio.inbox / "sea" / "1.jpg").unlink()
    tune(quiet_seat.page)
    expect_status(quiet_seat.page, "Its photo is no longer in the inbox")
    assert [line for line in quiet_seat.wrong if "404" in line]
    quiet_seat.wrong.clear()
