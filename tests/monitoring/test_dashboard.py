"""The dashboard on a terminal or without one: drawn frames, plain lines, the summary."""

import io
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.stock import make_job
from support.views import BLUE, HOSTILE, NOW, RED, a_picture, a_view, progress

from pipeline.config.enhancement import Enhance
from pipeline.config.transfer import Transfer
from pipeline.errors import Failure, Reason
from pipeline.jobs.job import Job, JobResult, Output
from pipeline.jobs.recipe import Recipe
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.terminal.dashboard import Dashboard, Live, Result, View
from pipeline.monitoring.terminal.frame import Painter, draw_half_block, draw_picture
from pipeline.monitoring.terminal.screen import Screen
from pipeline.monitoring.view import summarize_run


def a_result(status: str, error: Failure | None = None) -> JobResult:
    job = Job("a.jpg", Path("a.jpg"), "0" * 64, "mosaic", Recipe((), Transfer(), Enhance(), "", 0))
    outputs = () if error else (Output("stylized", "a--mosaic.png", "1" * 64, 1, 1, 1),)
    return JobResult(job, status, 61.25, "cpu", outputs, {}, error)  # type: ignore[arg-type]


def test_a_result_ends_its_lane_and_is_counted():
    """done, failed and skipped count up; only failures are kept with their reasons."""
    view = View()
    done, failed = a_result("done"), a_result("failed", Failure(Reason.TRUNCATED, "it ends early"))
    failed = replace(failed, job=make_job("b.jpg"))
    view.begin_job(done.job.id, "a.jpg", "mosaic")
    view.end_job(done, NOW)
    view.end_job(failed, NOW)
    assert view.running == []
    assert (view.counts, view.ended) == (Counts(done=1, failed=1), 2)
    assert [(failure.code, failure.message) for failure in view.failures] == [
        ("truncated", "it ends early")
    ]


def test_the_summary_is_one_line():
    """It counts what there is, and says where the pictures are if there are any."""
    assert summarize_run(a_view(), NOW) == "1 done, 2 files not taken in 1:05; saved to outbox"
    assert summarize_run(View(message="nothing to do"), NOW) == "nothing to do"


