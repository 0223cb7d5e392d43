"""The wall: arranged, searched, filtered, and the list of what was not painted."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.gallery_stock import done_line, hang, write_log
from support.looking import PAIRS, Visit, hung

pytestmark = pytest.mark.slow


def test_every_picture_hangs_beside_its_photo(page: Page) -> None:
    assert len(hung(page)) == len(PAIRS)
    assert page.locator("h2:visible").all_text_contents() == ["2.jpg", "1.jpg", "2.jpg", "1.jpg"]
    assert page.locator("figure.photo img").count() == 4
    assert page.get_by_text("8 pictures of 4 photos in 2 styles").is_visible()


def test_pictures_hang_by_style_and_together_too(page: Page) -> None:
    page.get_by_role("radio", name="By style").check()
    assert sorted(page.locator("h2:visible").all_text_contents()) == ["ink hatching", "mosaic"]
    page.get_by_role("radio", name="Together").check()
    assert page.locator("h2:visible").count() == 0
    assert len(hung(page)) == len(PAIRS)


def test_search_finds_photos_and_styles_by_every_word(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("SEA ink")
    assert hung(page) == ["sea/2.jpg as ink hatching", "sea/1.jpg as ink hatching"]
    page.get_by_role("searchbox").fill("nothing like it")
    assert page.get_by_text("No matches.").is_visible()
    page.get_by_role("button", name="Show everything").click()
    assert len(hung(page)) == len(PAIRS)


def test_filters_by_style_and_folder_work_together(page: Page) -> None:
    page.get_by_role("combobox", name="Style").select_option(label="mosaic")
    page.get_by_role("combobox", name="Folder").select_option(label="Inbox itself")
    page.get_by_role("combobox", name="Order").select_option(label="By name")
    assert hung(page) == ["1.jpg as mosaic", "2.jpg as mosaic"]
    assert page.get_by_role("status").first.text_content() == "2 pictures"


def test_the_enhanced_toggle_changes_the_whole_wall(page: Page) -> None:
    shown = "[...document.querySelectorAll('.tile img')].map(image => image.src)"
    enhanced = set(page.evaluate(shown))
    page.get_by_role("switch", name="Enhanced").uncheck()
    assert not enhanced & set(page.evaluate(shown))


def test_failures_hang_with_their_reasons_and_mended_ones_do_not(page: Page) -> None:
    page.get_by_role("radio", name="Not painted").check()
    text = page.locator("#troubles").inner_text()
    assert "broken.jpg" in text
    assert "the file is cut off or damaged" in text
    assert "sea/1.jpg as mosaic" in text
    assert text.index("Failed") < text.index("Skipped") < text.index("notes.txt")
    assert "mended since" not in text


def test_pruned_pictures_hang_no_more_and_are_no_failure(page: Page) -> None:
    assert not any("pruned.jpg" in label for label in hung(page))
    page.get_by_role("radio", name="Not painted").check()
    assert "pruned.jpg" not in page.locator("#troubles").inner_text()


def test_on_a_phone_no_words_under_a_picture_run_out_of_it(
    browser: Browser, tmp_path: Path
) -> None:
    lines = [done_line(f"holiday by the sea {n}.jpg", "ink_hatching") for n in range(3)]
    for line in lines:
        hang(tmp_path, line)
    write_log(tmp_path, lines)
    visit = Visit(browser, tmp_path, viewport={"width": 390, "height": 844})
    visit.page.get_by_role("radio", name="Together").check()
    out = "[...document.querySelectorAll('.caption')].filter(e => e.scrollWidth > e.clientWidth)"
    assert visit.page.evaluate(f"{out}.length") == 0
    visit.end()
