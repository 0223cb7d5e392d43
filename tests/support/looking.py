"""How the page tests look at the gallery: the real page, in a real browser, offline."""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from pipeline.gallery.writer import Gallery

WINDOW = {"width": 1200, "height": 1700}
PAIRS = [(f"{folder}{n}.jpg", style) for folder in ("sea/", "") for n in (1, 2)
         for style in ("mosaic", "ink_hatching")]  # fmt: skip


class Visit:
    """A look at one outbox, that ends with: no error, and no request but for files beside it."""

    def __init__(self, browser: Browser, outbox: Path, **options: object) -> None:
        Gallery(outbox).update()
        self.context = browser.new_context(
            **({"viewport": {"width": 1200, "height": 1700}} | options)
        )
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        self.page.on("request", self.see)
        self.home = outbox.as_uri()
        self.page.goto(f"{self.home}/index.html")
        self.page.locator("#status:not(:empty)").wait_for(state="attached")

    def see(self, request: object) -> None:
        if not request.url.startswith((f"{self.home}/", "data:,")):
            self.wrong.append(f"asked for {request.url}")

    def end(self) -> None:
        self.context.close()
        assert self.wrong == []


def tile(page: Page, content: str = "sea/1.jpg", style: str = "mosaic") -> Locator:
    return page.get_by_role("link", name=f"{content} as {style.replace('_', ' ')}", exact=True)


def opened(page: Page, content: str = "sea/1.jpg", style: str = "mosaic") -> Locator:
    return open_link(page, tile(page, content, style))


def open_link(page: Page, link: Locator) -> Locator:
    key = link.get_attribute("href").removeprefix("#")
    link.click()
    page.locator(f'#stage[data-picture="{key}"]').wait_for()
    return page.get_by_role("dialog")


def hung(page: Page) -> list[str]:
    return [link.get_attribute("aria-label") for link in page.locator(".tile").all()]


def colour_at(page: Page, across: float) -> str:
    """What is seen of the picture at a share of its width: photo, stylized or enhanced."""
    page.evaluate("""async () => {
      const seen = document.querySelectorAll('#frame img:not([hidden])');
      await Promise.all([...seen].map(image => image.decode()));
      await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    }""")
    box = page.locator("#frame").bounding_box()
    at = {"x": box["x"] + box["width"] * across, "y": box["y"] + box["height"] * 0.8}
    shot = page.screenshot(clip={**at, "width": 1, "height": 1})
    red, green, blue = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((0, 0))
    named = {"stylized": red, "enhanced": green, "photo": blue}
    return max(named, key=named.get) if min(red, green) < 128 else "timelapse"
