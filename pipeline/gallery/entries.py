"""One line of the run log to the entry that the page shows. Plain data in, plain data out.

The log lies where others can write, so it is untrusted: a line that is not of the known form
is left out, and no path leads out of the outbox.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pipeline.config.file_kinds import FILMS
from pipeline.outbox.thumbnails import SHOWN, before_name, large_name, small_name
from pipeline.system.redaction import Redactor

KINDS = ("stylized", "enhanced")  # of a hostile value it can be asked whether it is one of them
POINTS = 120  # of a loss curve; more than a plot can show

REDACTOR = Redactor()  # lines that older versions wrote name folders of the machine
_TEXTS = ("ts", "job", "style", "recipe", "device")
_MAPPINGS = ("losses", "options")


def make_entry(line: Mapping[str, Any], pictures: Path) -> dict[str, Any] | None:
    """The page's entry for a line; None when there is nothing to show.

    Args:
        line: An object of ``runs.jsonl``.
        pictures: Where the small copies are kept.
    """
    content, status = line.get("content"), line.get("status")
    if not isinstance(content, str) or status not in ("done", "failed", "skipped"):
        return None
    shown: dict[str, Any] = {"content": content, "status": status}
    shown |= {key: _of(line, key, str, "") for key in _TEXTS}
    shown |= {key: value for key in _MAPPINGS if (value := _of(line, key, dict, {}))}
    shown |= {key: _number(line.get(key)) for key in ("seconds", "attempt")}
    if status != "done":
        error = _of(line, "error", dict, {})
        return REDACTOR.redact_line(
            shown | {key: _of(error, key, str, "") for key in ("code", "message")}
        )
    outputs = [output for output in _outputs(line) if output["kind"] in KINDS]
    if not outputs:
        return None
    shown["sha"] = _of(line, "content_sha256", str, "")[:16]
    shown["pictures"] = [_picture(output, pictures) for output in outputs]
    plain = next((output for output in outputs if output["kind"] == "stylized"), outputs[0])
    shown |= _photo(line, plain, pictures) | _growth(line)
    if curve := _curve(line.get("curve")):
        shown["curve"] = curve
    return REDACTOR.redact_line(shown)


def _outputs(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for output in _of(line, "outputs", list, []):
        if isinstance(output, dict) and isinstance(output.get("kind"), str) and _inside(output):
            yield output


def _inside(output: Mapping[str, Any]) -> bool:
    path = output.get("path")
    if not isinstance(path, str) or "\0" in path:
        return False
    with suppress(UnicodeEncodeError):  # half a surrogate pair: no file has such a name
        place = PurePosixPath(os.fsdecode(os.fsencode(path)))
        return bool(place.parts) and not place.is_absolute() and ".." not in place.parts
    return False


def _picture(output: Mapping[str, Any], pictures: Path) -> dict[str, Any]:
    numbers = {key: _number(output.get(key)) for key in ("width", "height", "bytes")}
    small = _kept(pictures, small_name, output.get("sha256"))
    shown = {"kind": output["kind"], "url": url(output["path"]), "small": small, **numbers}
    if PurePosixPath(output["path"]).suffix.lower() not in SHOWN:
        shown["view"] = _kept(pictures, large_name, output.get("sha256")) or small
    return shown


def _photo(
    line: Mapping[str, Any], output: Mapping[str, Any], pictures: Path
) -> dict[str, str | None]:
    digest = line.get("content_sha256")
    size = int(_number(output.get("width"))), int(_number(output.get("height")))
    return {
        "photo": _kept(pictures, small_name, digest),
        "before": _kept(pictures, before_name, digest, *size),
    }


def _kept(pictures: Path, name_of: Callable[..., str], digest: object, *size: int) -> str | None:
    """Name of a small copy, if it is there: the page must not request files that do not exist."""
    with suppress(ValueError):
        name = name_of(str(digest), *size)
        return name if (pictures / name).is_file() else None
    return None


def _growth(line: Mapping[str, Any]) -> dict[str, Any]:
    """The film of how it came to be, and stills of it."""
    shown: dict[str, Any] = {}
    for output in _outputs(line):
        place, address = PurePosixPath(output["path"]), url(output["path"])
        size = _number(output.get("bytes"))
        if output["kind"] == "timelapse" and place.suffix in FILMS:
            shown |= {"timelapse": address, "timelapse_bytes": size}
        elif output["kind"] == "still" and place.suffix in SHOWN:
            step = place.stem.rpartition(".step-")[2].lstrip("0")
            shown.setdefault("stills", []).append({"step": step, "url": address, "bytes": size})
    return shown


def _curve(curve: object) -> list[list[float]]:
    """Points (step, total loss, scale) of a run, thinned evenly; the last one stays."""
    if not isinstance(curve, list):
        return []
    points = [point for point in curve if isinstance(point, list) and len(point) >= 2]
    stride = -(-len(points) // POINTS) or 1
    few = points[:-1:stride] + points[-1:]
    return [[_number(step), _rounded(_number(loss)), *map(_number, rest[:1])]
            for step, loss, *rest in few]  # fmt: skip


def url(path: str) -> str:
    """A path of the outbox as a relative address, byte for byte, whatever its name holds."""
    return "./" + quote(os.fsencode(path))


def _of(line: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = line.get(key)
    return value if isinstance(value, kind) else default


def _rounded(loss: float) -> float:
    return float(f"{loss:.4g}")  # finer than a plot can show, in a third of the bytes


def _number(value: object) -> float:
    # Not a number, or one beyond all meaning here, is 0.
    return value if isinstance(value, int | float) and abs(value) < 1e15 else 0
