"""Where a picture learned: pointing at it shows the place of the painting."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from support.gallery_stock import add_map, done_line, hang, write_log
from support.looking import Visit, open_link, opened

from pipeline.gallery.writer import FOLDER, PICTURES

pytestmark = pytest.mark.slow


def learned(page: Page) -> Locator:
    """The first picture, which has a map, showing it."""
    dialog = opened(page, "sea/1.jpg", "mosaic")
    dialog.get_by_role("radio", name="Where it learned").check()
    dialog.get_by_role("img", name="The painting starry.jpg").wait_for()
    return dialog


def spot(page: Page) -> list[float]:
    """Where the mark is in the painting, in shares of its width and height."""
    box = page.locator(".painting").bounding_box()
    mark = page.locator(".spot").bounding_box()
    return [
        pytest.approx((mark[side] + mark[length] / 2 - box[side]) / box[length], abs=0.02)
        for side, length in (("x", "width"), ("y", "height"))
    ]


def place_on_picture(page: Page, across: float, down: float) -> tuple[float, float]:
    box = page.locator("#frame").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def test_pointing_at_the_picture_marks_the_place_in_the_painting(page: Page) -> None:
    learned(page)
    for cell, place in (((3, 2), (0.7, 0.4)), ((1, 1), (0.9, 0.2))):
        page.mouse.move(*place_on_picture(page, (cell[0] + 0.5) / 6, (cell[1] + 0.5) / 4))
        assert spot(page) == list(place)
    ring, painting = (page.locator(each).bounding_box() for each in (".reach", ".painting"))
    assert ring["width"] == pytest.approx(0.1 * painting["width"], abs=1)


def test_the_arrow_keys_move_in_the_plane_and_say_where(page: Page) -> None:
    dialog = opened(page, "sea/1.jpg", "mosaic")
    page.keyboard.press("l")
    slider = dialog.get_by_role("slider", name="Place across the picture")
    expect(slider).to_be_focused()
    for key in ("ArrowLeft", "ArrowUp"):  # from the middle, column 3 and row 2
        page.keyboard.press(key)
    assert spot(page) == [0.8, 0.2]
    expect(slider).to_have_attribute(
        "aria-valuetext",
        "42 % across the picture: learned from 80 % across and 20 % down starry.jpg",
    )
    page.keyboard.press("l")
    assert page.locator("#learned").is_hidden()


def test_a_finger_points_and_does_not_turn_to_the_next_picture(
    browser: Browser, outbox: Path
) -> None:
    visit = Visit(browser, outbox, has_touch=True)
    page = visit.page
    learned(page)
    before = page.locator("#v-place").text_content()
    page.touchscreen.tap(*place_on_picture(page, 0.9, 0.9))
    assert spot(page) == [0.5, 0.6]
    page.mouse.move(*place_on_picture(page, 0.2, 0.5))
    assert page.locator("#v-place").text_content() == before
    visit.end()


def test_a_part_with_paintings_of_its_own_has_no_mark(page: Page) -> None:
    learned(page)
    page.mouse.move(*place_on_picture(page, 0.05, 0.05))
    assert page.locator(".spot").is_hidden()
    assert page.get_by_text("paintings of its own").is_visible()


def test_a_picture_without_a_map_has_no_such_view(page: Page) -> None:
    dialog = opened(page, "2.jpg", "ink_hatching")
    assert dialog.get_by_role("radio", name="Where it learned").is_hidden()
    page.keyboard.press("l")
    assert page.locator("#learned").is_hidden()


def test_a_map_that_was_deleted_is_missed_in_words(browser: Browser, tmp_path: Path) -> None:
    line = done_line("1.jpg")
    hang(tmp_path, line)
    add_map(tmp_path, line, "<b>\u202e.jpg")
    write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    (path,) = (tmp_path / FOLDER / PICTURES).glob("*-map.js")
    text = path.read_text()
    path.unlink()
    dialog = open_link(visit.page, visit.page.locator(".tile"))
    dialog.get_by_role("radio", name="Where it learned").check()
    visit.page.get_by_text("no longer in the folder .gallery").wait_for()
    path.write_text(text)  # the name of a painting is text and nothing else
    dialog.get_by_role("radio", name="Photo").check()
    dialog.get_by_role("radio", name="Where it learned").check()
    dialog.get_by_role("img", name="The painting <b>\\u202e.jpg").wait_for()
    visit.wrong = [each for each in visit.wrong if "ERR_FILE_NOT_FOUND" not in each]
    visit.end()
