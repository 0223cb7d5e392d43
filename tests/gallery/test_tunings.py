"""Tuning a style on the live page: who may, one at a time, its ends, and what is saved where."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gallery_stock import done_line, hang
from support.gallery_visitor import TOKEN, Visitor, told, until
from support.tuning_studio import SILENT, TuningStudio

from pipeline.gallery.server.access import Guard


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[TuningStudio]:
    """One whose process paints nothing and never answers."""
    here = TuningStudio(tmp_path, program=SILENT)
    yield here
    here.end()


def reached(studio: TuningStudio, name: str, true: Callable[[dict], object]) -> dict:
    """The state of a tuning, once that is true of it."""
    states: list[dict] = []
    until(lambda: true(states.append(studio.state_of(name)) or states[-1]))
    return states[-1]


def processes(studio: TuningStudio) -> list[int]:
    run = studio.tunings._run
    return [run.process.pid] if run else []


# --- one at a time, and its ends --------------------------------------------------------------


def test_a_second_one_is_refused_until_the_first_is_cancelled(studio):
    name = studio.started()
    refused = studio.start("sea/1--mosaic.png")
    assert refused.status == 409
    assert b"another style is being tuned" in refused.body
    assert studio.change(f"{name}/end").status == 200
    assert studio.state_of(name) == {"phase": "ended", "why": "it was cancelled"}
    other = studio.started("sea/1--mosaic.png")
    assert studio.ask(f"/.tuning/{name}/state").status == 404
    assert studio.state_of(other)["phase"] == "painting"


def test_one_that_is_left_alone_ends(studio):
    name = studio.started()
    studio.now = 299.0
    assert studio.state_of(name)["phase"] == "painting"
    pids = processes(studio)
    studio.now = 301.0
    until(lambda: studio.state_of(name)["phase"] == "ended")
    assert studio.state_of(name)["why"] == "there was no answer for 5 minutes"
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_the_end_of_the_server_ends_the_process_too(tmp_path):
    studio = TuningStudio(tmp_path, program=SILENT)
    studio.started()
    pids = processes(studio)
    studio.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_process_that_dies_is_reported(studio):
    name = studio.started()
    os.kill(processes(studio)[0], signal.SIGKILL)
    end = reached(studio, name, lambda state: state["phase"] == "ended")
    assert end["why"] == "the process that paints has ended (signal SIGKILL)"


def test_why_it_failed_is_shown_without_folders_of_the_machine(tmp_path):
    program = (
        "import sys; from multiprocessing.connection import Connection; "
        "from pipeline.gallery.server.tunings import Failed; "
        "Connection(int(sys.argv[1])).send(Failed('/home/ann/studio/config.yaml: no such style'))"
    )
    studio = TuningStudio(tmp_path, program=program)
    end = reached(studio, studio.started(), lambda state: state["phase"] == "ended")
    assert end["why"] == "config.yaml: no such style"
    assert studio.start().status == 201  # it is over: the next one may begin
    studio.end()


# --- who may ----------------------------------------------------------------------------------


def test_where_photos_may_not_be_added_no_style_is_tuned(tmp_path):
    visitor = Visitor(tmp_path, upload=False)
    line = done_line("a.jpg")
    hang(visitor.outbox, line)
    told(visitor, line)
    assert visitor.ask("/.tuning/start/a--mosaic.png", "PUT").status == 403
    assert not json.loads(visitor.ask("/live").body)["tune"]
    visitor.end()


@pytest.mark.parametrize("path", ["start/sea/1--dots.png", "NAME/answer/1/1", "NAME/save"])
def test_another_site_and_a_stranger_change_nothing(tmp_path, path):
    studio = TuningStudio(tmp_path, Guard(TOKEN), program=SILENT)
    ours = {"Authorization": f"Bearer {TOKEN}"}
    assert studio.change(path).status == 401
    assert studio.change(path, Origin="http://evil.example", **ours).status == 403
    assert studio.change(path, Sec_Fetch_Site="cross-site", **ours).status == 403
    assert studio.change(path, Host="evil.example", **ours).status == 403
    assert processes(studio) == []
    assert studio.start(**ours).status == 201
    studio.end()


@pytest.mark.parametrize(
    "picture",
    ["", "x.png", "../inbox/sea/1.jpg", "/etc/passwd", "sea/1--dots.png%00", "%ff", "runs.jsonl"],
)  # fmt: skip
def test_only_pictures_of_the_gallery_are_tuned(studio, picture):
    assert studio.start(picture).status == 404
    assert processes(studio) == []


@pytest.mark.parametrize("content", ["../secret.jpg", "/etc/passwd", "link.jpg", "gone.jpg", ".."])
def test_a_photo_outside_the_inbox_is_not_read_whatever_the_log_says(studio, content):
    (studio.root / "secret.jpg").write_bytes((studio.inbox / "sea/1.jpg").read_bytes())
    (studio.inbox / "link.jpg").symlink_to(studio.root / "secret.jpg")
    line = done_line("x.jpg") | {"content": content}
    hang(studio.outbox, line)
    told(studio, line)
    refused = studio.start("x--mosaic.png")
    assert refused.status == 404
    assert b"its photo is no longer in the inbox" in refused.body
    assert processes(studio) == []


@pytest.mark.parametrize(
    "path", ["x/state", "NAME/picture/1/1", "NAME/picture/1/3", "../state", "state", "%00/state"]
)
def test_hostile_names_lead_nowhere(studio, path):
    name = studio.started()
    assert studio.ask(f"/.tuning/{path.replace('NAME', name)}").status == 404
    for action in (f"{name}/answer/1/1", f"{name}/answer/9/q", f"{name}/save"):
        assert studio.change(action).status == 409
    assert studio.change(f"{'A' * 16}/end").status == 404
    assert studio.ask(f"/.tuning/{name}/end", "PUT", b"text").status == 400
    assert studio.state_of(name)["phase"] == "painting"
