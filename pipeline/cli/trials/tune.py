"""`tune`: asks which of two pictures is better, a few times, and prints the options chosen."""

from pathlib import Path
from typing import cast, get_args

from pipeline.cli.common import OK, print_lines
from pipeline.errors import UsageError
from pipeline.jobs.job import Job, Progress
from pipeline.render.output_files import Target, check_target
from pipeline.render.single import check_folder, check_out
from pipeline.render.trials.candidates import transfer_line
from pipeline.render.trials.comparison import Comparison
from pipeline.render.trials.quick_painter import QuickPainter
from pipeline.render.trials.trial import Trial
from pipeline.render.trials.tuning import Answer, Tuning
from pipeline.system import interrupt
from pipeline.system.text import visible

END = "q"
QUESTION = f"which is better, 1 or 2? (=: both alike, {END}: stop here) "


def run_tune(trial: Trial, out: Path, save: Path | None) -> int:
    """Compare pairs of pictures, and print the options chosen; return the exit code.

    Raises:
        UsageError: A file must not be written, or the photo cannot be used.
        JobError: A picture cannot be painted.
    """
    interrupt.raise_swallowed()
    if len(trial.styles) > 1:
        what = f"names {len(trial.styles)} paintings"
        raise UsageError(what, where="STYLE", hint="name one; `try` shows which one fits")
    pair, saved = _check_files(trial, out, save)
    photo, style = trial.photos[0], trial.styles[0]
    tuning = Tuning()
    with QuickPainter(trial.size, trial.weights, trial.seed, trial.device, trial.limits) as painter:
        comparison = Comparison(painter, photo, style, pair)
        while not tuning.is_over:
            comparison.write_pair(tuning.pair(), _check_interrupt)
            answer = _ask(tuning, out)
            if answer is None:
                break
            tuning.answer(answer)
    if saved is not None and tuning.values:
        saved.write(f"{transfer_line(tuning.values)}\n".encode())
    print_lines(_report(trial, tuning, save))
    return OK


def _check_files(trial: Trial, out: Path, save: Path | None) -> tuple[Target, Target | None]:
    check_out(out)
    pair = check_target(out, trial.inputs, force=trial.force)
    if save is None:
        return pair, None
    if save.absolute() == out.absolute():
        raise UsageError("is the picture of the pair", where=str(save), hint="give another name")
    check_folder(save)
    return pair, check_target(save, trial.inputs, force=trial.force)


def _check_interrupt(_job: Job, _progress: Progress) -> None:
    interrupt.raise_swallowed()


def _ask(tuning: Tuning, out: Path) -> Answer | None:
    """The answer to one round; None: there will be no more."""
    print(f"\nround {tuning.round + 1} of {tuning.rounds}: look at {visible(str(out))}")
    while True:
        try:
            text = input(QUESTION).strip().lower()
        except EOFError:
            print()
            return None
        if text == END:
            return None
        if text in get_args(Answer):
            return cast(Answer, text)
        print(f"type 1, 2, = or {END}, then Enter")


def _report(trial: Trial, tuning: Tuning, save: Path | None) -> str:
    """What was chosen, and where to write it."""
    if not tuning.values:
        return "nothing was chosen"
    style, photo = trial.styles[0], trial.photos[0]
    lines = [f"for the style {visible(style.name)}, write into config.yaml:", ""]
    lines += [f"  {visible(line)}" for line in style.entry_lines(tuning.values).splitlines()]
    beside = f"{visible(photo.name)}.yaml"
    lines += ["", f"for this photo alone, write into {beside}, beside the photo:", ""]
    lines += [f"  {transfer_line(tuning.values)}"]
    return "\n".join([*lines, *(["", f"saved: {visible(str(save))}"] if save else [])])
