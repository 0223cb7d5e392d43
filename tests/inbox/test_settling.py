"""When a file has settled: it has not changed for a while, and no process writes to it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.inbox_stock import OLD, SETTLE, later, names, put, reasons

from pipeline.inbox.scanner import Inbox
from pipeline.inbox.settling import being_written, lacks_end


def test_a_file_that_was_there_before_is_taken_at_once(root, inbox):
    put(root, "a.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == ["a.jpg"]
    assert scan.next_look is None


def test_a_fresh_file_waits_until_it_has_not_changed_for_the_settling_time(root, inbox):
    put(root, "a.jpg")
    first = inbox.scan(now=10, wall=time.time())
    assert (names(first), dict(first.unsettled)) == ([], {"a.jpg": "still changing"})
    assert first.next_look == 12
    assert names(inbox.scan(now=11.9, wall=time.time())) == []
    assert names(inbox.scan(now=12, wall=time.time())) == ["a.jpg"]


def test_a_file_that_grows_starts_its_settling_time_again(root, inbox):
    path = put(root, "a.jpg")
    inbox.scan(now=0, wall=time.time())
    with path.open("a") as file:
        file.write("more")
    scan = inbox.scan(now=2, wall=time.time())
    assert (names(scan), scan.next_look) == ([], 4)
    assert names(inbox.scan(now=4, wall=time.time())) == ["a.jpg"]


def test_a_file_replaced_by_another_of_equal_size_and_time_is_new(root, inbox):
    path = put(root, "a.jpg", "one")
    os.utime(path, (OLD, OLD))
    (before,) = inbox.scan(now=0, wall=later()).settled
    other = put(root, "new.part", "two")
    os.utime(other, (OLD, OLD))
    other.rename(path)
    (after,) = inbox.scan(now=1, wall=later()).settled
    assert before.stamp != after.stamp


def test_an_old_date_does_not_hide_that_a_file_has_just_been_copied_in(root, inbox):
    path = put(root, "a.jpg")
    os.utime(path, (OLD, OLD))  # as cp -p does; the change time is now
    assert names(inbox.scan(now=0, wall=time.time())) == []


def test_a_file_from_the_future_is_taken_once_it_was_seen_twice(root, inbox):
    path = put(root, "a.jpg")
    os.utime(path, (later() + 1e6, later() + 1e6))
    assert names(inbox.scan(now=0, wall=later())) == []
    assert names(inbox.scan(now=SETTLE, wall=later())) == ["a.jpg"]


def test_the_wall_clock_may_jump_back_without_holding_a_file_up(root, inbox):
    put(root, "a.jpg")
    inbox.scan(now=0, wall=0)
    assert names(inbox.scan(now=SETTLE, wall=-1e9)) == ["a.jpg"]


def test_a_settling_time_of_zero_takes_everything_at_first_sight(root):
    put(root, "a.jpg")
    assert names(Inbox(root, 0).scan(now=0, wall=0)) == ["a.jpg"]


def test_a_scan_says_whether_anything_changed_since_the_one_before(root, inbox):
    put(root, "a.jpg")
    put(root, "notes.txt")
    assert inbox.scan(now=0, wall=later()).changed
    assert not inbox.scan(now=1, wall=later()).changed
    put(root, "b.jpg")
    assert inbox.scan(now=2, wall=later()).changed
    (root / "a.jpg").unlink()
    assert inbox.scan(now=3, wall=later()).changed


WRITER = (
    "import sys; f = open(sys.argv[1], 'ab'); print(1, flush=True); sys.stdin.read(); f.close()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="leases are a Linux thing")
def test_a_file_that_another_program_holds_open_for_writing_waits(root, inbox):
    path = put(root, "a.jpg")
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        scan = inbox.scan(now=0, wall=later())
        assert dict(scan.unsettled) == {"a.jpg": "open for writing in another program"}
        assert scan.next_look > 0
        writer.stdin.close()
        writer.wait()
    assert names(inbox.scan(now=1, wall=later())) == ["a.jpg"]


ASKER = """
import sys
from pathlib import Path
from pipeline.inbox.settling import being_written
path = Path(sys.argv[1])
print(1, flush=True)
while path.with_name("go").exists():
    being_written(path)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="leases are a Linux thing")
def test_asking_survives_a_writer_that_comes_at_that_very_moment(root):
    path = put(root, "a.jpg")
    go = put(root, "go")
    command = [sys.executable, "-c", ASKER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as asker:
        try:
            asker.stdout.readline()
            for _ in range(300):
                with path.open("ab"):
                    pass
        finally:
            go.unlink()
        assert asker.wait() == 0
    assert not being_written(path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_looking_at_a_file_leaves_no_descriptor_open(root):
    path, opened = put(root, "a.jpg"), Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    assert not being_written(path)
    assert not lacks_end(path)
    assert len(list(opened.iterdir())) == before


# --- copies that pause, side files ----------------------------------------------------------

PNG_HEAD, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"


@pytest.mark.parametrize(("head", "end"), [(PNG_HEAD, PNG_END), (b"\xff\xd8\xff\xe0", b"\xff\xd9")])
def test_a_picture_without_its_end_is_waited_for_longer_and_then_taken_all_the_same(
    root, inbox, head, end
):
    path = root / "a.png"
    path.write_bytes(head + b"half of it")
    began = time.time()
    inbox.scan(now=0, wall=began)
    scan = inbox.scan(now=SETTLE, wall=began + SETTLE)
    assert dict(scan.unsettled) == {"a.png": "its end is still missing"}
    assert names(inbox.scan(now=3 * SETTLE, wall=began + 3 * SETTLE)) == ["a.png"]
    path.write_bytes(head + b"all of it" + end)
    began = time.time()
    inbox.scan(now=100, wall=began)
    assert names(inbox.scan(now=100 + SETTLE, wall=began + SETTLE)) == ["a.png"]


def test_a_photo_waits_while_its_side_file_is_still_being_written(root, inbox):
    began = time.time()
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        os.utime(put(root, name), (OLD, OLD))
    inbox.scan(now=0, wall=began)
    put(root, "a.jpg.yaml", "styles: [mo")
    put(root, "sub/_folder.yaml", "styles: [mo")
    scan = inbox.scan(now=SETTLE, wall=began + SETTLE)
    waits = "its side file is still changing"
    assert dict(scan.unsettled).items() >= {"a.jpg": waits, "sub/c.jpg": waits}.items()
    assert names(scan) == ["b.jpg"]
    scan = inbox.scan(now=2 * SETTLE, wall=began + 2 * SETTLE)
    assert names(scan) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert sorted(scan.sides) == ["a.jpg.yaml", "sub/_folder.yaml"]
    assert reasons(scan)["a.jpg.yaml"] == ("skipped", "ignored")
