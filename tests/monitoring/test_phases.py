"""The phase of a running job is the same in dashboard, plain lines, record and live page."""

import io
from dataclasses import replace

from rich.console import Console
from support.views import NOW, progress

from pipeline.cli.report_rows import pair_line
from pipeline.daemon.observers import describe_lane
from pipeline.monitoring.live import live_document
from pipeline.monitoring.terminal.dashboard import Dashboard, View, render

PAIR = {
    "job": "job1", "state": "running", "content": "a.jpg", "style": "mosaic", "error": None,
    "draft": False,
}  # fmt: skip


def frame(view: View) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None, highlight=False)
    console.print(render(view, 100, 20, NOW), end="", soft_wrap=True)
    return console.file.getvalue()


def test_finishing_is_shown_everywhere_while_enhancement_and_writing_last():
    view, lines = View(), io.StringIO()
    dashboard = Dashboard(lines, clock=lambda: NOW)
    view.begin_job("job1", "a.jpg", "mosaic", "cpu")
    dashboard.update(view, NOW)
    view.update_progress(progress(100))
    for text in (frame(view), str(live_document(view, NOW)), str(describe_lane(view.running[0]))):
        assert "finishing" not in text
    ended = replace(progress(200), seconds_left=0.0, finishing=True)
    view.update_progress(ended)
    dashboard.update(view, NOW + 60)
    assert "finishing" in frame(view)
    assert lines.getvalue().splitlines()[-1].endswith("a.jpg x mosaic [job1] 100%, finishing")
    (lane,) = live_document(view, NOW)["lanes"]
    assert (lane["details"], lane["left"], lane["fraction"]) == (["finishing"], "-", 1.0)
    assert describe_lane(view.running[0])["phase"] == "finishing"
    line = pair_line(PAIR | {"progress": describe_lane(view.running[0])})
    assert line.endswith("a.jpg x mosaic  100% on cpu, finishing")


def test_a_picture_that_is_rendered_larger_still_shows_its_steps_and_time_left():
    view = View()
    view.begin_job("job1", "a.jpg", "mosaic", "cpu", draft=True)
    view.update_progress(replace(progress(50), finishing=True))
    (lane,) = view.running
    assert lane.details[:3] == ["draft", "finishing", "step  50/200"]
    assert lane.left == "0:30"
