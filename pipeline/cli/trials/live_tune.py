"""`tune` for the live page of `serve`: the process that paints the pairs and saves the options."""

import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, cast, get_args

from pipeline.cli.trials.arguments import find_photo, known_style
from pipeline.cli.trials.run import plan_trial
from pipeline.cli.trials.tune import END, check_save, choose, save_options
from pipeline.config.loading import load
from pipeline.errors import ConfigError, PipelineError, UsageError
from pipeline.gallery.server.questions import Question
from pipeline.gallery.server.tunings import (
    SAVE,
    Chosen,
    Failed,
    PaintingPair,
    Saved,
    TuneOrder,
)
from pipeline.jobs.job import Job, Progress
from pipeline.jobs.rates import Rates, rates_file, work_of
from pipeline.render.output_files import Target
from pipeline.render.trials.comparison import Comparison
from pipeline.render.trials.quick_painter import SIDE
from pipeline.render.trials.trial import Trial
from pipeline.render.trials.tuning import ROUNDS, Answer, Tuning

REPORT_SECONDS = 0.2  # between two messages about the same pair


def main() -> None:
    """Run the process that `tunings` starts; its argument is the descriptor of its pipe."""
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):  # the tuning was ended, or the server is gone
        order = pipe.recv()
        try:
            _tune(order, pipe)
        except PipelineError as error:
            pipe.send(Failed(str(error)))
        except EOFError:
            raise
        except OSError as error:  # a file that has gone
            pipe.send(Failed(str(error)))
        except Exception as error:  # the page must not wait for a process that has died
            pipe.send(Failed(f"unexpected {type(error).__name__}: {error}"))


def _tune(order: TuneOrder, pipe: "Connection[Any, Any]") -> None:
    trial = plan(order)
    tuning = choose(trial, None, (page := _Page(pipe, trial)).ask, page.update)
    if not tuning.values:
        pipe.send(Chosen(""))
        pipe.recv()  # until it is closed
        return
    target, chosen = describe(trial, tuning)
    pipe.send(chosen)
    while target is not None and pipe.recv() == SAVE:
        try:
            target = save_options(target, tuning.values)
            pipe.send(Saved(target.path.name))
        except UsageError as error:
            pipe.send(Saved(why=str(error)))
    pipe.recv()


def plan(order: TuneOrder) -> Trial:
    """The photo and the style; the config is read now, as it is now.

    Raises:
        ConfigError: The config is wrong, or has no such style.
        UsageError: The photo cannot be used.
    """
    loaded = load(order.config)
    style = loaded.manifest.styles.get(order.style)
    if style is None:
        raise ConfigError("is no style of the config any more", where=order.style)
    photo = find_photo(str(order.photo), loaded)
    return plan_trial((photo,), (known_style(style, loaded),), order.size or SIDE, loaded)


def describe(trial: Trial, tuning: Tuning) -> tuple[Target | None, Chosen]:
    """The lines, and where they belong: a style of a folder of paintings has a file of its own."""
    style = trial.styles[0]
    lines, file = style.entry_lines(tuning.values), style.options_file
    if file is None:
        why = "This style stands in config.yaml, which this page does not change."
        return None, Chosen(lines, "config.yaml", why=why)
    place = f"{file.name}, beside the painting {style.images[0][0].name}"
    try:
        return check_save(trial, file), Chosen(lines, place, can_save=True)
    except UsageError as error:
        return None, Chosen(lines, place, why=f"{error.where}: {error.what}")


class _Page:
    """Asks on the live page, and reports how far the next pair is."""

    def __init__(self, pipe: "Connection[Any, Any]", trial: Trial) -> None:
        self.pipe = pipe
        single = Rates(rates_file()).seconds([trial.device], work_of(trial.works[0]))
        self.seconds = None if single is None else 2 * single  # a pair takes about
        self._round, self._job, self._number = 1, "", 0
        self._began = self._reported = time.monotonic()
        self._report(0.0)

    def update(self, job: Job, progress: Progress) -> None:
        """Report progress.

        Raises:
            EOFError: The tuning was ended.
        """
        if self.pipe.poll():  # nothing is sent while a pair is painted: it was closed
            raise EOFError
        if not self._number:
            self._began = time.monotonic()  # the network is loaded by now
        if job.id != self._job:
            self._job, self._number = job.id, self._number + 1
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            done = self._number - 1 + progress.step / progress.steps
            self._report(min(1.0, done / 2))

    def ask(self, tuning: Tuning, comparison: Comparison) -> Answer | None:
        """Show a pair, and wait for the answer."""
        self.seconds = time.monotonic() - self._began
        answers = (*get_args(Answer), END)
        question = Question(tuning.round + 1, tuning.rounds, comparison.pngs, answers, self.seconds)
        self.pipe.send(question)
        word = self.pipe.recv()
        self._round, self._number = tuning.round + 2, 0
        if word == END:
            return None
        if self._round <= tuning.rounds:
            self._report(0.0)
        return cast(Answer, word)

    def _report(self, fraction: float) -> None:
        self._reported = time.monotonic()
        self.pipe.send(PaintingPair(self._round, ROUNDS, fraction, self.seconds))
