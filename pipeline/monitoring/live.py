"""Live progress for those who request it: the dashboard's view, as a small file.

``state/live.wanted`` is touched by readers, ``state/live.json`` is written by the instance that
works, whole and at most twice a second, while there was a request within the last seconds. Without
requests it costs one stat of a file that does not exist.
"""

import json
import os
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.monitoring.view import Lane, View
from pipeline.system.redaction import Redactor
from pipeline.system.safe_files import open_regular, read_bounded, write_whole

ASKED, TOLD = "live.wanted", "live.json"
TELL_SECONDS = 0.5
INTEREST_SECONDS = 10.0  # after the last question
STALE_SECONDS = 5.0  # an older document is out of date
MOST_LANES = 16
MOST_BYTES = 4 << 20  # 16 previews and their text

Told = dict[str, Any]


class LivePublisher:
    """Writes the live document, for the instance that works."""

    def __init__(self, state: Path) -> None:
        self._asked, self._told = state / ASKED, state / TOLD
        self._next = 0.0

    def publish(self, view: View, wall: float) -> None:
        """Write the view, if there was a request lately; a full disk writes nothing."""
        if wall < self._next:
            return
        self._next = wall + TELL_SECONDS
        with suppress(OSError):
            if abs(wall - self._asked.stat().st_mtime) < INTEREST_SECONDS:
                text = json.dumps(live_document(view, wall))
                write_whole(self._told, text.encode(), spare=self._told.with_suffix(".new"))

    def close(self) -> None:
        """Remove the document: no work goes on."""
        with suppress(OSError):
            self._told.unlink(missing_ok=True)


def request_live(state: Path, wall: float) -> Told | None:
    """Request the live document, and read it; None when no instance works or has written it yet.

    Reads and touches only these two files.
    """
    with suppress(OSError):
        fd = open_regular(state / ASKED, os.O_WRONLY | os.O_CREAT)
        try:
            os.utime(fd if os.utime in os.supports_fd else state / ASKED, (wall, wall))
        finally:
            os.close(fd)
    try:
        told = json.loads(read_bounded(state / TOLD, MOST_BYTES))
        fresh = abs(wall - told["at"]) < STALE_SECONDS
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return told if fresh else None


def live_document(view: View, wall: float) -> Told:
    """A view as plain JSON, for visitors of the gallery."""
    folders = [Path(folder) for folder in (view.inbox, view.outbox) if folder]
    return {
        "at": wall,
        "message": Redactor(folders).redact_text(view.message),
        "queued": view.queued,
        "settling": view.settling,
        "done": view.done,
        "failed": view.failed,
        "lanes": [_lane(lane) for lane in view.running[:MOST_LANES]],
    }


def _lane(lane: Lane) -> Told:
    """``preview``: width, height and sRGB bytes in base 64; no encoder is needed to make one."""
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
