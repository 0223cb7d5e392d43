"""Trials: small pictures of one photo in many paintings, beside drafts of the same pairs.

In one process that is warm for both, drafts before and after: the machine's rate drifts.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.pictures import PHOTOS, painting
from benchmarks.rows import Row
from pipeline.config.enhancement import Enhance
from pipeline.config.manifest import starter_styles
from pipeline.config.sections import Limits
from pipeline.config.transfer import resolve_transfer
from pipeline.imaging.tensors import save_png
from pipeline.render.single import Order, stylize_file
from pipeline.render.trials.candidates import Candidate
from pipeline.render.trials.quick_painter import SIDE
from pipeline.render.trials.trial import Trial, run_trial
from pipeline.system.text import format_count

PAINTINGS, DRAFTS = 20, 2  # so many drafts before, and as many after
PHOTO = PHOTOS["coffee"]


def report() -> list[Row]:
    """The time of a trial and of drafts, for each picture, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paintings = write_paintings(folder, PAINTINGS)
        _trial(paintings[:1], folder)  # warm: decoder, threads, compiled code
        _drafts(paintings[:1], folder)
        drafts = processor_seconds(lambda: _drafts(paintings[:DRAFTS], folder))
        small = processor_seconds(lambda: _trial(paintings, folder)) / PAINTINGS
        drafts += processor_seconds(lambda: _drafts(paintings[-DRAFTS:], folder))
    draft = drafts / (2 * DRAFTS)
    threads = format_count(torch.get_num_threads(), "thread")
    return [
        Row(f"try: a picture of {SIDE} px, of {PAINTINGS}, processor time", f"{small:.1f} s"),
        Row(f"a draft, mean of {2 * DRAFTS}, processor time", f"{draft:.1f} s"),
        Row(f"try / drafts ({threads})", f"{small / draft:.2f}", "below 0.25"),
    ]


def processor_seconds(work: Callable[[], None]) -> float:
    """Processor seconds of one call, whatever else the machine does meanwhile."""
    began = time.process_time()
    work()
    return time.process_time() - began


def write_paintings(folder: Path, count: int) -> list[Path]:
    """So many paintings: the starter styles, then parts of them."""
    found = []
    for number, picture in zip(range(count), _parts(), strict=False):
        found.append(folder / f"painting-{number}.png")
        save_png(picture, found[-1])
    return found


def _parts() -> Iterator[Tensor]:
    whole = [painting(name) for name in starter_styles()]
    yield from whole
    for picture in whole:
        half = picture.shape[2] // 2
        yield picture[:, :, :half]
        yield picture[:, :, half:]


def _trial(paintings: list[Path], folder: Path) -> None:
    options = resolve_transfer("balanced")
    styles = tuple(Candidate(path.stem, ((path, 1.0),), options) for path in paintings)
    trial = Trial((PHOTO,), styles, SIDE, "embedded", 0, "cpu", Limits())
    run_trial(trial, folder / "trial", lambda *_: None, lambda _: None)


def _drafts(paintings: list[Path], folder: Path) -> None:
    draft = resolve_transfer("draft")
    order = Order(PHOTO, (), draft, Enhance(), "embedded", 0, "cpu")
    for path in paintings:
        one = replace(order, styles=((path, 1.0),))
        stylize_file(one, folder / f"{path.stem}-draft.png", lambda *_: None)
