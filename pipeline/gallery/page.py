"""Builds the gallery's page from its assets: markup, style and scripts in one file."""

import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path

from pipeline.system.safe_files import read_bounded

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("entries.js", "wall.js", "zoom.js", "learned.js", "viewer.js", "page.js")
LIVE = ("live", "tuning")  # each with markup, style and script
MARK = b"<!doctype html>\n<!-- pipeline gallery "  # identifies a page that this program wrote


@cache
def build_page(live: bool = False) -> bytes:
    """Build the whole page, with style and scripts inside the markup; nothing else may run.

    With ``live``, the page is the one that `pipeline serve` sends: it polls the progress of running
    jobs, accepts uploads and tunes styles.
    """
    style, body = _read("gallery.css"), "".join(_read(name) for name in SCRIPTS)
    if live:
        style += "".join(_read(f"{name}.css") for name in LIVE)
        body += "".join(_read(f"{name}.js") for name in reversed(LIVE))
    script = f'"use strict";\n(() => {{\n{body}}})();\n'
    # The page loads scripts and pictures only from its own folder or server; no text from a file
    # name or the log can run as a script.
    own, requests = ("'self'", "'self'") if live else ("'self' file:", "'none'")
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"img-src {own} data:; media-src {own}; connect-src {requests}; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}' {own}"
    )
    text = _read("gallery.html")
    more = "".join(_read(f"{name}.html") for name in LIVE) if live else ""
    parts = {"LIVE": more, "POLICY": policy}
    for name, value in (parts | {"STYLE": style, "SCRIPT": script}).items():
        text = text.replace(f"@{name}@", value)
    content = text.encode()
    return MARK + hashlib.sha256(content).hexdigest()[:12].encode() + b" -->\n" + content


def _read(name: str) -> str:
    return read_bounded(ASSETS / name, 1 << 20, follow=True).decode("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
