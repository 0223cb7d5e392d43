"""Hostile names, five thousand pictures, news, nothing at all."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.gallery_stock import done_line, failed_line, hang, write_log
from support.looking import Visit, colour_at, hung, open_link

from pipeline.gallery.writer import FOLDER, PICTURES, Gallery

pytestmark = pytest.mark.slow

MANY = 5_000
SEEN = """[...document.querySelectorAll('.tile')].map(tile => tile.getBoundingClientRect())
  .filter(box => box.bottom > 0 && box.top < innerHeight).length"""
LOADED = """async () => {
  const images = [...document.querySelectorAll('.tile img')];
  await Promise.all(images.map(image => image.decode()));
  return images.filter(image => image.naturalWidth).length;
}"""
HOSTILE = [
    "<script>alert(1)</script>.jpg", "<img src=x onerror=alert(1)>.jpg", "\"'`--><b>.jpg",
    "100%25 #1?a=b&c.jpg", "javascript:alert(1).jpg", "new\nline\ttab.jpg", "back\\slash.jpg",
    "\u202egpj.exe.jpg", "\udcff\udcfe bytes.jpg", "${alert(1)}.jpg", "__proto__.jpg",
    "סוף <!-- .jpg", " .jpg", "\u2028.jpg", "a" * 230 + ".jpg",
]  # fmt: skip


@pytest.mark.parametrize("copies", [True, False], ids=["small copies", "pictures themselves"])
def test_hostile_names_are_shown_as_names_and_their_pictures_load(
    browser: Browser, tmp_path: Path, copies: bool
) -> None:
    lines = [done_line(name) for name in HOSTILE]
    for line in lines:
        hang(tmp_path, line, copies=copies)
    write_log(tmp_path, lines)
    write_log(tmp_path, [failed_line(name, "truncated", name, style=name) for name in HOSTILE])
    visit = Visit(browser, tmp_path, viewport={"width": 1200, "height": 9000})
    assert visit.page.evaluate(LOADED) == len(HOSTILE)
    labels = hung(visit.page)
    assert "<script>alert(1)</script>.jpg as mosaic" in labels
    assert "\\u202egpj.exe.jpg as mosaic" in labels
    assert "\\xff\\xfe bytes.jpg as mosaic" in labels
    for link in visit.page.locator(".tile").all() if copies else ():
        open_link(visit.page, link)
        assert colour_at(visit.page, 0.5) == "enhanced"
        visit.page.keyboard.press("Escape")
    visit.page.get_by_role("radio", name="Not painted").check()
    assert visit.page.locator("#troubles li").count() == len(HOSTILE)
    assert visit.page.locator("main script, main b, main li img").count() == 0
    visit.end()


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 pictures, all of one small copy."""
    root = tmp_path_factory.mktemp("crowded")
    one = done_line("0.jpg")
    hang(root, one)
    same = {key: one[key] for key in ("outputs", "content_sha256")}
    write_log(root, (done_line(f"{n // 5}.jpg", f"style {n % 5}", **same) for n in range(MANY)))
    write_log(root, (failed_line(f"bad {n}.jpg", "truncated", "cut off") for n in range(MANY)))
    return root


def test_five_thousand_pictures_cost_a_few_hundred_elements(
    browser: Browser, crowded: Path
) -> None:
    visit = Visit(browser, crowded)
    page, most = visit.page, 0
    assert page.get_by_text("5,000 pictures of 1,000 photos").is_visible()
    for share in range(0, 101, 5):
        page.evaluate(f"scrollTo(0, document.body.scrollHeight * {share / 100})")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        most = max(most, page.locator("*").count())
        assert page.evaluate(SEEN) > 5
    assert most < 600
    page.locator(".tile").last.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "0.jpg as style 0"
    page.keyboard.press("Enter")
    page.get_by_text("5,000 of 5,000").wait_for()
    visit.end()


def test_five_thousand_failures_are_shown_a_hundred_at_a_time(
    browser: Browser, crowded: Path
) -> None:
    visit = Visit(browser, crowded)
    visit.page.get_by_role("radio", name="Not painted").check()
    rows = visit.page.locator("#troubles li")
    assert rows.count() == 100
    visit.page.get_by_role("button", name="Show 100 more").click()
    assert rows.count() == 200
    visit.end()


def test_new_pictures_are_announced_and_hung_when_asked_for(
    browser: Browser, tmp_path: Path
) -> None:
    write_log(tmp_path, [done_line("1.jpg")])
    hang(tmp_path, done_line("1.jpg"))
    visit = Visit(browser, tmp_path)
    new = done_line("2.jpg")
    hang(tmp_path, new)
    write_log(tmp_path, [new])
    Gallery(tmp_path).update()
    visit.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # looks at once
    visit.page.get_by_role("button", name="Show 1 new picture").click()
    assert hung(visit.page) == ["2.jpg as mosaic", "1.jpg as mosaic"]
    visit.end()


def test_an_empty_gallery_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    visit = Visit(browser, tmp_path)
    assert visit.page.get_by_text("Put a photo into the inbox").is_visible()
    visit.end()


def test_the_small_copies_alone_are_loaded_for_the_wall(browser: Browser, outbox: Path) -> None:
    visit = Visit(browser, outbox)
    sources = visit.page.evaluate("[...document.images].map(image => image.src).filter(Boolean)")
    kept = (outbox / FOLDER / PICTURES).as_uri()
    assert sources
    assert all(source.startswith(kept) for source in sources)
    visit.end()
