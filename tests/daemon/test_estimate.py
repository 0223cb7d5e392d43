"""What a run promises and what came of it: rates of this machine, throughput, time left."""

from dataclasses import replace

import pytest
from support.fake_work import done
from support.stock import make_job
from support.studio import CONFIG, Studio

from pipeline.config.transfer import Transfer, resolve_transfer
from pipeline.daemon.run_statistics import RunFigures, RunStatistics, describe_summary
from pipeline.errors import Reason
from pipeline.jobs.job import JobResult, Progress
from pipeline.jobs.rates import MOST_KINDS, NAME, Rates, Work, rates_file, work_of
from pipeline.monitoring.estimate import Estimate, estimate_work
from pipeline.monitoring.view import View
from pipeline.nst.objective import layers_used
from pipeline.nst.pyramid import options_by_scale, per_scale, scale_sides, step_cost

DRAFT = work_of(resolve_transfer("draft"))
FINE = work_of(resolve_transfer("fine"))


def result(seconds: float, content: str = "a.jpg", device: str = "cpu") -> JobResult:
    return JobResult(make_job(content), "done", seconds, device)


# --- rates ----------------------------------------------------------------------------------


def test_rates_outlast_the_process_and_belong_to_device_and_size(tmp_path):
    rates = Rates(tmp_path / NAME)
    rates.add_duration("cuda:0", DRAFT, 2.0)
    rates.add_duration("cpu", DRAFT, 60.0)
    rates.save()
    kept = Rates(tmp_path / NAME)
    assert kept.seconds(["cuda:1"], DRAFT) == 2.0
    assert kept.seconds(["cpu"], DRAFT) == 60.0
    assert kept.seconds(["auto"], DRAFT) == 2.0  # it uses no CPU beside an accelerator
    assert kept.seconds(["mps"], DRAFT) is None


