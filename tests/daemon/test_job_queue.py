"""Whose turn it is: priorities, folders in turn, the chosen order, and one photo at a time."""

import time
from pathlib import Path

import pytest
from support.stock import make_job

from pipeline.config.loading import load_config
from pipeline.config.sections import Queue
from pipeline.daemon.job_queue import JobQueue, ordered
from pipeline.errors import ConfigError
from pipeline.inbox.scanner import Found
from pipeline.system.file_version import Stamp

BIG = [f"big/{number}.jpg" for number in range(6)]
SMALL = ["small/a.jpg", "small/b.jpg"]


def found(content: str, mtime: int = 0, size: int = 1) -> Found:
    return Found(content, Path(content), Stamp(size, mtime, 0, 0))


def jobs(*contents: str, styles=("mosaic", "waves")) -> list:
    return [make_job(content, style) for content in contents for style in styles]


def queue(*contents: str, **options) -> JobQueue:
    waiting = JobQueue(Queue(**options))
    waiting.fill(jobs(*contents), {}, {})
    return waiting


def drained(waiting: JobQueue, count: int = 1000, wall: float = 0.0) -> list[str]:
    """Contents in the order in which their jobs are handed out, each once in a row."""
    seen: list[str] = []
    for _ in range(count):
        job = waiting.next(wall, ())
        if job is None:
            break
        waiting.take(job)
        if seen[-1:] != [job.content]:
            seen.append(job.content)
    return seen


# --- the order ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "first"), [("name", "a"), ("newest", "b"), ("oldest", "c"), ("smallest", "d")]
)
def test_photos_come_in_the_order_that_is_wanted(order, first):
    files = {
        "a": found("a", mtime=3, size=9),
        "b": found("b", mtime=9, size=5),
        "c": found("c", mtime=1, size=7),
        "d": found("d", mtime=5, size=2),
    }
    got = ordered(list("abcd"), files, Queue(order=order), {})
    assert got[0] == first
    assert sorted(got) == list("abcd")


def test_folders_of_higher_priority_come_first_whatever_the_order():
    options = Queue(folders={"clients/urgent/**": 20, "clients/**": 10, "later/**": -1})
    names = ["a.jpg", "later/x.jpg", "clients/b.jpg", "clients/urgent/c.jpg"]
    got = ordered(names, {}, options, {})
    assert got == ["clients/urgent/c.jpg", "clients/b.jpg", "a.jpg", "later/x.jpg"]


def test_a_large_folder_starves_no_other_one():
    got = ordered([*BIG, *SMALL, "own.jpg"], {}, Queue(), {})
    assert got[:3] == ["big/0.jpg", "small/a.jpg", "own.jpg"]
    assert got.index("small/b.jpg") == 4
    assert [name for name in got if name in BIG] == BIG


def test_folders_take_turns_at_each_level_so_that_many_subfolders_win_nothing():
    many = [f"big/{number}/x.jpg" for number in range(50)]
    got = ordered([*many, *SMALL], {}, Queue(), {})
    assert got[1] == "small/a.jpg"
    assert got[3] == "small/b.jpg"


def test_without_fairness_the_order_alone_counts():
    assert ordered([*BIG, *SMALL], {}, Queue(fair=False), {}) == [*BIG, *SMALL]


def test_turns_are_remembered_when_the_queue_is_made_anew():
    """Else a stream of new files would bring the first folder's turn again and again."""
    waiting = queue(*BIG, *SMALL)
    served = []
    left = [*BIG, *SMALL]
    for _ in range(4):
        served += drained(waiting, 2)
        left = [name for name in left if name not in served]
        waiting.fill(jobs(*left), {}, {})
    assert served == ["big/0.jpg", "small/a.jpg", "big/1.jpg", "small/b.jpg"]


def test_jobs_of_one_photo_stay_together_and_keep_the_order_of_the_styles():
    waiting = queue(*BIG, *SMALL)
    job = waiting.next(0, ())
    assert (job.content, job.style) == ("big/0.jpg", "mosaic")
    waiting.take(job)
    waiting.fill([j for j in jobs(*BIG, *SMALL) if j != job], {}, {})
    job = waiting.next(0, ())
    assert (job.content, job.style) == ("big/0.jpg", "waves")


def test_a_failed_job_waits_for_its_time_and_holds_up_nobody():
    waiting = queue("a.jpg", "b.jpg")
    first = waiting.next(0, ())
    waiting.take(first)
    waiting.postpone(first, until=100.0)
    assert len(waiting) == 4
    assert drained(waiting, wall=50.0) == ["a.jpg", "b.jpg"]
    assert waiting.next(99.0, ()) is None
    assert waiting.next(100.0, ()) == first
    waiting.fill([first], {}, {first.id: 200.0})
    assert waiting.next(150.0, ()) is None
    assert waiting.next(200.0, {(first.content, first.style)}) is None
    assert waiting.next(200.0, ()) == first


def test_the_works_that_wait_are_counted():
    waiting = queue("a.jpg", "b.jpg")
    (work,) = waiting.works
    assert waiting.works[work] == len(waiting) == 4
    job = waiting.next(0, ())
    waiting.take(job)
    assert waiting.works[work] == len(waiting) == 3
    waiting.postpone(job, 9.0)
    assert waiting.works[work] == len(waiting) == 4


def test_thirty_thousand_jobs_are_ordered_in_a_moment():
    names = [f"{number % 40}/{number % 7}/{number}.jpg" for number in range(10_000)]
    began = time.process_time()
    got = ordered(names, {name: found(name) for name in names}, Queue(order="newest"), {})
    assert time.process_time() - began < 2
    assert sorted(got) == sorted(names)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("order: random", "queue.order"),
        ("folders: {'a/**': high}", "queue.folders.a/**"),
        ("folders: {'a/**': 100000}", "queue.folders.a/**"),
        ("fair: maybe", "queue.fair"),
    ],
)
def test_a_wrong_queue_is_refused_with_its_key(tmp_path, text, key):
    path = tmp_path / "config.yaml"
    path.write_text(f'styles: {{a: {{image: "builtin:mosaic"}}}}\nqueue:\n  {text}\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert key in str(error.value)
