"""One frame of the dashboard: what it says, in the space that it has."""

import io
import itertools
import math
import re

import pytest
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from support.views import BLUE, HOSTILE, NOW, RED, a_picture, a_view, progress

from pipeline.jobs.job import Progress
from pipeline.monitoring.terminal.dashboard import Lane, Result, View, render
from pipeline.monitoring.terminal.frame import draw_picture
from pipeline.monitoring.terminal.layout import elide
from pipeline.monitoring.terminal.preview import LEVELS, Preview, resize
from pipeline.monitoring.terminal.screen import Look
from pipeline.system.text import format_duration


def rows_of(view: View, width: int = 80, height: int = 24, look: Look | None = None) -> list[str]:
    """A frame as text, without its colours."""
    console = Console(file=io.StringIO(), width=400, color_system=None, highlight=False)
    console.print(render(view, width, height, NOW, look), end="", soft_wrap=True)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue().rstrip("\n").split("\n")


def test_a_frame_says_all_there_is_to_know():
    """Folders, device, elapsed; counts; the pair, how far it is; results; failures and why."""
    text = "\n".join(rows_of(a_view()))
    for part in (
        "inbox → outbox", "1:05 · balanced · cpu", "watching",
        "7 queued · 1 running · 1 done · 2 files not taken · 2 settling",
        "3 of 11 · 1:02:05 left", "87 an hour",
        "photo 1.jpg × mosaic", "cuda:0", "25%", "0:30 left",
        "scale 2/4 (256 px) · step  50/200 · 5.0 steps/s · loss 1.23e+03",
        "lake.jpg × ink", "1:01", "notes.txt", "unsupported_format",
        "half.jpg", "truncated", "it ends early (copy again)",
    ):  # fmt: skip
        assert part in text, part


def test_a_quiet_inbox_makes_a_quiet_frame():
    """With nothing queued there is no bar and nothing failed: few rows, none of them news."""
    view = View("inbox", "outbox", "cpu", "draft", "watching", NOW)
    text = "\n".join(rows_of(view))
    assert "0 queued · 0 running · 0 done" in text
    assert "nothing yet" in text
    assert not re.search("failed|skipped|settling|━", text)


@pytest.mark.parametrize("width", [1, 7, 20, 40, 60, 69, 70, 79, 80, 100, 160, 300])
@pytest.mark.parametrize("height", [1, 2, 5, 9, 14, 23, 29, 44, 90])
def test_a_frame_fits_any_terminal(width, height):
    """No row is longer than the terminal and there are no more of them than it has."""
    tall = a_picture(*[RED] * 9, side=3)
    for lanes, preview in itertools.product((0, 1, 2, 8, 30), (None, a_picture(RED, BLUE), tall)):
        view = a_view(lanes, preview)
        view.add_result(
            Result(NOW, HOSTILE * 9, HOSTILE, "failed", code="x" * 40, message=HOSTILE * 9)
        )
        view.begin_job("hostile", HOSTILE * 9, "東" * 99, "cuda:0")
        rows = rows_of(view, width, height)
        assert len(rows) <= height
        # A terminal this narrow holds no frame, only as little as possible.
        assert max(map(cell_len, rows)) <= max(width, 20)


def test_the_terminal_it_was_made_for_is_used_well():
    """At 80 x 24 picture and results stand side by side; at 60 columns one above the other."""
    view = a_view(preview=a_picture(*[RED] * 48, side=64))
    wide, narrow = rows_of(view, 79, 23), rows_of(view, 59, 29)
    assert any("▀" in row and "lake.jpg" in row for row in wide)
    assert not any("▀" in row and "lake.jpg" in row for row in narrow)
    assert any("▀" in row for row in narrow)
    assert any("lake.jpg" in row for row in narrow)


def lanes_in(view: View, width: int, height: int) -> list[str]:
    """The rows between the head and the results."""
    rows = rows_of(view, width, height)
    return rows[4 : next(i for i, row in enumerate(rows) if row.startswith(" Latest"))]


