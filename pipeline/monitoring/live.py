"""Live progress on request, for the gallery: the dashboard's view as a small JSON file.

Readers touch ``state/live.wanted``. The running instance writes ``state/live.json``, at most twice
a second, while someone has requested it within the last seconds. Without requests it costs one
stat of a file that does not exist.
"""

import json
import os
from base64 import b64encode
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.monitoring.view import Lane, View
from pipeline.system.redaction import Redactor
from pipeline.system.safe_files import open_regular, read_bounded, write_whole
from pipeline.system.state_file import as_number

REQUEST_FILE, DOCUMENT_FILE = "live.wanted", "live.json"
WRITE_SECONDS = 0.5
REQUEST_SECONDS = 10.0  # how long a request counts
STALE_SECONDS = 5.0  # an older document is out of date
MAX_LANES = 16
MAX_BYTES = 4 << 20  # 16 previews and their text

Document = dict[str, Any]


class LivePublisher:
    """Writes the live document, for the running instance."""

    def __init__(self, state: Path) -> None:
        self._request, self._document = state / REQUEST_FILE, state / DOCUMENT_FILE
        self._next = 0.0

    def publish(self, view: View, wall: float) -> None:
        """Write the view, if it was requested recently; on a full disk, write nothing."""
        if wall < self._next:
            return
        self._next = wall + WRITE_SECONDS
        with suppress(OSError):
            if abs(wall - self._request.stat().st_mtime) < REQUEST_SECONDS:
                text = json.dumps(live_document(view, wall))
                write_whole(self._document, text.encode(), spare=self._document.with_suffix(".new"))

    def close(self) -> None:
        """Remove the document when the instance ends."""
        with suppress(OSError):
            self._document.unlink(missing_ok=True)


def request_live(state: Path, wall: float) -> Document | None:
    """Request the live document and read it; None when no instance has written it.

    Accesses only these two files.
    """
    with suppress(OSError):
        fd = open_regular(state / REQUEST_FILE, os.O_WRONLY | os.O_CREAT)
        try:
            os.utime(fd if os.utime in os.supports_fd else state / REQUEST_FILE, (wall, wall))
        finally:
            os.close(fd)
    try:
        document = json.loads(read_bounded(state / DOCUMENT_FILE, MAX_BYTES))
        at = as_number(document["at"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return document if at is not None and abs(wall - at) < STALE_SECONDS else None


def live_document(view: View, wall: float) -> Document:
    """A view as plain JSON, for visitors of the gallery."""
    folders = [Path(folder) for folder in (view.inbox, view.outbox) if folder]
    return {
        "at": wall,
        "message": Redactor(folders).redact_text(view.message),
        **asdict(view.counts),
        "words": view.counts.words(),
        "lanes": [_lane(lane) for lane in view.working[:MAX_LANES]],
    }


def _lane(lane: Lane) -> Document:
    """A running job. ``preview``: width, height, and sRGB bytes in base64, without an encoder."""
    height, width, rgb = lane.preview or (0, 0, b"")
    return {
        "job": lane.job,
        "content": lane.content,
        "style": lane.style,
        "device": lane.device,
        "fraction": round(lane.fraction, 4),
        "left": lane.left,
        "details": lane.details,
        "preview": [width, height, b64encode(rgb).decode()] if rgb else None,
    }
