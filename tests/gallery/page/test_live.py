"""The page as `pipeline serve` sends it, in a real browser: what goes on, photos dropped on it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.gallery_stock import done_line, hang, write_log
from support.seeing import (
    cut_off,
    faint_text,
    images_without_text,
    misplaced_headings,
    moving_parts,
    nameless_controls,
    walk_by_tab,
)

from pipeline.config.sections import Limits
from pipeline.gallery.server import GalleryServer, Site
from pipeline.gallery.server.access import Guard
from pipeline.gallery.writer import Gallery
from pipeline.jobs.job import Progress
from pipeline.monitoring.live import LivePublisher
from pipeline.monitoring.view import View

pytestmark = pytest.mark.slow

RED = bytes((255, 0, 0)) * 12


class Studio:
    """A server over folders of its own, and a browser that looks at it."""

    def __init__(self, browser: Browser, root: Path) -> None:
        for name in ("inbox", "outbox", "state"):
            (root / name).mkdir()
        self.inbox, self.outbox, self.state = root / "inbox", root / "outbox", root / "state"
        line = done_line("sea/1.jpg")
        hang(self.outbox, line)
        write_log(self.outbox, [line])
        Gallery(self.outbox).update()
        site = Site(self.outbox, self.inbox, self.state, Limits(bytes=50_000), Guard())
        self.server = GalleryServer(("127.0.0.1", 0), site)
        self.loop = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.loop.start()
        self.context = browser.new_context(viewport={"width": 1200, "height": 900})
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.home = f"http://127.0.0.1:{self.server.port}/"
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self.see)
        self.page.goto(self.home)

    def see(self, request: object) -> None:
        if not request.url.startswith((self.home, "data:,")):
            self.wrong.append(f"asked for {request.url}")

    def tell(self, view: View) -> None:
        LivePublisher(self.state).publish(view, time.time())

    def drop(self, *files: tuple[str, int]) -> None:
        self.page.evaluate(
            """files => {
              const held = new DataTransfer();
              for (const [name, size] of files) {
                held.items.add(new File([new Uint8Array(size)], name));
              }
              for (const type of ["dragenter", "dragover", "drop"]) {
                const more = { dataTransfer: held, bubbles: true, cancelable: true };
                document.body.dispatchEvent(new DragEvent(type, more));
              }
            }""",
            [list(file) for file in files],
        )

    def end(self) -> None:
        self.context.close()
        self.server.shutdown()
        self.loop.join()
        self.server.server_close()
        assert self.wrong == []


@pytest.fixture
def studio(browser: Browser, tmp_path: Path) -> Iterator[Studio]:
    here = Studio(browser, tmp_path)
    yield here
    here.end()


def add_button(page: Page) -> None:
    page.get_by_text("Add photos").wait_for()


def test_the_picture_under_way_is_seen_and_so_is_its_end(studio: Studio) -> None:
    add_button(studio.page)  # it has asked: it will be told
    view = View(queued=2)
    view.begin_job("j1", "<b>cat.jpg", "ink_hatching", "cpu")
    view.update_progress(Progress("j1", 1, 2, 64, 10, 40, 0.5, 1.0, 62.0, (3, 4, RED)))
    studio.tell(view)
    page = studio.page
    expect(page.locator("#live-message")).to_have_text("2 queued · 1 running")
    bar = page.get_by_role("progressbar", name="<b>cat.jpg as ink hatching")
    assert bar.get_attribute("value") == "0.25"
    expect(page.locator("#lanes .facts")).to_contain_text("1:02 left · scale 1/2 (64 px)")
    pixel = "document.querySelector('#lanes canvas').getContext('2d').getImageData(2, 1, 1, 1).data"
    assert list(page.evaluate(f"[...{pixel}]")) == [255, 0, 0, 255]
    view.remove_job("j1")
    line = done_line("cat.jpg", "ink_hatching")
    hang(studio.outbox, line)
    write_log(studio.outbox, [line])
    Gallery(studio.outbox).update()
    studio.tell(view)
    expect(page.locator("#lanes li")).to_have_count(0)
    page.get_by_role("button", name="Show 1 new picture").click()
    assert page.locator(".tile").count() == 2


def test_when_nobody_works_the_page_says_what_to_do(studio: Studio) -> None:
    expect(studio.page.locator("#live-message")).to_contain_text("pipeline watch", timeout=20_000)


def test_photos_dropped_on_the_page_land_in_the_inbox(studio: Studio) -> None:
    add_button(studio.page)
    studio.drop(("a b#?.jpg", 900), ("a b#?.jpg", 800), ("notes.txt", 9), ("large.png", 60_000))
    rows = studio.page.locator("#uploads li")
    expect(rows.nth(1)).to_contain_text("is in the inbox as a b#_-2.jpg")
    expect(rows.nth(2)).to_contain_text("Its name is not that of a picture")
    expect(rows.nth(3)).to_contain_text("Larger than the 0 MB allowed")
    sizes = {path.name: path.stat().st_size for path in studio.inbox.iterdir()}
    assert sizes == {"a b#_.jpg": 900, "a b#_-2.jpg": 800}
    rows.nth(2).get_by_role("button", name="Dismiss").click()
    expect(studio.page.get_by_text("notes.txt")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_progress_uploads_and_drop_zone_are_accessible(studio: Studio, scheme: str) -> None:
    """Names, headings, contrast, focus and narrow windows while a job runs and files arrive."""
    page = studio.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    add_button(page)
    view = View(queued=2)
    view.begin_job("j1", "cat.jpg", "ink_hatching", "cpu")
    view.update_progress(Progress("j1", 1, 2, 64, 10, 40, 0.5, 1.0, 62.0, (3, 4, RED)))
    studio.tell(view)
    studio.drop(("notes.txt", 9))
    page.get_by_role("button", name="Dismiss").wait_for()
    page.get_by_role("img", name="cat.jpg as ink hatching, so far").wait_for()
    assert images_without_text(page) + nameless_controls(page) + misplaced_headings(page) == []
    assert faint_text(page) == []
    _, wrong = walk_by_tab(page)
    assert wrong == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert cut_off(page) == []
    page.evaluate("document.querySelector('#drop').hidden = false")
    assert faint_text(page) + cut_off(page) + moving_parts(page) == []


def test_photos_can_be_chosen_by_keyboard_as_well(studio: Studio) -> None:
    add_button(studio.page)
    name = {"name": "p.png", "mimeType": "image/png", "buffer": b"123"}
    studio.page.get_by_label("Add photos").set_input_files(name)
    studio.page.get_by_text("is in the inbox as p.png").wait_for()
    assert (studio.inbox / "p.png").read_bytes() == b"123"


def test_the_gallery_itself_works_as_from_a_file(studio: Studio) -> None:
    page = studio.page
    page.get_by_role("link", name="sea/1.jpg as mosaic").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    loaded = "document.querySelector('#picture').decode().then(() => true)"
    assert page.evaluate(loaded)
