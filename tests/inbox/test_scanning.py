"""The inbox: what is taken, what waits, what is refused, and that nothing is missed."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.daemon.instance import refuse_shared
from pipeline.errors import InputError, Reason, StateError
from pipeline.inbox.scanner import EMPTY_PATIENCE, IGNORED, MAX_DEPTH, Inbox
from pipeline.inbox.settling import being_written
from pipeline.inbox.watcher import CANARY_SECONDS, RETRY_SECONDS, Watcher
from pipeline.system.file_version import Stamp, hash_file
from pipeline.system.mounts import Mount, find_mount

SETTLE = 2.0
OLD = 1_000_000_000  # long past, in seconds since 1970


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def inbox(root: Path) -> Inbox:
    return Inbox(root, SETTLE)


def put(root: Path, name: str, text: str = "picture") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def later() -> float:
    """A wall clock by which everything just written is long settled."""
    return time.time() + 1000


def names(scan) -> list[str]:
    return [found.content for found in scan.settled]


def reasons(scan) -> dict[str, tuple[str, str]]:
    return {r.content: (r.status, r.failure.code.value) for r in scan.refused}


# --- stillness ------------------------------------------------------------------------------


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


# --- what is found, wherever it lies --------------------------------------------------------


def test_files_in_folders_come_in_order_with_their_path(root, inbox):
    for name in ("b.jpg", "sub/deep/c.PNG", "a.jpg", "sub/a.webp"):
        put(root, name)
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == ["a.jpg", "b.jpg", "sub/a.webp", "sub/deep/c.PNG"]
    assert [found.path for found in scan.settled] == [root / name for name in names(scan)]


def test_a_name_that_is_not_text_is_a_name_like_any_other(root, inbox):
    raw = os.fsencode(root) + b"/\xff\xfe\n\x1b[31m.jpg"
    Path(os.fsdecode(raw)).write_text("picture")
    (found,) = inbox.scan(now=0, wall=later()).settled
    assert os.fsencode(found.content) == b"\xff\xfe\n\x1b[31m.jpg"
    assert hash_file(found.path, found.stamp)


def test_a_folder_moved_in_and_a_file_added_to_it_later_are_found(root, inbox, tmp_path):
    inbox.scan(now=0, wall=later())
    put(tmp_path / "album", "one.jpg")
    (tmp_path / "album").rename(root / "album")
    assert names(inbox.scan(now=1, wall=later())) == ["album/one.jpg"]
    put(root, "album/two.jpg")
    assert names(inbox.scan(now=2, wall=later())) == ["album/one.jpg", "album/two.jpg"]


def test_two_thousand_files_that_came_while_nobody_looked_are_all_found(root, inbox):
    inbox.scan(now=0, wall=later())
    for number in range(2000):
        (root / f"{number:04}.jpg").write_bytes(b"x")
    assert len(inbox.scan(now=1, wall=later()).settled) == 2000


def test_folders_nested_without_end_are_left_at_a_limit_and_reported(root, inbox):
    put(root, "/".join(["d"] * (MAX_DEPTH + 1)) + "/lost.jpg")
    put(root, "/".join(["d"] * MAX_DEPTH) + "/found.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert [name.rpartition("/")[2] for name in names(scan)] == ["found.jpg"]
    assert list(reasons(scan).values()) == [("skipped", "ignored")]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(".hidden.jpg", "._a.jpg", ".~lock.a.jpg#", "~$a.jpg", "a.jpg~", "a.jpg.part"),
        *("a.jpg.crdownload", "a.jpg.filepart", "A.TMP", "notes.yaml", "_folder.yml"),
        *(".syncthing.a.jpg.tmp", "Thumbs.db", "desktop.ini"),
    ],
)
def test_names_on_the_list_are_ignored_and_accounted_for(root, inbox, name):
    put(root, name)
    scan = inbox.scan(now=0, wall=time.time())
    assert names(scan) == []
    assert reasons(scan) == {name: ("skipped", "ignored")}


@pytest.mark.parametrize("folder", [".stversions", "@eaDir", "#recycle", ".git"])
def test_a_folder_on_the_list_is_one_line_whatever_it_holds(root, inbox, folder):
    put(root, f"{folder}/a.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == []
    assert reasons(scan) == {folder: ("skipped", "ignored")}


@pytest.mark.parametrize("name", ["notes.txt", "README", "movie.mp4", "a.jpg.zip", "a\x1b[2J.exe"])
def test_a_name_that_is_no_pictures_is_skipped_as_such(root, inbox, name):
    put(root, name)
    scan = inbox.scan(now=0, wall=time.time())
    assert reasons(scan) == {name: ("skipped", "unsupported_format")}
    assert all(letter >= " " for letter in scan.refused[0].failure.message)


def test_a_download_that_grows_is_refused_as_one_thing_not_as_many(root, inbox):
    path = put(root, "a.jpg.part")
    (first,) = inbox.scan(now=0, wall=time.time()).refused
    path.write_text("much more than before")
    (second,) = inbox.scan(now=1, wall=time.time()).refused
    assert first == second


def test_an_empty_file_is_refused_once_it_has_stayed_so_for_a_while(root, inbox):
    put(root, "a.jpg", "")
    assert reasons(inbox.scan(now=0, wall=time.time())) == {}
    assert reasons(inbox.scan(now=SETTLE, wall=time.time())) == {}
    (refused,) = inbox.scan(now=EMPTY_PATIENCE * SETTLE, wall=time.time()).refused
    assert (refused.status, refused.failure.code) == ("failed", Reason.TRUNCATED)
    put(root, "a.jpg", "now it holds something")
    assert names(inbox.scan(now=999, wall=later())) == ["a.jpg"]


def test_a_folder_with_a_pictures_name_is_reported_and_its_pictures_are_taken(root, inbox):
    put(root, "album.png/a.jpg")
    scan = inbox.scan(now=0, wall=later())
    assert reasons(scan) == {"album.png": ("skipped", "not_regular_file")}
    assert names(scan) == ["album.png/a.jpg"]


def test_links_pipes_and_sockets_are_refused_and_never_opened(root, inbox, tmp_path):
    secret = put(tmp_path, "secret.jpg")
    (root / "link.jpg").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's path must be short
        server.bind("socket.jpg")
        os.chdir(here)
        scan = inbox.scan(now=0, wall=later())
    assert names(scan) == []
    refused = ["folder", "link.jpg", "loop", "pipe.jpg", "socket.jpg"]
    assert reasons(scan) == dict.fromkeys(refused, ("skipped", "not_regular_file"))


@contextmanager
def somebody_else():
    """Root may read everything: be nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_lies_too_deep_for_the_system_is_reported_and_does_not_hide_the_rest(root, inbox):
    put(root, "good.jpg")
    folder = os.open(root, os.O_RDONLY)
    for _ in range(20):  # of 250 bytes each: a path may have 4096
        os.mkdir("d" * 250, dir_fd=folder)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    scan = inbox.scan(now=0, wall=later())
    assert names(scan) == ["good.jpg"]
    assert list(reasons(scan).values()) == [("failed", "unreadable")]
    assert scan.whole


