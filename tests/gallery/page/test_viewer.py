"""One picture, large: slider, zoom, enhanced, recipe."""

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page
from support.gallery_stock import OPTIONS, done_line, hang, write_log
from support.looking import Visit, colour_at, open_link, opened

pytestmark = pytest.mark.slow


def test_the_slider_uncovers_the_picture_under_the_photo(page: Page) -> None:
    dialog = opened(page)
    dialog.get_by_role("radio", name="Compare").check()
    assert [colour_at(page, share) for share in (0.3, 0.7)] == ["photo", "enhanced"]
    box = page.locator("#frame").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=4)
    page.mouse.up()
    assert [colour_at(page, share) for share in (0.1, 0.3)] == ["photo", "enhanced"]
    assert dialog.get_by_role("slider").input_value() == "20"


def test_the_slider_moves_by_keys_and_says_where_it_is(page: Page) -> None:
    slider = opened(page).get_by_role("slider")
    page.keyboard.press("c")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "80"
    assert slider.get_attribute("aria-valuetext") == "80 % photo"
    assert colour_at(page, 0.7) == "photo"


def test_the_enhanced_toggle_swaps_the_picture_in_place(page: Page) -> None:
    opened(page)
    before = page.locator("#frame").bounding_box()
    assert colour_at(page, 0.5) == "enhanced"
    page.keyboard.press("e")
    assert colour_at(page, 0.5) == "stylized"
    assert page.locator("#frame").bounding_box() == before


def test_photo_and_timelapse_are_a_choice_away(page: Page) -> None:
    dialog = opened(page)
    dialog.get_by_role("radio", name="Photo").check()
    assert colour_at(page, 0.5) == "photo"
    dialog.get_by_role("radio", name="Timelapse").check()
    assert colour_at(page, 0.5) == "timelapse"
    page.keyboard.press("Escape")
    assert not opened(page, "1.jpg").get_by_role("radio", name="Timelapse").is_visible()


def test_zoom_goes_to_pixels_and_on_to_blocks_of_them(page: Page) -> None:
    opened(page)
    zoom = page.get_by_role("button", name="Fit or real pixels")
    assert zoom.text_content() == "Fit"
    page.keyboard.press("z")
    assert zoom.text_content() == "100 %"
    assert page.locator("#frame").bounding_box()["width"] == 96
    for _ in range(3):
        page.keyboard.press("+")
    assert page.locator("#frame").bounding_box()["width"] == 768
    rendering = "getComputedStyle(document.querySelector('#picture')).imageRendering"
    assert page.evaluate(rendering) == "pixelated"
    page.keyboard.press("z")
    assert zoom.text_content() == "Fit"


def test_the_wheel_keeps_the_point_under_the_pointer(page: Page) -> None:
    page.set_viewport_size({"width": 1000, "height": 500})
    opened(page, "2.jpg", "ink_hatching")
    box = page.locator("#frame").bounding_box()
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.wheel(0, -2000)
    page.get_by_text("800 %").wait_for()
    after = page.locator("#frame").bounding_box()
    assert (x - after["x"]) / after["width"] == pytest.approx(0.4, abs=0.01)
    assert (y - after["y"]) / after["height"] == pytest.approx(0.4, abs=0.01)


def test_the_recipe_is_copied_as_config_that_says_the_same(page: Page) -> None:
    dialog = opened(page)
    dialog.get_by_role("button", name="Copy").click()
    dialog.get_by_role("button", name="Copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    assert yaml.safe_load(text) == OPTIONS


def test_a_recipe_leaves_out_what_config_says_by_silence(browser: Browser, tmp_path: Path) -> None:
    silent = {"enhance": {"preset": "vivid", "grain": None}, "output": {}}
    line = done_line("1.jpg", options=OPTIONS | silent)
    hang(tmp_path, line)
    write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    open_link(visit.page, visit.page.locator(".tile"))
    recipe = visit.page.locator("#v-recipe").inner_text()
    assert yaml.safe_load(recipe) == OPTIONS | {"enhance": {"preset": "vivid"}}
    visit.end()


def test_all_that_is_known_stands_beside_the_picture(page: Page) -> None:
    text = opened(page).locator("#about").inner_text()
    for fact in ("mosaic", "sea/1.jpg", "96 × 64 px", "2 Jan 2026", "1 min 5 s on cpu",
                 "A later attempt failed: too large", "0123456789abcdef"):  # fmt: skip
        assert fact in text
    told = page.get_by_role("img", name="From 10 to 0.25 in 40 steps")
    assert told.is_visible()
