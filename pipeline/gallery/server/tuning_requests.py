"""Requests of the live page that tune a style: what each may do, and its response.

    PUT .tuning/start/PICTURE          a picture as the gallery names it; the name of the tuning
    GET .tuning/NAME/state             what the page shows
    GET .tuning/NAME/picture/ROUND/N   a picture of the pair that is shown
    PUT .tuning/NAME/answer/ROUND/WORD which is better
    PUT .tuning/NAME/save              save the options chosen
    PUT .tuning/NAME/end               cancel

The handler has checked host, origin and token, and that changes are allowed. No visitor names a
file: the gallery says which photo and style a picture has, and the photo must be in the inbox.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pipeline.config.file_kinds import OF_SUFFIX
from pipeline.gallery.server.tunings import BusyError, Tunings
from pipeline.system.safe_files import opened, opened_folder

if TYPE_CHECKING:
    from pipeline.gallery.server.context import Host

TUNING = "/.tuning/"  # no picture has such an address: names in an outbox do not begin with a dot
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
_NAME = "(?P<name>[A-Za-z0-9_-]{16})"
_STATE = re.compile(f"{_NAME}/state")
_PICTURE = re.compile(f"{_NAME}/picture/(?P<round>[0-9]{{1,3}})/(?P<number>[12])")
_ANSWER = re.compile(f"{_NAME}/answer/(?P<round>[0-9]{{1,3}})/(?P<word>.)")
_ACTION = re.compile(f"{_NAME}/(?P<action>save|end)")
_START = "start/"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its status, media type and content."""

    status: int
    kind: str = TEXT
    content: bytes = b""

    @classmethod
    def of(cls, status: int, words: str) -> "Reply":
        """A response that says why something was refused."""
        return cls(status, TEXT, words.encode())


_GONE = Reply.of(404, "this tuning has ended")
_OFF = Reply.of(403, "styles cannot be tuned here")


def get_tuning(host: "Host", path: str) -> Reply:
    """The response to a request that changes nothing."""
    tunings, place = host.tunings, path.removeprefix(TUNING)
    if tunings is None:
        return _GONE
    if found := _STATE.fullmatch(place):
        state = tunings.state(found["name"])
        return _GONE if state is None else Reply(200, JSON, json.dumps(state).encode())
    if found := _PICTURE.fullmatch(place):
        picture = tunings.picture(found["name"], int(found["round"]), int(found["number"]))
        return _GONE if picture is None else Reply(200, OF_SUFFIX[".png"].media, picture)
    return _GONE


def change_tuning(host: "Host", path: str, visitor: str) -> Reply:
    """The response to a request that starts, answers, saves or ends."""
    tunings, place = host.tunings, unquote(path.removeprefix(TUNING), errors="surrogateescape")
    if tunings is None:
        return _OFF
    if place.startswith(_START):
        return _start(host, tunings, place.removeprefix(_START), visitor)
    if found := _ANSWER.fullmatch(place):
        taken = tunings.answer(found["name"], int(found["round"]), found["word"])
        return Reply(200) if taken else Reply.of(409, "this question is not open")
    found = _ACTION.fullmatch(place)
    if found is None:
        return _GONE
    if found["action"] == "end":
        return Reply(200) if tunings.end(found["name"]) else _GONE
    style = tunings.save(found["name"])
    if style is None:
        return Reply.of(409, "there is nothing to save, or no file of the style's own")
    host.log(f"{style}: its options are saved for {visitor}")
    return Reply(200)


def _start(host: "Host", tunings: Tunings, picture: str, visitor: str) -> Reply:
    pair = host.files.pair_of(picture)
    if pair is None:
        return Reply.of(404, "no such picture")
    content, style = pair
    if not _is_there(host.site.inbox, content):
        what = "its photo is no longer in the inbox, or is not a regular file"
        return Reply.of(404, f"{what}; `pipeline tune` takes a photo from any place")
    try:
        name = tunings.start(host.site.inbox / content, style)
    except BusyError:
        minutes = f"{tunings.idle_seconds / 60:g} minutes"
        what = "another style is being tuned; try again when that has ended"
        return Reply.of(409, f"{what}, {minutes} after its last answer at the latest")
    except OSError:
        return Reply.of(500, "no process can be started")
    host.log(f"{content}: {style} is tuned on it by {visitor}")
    return Reply(201, JSON, json.dumps({"name": name}).encode())


def _is_there(inbox: Path, content: str) -> bool:
    """Whether a photo is in the inbox, as a file to which no link leads."""
    place = PurePosixPath(content)
    if place.is_absolute() or ".." in place.parts or not place.name:
        return False
    try:
        with opened_folder(inbox, place.parent.parts) as folder:
            opened(place.name, folder=folder).close()
    except (OSError, ValueError):
        return False
    return True