def test_what_may_not_be_read_is_reported_and_does_not_hide_the_rest():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        put(root, "good.jpg")
        put(root, "shut.jpg").chmod(0)
        put(root, "shut/inside.jpg")
        (root / "shut").chmod(0)
        put(root, "listed/inside.jpg")
        (root / "listed").chmod(0o744)
        inbox = Inbox(root, SETTLE)
        with somebody_else():
            scan = inbox.scan(now=0, wall=later())
        (root / "shut").chmod(0o755)
        (root / "shut.jpg").chmod(0o644)
        (root / "listed").chmod(0o755)
        assert names(scan) == ["good.jpg"]
        names_shut = ("shut.jpg", "shut", "listed/inside.jpg")
        assert reasons(scan) == dict.fromkeys(names_shut, ("failed", "unreadable"))
        with somebody_else():
            scan = inbox.scan(now=SETTLE, wall=later())
        assert names(scan) == ["good.jpg", "shut.jpg", "listed/inside.jpg", "shut/inside.jpg"]


# --- an inbox that is gone ------------------------------------------------------------------


def test_a_vanished_inbox_is_an_error_that_says_how_to_mend_it_not_an_empty_inbox(tmp_path):
    with pytest.raises(StateError, match=r"nowhere.*no such file.*create the folder"):
        Inbox(tmp_path / "nowhere", SETTLE).scan(now=0, wall=0)


