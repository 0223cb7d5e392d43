"""Draw the pictures of the README and the tutorial that show the program itself.

    python -m pip install pyte              # a terminal that a program can read
    python scripts/make_screens.py [styles | dashboard | gallery ...]

Writes docs/pictures/styles.jpg (one photo in each starter style), dashboard.png (the terminal of a
real run) and gallery.jpg (the page that this run leaves, in a real browser).
"""

import fcntl
import html
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from pipeline import paint

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs/pictures"
PHOTO = ROOT / "inbox/coffee.jpg"
COLUMNS, ROWS = 110, 34
CONFIG = """
preset: draft
styles:
  mosaic: {image: "builtin:mosaic"}
  brush_strokes: {image: "builtin:brush_strokes"}
  watercolor: {image: "builtin:watercolor"}
  woodcut_waves: {image: "builtin:woodcut_waves"}
"""
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def styles() -> None:
    """A cell for each starter style: the photo in it, the painting in a corner, its name below."""
    width, height, gap, line = 300, 200, 8, 24
    paintings = sorted((ROOT / "pipeline/styles").glob("*.jpg"))
    columns = 4
    rows = -(-len(paintings) // columns)
    cell = (width + gap, height + line + gap)
    sheet = Image.new("RGB", (columns * cell[0] - gap, rows * cell[1] - gap), "white")
    for index, path in enumerate(paintings):
        left, top = index % columns * cell[0], index // columns * cell[1]
        picture = paint(PHOTO, path, preset="draft", size=384)
        sheet.paste(picture.resize((width, height), 1), (left, top))
        with Image.open(path) as painting:
            small = painting.convert("RGB").resize((72, 72), 1)
        sheet.paste("white", (left + width - 76, top + height - 76, left + width, top + height))
        sheet.paste(small, (left + width - 74, top + height - 74))
        ImageDraw.Draw(sheet).text(
            (left + 2, top + height + 3), path.stem, "black", ImageFont.load_default(16)
        )
    _save(sheet, "styles.jpg")


def screens(names: list[str]) -> None:
    """Run the program on the sample photos, and draw its terminal and its gallery."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        (home / "inbox").mkdir()
        for photo in (ROOT / "inbox").glob("*.jpg"):
            (home / "inbox" / photo.name).write_bytes(photo.read_bytes())
        (home / "inbox/half.jpg").write_bytes(PHOTO.read_bytes()[:20_000])
        (home / "config.yaml").write_text(CONFIG)
        screen = _run_in_terminal(home)
        path = next(path for path in BROWSERS if Path(path).exists())
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        if "dashboard" in names:
            page = browser.new_page(viewport={"width": 1040, "height": 700})
            page.set_content(_terminal_page(screen))
            page.locator("pre").screenshot(path=PICTURES / "dashboard.png")
            with Image.open(PICTURES / "dashboard.png") as shot:
                shot.convert("RGB").quantize(128).save(PICTURES / "dashboard.png", optimize=True)
        if "gallery" in names:
            page = browser.new_page(viewport={"width": 1200, "height": 760})
            page.goto((home / "outbox/index.html").as_uri())
            page.locator("#bar").evaluate("bar => bar.scrollIntoView()")  # below the heading
            page.wait_for_timeout(1500)  # until its pictures are decoded
            page.screenshot(path=home / "gallery.png")
            with Image.open(home / "gallery.png") as shot:
                _save(shot.convert("RGB"), "gallery.jpg")
        browser.close()


def _run_in_terminal(home: Path) -> list[list[Any]]:
    """The characters of the terminal while one of the last pairs is half painted.

    The temporary folder is shown as the reader's own: ``~/studio``.
    """
    import pyte

    command = [sys.executable, "-m", "pipeline", "run", "--config", str(home / "config.yaml")]
    process, program = pty.fork()  # in a session of its own, in the foreground of its terminal
    if not process:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(ROOT)
        os.execve(
            sys.executable,
            command,
            os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    kept: list[list[Any]] = []
    begun = time.monotonic()
    while time.monotonic() - begun < 900:
        if not select.select([program], [], [], 0.5)[0]:
            continue
        try:
            stream.feed(os.read(program, 1 << 16))
        except OSError:  # the program has ended
            break
        done = len(list((home / "outbox").glob("*.enhanced.png")))
        shown = "\n".join(screen.display)
        half = any(40 <= int(percent) <= 75 for percent in re.findall(r" (\d+)%", shown))
        if 4 <= done < 8 and half and "loss" in shown:  # the last one of these that is complete
            kept = [
                [screen.buffer[row][column] for column in range(COLUMNS)] for row in range(ROWS)
            ]
    os.waitpid(process, 0)
    return [_with_name(row, str(home), "~/studio") for row in kept]


def _with_name(row: list[Any], path: str, name: str) -> list[Any]:
    """A row with another name for a path; the rest of the row keeps its place."""
    while (at := "".join(cell.data for cell in row).find(path)) >= 0:
        named = [row[at]._replace(data=letter) for letter in name]
        rest = row[at + len(path) :]
        gap = "".join(cell.data for cell in rest).find("   ")  # what follows is aligned right
        spaces = [rest[gap]] * (len(path) - len(name))
        row = [*row[:at], *named, *rest[:gap], *spaces, *rest[gap:]]
    return row


def _terminal_page(screen: list[list[Any]]) -> str:
    """The terminal as a page: a span for each character that is not plain."""
    lines = []
    for row in screen:
        spans = []
        for cell in row:
            front, back = _color(cell.fg, "d0d0d0"), _color(cell.bg, "16181c")
            if cell.reverse:
                front, back = back, front
            weight = ";font-weight:bold" if cell.bold else ""
            text = html.escape(cell.data)
            spans.append(f'<span style="color:#{front};background:#{back}{weight}">{text}</span>')
        lines.append("".join(spans))
    style = "margin:0;padding:14px;display:inline-block;background:#16181c;"
    style += "font:14px/16px 'DejaVu Sans Mono',monospace;border-radius:6px"
    return f'<meta charset="utf-8"><body style="margin:0"><pre style="{style}">' + "\n".join(lines)


NAMED = {
    "black": "000000", "red": "e06c75", "green": "98c379", "brown": "d7af5f", "blue": "61afef",
    "magenta": "c678dd", "cyan": "56b6c2", "white": "d0d0d0", "brightblack": "7f848e",
}  # fmt: skip


def _color(name: str, default: str) -> str:
    return default if name == "default" else NAMED.get(name, name)


def _save(picture: Image.Image, name: str) -> None:
    picture.save(PICTURES / name, quality=85)
    print(PICTURES.relative_to(ROOT) / name)


def main(names: list[str]) -> None:
    """Write the pictures named; without names all of them."""
    names = names or ["styles", "dashboard", "gallery"]
    if "styles" in names:
        styles()
    if {"dashboard", "gallery"} & set(names):
        screens(names)


if __name__ == "__main__":
    main(sys.argv[1:])