def test_many_devices_share_the_rows():
    """Two devices get three rows each, eight one each, under headings."""
    assert sum("scale 2/4" in row for row in rows_of(a_view(2), 100, 29)) == 2
    for width, height in ((80, 23), (100, 29), (160, 49)):
        heading, *eight = lanes_in(a_view(8), width, height)[:9]
        assert heading.split() == ["done", "scale", "step", "steps/s", "left", "device"]
        for number, row in enumerate(eight, 1):
            for part in (f"photo {number}.jpg × mosaic", "25%", "2/4 256 px", "50/200", "5.0",
                         "0:30", f"cuda:{number - 1}"):  # fmt: skip
                assert part in row, row


def test_more_lanes_than_rows_are_summed_up():
    """By device where several share one, and what is left over as one row."""
    view = a_view(0)
    for number in range(64):
        view.begin_job(f"job{number}", f"{number}.jpg", "ink", f"cuda:{number // 8}")
        view.running[-1].update(
            Progress(f"job{number}", 2, 4, 256, 50, 200, 1.0, 10.0, 30.0 + number)
        )
    for width, height in ((80, 23), (100, 29), (160, 49)):
        rows = [row for row in lanes_in(view, width, height) if row.strip()]
        devices = [row for row in rows if " 8 jobs" in row]
        assert [row.split()[-1] for row in devices] == [f"cuda:{n}" for n in range(8)]
        assert all("40.0" in row and "next 0:" in row for row in devices[:3])
        shown = sum(".jpg × ink" in row for row in rows)
        assert not shown or f"and {64 - shown} more" in rows[-1]
        assert shown or height < 24
        assert len({cell_len(row) for row in rows if "cuda:" in row}) == 1


def test_lanes_of_one_device_are_summed_up_too():
    """Forty jobs on one processor: the first ones, and the others in one row."""
    rows = [row for row in lanes_in(a_view(40), 100, 29) if row.strip()]
    shown = sum("photo" in row for row in rows)
    assert shown > 8
    assert f"and {40 - shown} more" in rows[-1]


def test_a_lane_keeps_its_row():
    """When a job ends, the next one takes its place; the rows of the others stay where they are."""
    view = View()
    for name in "abc":
        view.begin_job(name, f"{name}.jpg", "ink", "cuda:0")
    view.remove_job("b")
    view.begin_job("d", "d.jpg", "ink", "cuda:0")
    assert [lane.job for lane in view.working] == ["a", "d", "c"]
    view.begin_job("x", "x.jpg", "ink", "cuda:10")
    view.begin_job("y", "y.jpg", "ink", "cuda:2")
    assert [lane.job for lane in view.working] == ["a", "d", "c", "y", "x"]


def test_jobs_taken_in_advance_wait_in_one_row():
    """They are queued, not running: their device is at work on another."""
    view = a_view(2)
    view.begin_job("next1", "later.jpg", "mosaic", "cuda:0")
    view.begin_job("next2", "last.jpg", "mosaic", "cuda:1")
    text = "\n".join(rows_of(view))
    assert "9 queued · 2 running" in text
    assert re.search(r"next  later.jpg × mosaic +and 1 more", text)
    assert "starting" not in text


def test_pace_is_estimated_from_results_until_the_service_knows_better():
    """What lanes expect, then mean times; the service's own figures count once they are there."""
    view = View(queued=10)
    assert (view.pace.per_hour, view.pace.seconds_left) == (None, None)
    for number in range(2):
        view.begin_job(f"job{number}", "b.jpg", "ink", f"cuda:{number}")
        view.running[-1].update(progress())
    assert view.pace.per_hour == 2 * 3600 / 40  # each has run 10 s and expects 30 more
    view.add_result(Result(NOW, "a.jpg", "ink", "done", 60.0))
    assert view.pace.per_hour == 120
    assert view.pace.seconds_left == (10 * 60 + 30 + 30) / 2
    view.per_hour, view.seconds_left = 99.0, 5.0
    assert (view.pace.per_hour, view.pace.seconds_left) == (99.0, 5.0)