def test_an_inbox_that_is_a_file_is_an_error(tmp_path):
    with pytest.raises(StateError, match="cannot be read"):
        Inbox(put(tmp_path, "file"), SETTLE).scan(now=0, wall=0)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second disk")
def test_another_disk_in_place_of_the_inbox_is_an_error_not_an_empty_inbox(tmp_path):
    (tmp_path / "real").mkdir()
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    link = tmp_path / "inbox"
    link.symlink_to("real")
    inbox = Inbox(link, SETTLE)
    inbox.scan(now=0, wall=0)
    link.unlink()
    link.symlink_to("/dev/shm")
    with pytest.raises(StateError, match="another disk"):
        inbox.scan(now=1, wall=0)


# --- reading --------------------------------------------------------------------------------


def test_a_hash_is_of_the_version_that_was_found_or_none(root):
    path = put(root, "a.jpg")
    stamp = Stamp.of(path.stat())
    assert hash_file(path, stamp) == hash_file(path)
    assert len(hash_file(path)) == 64
    path.write_text("another version")
    assert hash_file(path, stamp) is None
    path.unlink()
    assert hash_file(path, stamp) is None


def test_a_hash_never_follows_a_link_nor_waits_for_a_pipe(root):
    (root / "link").symlink_to(put(root, "a.jpg"))
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(InputError) as caught:
            hash_file(root / name)
        assert caught.value.code is Reason.NOT_REGULAR_FILE


def test_the_ignore_list_hides_no_ordinary_photo(root, inbox):
    ordinary = ["IMG_0001.JPG", "a b.jpeg", "party.tmp.png", "été~1.webp", "part.tif", "_x.bmp"]
    for name in ordinary:
        put(root, name)
    assert names(inbox.scan(now=0, wall=later())) == sorted(ordinary)
    assert len(set(IGNORED)) == len(IGNORED)


# --- waking ---------------------------------------------------------------------------------


@pytest.fixture
def watcher(root: Path):
    watcher = Watcher(root, kind="any")  # also where this very disk would be polled
    watcher.tend(now=0)
    if watcher.mode.startswith("polling"):
        pytest.skip(watcher.mode)
    watcher.woken(timeout=0)
    yield watcher
    watcher.stop()


def test_a_folder_that_watchdog_watches_twice_leaves_the_display_alone(watcher):
    emitter = next(iter(watcher._observer.emitters))
    module = type(emitter).__module__
    warnings.warn_explicit("Callback already exists", RuntimeWarning, "x.py", 1, module)


def test_a_new_file_wakes_and_a_name_that_is_not_text_does_too(root, watcher):
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.jpg")).write_text("picture")
    assert watcher.woken(timeout=10)
    put(root, "sub/a.jpg")
    assert watcher.woken(timeout=10)
    watcher.tend(now=1)
    assert not watcher.mode.startswith("polling")


class CountingBell(threading.Event):
    rings = 0

    def set(self):
        self.rings += 1
        super().set()


def test_our_own_reading_does_not_wake_us(root):
    path = put(root, "a.jpg")
    bell = CountingBell()
    watcher = Watcher(root, bell, kind="any")
    watcher.tend(now=0)
    watcher.woken(timeout=0)
    for _ in range(100):
        hash_file(path)
    put(root, "b.jpg")  # events keep their order: when this one arrives, the reading was reported
    assert watcher.woken(timeout=10)
    watcher.stop()
    assert bell.rings < 20


