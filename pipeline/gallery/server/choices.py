"""A page that shows two pictures and asks which is better; for this machine alone, with a token."""

import hashlib
import json
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from urllib.parse import unquote, urlsplit

from pipeline.config.file_kinds import OF_SUFFIX
from pipeline.config.sections import Limits
from pipeline.gallery.page import ASSETS
from pipeline.gallery.server.access import Guard
from pipeline.gallery.server.context import Site
from pipeline.gallery.server.questions import OpenQuestion, Question
from pipeline.gallery.server.request_handler import HTML, Handler
from pipeline.gallery.server.server import GalleryServer
from pipeline.gallery.server.tuning_requests import JSON, TEXT
from pipeline.system.safe_files import read_bounded

PNG = OF_SUFFIX[".png"].media
LAST_SECONDS = 5.0  # for the page to fetch the end


class Choices:
    """Questions that one thread asks and a browser answers."""

    def __init__(self) -> None:
        self._lock, self._fetched = Lock(), Event()
        self._answers: SimpleQueue[str] = SimpleQueue()
        self._open = OpenQuestion()
        self._end = ""

    def ask(self, question: Question) -> str:
        """Show a question, and wait for its answer."""
        self._open.show(question)
        return self._answers.get()

    def finish(self, text: str) -> None:
        """Show the end, and give the page a moment to fetch it."""
        with self._lock:
            self._end = text
        self._fetched.wait(LAST_SECONDS)

    def take(self, round_: int, word: str) -> bool:
        """Take an answer from the browser; False where it answers nothing that is open."""
        taken = self._open.take(round_, word)
        if taken:
            self._answers.put(word)
        return taken

    def state(self) -> Mapping[str, object]:
        """What the page shows now."""
        with self._lock:
            if self._end:
                self._fetched.set()
                return {"end": self._end}
        return self._open.state()

    def picture(self, round_: int, number: int) -> bytes | None:
        """A picture of the open question, numbered from 1."""
        return self._open.picture(round_, number)


class ChoiceServer(GalleryServer):
    """Serves the page of `Choices` on a free port of this machine."""

    def __init__(self, choices: Choices) -> None:
        self.choices, token = choices, secrets.token_urlsafe(24)
        nowhere = Path("/nonexistent")  # no folder is served
        guard = Guard(token, cookie="pipeline-tune")
        site = Site(nowhere, nowhere, nowhere, Limits(), guard, upload=False)
        super().__init__(("127.0.0.1", 0), site, handler=ChoiceHandler)
        self.address = f"http://127.0.0.1:{self.port}/?token={token}"


class ChoiceHandler(Handler):
    """Handles the page's requests; access is checked as for the gallery."""

    server: ChoiceServer

    def _handle_get(self) -> None:
        path = urlsplit(self.path).path
        if self._has_token_in_url():
            self._set_cookie()
        elif path == "/":
            self._send(200, HTML, *_page())
        elif path == "/state":
            self._send(200, JSON, json.dumps(self.server.choices.state()).encode())
        else:
            found = re.fullmatch(r"/picture/([0-9]{1,3})/([12])", path)
            picture = self.server.choices.picture(int(found[1]), int(found[2])) if found else None
            if picture is None:
                self._refuse(404, "no such picture")
            else:
                self._send(200, OF_SUFFIX[".png"].media, picture)

    def _handle_put(self) -> None:
        path = unquote(urlsplit(self.path).path)
        found = re.fullmatch(r"/answer/([0-9]{1,3})/(.)", path)
        if not self.server.site.guard.may_change(self.headers):
            self._refuse(403, "request from another site")
        elif self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self._refuse(400, "an answer has no content")
        elif found is None or not self.server.choices.take(int(found[1]), found[2]):
            self._refuse(409, "this question is not open")
        else:
            self._send(200, TEXT, b"")


@cache
def _page() -> tuple[bytes, Mapping[str, str]]:
    """The page, and the headers that allow only its own style and script."""
    content = read_bounded(ASSETS / "choice.html", 1 << 20, follow=True)
    hashes = {
        name: b64encode(hashlib.sha256(found[1]).digest()).decode()
        for name in ("style", "script")
        if (found := re.search(rf"<{name}>(.*?)</{name}>".encode(), content, re.DOTALL))
    }
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"img-src 'self' data:; connect-src 'self'; style-src 'sha256-{hashes['style']}'; "
        f"script-src 'sha256-{hashes['script']}'"
    )
    return content, {"Content-Security-Policy": policy}