def test_a_rate_follows_a_machine_that_became_slower_and_no_single_job_throws_it(tmp_path):
    rates = Rates(tmp_path / NAME)
    for _ in range(20):
        rates.add_duration("cpu", DRAFT, 10.0)
    rates.add_duration("cpu", DRAFT, 100.0)
    assert 10 < rates.seconds(["cpu"], DRAFT) < 30
    for _ in range(30):
        rates.add_duration("cpu", DRAFT, 20.0)
    assert rates.seconds(["cpu"], DRAFT) == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cpu": 3}', '{"cpu": {"x": ["a"]}}', '{"cpu": {"x": [0, 1]}}', "[" * 9999]
)
def test_rates_that_cannot_be_read_are_measured_anew(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert Rates(tmp_path / NAME).seconds(["auto"], DRAFT) is None


def test_rates_that_cannot_be_written_stop_nothing(tmp_path):
    (tmp_path / "state").write_text("a file where a folder must be")
    rates = Rates(tmp_path / "state" / NAME)
    rates.add_duration("cpu", DRAFT, 1.0)
    rates.save()
    assert rates.seconds(["cpu"], DRAFT) == 1.0


def on_cpu(rates: Rates):
    return lambda work: rates.seconds(["cpu"], work)


def test_what_this_process_measures_counts_at_once_and_the_file_follows(tmp_path):
    for seconds, kept in ((10.0, 10.0), (100.0, 28.0)):
        rates = Rates(tmp_path / NAME)
        rates.add_duration("cpu", DRAFT, seconds)
        assert rates.seconds(["cpu"], DRAFT) == seconds
        rates.save()
        assert Rates(tmp_path / NAME).seconds(["cpu"], DRAFT) == pytest.approx(kept)


def test_studios_share_rates_and_do_not_overwrite_those_of_another(tmp_path):
    one, other = Rates(tmp_path / NAME), Rates(tmp_path / NAME)
    one.add_duration("cpu", DRAFT, 10.0)
    other.add_duration("cpu", FINE, 90.0)
    one.save()
    other.save()
    kept = Rates(tmp_path / NAME)
    assert (kept.seconds(["cpu"], DRAFT), kept.seconds(["cpu"], FINE)) == (10.0, 90.0)


def test_the_file_of_rates_keeps_the_latest_kinds(tmp_path):
    rates = Rates(tmp_path / NAME)
    for number in range(MOST_KINDS + 8):
        rates.add_duration("cpu", Work(f"kind {number}", 1e6 + number), 1.0 + number)
    rates.save()
    assert (tmp_path / NAME).stat().st_size < 8000
    kept = Rates(tmp_path / NAME)
    assert len(kept._stored["cpu"]) == MOST_KINDS
    assert f"kind {MOST_KINDS + 7}" in kept._stored["cpu"]


def test_the_file_lies_in_the_cache_folder_of_the_user(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(rates_file()) == "/x/pipeline/rates.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/a")
    assert str(rates_file()) == "/home/a/.cache/pipeline/rates.json"


@pytest.mark.parametrize("preset", ["draft", "balanced", "fine", "print", "paper"])
def test_work_that_was_never_measured_is_estimated_as_the_engine_plans_it(preset):
    options = resolve_transfer(preset)
    sides = scale_sides(options, options.size)
    steps = per_scale(options.steps, len(sides))
    there = options_by_scale(options, len(sides))
    costs = [
        step_cost(side * side, layers_used(one)) for side, one in zip(sides, there, strict=True)
    ]
    planned = sum(count * cost for count, cost in zip(steps, costs, strict=True))
    assert work_of(options).units == pytest.approx(planned, rel=0.1)
    rates = Rates(None)
    rates.add_duration("cpu", FINE, 100.0)
    ratio = work_of(options).units / FINE.units
    assert rates.seconds(["cpu"], work_of(options)) == pytest.approx(100.0 * ratio)


# --- the estimate ---------------------------------------------------------------------------


def test_an_estimate_sums_over_kinds_of_work_and_divides_among_slots(tmp_path):
    rates = Rates(tmp_path / NAME)
    rates.add_duration("cpu", DRAFT, 10.0)
    rates.add_duration("cpu", FINE, 100.0)
    found = estimate_work({(DRAFT,): 6, (FINE,): 2}, on_cpu(rates), slots=2)
    assert found == Estimate(8, 130.0)
    assert found.words() == "8 pairs to do, about 2:10"


def test_what_was_never_measured_is_said_to_be_unknown(tmp_path):
    rates = Rates(tmp_path / NAME)
    assert estimate_work({(DRAFT,): 1}, on_cpu(rates), 1).words() == (
        "1 pair to do; how long is unknown until the first is done"
    )
    some = estimate_work({(DRAFT,): 1, (FINE,): 2}, {DRAFT: 10.0}.get, 1)
    assert "unknown for 2 of them" in some.words()


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
    bulk = RunStatistics(view, Rates(tmp_path / NAME), ["cpu"], lambda: 2, told.append)
    job = make_job()
    work = work_of(job.recipe.transfer)
    works = {(work,): 4}
    bulk.update_view(works, [("cpu", job)], 0.0)
    assert (view.per_hour, view.seconds_left) == (None, None)
    bulk.figures.begin(0.0)
    bulk.end(result(10.0), 10.0)
    bulk.update_view(works, [("cpu", job)], 10.0)
    assert (view.per_hour, view.seconds_left) == (360.0, 25.0)
    bulk.update_view({(FINE,): 4}, [("cpu", job)], 10.0)
    ratio = FINE.units / work.units
    assert view.seconds_left == pytest.approx((10.0 + 4 * 10.0 * ratio) / 2)
    bulk.update_view({}, [], 10.0)
    assert view.seconds_left is None


def timed(seconds: float):
    return lambda job, staging: replace(done(job, staging), seconds=seconds)


@pytest.mark.parametrize("stored", [None, 3.0, 300.0])
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.slow
def test_the_time_left_is_right_after_a_tenth_of_equal_jobs(make_studio, stored, slots):
    """Whatever was measured before, and in each later tenth."""
    if stored:
        earlier = Rates(rates_file())
        earlier.add_duration("cpu", work_of(Transfer()), stored)
        earlier.save()
    studio = make_studio(slots=slots)
    for number in range(30):
        studio.put(f"{number:02}.png", number)
    studio.until_running(slots)
    studio.examined()
    for ended in range(slots, 31, slots):
        studio.tick(10.0)
        for _ in range(slots):
            studio.executor.end(timed(10.0))
        studio.tick(0.0)
        studio.tick(0.0)
        left = (30 - ended) / slots * 10.0
        if 3 <= ended < 30:
            assert studio.view.pace.seconds_left == pytest.approx(left, rel=0.2)


def test_the_time_left_and_the_header_follow_a_reload_of_the_config(make_studio):
    studio = make_studio()
    for number in range(10):
        studio.put(f"{number}.png", number)
    studio.until_running()
    studio.examined()
    studio.executor.end(timed(10.0))
    studio.tick(10.0)
    studio.tick()
    before = studio.view.seconds_left
    studio.configure(CONFIG + "preset: fine\n")
    studio.service.configure(studio.config, studio.manifest)
    studio.tick()
    studio.examined()
    assert studio.view.preset == "fine"
    # One job of the former recipe runs; those after it, and the pictures to replace, are larger.
    ratio = FINE.units / work_of(Transfer()).units
    assert studio.view.seconds_left > (before - 10.0) * ratio
    assert studio.view.seconds_left == pytest.approx(100.0 * ratio + 10.0, rel=0.01)


def test_before_a_first_result_the_time_left_follows_the_running_jobs(tmp_path):
    view = View()
    bulk = RunStatistics(view, Rates(None), ["cpu"], lambda: 1, lambda _: None)
    draft = make_job()
    draft = replace(draft, recipe=draft.recipe.draft, full=draft.recipe)
    view.begin_job(draft.id, "a", "b", "cpu")
    view.update_progress(Progress(draft.id, 1, 1, 64, 1, 2, 0.5, 4.0, 6.0))
    bulk.update_view({}, [("cpu", draft)], 0.0)
    full = 10.0 * work_of(draft.full.transfer).units / work_of(draft.recipe.transfer).units
    assert view.seconds_left == pytest.approx(6.0 + full)


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
    assert Rates(rates_file()).seconds(["auto"], work_of(made)) == pytest.approx(0.1)