def test_a_watcher_that_cannot_watch_says_why_and_starts_as_soon_as_the_folder_is_there(tmp_path):
    root = tmp_path / "later"
    watcher = Watcher(root, kind="any")
    watcher.tend(now=0)
    assert watcher.mode.startswith("polling: ")
    root.mkdir()
    watcher.tend(now=1)
    assert watcher.mode == "inotify" or sys.platform != "linux"
    watcher.stop()


@pytest.mark.parametrize("looked_between", [False, True])
def test_an_inbox_renamed_and_made_again_is_watched_again_at_once(root, watcher, looked_between):
    old = root.rename(root.with_name("old"))
    if looked_between:
        watcher.tend(now=1)
        assert watcher.polling
    root.mkdir()
    put(root, "early.jpg")  # before anybody watches the new folder
    watcher.tend(now=2)
    assert watcher.woken(timeout=10)
    while watcher.woken(timeout=0.2):
        pass
    put(old, "elsewhere.jpg")
    assert not watcher.woken(timeout=0.3)
    put(root, "a.jpg")
    assert watcher.woken(timeout=10)
    assert not watcher.polling


@pytest.fixture
def deep(tmp_path):
    """A tree of 1,200 folders in folders."""
    folder = path = tmp_path / "deep"
    for _ in range(1200):
        path.mkdir()
        path /= "d"
    yield folder
    subprocess.run(["rm", "-rf", tmp_path], check=True)  # pytest's own removal is a recursion


@pytest.mark.parametrize("when", ["before", "moved in", "built"])
def test_a_tree_of_a_thousand_folders_costs_its_depth_and_not_the_events(root, deep, when):
    if when == "before":
        deep.rename(root / "deep")
    watcher = Watcher(root, kind="any")
    watcher.tend(now=0)
    if watcher.mode.startswith("polling") and sys.platform != "linux":
        pytest.skip(watcher.mode)
    if when == "moved in":
        deep.rename(root / "deep")
    if when == "built":
        subprocess.run(["cp", "-r", deep, root / "deep"], check=True)
    put(root, "deep/d/d/first.jpg")
    assert watcher.woken(timeout=10)
    while watcher.woken(timeout=0.3):
        pass
    watcher.tend(now=1)
    assert not watcher.polling
    put(root, "a.jpg")
    assert watcher.woken(timeout=10)
    watcher.stop()


def test_a_watcher_whose_thread_died_starts_again_and_wakes_the_scanner(root, watcher):
    (emitter,) = watcher._observer.emitters  # no public way to a thread that dies
    emitter.stop()
    emitter.join()
    watcher.tend(now=RETRY_SECONDS)
    assert watcher.woken(timeout=10)
    put(root, "a.jpg")
    assert watcher.woken(timeout=10)


def test_watchers_may_ring_a_bell_that_others_ring_too(root):
    bell = threading.Event()
    watcher = Watcher(root, bell, kind="any")
    bell.set()
    assert watcher.woken(timeout=0)
    assert not watcher.woken(timeout=0)


