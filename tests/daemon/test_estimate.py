"""What a run promises and what came of it: rates of this machine, throughput, time left."""

import pytest
from support.stock import make_job
from support.studio import CONFIG, Studio

from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.daemon.run_statistics import RunFigures, RunStatistics, describe_summary
from pipeline.errors import Reason
from pipeline.jobs.job import JobResult
from pipeline.monitoring.estimate import NAME, Estimate, Rates, estimate_work, work_of
from pipeline.monitoring.view import View

DRAFT = work_of(resolve_transfer("draft"))
FINE = work_of(resolve_transfer("fine"))


def result(seconds: float, content: str = "a.jpg", device: str = "cpu") -> JobResult:
    return JobResult(make_job(content), "done", seconds, device)


# --- rates ----------------------------------------------------------------------------------


def test_rates_outlast_the_process_and_belong_to_device_and_size(tmp_path):
    rates = Rates(tmp_path)
    rates.add_duration("cuda:0", DRAFT, 2.0)
    rates.add_duration("cpu", DRAFT, 60.0)
    rates.save()
    kept = Rates(tmp_path)
    assert kept.seconds(["cuda:1"], DRAFT) == 2.0
    assert kept.seconds(["cpu"], DRAFT) == 60.0
    assert kept.seconds(["auto"], DRAFT) == 31.0
    assert kept.seconds(["auto"], FINE) is None
    assert kept.seconds(["mps"], DRAFT) is None


def test_a_rate_follows_a_machine_that_became_slower_and_no_single_job_throws_it(tmp_path):
    rates = Rates(tmp_path)
    for _ in range(20):
        rates.add_duration("cpu", DRAFT, 10.0)
    rates.add_duration("cpu", DRAFT, 100.0)
    assert 10 < rates.seconds(["cpu"], DRAFT) < 30
    for _ in range(30):
        rates.add_duration("cpu", DRAFT, 20.0)
    assert rates.seconds(["cpu"], DRAFT) == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cpu": 3}', '{"cpu": {"x": ["a"]}}', '{"cpu": {"x": [1]}}']
)
def test_rates_that_cannot_be_read_are_measured_anew(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert Rates(tmp_path).seconds(["auto"], "x") is None


def test_rates_that_cannot_be_written_stop_nothing(tmp_path):
    (tmp_path / "state").write_text("a file where a folder must be")
    rates = Rates(tmp_path / "state")
    rates.add_duration("cpu", DRAFT, 1.0)
    rates.save()
    assert rates.seconds(["cpu"], DRAFT) == 1.0


# --- the estimate ---------------------------------------------------------------------------


def test_an_estimate_sums_over_kinds_of_work_and_divides_among_slots(tmp_path):
    rates = Rates(tmp_path)
    rates.add_duration("cpu", DRAFT, 10.0)
    rates.add_duration("cpu", FINE, 100.0)
    found = estimate_work({DRAFT: 6, FINE: 2}, rates, ["cpu"], slots=2)
    assert found == Estimate(8, 130.0)
    assert found.words() == "8 pairs to do, about 2:10"


def test_what_was_never_measured_is_said_to_be_unknown(tmp_path):
    rates = Rates(tmp_path)
    assert estimate_work({DRAFT: 1}, rates, ["cpu"], 1).words() == (
        "1 pair to do; how long is unknown until the first is done"
    )
    rates.add_duration("cpu", DRAFT, 10.0)
    assert "unknown for 2 of them" in estimate_work({DRAFT: 1, FINE: 2}, rates, ["cpu"], 1).words()


def test_a_kind_of_work_is_told_apart_by_what_takes_time():
    plain = Transfer(size=512, steps=(10,))
    assert work_of(plain) == work_of(plain.model_copy(update={"content_weight": 9.0}))
    for other in ({"size": 256}, {"steps": (20,)}, {"optimizer": "adam"}):
        assert work_of(plain) != work_of(plain.model_copy(update=other))


# --- how it goes ----------------------------------------------------------------------------


def test_a_tally_knows_throughput_busy_share_and_the_slowest():
    figures = RunFigures()
    assert figures.per_hour(5.0) is None
    for number in range(6):
        figures.begin(100.0 + 10 * number)
        figures.end(result(9.0 + number / 10, f"{number}.jpg"), 110.0 + 10 * number)
    assert figures.per_hour() == 360
    assert figures.per_hour(now=220.0) == 180  # nothing came of the last minute
    summary = figures.summary(slots=1)
    assert summary["busy"] == pytest.approx(0.925, abs=0.001)
    assert [slow["content"] for slow in summary["slowest"]] == ["5.jpg", "4.jpg", "3.jpg"]
    assert describe_summary(summary)[0] == "360 pairs an hour, devices busy 92%"


def test_nothing_done_has_no_throughput_and_nothing_to_say():
    summary = RunFigures().summary(1)
    assert summary == {"per_hour": None, "busy": None, "slowest": [], "failures": {}}
    assert describe_summary(summary) == []


def test_the_view_shows_the_time_left_from_rates_or_else_from_the_throughput(tmp_path):
    view, told = View(), []
    bulk = RunStatistics(view, Rates(tmp_path), ["cpu"], lambda: 2, told.append)
    job = make_job()
    work = work_of(job.recipe.transfer)
    bulk.update_view({work: 4}, [("cpu", job)], 0.0)
    assert (view.per_hour, view.seconds_left) == (None, None)
    bulk.figures.begin(0.0)
    bulk.end(result(10.0), 10.0)
    bulk.update_view({work: 4}, [("cpu", job)], 10.0)
    assert (view.per_hour, view.seconds_left) == (360.0, 25.0)
    bulk.update_view({FINE: 4}, [("cpu", job)], 10.0)
    assert view.seconds_left == 50.0
    bulk.update_view({}, [], 10.0)
    assert view.seconds_left is None


# --- told -----------------------------------------------------------------------------------


def test_the_service_tells_the_whole_work_before_its_first_job_and_counts_its_failures(tmp_path):
    two = CONFIG.replace("styles:\n", 'styles:\n  waves: {image: "builtin:woodcut_waves"}\n')
    studio = Studio(tmp_path, two)
    told = []
    studio.service.statistics.on_run = told.append
    try:
        for number in range(3):
            studio.put(f"{number}.png", seed=number)
        studio.until_running()
        assert told == [{"event": "run_started", "pairs": 6, "seconds": None, "unmeasured": 6}]
        studio.fail(Reason.ENGINE_ERROR)
        studio.until_idle()
        summary = studio.service.statistics.summary()
        assert (summary["done"], summary["failed"]) == (5, 1)
        assert summary["failures"] == {"engine_error": 1}
        assert len(told) == 1
    finally:
        studio.close()
    made = studio.executor.begun[-1].recipe.transfer
    assert Rates(tmp_path / ".state").seconds(["auto"], work_of(made)) == pytest.approx(0.1)
