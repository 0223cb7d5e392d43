"""A view of the pipeline at work, for what draws it."""

from pipeline.jobs.job import Progress
from pipeline.monitoring.terminal.dashboard import Result, View
from pipeline.monitoring.terminal.preview import Preview

NOW = 1_700_000_000.0
RED, BLUE = (255, 0, 0), (0, 0, 255)
HOSTILE = "[bold]a\x1b[2J\x07\n\u202e\udcff[/] :smile: 東京.jpg"


def a_picture(*rows: tuple[int, int, int], side: int = 4) -> Preview:
    """Full rows of one colour each, ``side`` pixels wide."""
    return len(rows), side, b"".join(bytes(row) * side for row in rows)


def progress(step: int = 50, seconds: float = 10.0, preview: Preview | None = None) -> Progress:
    return Progress("job1", 2, 4, 256, step, 200, 1234.5, seconds, 30.0, preview)


def a_view(lanes: int = 1, preview: Preview | None = None) -> View:
    """Work in full swing: lanes running, one failure, one picture done, one file skipped."""
    view = View("inbox", "outbox", "cpu", "balanced", "watching", NOW - 65, queued=7, settling=2)
    view.per_hour, view.seconds_left = 87.4, 3725.0
    for number in range(1, lanes + 1):
        view.begin_job(f"job{number}", f"photo {number}.jpg", "mosaic", f"cuda:{number - 1}")
        view.running[-1].update(progress(preview=preview))
    view.preview = preview
    view.add_result(Result(NOW, "lake.jpg", "ink", "done", 61.0, ("lake--ink.png",), job="job0"))
    view.add_result(Result(NOW, "notes.txt", "", "skipped", code="unsupported_format"))
    view.add_result(
        Result(
            NOW, "half.jpg", "", "failed", code="truncated", message="it ends early (copy again)"
        )
    )
    return view
