"""The log for operators: what the service itself did, whatever becomes of the disk."""

import json
import logging
import os
import resource
import signal
from pathlib import Path

import pytest

from pipeline.config.sections import Log
from pipeline.errors import ConfigError
from pipeline.monitoring.journal import NAME, Journal, note

HOSTILE = "\x1b[2J\u202eevil\n{}.jpg"


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / NAME


def test_a_line_says_when_how_grave_who_and_what(log, tmp_path):
    """One JSON object, with the facts as fields of their own."""
    with Journal(Log(), tmp_path):
        note("pause", why="the disk is full", free=17, over=None)
        logging.getLogger("pipeline.hooks").warning("hook %s", "failed")
    first, second = lines(log)
    assert first.pop("ts").endswith("Z")
    assert first == {
        "level": "info", "logger": "pipeline", "pid": os.getpid(), "event": "pause",
        "why": "the disk is full", "free": 17, "over": None,
    }  # fmt: skip
    assert (second["level"], second["logger"]) == ("warning", "pipeline.hooks")
    assert second["event"] == "hook failed"


def test_strangers_words_do_nothing_to_a_terminal_even_when_decoded(log, tmp_path):
    """A name stays text after `jq -r`, too, and stays in its line."""
    with Journal(Log(), tmp_path):
        note(HOSTILE, name="pipeline", file=HOSTILE, files=[HOSTILE], deep={"x": {"y": HOSTILE}})
    (line,) = lines(log)
    for text in (line["event"], line["file"], line["files"][0], line["deep"]["x"]["y"]):
        assert text.isprintable()
        assert "evil" in text


def test_secrets_are_left_out_by_name(log, tmp_path):
    """Whatever calls itself a token or a password."""
    with Journal(Log(), tmp_path):
        note("serve", token="abc123", headers={"Authorization": "abc123"}, api_password="abc123")
    assert "abc123" not in log.read_text()


def test_what_is_less_grave_than_asked_for_is_not_written(log, tmp_path):
    """`off` makes no file at all."""
    with Journal(Log(level="warning"), tmp_path):
        note("start")
        note("stuck", logging.WARNING)
    assert [line["event"] for line in lines(log)] == ["stuck"]
    log.unlink()
    with Journal(Log(level="off"), tmp_path):
        note("stuck", logging.WARNING)
    assert not log.exists()


def test_outside_a_run_nothing_is_written_or_printed(log, tmp_path, capfd):
    """The library stays silent, as libraries should."""
    with Journal(Log(), tmp_path):
        pass
    note("stuck", logging.ERROR)
    assert not log.exists()
    assert capfd.readouterr() == ("", "")


def test_the_log_does_not_grow_without_end(log, tmp_path):
    """Files of a size are put aside, and the oldest go."""
    with Journal(Log(bytes=10_000, keep=2), tmp_path):
        for number in range(1000):
            note("resume", number=number)
    names = sorted(path.name for path in log.parent.iterdir())
    assert names == ["pipeline.jsonl", "pipeline.jsonl.1", "pipeline.jsonl.2"]
    assert all(path.stat().st_size <= 10_000 for path in log.parent.iterdir())
    assert lines(log)[-1]["number"] == 999


def test_a_full_disk_costs_lines_and_nothing_else(log, tmp_path, capfd):
    """A limit on file sizes stands for the disk; what comes after it is written again, whole."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Journal(Log(), tmp_path) as journal:
            note("start")
            resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 20, before[1]))
            note("pause", why="x" * 500)
            note("pause", why="x" * 500)
            assert journal.lost == 2
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            note("resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    whole = [line for line in log.read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line)["event"] for line in whole] == ["start", "resume"]
    assert capfd.readouterr() == ("", "")


def test_a_log_that_cannot_be_opened_stops_nothing(tmp_path, capfd):
    """Its folder is a file: lines are counted as lost."""
    (tmp_path / "logs").write_text("in the way")
    with Journal(Log(), tmp_path) as journal:
        note("start")
        note("stop")
        assert journal.lost == 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text", ["my notes\n" * 2000, '{"ts": "2026-11-30", "run": "of runs.jsonl"}\n']
)
@pytest.mark.parametrize("name", ["notes", "notes.1", "notes.3"])
def test_a_file_of_somebody_elses_under_a_name_of_the_log_is_refused_and_stays(
    tmp_path, name, text
):
    """The log would be appended to it, or a rotated log would take its place."""
    (tmp_path / name).write_text(text)
    options = Log(file=tmp_path / "notes", bytes=10_000, keep=3)
    with pytest.raises(ConfigError, match=f"log.file: .*/{name}: a file that"):
        Journal(options, tmp_path).__enter__()
    assert (tmp_path / name).read_text() == text
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["notes", "notes.1", "notes.2"])
def test_a_file_that_takes_a_name_of_the_log_while_it_is_written_stays(tmp_path, name):
    options = Log(file=tmp_path / "notes", bytes=10_000, keep=2)
    with Journal(options, tmp_path):
        note("start")
        (tmp_path / "new").write_text("mine")
        (tmp_path / "new").replace(tmp_path / name)
        for number in range(300):
            note("resume", number=number)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("begun", ["", "\n", '{"t', '{"ts": "20', '{"ts": "20\n'])
def test_a_log_whose_first_line_a_full_disk_cut_is_still_the_programs_own(tmp_path, begun):
    options = Log(file=tmp_path / "log")
    options.file.write_text(begun)
    for _ in range(2):
        with Journal(options, tmp_path):
            note("start")
    assert options.file.read_text().count('"start"') == 2
