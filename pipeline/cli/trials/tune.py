"""`tune`: asks which of two pictures is better, a few times, and prints the options chosen."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast, get_args

from pipeline.cli.common import OK, print_lines
from pipeline.errors import UsageError
from pipeline.jobs.job import Job, Progress
from pipeline.render.output_files import CHOSEN_HEAD, Target, check_target
from pipeline.render.single import check_folder, check_out
from pipeline.render.trials.candidates import transfer_line
from pipeline.render.trials.comparison import Comparison
from pipeline.render.trials.quick_painter import OnProgress, QuickPainter
from pipeline.render.trials.trial import Trial
from pipeline.render.trials.tuning import Answer, Tuning
from pipeline.system import interrupt
from pipeline.system.text import visible

if TYPE_CHECKING:
    from pipeline.gallery.server.choices import Choices

END = "q"
QUESTION = f"which is better, 1 or 2? (=: both alike, {END}: stop here) "

# Asks for the better one of the pair that was written last; None: there will be no more answers.
Ask = Callable[[Tuning, Comparison], Answer | None]


def run_tune(trial: Trial, out: Path, save: Path | None, in_browser: bool) -> int:
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
    with _asking(in_browser) as (ask, finish):
        tuning = choose(trial, pair, ask, _check_interrupt)
        if saved is not None and tuning.values:
            save_options(saved, tuning.values)
        report = _report(trial, tuning, save)
        print_lines(report)
        finish(report)
    return OK


def choose(trial: Trial, pair: Target | None, ask: Ask, on_progress: OnProgress) -> Tuning:
    """Paint pairs of pictures, and ask for the better one of each.

    Args:
        trial: One photo in one style.
        pair: The file that shows each pair; None: none is written.
        ask: Gives the answers.
        on_progress: Called after each step; an exception ends the choice.

    Raises:
        UsageError: The file has been replaced, or the photo cannot be used.
        JobError: A picture cannot be painted.
    """
    tuning = Tuning()
    with QuickPainter(trial.size, trial.weights, trial.seed, trial.device, trial.limits) as painter:
        comparison = Comparison(painter, trial.photos[0], trial.styles[0], pair)
        while not tuning.is_over:
            comparison.paint_pair(tuning.pair(), on_progress)
            answer = ask(tuning, comparison)
            if answer is None:
                break
            tuning.answer(answer)
    return tuning


def check_save(trial: Trial, save: Path) -> Target:
    """Check that the options chosen may be written to a file.

    Raises:
        UsageError: They may not, because another program's file has the name, for example.
    """
    check_folder(save)
    return check_target(save, trial.inputs, force=trial.force)


def save_options(target: Target, values: Mapping[str, float]) -> Target:
    """Write the options chosen; return the target for the next ones.

    Raises:
        UsageError: The file cannot be written, or another one has taken its name.
    """
    return target.write(f"{CHOSEN_HEAD}{transfer_line(values)}\n".encode())


def _check_files(trial: Trial, out: Path, save: Path | None) -> tuple[Target, Target | None]:
    check_out(out)
    pair = check_target(out, trial.inputs, force=trial.force)
    if save is None:
        return pair, None
    if save.absolute() == out.absolute():
        raise UsageError("is the picture of the pair", where=str(save), hint="give another name")
    return pair, check_save(trial, save)


def _check_interrupt(_job: Job, _progress: Progress) -> None:
    interrupt.raise_swallowed()


def _report(trial: Trial, tuning: Tuning, save: Path | None) -> str:
    """What was chosen, and where to write it."""
    if not tuning.values:
        return "nothing was chosen"
    style, photo = trial.styles[0], trial.photos[0]
    place = visible(str(style.options_file or "config.yaml"))
    lines = [f"for the style {visible(style.name)}, write into {place}:", ""]
    lines += [f"  {visible(line)}" for line in style.entry_lines(tuning.values).splitlines()]
    beside = f"{visible(photo.name)}.yaml"
    lines += ["", f"for this photo alone, write into {beside}, beside the photo:", ""]
    lines += [f"  {transfer_line(tuning.values)}"]
    return "\n".join([*lines, *(["", f"saved: {visible(str(save))}"] if save else [])])


# --- ways to ask ----------------------------------------------------------------------------


@contextmanager
def _asking(in_browser: bool) -> Iterator[tuple[Ask, Callable[[str], None]]]:
    """A way to ask, and what shows the end to the person who answered."""
    if not in_browser:
        yield _ask_in_terminal, lambda _: None
        return
    from pipeline.gallery.server.choices import Choices, ChoiceServer

    choices = Choices()
    with ChoiceServer(choices) as server:
        thread = Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        print(f"open this address in a browser: {server.address}", flush=True)
        try:
            yield _asker(choices), choices.finish
        finally:
            server.shutdown()
            thread.join()


def _asker(choices: "Choices") -> Ask:
    from pipeline.gallery.server.questions import Question

    def ask(tuning: Tuning, comparison: Comparison) -> Answer | None:
        answers = (*get_args(Answer), END)
        question = Question(tuning.round + 1, tuning.rounds, comparison.pngs, answers)
        answer = choices.ask(question)
        return None if answer == END else cast(Answer, answer)

    return ask


def _ask_in_terminal(tuning: Tuning, comparison: Comparison) -> Answer | None:
    assert comparison.target is not None  # noqa: S101  # the terminal shows no picture itself
    path = visible(str(comparison.target.path))
    print(f"\nround {tuning.round + 1} of {tuning.rounds}: look at {path}", flush=True)
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