class Sheet(io.StringIO):
    """A file to write to, as a terminal or not, in an encoding."""

    def __init__(self, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self.terminal, self.coding = terminal, encoding

    def isatty(self) -> bool:
        return self.terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.coding

    @property
    def words(self) -> list[str]:
        """The lines without their times, which are checked."""
        lines = self.getvalue().splitlines()
        for line in lines:
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d [a-z]+ +\S", line), line
        return [line.partition(" ")[2] for line in lines]


def test_without_a_terminal_there_are_plain_lines():
    """Start, result, failure, skip and summary: one timestamped line each, nothing twice."""
    file, view = Sheet(), View(outbox="outbox", message="watching", started_at=NOW)
    done, failed = a_result("done"), a_result("failed", Failure(Reason.TRUNCATED, "it ends early"))
    failed = replace(failed, job=make_job("b.jpg"))
    job = done.job.id
    with Dashboard(file, clock=lambda: NOW + 9) as dashboard:
        dashboard.update(view, NOW)
        view.begin_job(job, "a.jpg", "mosaic", "cpu")
        dashboard.update(view, NOW + 1)
        dashboard.update(view, NOW + 2)
        view.end_job(done, NOW + 3)
        dashboard.update(view, NOW + 3)
        view.end_job(failed, NOW + 4)
        view.add_result(
            Result(NOW + 4, "x.txt", "", "skipped", code="unsupported_format", message="text")
        )
        dashboard.update(view, NOW + 4)
        dashboard.line("reading the styles again")
    assert file.words == [
        "info     watching",
        f"started  a.jpg x mosaic [{job}] on cpu",
        f"done     a.jpg x mosaic [{job}] in 61.2 s: a--mosaic.png",
        f"failed   b.jpg x mosaic [{failed.job.id}] truncated: it ends early",
        "skipped  x.txt unsupported_format: text",
        "info     reading the styles again",
        "summary  1 done, 1 failed, 1 file not taken in 0:09; saved to outbox",
    ]


def test_a_terminal_gets_plain_lines_where_they_are_wanted():
    """With ``--plain`` nothing is drawn or moved: a screen reader reads each line once."""
    file, view = Sheet(terminal=True), a_view()
    with Dashboard(file, draw=False, clock=lambda: NOW) as dashboard:
        dashboard.update(view, NOW)
    assert not re.search("[\x1b\r]", file.getvalue())
    assert file.words[0] == "info     watching"


def test_a_job_taken_in_advance_has_not_started():
    """Its line comes when its device is done with the one before."""
    file, view = Sheet(), View()
    dashboard = Dashboard(file, clock=lambda: NOW)
    view.begin_job("job1", "a.jpg", "mosaic", "cpu")
    view.begin_job("job2", "b.jpg", "mosaic", "cpu")
    dashboard.update(view, NOW)
    view.update_progress(progress(1, 1))
    dashboard.update(view, NOW + 1)
    assert file.words == ["started  a.jpg x mosaic [job1] on cpu"]
    view.remove_job("job1")
    dashboard.update(view, NOW + 2)
    assert file.words[1:] == ["started  b.jpg x mosaic [job2] on cpu"]


def test_plain_progress_comes_every_ten_seconds_at_most():
    """A log of a night's run stays readable, and each job speaks for itself."""
    file, view = Sheet(), View()
    dashboard = Dashboard(file, clock=lambda: NOW)
    view.begin_job("job1", "a.jpg", "mosaic", "cpu")
    for second in range(31):
        view.update_progress(progress(5 * second, second))
        dashboard.update(view, NOW + second)
    assert file.words[1:] == [
        f"progress a.jpg x mosaic [job1] {percent}, scale 2/4 (256 px), step {step}/200, "
        "5.0 steps/s, loss 1.23e+03, 0:30 left"
        for percent, step in (("25%", " 50"), ("50%", "100"), ("75%", "150"))
    ]


def test_the_last_word_is_said_once():
    """A run with nothing to do says so in one line."""
    file, view = Sheet(), View(message="nothing to do")
    with Dashboard(file, clock=lambda: NOW) as dashboard:
        dashboard.update(view, NOW)
    assert file.words == ["info     nothing to do"]


def test_a_name_cannot_forge_a_plain_line():
    """A line break in a name stays in its line, in any encoding."""
    for encoding in ("utf-8", "ascii", "latin-1"):
        file = Sheet(encoding=encoding)
        dashboard = Dashboard(file, clock=lambda: NOW)
        dashboard.line(f"{HOSTILE}\n2025-01-01T00:00:00+00:00 done b.jpg")
        assert len(file.words) == 1
        file.getvalue().encode(encoding)


@pytest.mark.parametrize("terminal", [False, True])
def test_silence_is_silent(terminal):
    """With --json nothing is drawn, whatever the place."""
    file = Sheet(terminal)
    with Dashboard(file, silent=True) as dashboard:
        dashboard.update(a_view(), NOW)
        dashboard.line("text")
        dashboard.pause()
    assert file.getvalue() == ""


def test_nothing_is_written_after_the_end():
    """Once closed, late updates and lines are dropped, and a second close says nothing again."""
    file = Sheet()
    dashboard = Dashboard(file, clock=lambda: NOW)
    dashboard.close()
    before = file.getvalue()
    dashboard.update(a_view(), NOW)
    dashboard.line("late")
    dashboard.close()
    assert file.getvalue() == before
    assert file.words == ["summary  nothing was done"]


def test_a_reader_that_went_away_does_not_end_the_run():
    """`pipeline watch | head` goes on working without its reader."""

    class Gone(Sheet):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with Dashboard(Gone(), clock=lambda: NOW) as dashboard:
        dashboard.update(a_view(), NOW)


@pytest.mark.parametrize("term", ["dumb", "unknown", "xterm"])
def test_a_terminal_that_must_not_be_drawn_on_gets_plain_lines(term, monkeypatch):
    """TERM=dumb, an editor's shell, or a terminal that is not ours now (`pipeline watch &`)."""
    monkeypatch.setenv("TERM", term)
    file = Sheet(terminal=True)
    Dashboard(file, clock=lambda: NOW).close()
    assert file.words == ["summary  nothing was done"]


def drawn(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8", **variables: str) -> str:
    """What one frame with a picture sends to a terminal with these environment variables."""
    for name in ("NO_COLOR", "COLORTERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # A rich style remembers the codes of the first terminal it was drawn on.
    draw_picture.cache_clear()
    draw_half_block.cache_clear()
    file = Sheet(True, encoding)
    live = Live(Screen(file, lambda: (80, 24)), Painter(file))
    live.update(a_view(preview=a_picture(RED, BLUE)), NOW)
    return file.getvalue()


def test_a_terminal_gets_the_colours_it_has(monkeypatch):
    """Truecolor, 256 colours, none with NO_COLOR, and ASCII where there is no Unicode."""
    true = drawn(monkeypatch, TERM="xterm-256color", COLORTERM="truecolor")
    assert "\x1b[38;2;255;0;0;48;2;255;0;0m▀" in true
    few = drawn(monkeypatch, TERM="xterm-256color")
    assert "\x1b[38;5;196;48;5;196m▀" in few
    none = drawn(monkeypatch, TERM="xterm-256color", NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*(?<!\d)(3|4|9)\d[;m]|▀", none)
    assert drawn(monkeypatch, "ascii", TERM="xterm-256color", COLORTERM="truecolor").isascii()


def test_frames_come_four_times_a_second_at_most(monkeypatch):
    """However often the service reports, the engine keeps its cores; a clock set back is no end."""
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Sheet(terminal=True)
    live = Live(Screen(file, lambda: (80, 24)), Painter(file))
    view = View(started_at=NOW)
    sizes = []
    for moment in (0, 0.1, 0.2, 0.25, 0.3, 1.5, -3600):
        view.queued += 1
        live.update(view, NOW + moment)
        sizes.append(len(file.getvalue()))
    grew = [after > before for before, after in itertools.pairwise([0, *sizes])]
    assert grew == [True, False, False, True, False, True, True]


def test_failures_are_named_again_at_the_end(monkeypatch):
    """The rows go; what failed and why stays on the screen, as plain text."""
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Sheet(terminal=True)
    live = Live(Screen(file, lambda: (80, 24)), Painter(file))
    live.update(a_view(), NOW)
    live.close(a_view(), NOW)
    assert file.getvalue().split("\x1b[?25h")[1].splitlines() == [
        "failed: half.jpg truncated: it ends early (copy again)",
        "1 done, 2 files not taken in 1:05; saved to outbox",
    ]
