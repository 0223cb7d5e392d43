"""Small facts of the state folder: whatever a file holds, and whatever has its name."""

import json
import math
from datetime import UTC, datetime

import pytest
from support.studio import CONFIG

from pipeline.daemon.planned_pauses import BULK_RUNS, USER_PAUSE, WRITE_AGAIN_SECONDS
from pipeline.jobs.rates import rates_file
from pipeline.monitoring.health import find_trouble
from pipeline.monitoring.live import DOCUMENT_FILE, request_live
from pipeline.system.state_file import LATEST, as_number, read_facts

NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "1e300", "-1e300", "1" * 400, "-1", "true"]
VALUES = [*NUMBERS, "null", '"1"', "[1]", "{}", "1e-300"]
NIGHTLY = CONFIG + 'schedule: {runs: ["0 2 * * *"], timezone: UTC}\n'
WALL = datetime(2033, 5, 18, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("text", NUMBERS)
def test_no_number_is_read_that_cannot_be_calculated_with(text):
    assert as_number(json.loads(text)) is None


def test_every_other_number_is_read():
    assert [as_number(one) for one in (0, 1, 1.5, LATEST)] == [0.0, 1.0, 1.5, LATEST]
    assert datetime.fromtimestamp(LATEST, UTC).year == 9999
    assert as_number(-1, least=-2) == -1.0
    assert all(math.isfinite(as_number(one)) for one in (1e-300, 5e-324))


def test_a_file_with_a_constant_that_json_does_not_have_cannot_be_understood(tmp_path):
    (tmp_path / "facts.json").write_text('{"until": NaN}')
    assert read_facts(tmp_path / "facts.json") == {}


def files(root, value: str) -> dict:
    """Each state file with a number in it, and its text with another value there."""
    state = root / ".state"
    work = "512 px, 150/50 steps of lbfgs"
    return {
        state / USER_PAUSE: f'{{"until": {value}}}',
        state / BULK_RUNS: f'{{"considered": {value}, "on": false}}',
        state / DOCUMENT_FILE: f'{{"at": {value}}}',
        state / "instance.json": f'{{"ticked": {value}}}',
        rates_file(): f'{{"cpu": {{"{work}": [{value}, {value}]}}}}',
    }


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.slow
def test_no_number_in_a_state_file_ends_the_daemon(make_studio, tmp_path, value):
    for path, text in files(tmp_path, value).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    studio = make_studio(NIGHTLY)
    studio.wall = WALL
    studio.put("a.png")
    for _ in range(5):
        studio.tick(60)
        studio.examined()
    assert request_live(tmp_path / ".state", studio.wall) is None
    find_trouble(read_facts(tmp_path / ".state" / "instance.json"), studio.wall)
    (tmp_path / ".state" / USER_PAUSE).unlink(missing_ok=True)
    studio.wall += 86400.0
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}


def test_work_goes_on_where_bulk_runs_cannot_be_recorded_and_they_are_once_they_can(
    make_studio, tmp_path
):
    path = tmp_path / ".state" / BULK_RUNS
    path.mkdir(parents=True)
    studio = make_studio(NIGHTLY)
    studio.wall = WALL
    studio.put("a.png")
    studio.tick()
    assert studio.view.message.startswith("waits for the bulk run")
    studio.wall += 86400.0
    studio.until_idle()
    assert studio.states() == {"a.png": "done"}
    assert str(path) in studio.service.planned_pauses.trouble
    studio.put("b.png", 1)
    studio.until_idle()
    assert studio.states().get("b.png") is None  # the run has ended: it waits for the next one
    path.rmdir()
    studio.tick(WRITE_AGAIN_SECONDS)
    assert studio.service.planned_pauses.trouble == ""
    studio.again()
    studio.until_idle()
    assert studio.states().get("b.png") is None  # a restart repeats no run
    studio.wall += 86400.0
    studio.until_idle()
    assert studio.states()["b.png"] == "done"
