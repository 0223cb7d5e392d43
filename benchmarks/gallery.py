"""What a new result costs the gallery, with few and with 5,000 results there already."""

import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.pictures import painting, photo, sized
from benchmarks.rows import Row, median_of, seconds
from pipeline.config.sections import Timelapse
from pipeline.gallery.writer import Gallery
from pipeline.imaging.tensors import resize, save_small
from pipeline.nst import Iterate
from pipeline.nst.objective import Evaluation
from pipeline.outbox.names import RUN_LOG
from pipeline.outbox.thumbnails import SMALL, before_name, small_name
from pipeline.render.timelapse import Recorder

MANY, ROUNDS = 5_000, 60
TARGET_MS = 50


def report() -> list[Row]:
    """Times of one job each: copies taken, line logged, files written."""
    few, many = _updates(10), _updates(MANY)
    return [
        Row("gallery update, 10 results there, median", _ms(few)),
        Row(f"gallery update, {MANY:,} results there, median", _ms(many), f"{TARGET_MS} ms"),
        Row(f"gallery update, {MANY:,} results there, slowest", _ms(many, max), f"{TARGET_MS} ms"),
        Row(f"gallery rebuilt from a log of {MANY:,} results", f"{_rebuild():.2f} s"),
        Row(f"copies of {MANY:,} results checked at the end of a run", f"{_tidy():.2f} s"),
        Row("small copies of a 1024 px job (in the worker)", f"{1e3 * _copies():.0f} ms"),
        Row(
            "timelapse of a draft job: copies kept, frames chosen, WebP written",
            f"{1e3 * _film():.0f} ms",
        ),
    ]


def _updates(there: int) -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        outbox = Path(name)
        gallery, log = _filled(outbox, there), outbox / RUN_LOG
        times = []
        for line in _lines(there, ROUNDS):
            staged = _staged(outbox, line)
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            times.append(
                seconds(lambda staged=staged: (gallery.take_copies(staged), gallery.update()))
            )
        return times


def _rebuild() -> float:
    with tempfile.TemporaryDirectory() as name:
        return seconds(_filled(Path(name), MANY).rebuild)


def _tidy() -> float:
    with tempfile.TemporaryDirectory() as name:
        return seconds(_filled(Path(name), MANY).tidy)


def _film() -> float:
    """Of 80 steps at 64, 128 and 256 px, from a photo to a painting, on the CPU."""
    scales = [(64, 40), (128, 30), (256, 10)]
    nothing = Evaluation(torch.zeros(()), torch.zeros(()), {})
    iterates = []
    for scale, (side, steps) in enumerate(scales, 1):
        before = sized(photo(), side)
        after = resize(painting(), before.shape[1:])
        for _ in range(steps):
            step = len(iterates) + 1
            image = torch.lerp(before, after, step / 80)[None]
            iterates.append(
                Iterate(scale, 3, step, 80, image, image, nothing, 0.0, 0, float(step), 80.0 - step)
            )

    def work() -> None:
        recorder = Recorder(Timelapse())
        for iterate in iterates:
            recorder.observe(iterate)
        recorder.stage(iterates[-1].image[0], Path(name))

    with tempfile.TemporaryDirectory() as name:
        return median_of(work, 3)


def _filled(outbox: Path, count: int) -> Gallery:
    with (outbox / RUN_LOG).open("w") as log:
        log.writelines(json.dumps(line) + "\n" for line in _lines(0, count))
    gallery = Gallery(outbox)
    gallery.update()
    for line in _lines(0, count):
        gallery.take_copies(_staged(outbox, line))
    return gallery


def _staged(outbox: Path, line: dict) -> Path:
    """Small copies as a worker leaves them: their names and sizes matter here, not their bytes."""
    folder = outbox / ".staging"
    folder.mkdir(exist_ok=True)
    names = [small_name(output["sha256"]) for output in line["outputs"]]
    digest = line["content_sha256"]
    for name in [*names, small_name(digest), before_name(digest, 1024, 768)]:
        (folder / name).write_bytes(os.urandom(50_000))
    return folder


def _lines(start: int, count: int) -> Iterator[dict]:
    """Run log lines as long as real ones, with a recipe and a loss curve."""
    options = {"styles": {"mosaic": {f"option_{n}": n / 7 for n in range(30)}}, "seed": 0}
    for number in range(start, start + count):
        outputs = [
            {"kind": kind, "path": f"a/{number}--mosaic.{kind}.png", "bytes": 1_800_000,
             "sha256": f"{number:063x}{end}", "width": 1024, "height": 768}
            for end, kind in enumerate(("stylized", "enhanced"))
        ]  # fmt: skip
        yield {
            "ts": "2026-01-02T03:04:05.678Z", "run": "r", "job": f"{number:012x}",
            "event": "job_done", "content": f"a/{number}.jpg", "content_sha256": f"{number:063x}2",
            "style": "mosaic", "recipe": "0" * 16, "attempt": 1, "status": "done", "seconds": 60.0,
            "device": "cuda:0", "outputs": outputs, "losses": {"total": 0.2}, "options": options,
            "curve": [[step, 10 / (step + 1)] for step in range(160)], "error": None,
        }  # fmt: skip


def _copies() -> float:
    picture = torch.rand(3, 768, 1024)  # noise: the hardest to encode
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "small.jpg"

        def work() -> None:
            for side in (SMALL, SMALL, SMALL, 1024):
                save_small(picture, path, side)

        return median_of(work, 3)


def _ms(times: list[float], of=statistics.median) -> str:
    return f"{1e3 * of(times):.1f} ms"
