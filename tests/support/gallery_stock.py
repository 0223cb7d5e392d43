"""What the gallery's tests hang: run log lines, pictures and their small copies. No test here."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.gallery.writer import FOLDER, PICTURES, Gallery
from pipeline.outbox.learned_map import NO_PLACE, LearnedMap, Taught
from pipeline.outbox.names import RUN_LOG
from pipeline.outbox.thumbnails import before_name, painting_name, small_name, staged_map_name

SIZE = (96, 64)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".gif": "GIF", ".html": "PNG"}
OPTIONS = {
    "styles": {"mosaic": {"image": "builtin:mosaic", "transfer": {"size": 96, "steps": [2, 3]}}},
    "seed": 7,
}
CURVE = [[step, 10.0 / step] for step in range(1, 41)]


def digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def stem_of(content: str, style: str) -> str:
    return f"{content.rpartition('.')[0]}--{style}"


def done_line(content: str, style: str = "mosaic", **more: Any) -> dict[str, Any]:
    """The run log line of a finished pair."""
    stem = stem_of(content, style)
    outputs = [
        {"kind": kind, "path": stem + suffix, "sha256": digest(stem + suffix), "bytes": 9_000,
         "width": SIZE[0], "height": SIZE[1]}
        for kind, suffix in (("stylized", ".png"), ("enhanced", ".enhanced.png"))
    ]  # fmt: skip
    line = {
        "ts": "2026-01-02T03:04:05.678Z", "run": "run-1", "job": digest(stem)[:12],
        "event": "job_done", "content": content, "content_sha256": digest(content),
        "style": style, "recipe": "0123456789abcdef", "attempt": 1, "status": "done",
        "seconds": 65.4, "device": "cpu", "outputs": outputs, "losses": {"total": 0.25},
        "options": OPTIONS, "curve": CURVE, "error": None,
    }  # fmt: skip
    return line | more


def failed_line(content: str, code: str, message: str, **more: Any) -> dict[str, Any]:
    """The run log line of a file that was refused; with a style, of a pair that failed."""
    error = {"code": code, "message": message}
    empty = {"outputs": [], "losses": {}, "style": None, "job": None, "status": "failed"}
    return done_line(content) | empty | {"error": error} | more


def pruned_line(content: str, style: str = "mosaic") -> dict[str, Any]:
    """The run log line of a pair whose pictures were removed, because no rule wants it."""
    return done_line(content, style, event="job_pruned", status="skipped")


def write_log(outbox: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines to the run log, as the pipeline does: in ASCII."""
    outbox.mkdir(parents=True, exist_ok=True)
    with (outbox / RUN_LOG).open("a") as log:
        log.writelines(json.dumps(line) + "\n" for line in lines)


def hang(outbox: Path, line: Mapping[str, Any], *, copies: bool = True) -> None:
    """Put the pictures of a line where they belong: photo blue, painting red, enhanced green."""
    for output, colour in zip(line["outputs"], ("red", "lime"), strict=True):
        path = outbox / output["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, colour)
        if copies:
            draw(outbox / FOLDER / PICTURES / small_name(output["sha256"]), colour)
    if copies:
        for name in (
            small_name(line["content_sha256"]),
            before_name(line["content_sha256"], *SIZE),
        ):
            draw(outbox / FOLDER / PICTURES / name, "blue")


def add_film(outbox: Path, line: dict[str, Any], suffix: str = ".webp") -> None:
    """Give a line a timelapse: yellow."""
    path = stem_of(line["content"], line["style"]) + ".timelapse" + suffix
    if suffix != ".mp4":
        draw(outbox / path, "yellow")
    line["outputs"].append(
        {"kind": "timelapse", "path": path, "sha256": digest(path), "bytes": 5_000,
         "width": SIZE[0], "height": SIZE[1]}
    )  # fmt: skip


def learned_map(name: str = "starry.jpg") -> LearnedMap:
    """A map of 6 x 4 cells: each learned from its own place mirrored; the first from nowhere."""
    places = [
        number
        for row in range(4)
        for column in range(6)
        for number in (1000 - 100 * column, 200 * row, 50)
    ]
    taught = Taught(name, painting_name(digest(name)), (*NO_PLACE, *places[3:]))
    return LearnedMap(6, 4, (taught,))


def add_map(outbox: Path, line: Mapping[str, Any], name: str = "starry.jpg") -> None:
    """Give the pictures of a line a map of what they learned where, as a worker stages it."""
    staged = outbox / ".staging" / "small"
    draw(staged / painting_name(digest(name)), "orange", (200, 160))
    path = staged / staged_map_name(line["outputs"][0]["sha256"])
    path.write_text(learned_map(name).as_json())
    Gallery(outbox).take_copies(staged)


def draw(path: Path, colour: str, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        Image.new("RGB", size, colour).save(file, FORMATS[path.suffix])
