"""For everybody: keyboard, screen reader, light and dark, small and wide windows, fingers."""

import itertools
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support.looking import Visit, hung, opened, tile

pytestmark = pytest.mark.slow


def test_the_wall_is_one_stop_and_arrows_walk_it(page: Page) -> None:
    page.get_by_role("switch", name="Enhanced").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    order = hung(page)
    assert page.evaluate(focused) == order[0]
    for key, expected in (("ArrowRight", 1), ("ArrowDown", 3), ("ArrowUp", 1), ("End", 7),
                          ("ArrowRight", 7), ("Home", 0)):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(focused) == order[expected], key


def test_escape_returns_to_the_picture_one_came_from(page: Page) -> None:
    tile(page, "2.jpg").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("3 of 8", exact=True).wait_for()
    third = hung(page)[2]
    page.keyboard.press("Escape")
    # The browser tells of the closing a moment after the dialog has gone; only then is it taken.
    page.wait_for_function(
        "name => document.activeElement.getAttribute('aria-label') === name", arg=third
    )


def test_a_picture_has_an_address_and_back_closes_it(page: Page) -> None:
    address = page.url
    opened(page)
    page.wait_for_url(f"{address}#*")
    page.go_back()
    page.get_by_role("dialog").wait_for(state="hidden")
    page.go_forward()
    page.get_by_role("dialog").wait_for()


CONTRAST = """() => {
  const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const probe = name => { document.body.style.color = `var(--${name})`;
    return light(getComputedStyle(document.body).color); };
  const pairs = [];
  for (const ink of ['ink', 'quiet']) for (const ground of ['paper', 'wash', 'stage']) {
    const [a, b] = [probe(ink), probe(ground)].sort((x, y) => y - x);
    pairs.push((a + 0.05) / (b + 0.05));
  }
  return pairs;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_readable_in_light_and_in_dark(
    browser: Browser, outbox: Path, scheme: str
) -> None:
    visit = Visit(browser, outbox, color_scheme=scheme)
    ground = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g)[0]"
    assert (int(visit.page.evaluate(ground)) < 128) == (scheme == "dark")
    assert min(visit.page.evaluate(CONTRAST)) >= 4.5  # WCAG 2.2, AA
    visit.page.get_by_role("button", name="Colours").click()
    visit.page.get_by_role("button", name="Colours: light").click()
    assert int(visit.page.evaluate(ground)) < 128
    visit.end()


def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, outbox: Path) -> None:
    visit = Visit(browser, outbox, viewport={"width": 360, "height": 740}, is_mobile=True,
                  has_touch=True)  # fmt: skip
    wide = "document.documentElement.scrollWidth"
    assert visit.page.evaluate(wide) <= 360
    dialog = opened(visit.page, "2.jpg", "ink_hatching")
    assert visit.page.evaluate("document.querySelector('#viewer').scrollWidth") <= 360
    dialog.get_by_role("button", name="Copy").scroll_into_view_if_needed()
    assert dialog.get_by_role("button", name="Copy").is_visible()
    visit.end()


@pytest.mark.parametrize("width", [360, 768, 920, 1440])
def test_no_tool_hides_another_in_a_window_of_any_width(
    browser: Browser, outbox: Path, width: int
) -> None:
    visit = Visit(browser, outbox, viewport={"width": width, "height": 3000})
    opened(visit.page)
    tools = visit.page.locator(".tools > *:visible").all()
    boxes = [tool.bounding_box() for tool in tools]
    assert len(boxes) == 3
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    for left, right in itertools.pairwise(boxes):
        beside = left["x"] + left["width"] <= right["x"]
        assert beside or left["y"] + left["height"] <= right["y"]
    visit.end()


def test_fingers_turn_pictures_and_zoom_into_them(browser: Browser, outbox: Path) -> None:
    visit = Visit(browser, outbox, viewport={"width": 360, "height": 740}, is_mobile=True,
                  has_touch=True)  # fmt: skip
    opened(visit.page, "2.jpg", "ink_hatching")
    hand = visit.context.new_cdp_session(visit.page)

    def touch(kind: str, *points: tuple[int, int]) -> None:
        named = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        hand.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": named})

    for kind, *at in (("Start", (250, 200)), ("Move", (150, 205)), ("Move", (100, 205)), ("End",)):
        touch(kind, *at)
    visit.page.get_by_text("2 of 8", exact=True).wait_for()
    zoom = visit.page.get_by_role("button", name="Fit or real pixels")
    assert zoom.text_content() == "Fit"
    touch("Start", (150, 200), (200, 200))
    touch("Move", (100, 200), (250, 200))
    touch("End")
    assert zoom.text_content() == "800 %"
    visit.end()
