"""The gallery's page: markup, style and program in one file, beside the pictures or served."""

import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path

from pipeline.system.safe_files import read_bounded

PAGE = Path(__file__).parent / "assets"
SCRIPTS = ("entries.js", "wall.js", "zoom.js", "viewer.js", "page.js")
MARK = b"<!doctype html>\n<!-- pipeline gallery "  # by which our own page is known


@cache
def page(live: bool = False) -> bytes:
    """The whole page: style and program put into the markup, and nothing else allowed to run.

    With ``live`` as `pipeline serve` sends it: it polls what is being rendered, and accepts photos.
    """
    style = "".join(_part(name) for name in ("gallery.css", *["live.css"] * live))
    body = "".join(_part(name) for name in (*SCRIPTS, *["live.js"] * live))
    script = f'"use strict";\n(() => {{\n{body}}})();\n'
    # Scripts and pictures are loaded from beside the page only; no text of a file name or of the
    # log can become a program.
    beside, asks = ("'self'", "'self'") if live else ("'self' file:", "'none'")
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"img-src {beside} data:; media-src {beside}; connect-src {asks}; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}' {beside}"
    )
    text = _part("gallery.html")
    parts = {"LIVE": _part("live.html") if live else "", "POLICY": policy}
    for name, value in (parts | {"STYLE": style, "SCRIPT": script}).items():
        text = text.replace(f"@{name}@", value)
    content = text.encode()
    return MARK + hashlib.sha256(content).hexdigest()[:12].encode() + b" -->\n" + content


def _part(name: str) -> str:
    return read_bounded(PAGE / name, 1 << 20, follow=True).decode("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