def test_scanning_needs_no_watchdog():
    code = (
        "import sys, pipeline.inbox.scanner, pipeline.inbox.watcher\n"
        "print('watchdog' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout == "False\n"


# --- copies that pause, second names, lists of one's own ------------------------------------

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


def test_a_file_with_a_second_name_is_refused_until_it_has_one_of_its_own(root, inbox, tmp_path):
    path = put(root, "a.jpg")
    os.link(path, tmp_path / "elsewhere.jpg")
    assert reasons(inbox.scan(now=0, wall=later())) == {"a.jpg": ("skipped", "hardlinked")}
    (tmp_path / "elsewhere.jpg").unlink()
    assert names(inbox.scan(now=1, wall=later())) == ["a.jpg"]


def test_a_list_of_ones_own_adds_to_the_names_that_are_ignored(root):
    for name in ("raw_1.jpg", "a.jpg", "~b.jpg", "Drafts/c.jpg"):
        put(root, name)
    scan = Inbox(root, 0, ("raw_*", "drafts")).scan(now=0, wall=later())
    assert names(scan) == ["a.jpg"]
    assert set(reasons(scan)) == {"raw_1.jpg", "~b.jpg", "Drafts"}


def test_a_photo_waits_while_its_side_file_is_still_being_written(root, inbox):
    began = time.time()
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        os.utime(put(root, name), (OLD, OLD))
    inbox.scan(now=0, wall=began)
    put(root, "a.jpg.yaml", "styles: [mo")
    put(root, "sub/_folder.yaml", "styles: [mo")
    scan = inbox.scan(now=SETTLE, wall=began + SETTLE)
    waits = "its side file still changes"
    assert dict(scan.unsettled).items() >= {"a.jpg": waits, "sub/c.jpg": waits}.items()
    assert names(scan) == ["b.jpg"]
    scan = inbox.scan(now=2 * SETTLE, wall=began + 2 * SETTLE)
    assert names(scan) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert sorted(scan.sides) == ["a.jpg.yaml", "sub/_folder.yaml"]
    assert reasons(scan)["a.jpg.yaml"] == ("skipped", "ignored")


# --- what kind of disk ----------------------------------------------------------------------

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /mnt/share rw - nfs4 server:/share rw
31 22 0:51 / /mnt/with\040blank rw shared:2 master:1 - fuse.sshfs me@there: rw
32 22 0:52 / /mnt/share/local rw - ext4 /dev/sdb1 rw
33 22 0:53 / /container rw - overlay overlay rw
34 22 0:54 / /twice rw - ext4 /dev/sdc1 rw
35 34 0:55 / /twice rw - virtiofs shared rw
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("path", "kind", "reports", "shared"),
    [
        ("/home/a", "ext4", True, False),
        ("/mnt/share/inbox", "nfs4", False, True),
        ("/mnt/shared-not", "ext4", True, False),
        ("/mnt/share/local/x", "ext4", True, False),
        ("/mnt/with blank/x", "fuse.sshfs", False, True),
        ("/container/x", "overlay", False, False),
        ("/twice/x", "virtiofs", False, True),
    ],
)
def test_the_disk_under_a_folder_is_known_by_the_innermost_mount(
    table, path, kind, reports, shared
):
    mount = find_mount(Path(path), table)
    assert (mount.kind, mount.reports_changes, mount.shared) == (kind, reports, shared)


def test_a_share_is_polled_and_the_mode_says_why(root, monkeypatch):
    share = Mount("/mnt/share", "nfs4")
    monkeypatch.setattr("pipeline.inbox.watcher.find_mount", lambda _: share)
    watcher = Watcher(root)
    watcher.tend(now=0)
    assert watcher.mode == "polling: nfs4 at /mnt/share does not report every change"
    assert watcher.polling


class Silent(threading.Event):
    """Never comes, though the file made when the watch began may still be reported."""

    def is_set(self) -> bool:
        return False


def test_a_folder_that_keeps_silent_about_a_test_file_is_polled(root, watcher, monkeypatch):
    monkeypatch.setattr(watcher._bell, "canary", Silent())
    watcher._send_canary(now=0)
    watcher.tend(now=CANARY_SECONDS + 1)
    assert watcher.mode == "polling: a file made here as a test was not reported"
    watcher.tend(now=1e9)
    assert watcher.polling
    assert list(root.iterdir()) == []


def test_a_folder_that_reports_the_test_file_is_watched(root, watcher):
    assert watcher._bell.canary.wait(10)
    watcher.tend(now=CANARY_SECONDS + 1)
    assert not watcher.polling


def test_a_state_folder_on_a_share_is_refused_with_the_way_out(table):
    with pytest.raises(StateError, match=r"nfs4 at /mnt/share.*local disk"):
        refuse_shared(Path("/mnt/share/state"), table)
    refuse_shared(Path("/home/state"), table)
    refuse_shared(Path("/container/state"), table)
