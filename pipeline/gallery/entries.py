"""Turns a line of the run log into an entry of the gallery page. Plain data in, plain data out.

Others can write to the log, so it is untrusted: lines of an unknown form are left out, and no path
leads out of the outbox.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pipeline.config.file_kinds import FILMS
from pipeline.outbox.thumbnails import SHOWN, before_name, large_name, map_name, small_name
from pipeline.system.redaction import Redactor

KINDS = ("stylized", "enhanced")  # a tuple: a set would raise for an unhashable, untrusted value
POINTS = 120  # of a loss curve; a plot cannot show more

REDACTOR = Redactor()  # lines written by older versions contain folders of the machine
_TEXTS = ("ts", "job", "style", "recipe", "device")
_MAPPINGS = ("losses", "options")


def make_entry(line: Mapping[str, Any], pictures: Path) -> dict[str, Any] | None:
    """Make the page's entry for a line; None when there is nothing to show.

    Args:
        line: An object of ``runs.jsonl``.
        pictures: The folder of the small copies.
    """
    content, status = line.get("content"), line.get("status")
    if not isinstance(content, str) or status not in ("done", "failed", "skipped"):
        return None
    entry: dict[str, Any] = {"content": content, "status": status}
    entry |= {key: _get(line, key, str, "") for key in _TEXTS}
    entry |= {key: value for key in _MAPPINGS if (value := _get(line, key, dict, {}))}
    entry |= {key: _number(line.get(key)) for key in ("seconds", "attempt")}
    pruned = line.get("event") == "job_pruned"
    if status != "done" and not pruned:
        error = _get(line, "error", dict, {})
        return REDACTOR.redact_line(
            entry | {key: _get(error, key, str, "") for key in ("code", "message")}
        )
    outputs = [output for output in _outputs(line) if output["kind"] in KINDS]
    if not outputs:
        return None
    if pruned:  # the page forgets its pictures
        places = [{"url": relative_url(output["path"])} for output in outputs]
        return REDACTOR.redact_line(entry | {"pruned": True, "pictures": places})
    if line.get("draft") is True:
        entry["draft"] = True
    entry["sha"] = _get(line, "content_sha256", str, "")[:16]
    entry["pictures"] = [_picture(output, pictures) for output in outputs]
    stylized = next((output for output in outputs if output["kind"] == "stylized"), outputs[0])
    entry |= _photo(line, stylized, pictures) | _timelapse(line)
    if learned := _find_copy(pictures, map_name, stylized.get("sha256")):
        entry["map"] = learned
    if curve := _curve(line.get("curve")):
        entry["curve"] = curve
    return REDACTOR.redact_line(entry)


def _outputs(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for output in _get(line, "outputs", list, []):
        if (
            isinstance(output, dict)
            and isinstance(output.get("kind"), str)
            and _is_inside_outbox(output)
        ):
            yield output


def _is_inside_outbox(output: Mapping[str, Any]) -> bool:
    path = output.get("path")
    if not isinstance(path, str) or "\0" in path:
        return False
    with suppress(UnicodeEncodeError):  # half a surrogate pair cannot be part of a file name
        place = PurePosixPath(os.fsdecode(os.fsencode(path)))
        return bool(place.parts) and not place.is_absolute() and ".." not in place.parts
    return False


def _picture(output: Mapping[str, Any], pictures: Path) -> dict[str, Any]:
    numbers = {key: _number(output.get(key)) for key in ("width", "height", "bytes")}
    small = _find_copy(pictures, small_name, output.get("sha256"))
    entry = {"kind": output["kind"], "url": relative_url(output["path"]), "small": small, **numbers}
    if PurePosixPath(output["path"]).suffix.lower() not in SHOWN:
        entry["view"] = _find_copy(pictures, large_name, output.get("sha256")) or small
    return entry


def _photo(
    line: Mapping[str, Any], output: Mapping[str, Any], pictures: Path
) -> dict[str, str | None]:
    digest = line.get("content_sha256")
    size = int(_number(output.get("width"))), int(_number(output.get("height")))
    return {
        "photo": _find_copy(pictures, small_name, digest),
        "before": _find_copy(pictures, before_name, digest, *size),
    }


def _find_copy(
    pictures: Path, name_of: Callable[..., str], digest: object, *size: int
) -> str | None:
    """Name of a small copy, if it exists: the page must not request missing files."""
    with suppress(ValueError):
        name = name_of(str(digest), *size)
        return name if (pictures / name).is_file() else None
    return None


def _timelapse(line: Mapping[str, Any]) -> dict[str, Any]:
    """The timelapse of the optimisation, and stills of it."""
    entry: dict[str, Any] = {}
    for output in _outputs(line):
        place, address = PurePosixPath(output["path"]), relative_url(output["path"])
        size = _number(output.get("bytes"))
        if output["kind"] == "timelapse" and place.suffix in FILMS:
            entry |= {"timelapse": address, "timelapse_bytes": size}
        elif output["kind"] == "still" and place.suffix in SHOWN:
            step = place.stem.rpartition(".step-")[2].lstrip("0")
            entry.setdefault("stills", []).append({"step": step, "url": address, "bytes": size})
    return entry


def _curve(curve: object) -> list[list[float]]:
    """Points (step, total loss, scale) of a run, thinned evenly; the last point is kept."""
    if not isinstance(curve, list):
        return []
    points = [point for point in curve if isinstance(point, list) and len(point) >= 2]
    stride = -(-len(points) // POINTS) or 1
    return [
        [_number(step), _round_loss(_number(loss)), *map(_number, rest[:1])]
        for step, loss, *rest in points[:-1:stride] + points[-1:]
    ]


def relative_url(path: str) -> str:
    """A path within the outbox as a relative URL that keeps every byte of the name."""
    return "./" + quote(os.fsencode(path))


def _get(line: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    """A value of a line, if it has the expected type."""
    value = line.get(key)
    return value if isinstance(value, kind) else default


def _round_loss(loss: float) -> float:
    return float(f"{loss:.4g}")  # finer than a plot can show, and a third of the bytes


def _number(value: object) -> float:
    # Anything else than a number, or a number of absurd size, counts as 0.
    return value if isinstance(value, int | float) and abs(value) < 1e15 else 0