def test_a_hostile_name_is_text_and_nothing_else():
    """Escapes, markup, emoji codes and bidi overrides in a name appear as what they are."""
    view = a_view()
    view.begin_job("evil", HOSTILE, HOSTILE, "cpu")
    text = "\n".join(rows_of(view, 159, 44))
    assert r"[bold]a\x1b[2J\x07\n\u202e\xff[/] :smile: 東京.jpg" in text
    assert text.replace("\n", "").isprintable()
    text.encode()


def test_long_names_lose_their_middle():
    """What tells files apart, beginning and ending, stays."""
    assert elide("portraits/grandmother.jpg", 15) == "portrai…her.jpg"
    assert elide("short.jpg", 15) == "short.jpg"
    for cells in range(1, 30):
        assert cell_len(elide("東京タワー" * 9, cells)) <= cells


def segments(preview: Preview, columns: int, rows: int, colors: bool = True) -> list[list[Segment]]:
    return [list(row) for row in draw_picture(preview, columns, rows, colors)]  # type: ignore[arg-type]


def test_the_preview_has_the_colours_of_the_picture():
    """The upper pixel is the character's foreground, the lower one its background."""
    image = segments(a_picture(RED, BLUE, side=2), 2, 1)
    assert [part.text for part in image[0]] == ["▀", "▀"]
    style = image[0][0].style
    assert style is not None
    assert style.color == Color.from_rgb(*RED)
    assert style.bgcolor == Color.from_rgb(*BLUE)


def test_the_preview_keeps_the_shape_of_the_picture():
    """A character is twice as high as wide: 40 x 20 pixels are 40 x 10 characters or smaller."""
    image = a_picture(*[RED] * 20, side=40)
    for columns, rows, expected in ((40, 10, (40, 10)), (20, 10, (20, 5)), (99, 5, (20, 5))):
        shown = segments(image, columns, rows)
        assert (len(shown[0]), len(shown)) == expected


def test_a_shrunk_preview_is_the_mean_of_its_pixels():
    """No pixel of the picture is left out, so that nothing shimmers from frame to frame."""
    checks = a_picture((0, 0, 0), (200, 100, 40), side=2)
    assert resize(checks, 1, 1) == [[(LEVELS[100], LEVELS[50], LEVELS[20])]]
    assert LEVELS[0] == 0
    assert LEVELS[255] == 255


def test_without_colours_the_picture_is_drawn_with_characters():
    """NO_COLOR and ASCII terminals see light and dark; an ASCII terminal gets ASCII only."""
    image = segments(a_picture((0, 0, 0), (0, 0, 0), (255, 255, 255), (255, 255, 255)), 4, 2, False)
    assert ["".join(part.text for part in row) for row in image] == ["    ", "@@@@"]
    frame = "".join(rows_of(a_view(preview=a_picture(RED, BLUE)), look=Look("ascii")))
    assert frame.isascii()


def test_the_last_picture_stays_until_the_next_one_comes():
    """Between two jobs the preview does not blink away."""
    view = a_view(0)
    view.begin_job("job1", "a.jpg", "mosaic")
    view.update_progress(progress(10, 1.0, a_picture(RED, BLUE)))
    view.update_progress(progress(20, 2.0))
    assert view.running[0].preview == view.preview == a_picture(RED, BLUE)
    assert any("▀" in row for row in rows_of(view))
    view.remove_job("job1")
    view.begin_job("job2", "b.jpg", "mosaic")
    assert any("▀" in row for row in rows_of(view))


def test_the_rate_follows_the_scale():
    """Steps a second are those of late, not the mean over scales of very different cost."""
    lane = Lane("job1", "a.jpg", "mosaic")
    for step in range(1, 101):
        lane.update(progress(step, step / 50))
    assert lane.rate == pytest.approx(50)
    for step in range(101, 121):
        lane.update(progress(step, 2 + (step - 100)))
    assert lane.rate == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0:00"), (59.6, "1:00"), (760, "12:40"), (11100, "3:05:00"), (183600, "2d 03:00"),
        (-5, "0:00"), (None, "-"), (math.inf, "-"), (math.nan, "-"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_short_to_read(seconds, words):
    """Also where a clock was set back or an estimate makes no sense."""
    assert format_duration(seconds) == words
