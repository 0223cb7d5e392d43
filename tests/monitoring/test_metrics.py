"""What Prometheus is told of the pipeline, and whom it answers."""

import os
import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from pipeline.config.sections import Metrics
from pipeline.errors import ConfigError
from pipeline.jobs.job import Progress
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.metrics import MAX_DEVICES, Exporter
from pipeline.monitoring.view import View

NOW = 1_700_000_000.0
HOSTILE = 'a"}\n# HELP x\x1b[2J\udcff.jpg'


def a_line(status: str = "done", code: str = "", side: int = 512) -> dict[str, object]:
    """A line of the run log, as far as it matters here."""
    output = {"kind": "stylized", "path": HOSTILE, "width": side, "height": side // 2}
    return {
        "status": status,
        "content": HOSTILE,
        "style": HOSTILE,
        "seconds": 42.0,
        "outputs": [output] if status == "done" else [],
        "error": {"code": code, "message": HOSTILE} if code else None,
    }


def figures(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and label values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def written(exporter: Exporter) -> dict[str, dict[tuple[str, ...], float]]:
    exporter.update_totals(Counts(done=5, failed=1, not_taken=2), {"outbox": 1e9})
    assert exporter.options.file is not None
    return figures(exporter.options.file.read_text())


@pytest.fixture
def exporter(tmp_path: Path) -> Exporter:
    return Exporter(Metrics(file=tmp_path / "pipeline.prom"), "draft")


def test_results_failures_and_times_are_counted(exporter):
    """Each result once by status, each failure by its code, each time by preset and size."""
    exporter.count_line(a_line(), NOW)
    exporter.count_line(a_line(side=700), NOW + 1)
    exporter.count_line(a_line("failed", "truncated"), NOW + 2)
    found = written(exporter)
    assert found["pipeline_results_total"] == {("done",): 2, ("failed",): 1, ("skipped",): 0}
    assert found["pipeline_failures_total"] == {("truncated",): 1}
    assert found["pipeline_job_duration_seconds_count"] == {
        ("draft", "512"): 1,
        ("draft", "1024"): 1,
    }
    assert found["pipeline_job_duration_seconds_sum"]["draft", "512"] == 42
    assert found["pipeline_last_success_timestamp_seconds"] == {(): NOW + 1}
    assert found["pipeline_jobs"]["done",] == 5
    assert found["pipeline_jobs"]["queued",] == 0
    assert found["pipeline_files_not_taken"] == {(): 2}
    assert found["pipeline_disk_free_bytes"] == {("outbox",): 1e9}
    assert found["pipeline_build_info"]


def test_the_queue_and_the_devices_are_looked_at_each_turn(exporter):
    """Queue, settling files, running jobs, and how long each device was busy."""
    view = View(queued=7, settling=2)
    view.begin_job("a", "a.jpg", "ink", "cuda:0")
    view.begin_job("b", "b.jpg", "ink", "cuda:1")
    exporter.update(view, 100.0, NOW)
    view.update_progress(Progress("a", 1, 1, 64, 1, 2, 0.5, 3.0, 30.0))
    view.remove_job("b")
    exporter.update(view, 110.0, NOW + 10)
    exporter.set_pause("disk")
    exporter.healthy.set(0)
    found = written(exporter)
    assert found["pipeline_queue_length"] == {(): 7}
    assert found["pipeline_settling_files"] == {(): 2}
    assert found["pipeline_running_jobs"] == {(): 1}
    assert found["pipeline_device_busy_seconds_total"] == {("cuda:0",): 10, ("cuda:1",): 0}
    assert found["pipeline_paused"]["disk",] == 1
    assert sum(found["pipeline_paused"].values()) == 1
    assert found["pipeline_healthy"] == {(): 0}
    assert found["pipeline_last_tick_timestamp_seconds"] == {(): NOW + 10}


def test_no_name_of_a_file_becomes_a_label(exporter):
    """A folder of a million photos makes no more series than one photo; hostile words make none."""
    for number in range(500):
        line = a_line("failed", f"odd{number}")
        exporter.count_line(line | {"content": f"{number}.jpg"}, NOW)
        exporter.count_line(a_line(side=16 + 40 * number), NOW)
    view = View()
    for number in range(2 * MAX_DEVICES):
        view.begin_job(f"job{number}", HOSTILE, HOSTILE, f"node-{number}")
    exporter.update(view, 1.0, NOW)
    exporter.update(view, 2.0, NOW)
    found = written(exporter)
    assert found["pipeline_failures_total"] == {("other",): 500}
    assert len(found["pipeline_job_duration_seconds_count"]) <= 7
    assert len(found["pipeline_device_busy_seconds_total"]) == MAX_DEVICES + 1
    assert sum(map(len, found.values())) < 400
    assert "\x1b" not in exporter.options.file.read_text()


def test_the_file_is_replaced_whole_and_leaves_nothing_beside_it(exporter, tmp_path):
    """A collector reads the old figures or the new ones, never half of them."""
    written(exporter)
    before = exporter.options.file.stat().st_ino
    exporter.count_line(a_line(), NOW)
    written(exporter)
    assert exporter.options.file.stat().st_ino != before
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.prom"]


def test_a_folder_that_is_gone_costs_figures_and_nothing_else(tmp_path):
    """The trouble is said, and over once the folder is back."""
    exporter = Exporter(Metrics(file=tmp_path / "gone" / "pipeline.prom"), "draft")
    exporter.update_totals(Counts(), {})
    assert "metrics.file" in exporter.trouble
    (tmp_path / "gone").mkdir()
    exporter.update_totals(Counts(), {})
    assert exporter.trouble == ""


@pytest.mark.parametrize("content", ["my notes", "# HELP node_cpu_seconds_total Seconds.\n"])
def test_a_file_of_somebody_else_is_never_replaced_by_figures(tmp_path, content):
    """At the start it is a wrong config; where it comes later, figures are not written."""
    file = tmp_path / "notes.txt"
    exporter = Exporter(Metrics(file=file), "draft")
    file.write_text(content)
    exporter.update_totals(Counts(), {})
    assert "metrics.file" in exporter.trouble
    with pytest.raises(ConfigError, match=r"metrics.file: .*notes.txt"), exporter:
        pass
    assert file.read_text() == content
    file.unlink()
    exporter.update_totals(Counts(), {})
    assert exporter.trouble == ""
    with exporter:
        pass
    assert written(exporter)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_figures_do_not_replace_what_is_no_file(tmp_path, kind):
    """The work goes on without figures."""
    file, elsewhere = tmp_path / "pipeline.prom", tmp_path / "elsewhere"
    os.mkfifo(file) if kind == "pipe" else file.symlink_to(elsewhere)
    with Exporter(Metrics(file=file), "draft") as exporter:
        exporter.update_totals(Counts(), {})
        assert "metrics.file" in exporter.trouble
    assert file.is_fifo() or file.is_symlink()
    assert not elsewhere.exists()


def test_the_ledger_is_asked_once_in_a_while(exporter):
    """However often the loop turns."""
    turns = [exporter.is_due(second / 4) for second in range(241)]
    assert sum(turns) == 5  # at 0, 15, 30, 45 and 60 s


def test_two_runs_in_one_process_do_not_meet(tmp_path):
    """Each exporter has a registry of its own."""
    first, second = (Exporter(Metrics(file=tmp_path / f"{n}.prom"), "draft") for n in "ab")
    first.count_line(a_line(), NOW)
    assert written(first)["pipeline_results_total"]["done",] == 1
    assert written(second)["pipeline_results_total"]["done",] == 0


@pytest.mark.slow
def test_it_is_asked_over_http_on_this_machine():
    """And the port is free again afterwards."""
    for _ in range(2):
        with Exporter(Metrics(listen="127.0.0.1:0"), "draft") as exporter:
            exporter.count_line(a_line(), NOW)
            url = f"http://127.0.0.1:{exporter.port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert figures(answer.read().decode())["pipeline_results_total"]["done",] == 1


def test_a_port_in_use_is_told_in_one_line():
    """Before anything is begun, with the key to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"metrics.listen: 127.0.0.1:{port}: cannot listen"),
            Exporter(Metrics(listen=f"127.0.0.1:{port}"), "draft"),
        ):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "192.168.1.5:80", "pi.local:80"])
def test_other_machines_are_let_in_only_when_that_is_said(address):
    """An address beyond this machine needs anywhere: true."""
    with pytest.raises(ValidationError, match="anywhere: true"):
        Metrics(listen=address)
    assert Metrics(listen=address, anywhere=True).address


@pytest.mark.parametrize("address", ["9464", "127.0.0.1", ":9464", "127.0.0.1:99999", "a b:1"])
def test_what_is_no_address_is_refused(address):
    """When the config is read, not at night."""
    with pytest.raises(ValidationError):
        Metrics(listen=address)


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "localhost:9464", "[::1]:9464"])
def test_this_machine_has_three_names(address):
    """All of them are taken."""
    assert Metrics(listen=address).address == (address.rpartition(":")[0].strip("[]"), 9464)
