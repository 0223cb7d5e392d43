"""The daemon survives its connection to a Ray cluster, whatever ends it."""

import signal
import time
from collections.abc import Callable

import pytest
from support import fake_cluster
from support.fake_cluster import FAULT, UNREACHABLE
from support.studio import CONFIG

from pipeline.daemon.service import Service
from pipeline.errors import ConfigError
from pipeline.monitoring.view import View
from pipeline.workers.messages import WorkerSettings
from pipeline.workers.ray_cluster import cluster_process
from pipeline.workers.ray_cluster.cluster_process import ClusterProcess


@pytest.fixture
def studio(make_studio):
    """A studio whose executor is a process with the connection to a cluster."""
    studio = make_studio(CONFIG)
    studio.place = WorkerSettings(studio.config.limits, studio.config.state)
    studio.stops = 0
    studio.cluster = ClusterProcess(
        studio.config, studio.place, fake_cluster.connect, lambda: studio.stops
    )
    studio.daemon = Service(
        studio.config, studio.manifest, studio.ledger, studio.cluster, View(), patient=True
    )
    studio.daemon.start()
    yield studio
    studio.daemon.close()
    studio.cluster.close()


def live(studio, enough: Callable[[], bool]) -> None:
    until = time.monotonic() + 120  # a process is started, on a busy machine
    while not enough():
        studio.now += 1.0
        studio.daemon.wake()
        studio.daemon.tick(studio.now, studio.wall, 0.05)
        assert time.monotonic() < until, [studio.daemon.view.message, studio.states()]


@pytest.mark.slow
def test_the_daemon_survives_every_end_of_its_cluster_and_counts_no_attempt(studio):
    state, pause = studio.config.state, lambda: studio.daemon.pause_reason
    faults = {
        "its own node dies": "its process ended (exit 1)",
        "the whole cluster is lost": "the whole cluster is lost",
        "an error of Ray": "its process ended (exit 1)",
    }
    for number, (fault, words) in enumerate(faults.items()):
        (state / FAULT).write_text(fault)
        if number == 0:
            (state / UNREACHABLE).touch()
        studio.put(f"{number}.png", number)
        live(studio, pause)
        assert words in pause()
        assert "start the cluster again" in pause()
        if number == 0:
            live(studio, lambda: "does not answer" in pause())
            (state / UNREACHABLE).unlink()
        live(studio, lambda number=number: studio.states()[f"{number}.png"] == "done")
    assert {pair.attempt for pair in studio.ledger.pairs()} == {1}
    assert "ValueError: an error of Ray" in (state / "logs/ray.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("stops", [1, 2])
def test_a_cluster_that_hangs_does_not_delay_a_stop(studio, stops, monkeypatch):
    monkeypatch.setattr(cluster_process, "STOP_SECONDS", 0.1)
    studio.put("a.png", 1)
    live(studio, lambda: studio.cluster.slots)
    (studio.config.state / FAULT).write_text("it hangs")
    process = studio.cluster.process
    looks = []

    def stops_after_a_look() -> int:  # the signal arrives while the daemon waits for an answer
        looks.append(studio.cluster.running())
        return stops if len(looks) > 2 else 0

    studio.cluster._stops = stops_after_a_look
    live(studio, lambda: "has not answered" in studio.daemon.pause_reason)
    assert process.returncode == -signal.SIGKILL
    assert {pair.attempt for pair in studio.ledger.pairs()} <= {0, 1}
    assert studio.states()["a.png"] == "queued"


@pytest.mark.slow
def test_a_cluster_that_cannot_be_reached_at_the_start_is_reported_with_its_own_error(make_studio):
    studio = make_studio(CONFIG)
    (studio.config.state / UNREACHABLE).touch()
    place = WorkerSettings(studio.config.limits, studio.config.state)
    with pytest.raises(ConfigError, match=r"ray\.address: auto: does not answer"):
        ClusterProcess(studio.config, place, fake_cluster.connect)


@pytest.mark.slow
def test_the_cluster_is_left_when_the_daemon_ends_or_is_killed(studio):
    process = studio.cluster.process
    studio.cluster.close()  # all that the child notices is the end of its pipe, in both cases
    assert process.returncode == 0
    assert (studio.config.state / "closed").exists()
