"""What the inbox is taken for: missing or empty, waiting or refused, put aside or brought back."""

import errno
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from support.fake_work import done, failed, photo
from support.stock import make_job
from support.studio import CONFIG, Studio

from pipeline.cli.dry_run import print_dry_run
from pipeline.cli.explain import explain_report, explain_text
from pipeline.cli.retry import accept_inbox, retry_jobs
from pipeline.cli.status import status_report, status_text
from pipeline.config.loading import load
from pipeline.config.sections import Limits
from pipeline.errors import ChangedError, InboxError, JobError, OutputError, Reason, UsageError
from pipeline.inbox import mount_guard as familiar
from pipeline.inbox import quarantine
from pipeline.inbox.backlog import count_backlog
from pipeline.inbox.examiner import Examiner
from pipeline.inbox.quarantine import QuarantinedPhoto, quarantined_photos, restore
from pipeline.inbox.scanner import Found
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger
from pipeline.system.file_version import Stamp, hash_file
from pipeline.system.mounts import Mount

QUARANTINE = CONFIG + "failed: quarantine\n"
SHARE, BARE = Mount("/mnt", "nfs4"), Mount("/", "ext4")


@pytest.fixture
def lies_on(monkeypatch):
    """Says on which mount every folder lies."""
    return lambda mount: monkeypatch.setattr(familiar, "find_mount", lambda _: mount)


def loaded(studio: Studio):
    return load(studio.root / "config.yaml")


# --- an inbox whose disk is missing ---------------------------------------------------------


def unmounted(studio: Studio, lies_on) -> None:
    """The share is gone when the daemon starts again; its bare mount point is there."""
    lies_on(SHARE)
    studio.put("a.png")
    studio.until_idle()
    studio.inbox.rename(studio.root / "share")
    studio.inbox.mkdir()
    lies_on(BARE)
    studio.again()


def test_an_inbox_whose_disk_is_missing_at_the_start_is_waited_for_not_taken_for_empty(
    make_studio, lies_on
):
    studio = make_studio()
    unmounted(studio, lies_on)
    studio.tick()
    assert studio.view.message.startswith("paused: ")
    assert "lay on nfs4 at /mnt and now lies on ext4 at /" in studio.view.message
    assert not studio.service.idle
    shutil.rmtree(studio.inbox)
    (studio.root / "share").rename(studio.inbox)
    lies_on(SHARE)
    studio.good_one_survives()


def test_a_photo_in_the_bare_mount_point_changes_nothing(make_studio, lies_on):
    studio = make_studio()
    unmounted(studio, lies_on)
    studio.put("stray.png", seed=9)
    for _ in range(3):
        studio.tick()
    assert studio.executor.begun == []
    assert "paused" in studio.view.message


def test_a_moved_inbox_is_accepted_by_command_while_the_daemon_waits(make_studio, lies_on):
    studio = make_studio()
    unmounted(studio, lies_on)
    studio.tick()
    assert accept_inbox(loaded(studio)) == "ext4 at /"
    studio.good_one_survives()


def test_an_inbox_moved_with_its_files_to_another_disk_needs_no_word(make_studio, lies_on):
    studio = make_studio()
    lies_on(SHARE)
    studio.put("a.png")
    studio.until_idle()
    lies_on(BARE)
    studio.again()
    studio.good_one_survives()
    (studio.inbox / "a.png").unlink()
    (studio.inbox / "zz-good.png").unlink()
    studio.again()
    studio.until_idle()
    assert "paused" not in studio.view.message


def test_an_inbox_that_was_emptied_is_empty(make_studio, lies_on):
    studio = make_studio()
    lies_on(SHARE)
    studio.put("a.png")
    studio.until_idle()
    (studio.inbox / "a.png").unlink()
    studio.again()
    studio.until_idle()
    assert "paused" not in studio.view.message


def test_nothing_is_said_of_a_missing_disk_as_if_it_were_empty(make_studio, lies_on, capsys):
    studio = make_studio()
    unmounted(studio, lies_on)
    with pytest.raises(InboxError, match=r"mount its disk.*pipeline accept") as caught:
        print_dry_run(loaded(studio), as_json=False)
    assert caught.value.exit_code == 2
    report = status_report(loaded(studio))
    assert "lay on nfs4" in report["trouble"]
    assert "lay on nfs4" in status_text(report)


def test_a_watch_waits_for_an_inbox_that_worked_before_and_refuses_one_that_never_did(make_studio):
    studio = make_studio()
    assert not familiar.worked_before(studio.config)
    studio.put("a.png")
    studio.until_idle()
    studio.inbox.rename(studio.root / "away")
    assert familiar.worked_before(studio.config)


@pytest.mark.skipif(os.name == "nt", reason="folders are mounted elsewhere there")
def test_where_no_table_of_mounts_can_be_read_the_mount_point_is_told(make_studio, lies_on):
    lies_on(None)
    assert familiar.mount_word(Path("/")) == "the disk at /"
    assert familiar.mount_word(make_studio().inbox).startswith("the disk at /")


# --- refusals of files that are gone --------------------------------------------------------


def test_a_refusal_is_forgotten_with_its_file_and_told_anew_if_it_comes_back(make_studio):
    studio = make_studio()
    text = studio.inbox / "list.txt"
    text.write_text("no picture")
    studio.put("a.png")
    studio.until_idle()
    text.unlink()
    studio.until_idle()
    studio.tick()
    assert studio.ledger.files.refusals() == []
    text.write_text("no picture")
    studio.until_idle()
    assert [refusal.content for refusal in studio.ledger.files.refusals()] == ["list.txt"]
    studio.good_one_survives()


def test_no_refusal_is_forgotten_while_the_inbox_is_out_of_reach(make_studio):
    studio = make_studio()
    (studio.inbox / "list.txt").write_text("no picture")
    studio.put("a.png")
    studio.until_idle()
    studio.inbox.rename(studio.root / "unmounted")
    for _ in range(3):
        studio.tick()
    assert [refusal.content for refusal in studio.ledger.files.refusals()] == ["list.txt"]
    (studio.root / "unmounted").rename(studio.inbox)
    studio.good_one_survives()


# --- back from quarantine -------------------------------------------------------------------


def put_aside(studio: Studio) -> Path:
    """A photo that failed for good; returns where it lies."""
    studio.put("sub/a.png")
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    assert not (studio.inbox / "sub/a.png").exists()
    return studio.root / "quarantine/sub/a.png"


@pytest.mark.parametrize("how", ["all", "content", "path", "job"])
def test_retry_brings_a_photo_back_from_quarantine_and_it_is_made(make_studio, how):
    studio = make_studio(QUARANTINE)
    path = put_aside(studio)
    (pair,) = studio.ledger.pairs()
    jobs = {"all": None, "content": ["sub/a.png"], "path": [str(path)], "job": [pair.job]}[how]
    assert retry_jobs(loaded(studio), jobs) == 1
    assert (studio.inbox / "sub/a.png").exists()
    assert quarantined_photos(studio.config.quarantine) == []
    assert not path.with_name("a.png.reason.json").exists()
    studio.until_idle()
    assert studio.states() == {"sub/a.png": "done"}
    studio.good_one_survives()


def test_retry_brings_back_a_file_that_never_became_a_job(make_studio):
    studio = make_studio(QUARANTINE)
    path = studio.put("broken.png")
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    studio.until_idle()
    (one,) = quarantined_photos(studio.config.quarantine)
    assert (one.content, one.code) == ("broken.png", "truncated")
    one.path.write_bytes(whole)  # mended where it lies
    assert retry_jobs(loaded(studio), ["broken.png"]) == 1
    studio.until_idle()
    assert studio.states() == {"broken.png": "done"}


def test_nothing_is_overwritten_by_what_comes_back_and_the_rest_is_brought(make_studio):
    studio = make_studio(QUARANTINE)
    path = put_aside(studio)
    studio.put("b.png", seed=5)
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    (studio.inbox / "sub/a.png").write_bytes(b"another")
    with pytest.raises(UsageError, match=r"sub/a\.png: another file stands in its place"):
        retry_jobs(loaded(studio), None)
    assert (studio.inbox / "sub/a.png").read_bytes() == b"another"
    assert path.exists()
    assert (studio.inbox / "b.png").exists()


def test_a_return_that_a_kill_cut_between_its_two_names_is_ended_by_the_next_retry(make_studio):
    studio = make_studio(QUARANTINE)
    path = put_aside(studio)
    (studio.inbox / "sub/a.png").hardlink_to(path)  # linked, not yet removed
    studio.until_idle()
    assert "sub/a.png" in {r.content for r in studio.ledger.files.refusals()}
    assert retry_jobs(loaded(studio), ["sub/a.png"]) == 1
    studio.until_idle()
    assert studio.states() == {"sub/a.png": "done"}


def test_a_photo_comes_back_over_to_another_disk_whole(make_studio, tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    other = Path(tempfile.mkdtemp(dir=memory))
    try:
        studio = make_studio(QUARANTINE + f"quarantine: {other}\n")
        before = studio.put("a.png").read_bytes()
        studio.until_running()
        studio.fail(Reason.ENGINE_ERROR)
        studio.until_idle()
        assert retry_jobs(loaded(studio), None) == 1
        assert (studio.inbox / "a.png").read_bytes() == before
        assert sorted(p.name for p in studio.inbox.iterdir()) == ["a.png"]
        assert list(other.iterdir()) == []
    finally:
        shutil.rmtree(other)


class Killed(BaseException):
    """Stands for the end of the process at this very point."""


def test_a_return_from_another_disk_may_be_killed_anywhere_and_is_ended_by_the_next(
    tmp_path, monkeypatch
):
    """Each call that changes a folder is the last one of a process, once."""
    monkeypatch.setattr(os, "link", across_disks(os.link))
    for last in count():
        root, calls = tmp_path / str(last), count()
        for name in ("inbox", "quarantine"):
            (root / name).mkdir(parents=True)
        path = root / "quarantine/a.png"
        path.write_bytes(b"the photo")
        with monkeypatch.context() as patch, suppress(Killed):
            for name in ("link", "unlink", "replace", "fsync", "open"):
                patch.setattr(os, name, last_call(getattr(os, name), calls, last))
            assert restore(QuarantinedPhoto("a.png", path), root / "inbox")
            break
        assert [p.read_bytes() for p in (root / "inbox").glob("[!.]*")] in ([], [b"the photo"])
        assert all(restore(one, root / "inbox") for one in quarantined_photos(root / "quarantine"))
        assert (root / "inbox/a.png").read_bytes() == b"the photo"
        assert not path.exists()
    assert last > 5


def across_disks(link):
    """Links, but for the inbox and the quarantine being on two disks."""

    def linked(source, name, *, src_dir_fd, dst_dir_fd, **how):
        if not os.path.sameopenfile(src_dir_fd, dst_dir_fd):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(source, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **how)

    return linked


def last_call(real, calls, last):
    def counted(*args, **how):
        if next(calls) >= last:
            raise Killed
        return real(*args, **how)

    return counted


@pytest.mark.parametrize("place", ["../../stolen.png", "/stolen.png"])
def test_a_note_in_quarantine_cannot_send_a_photo_out_of_the_inbox(make_studio, place):
    studio = make_studio(QUARANTINE)
    (one,) = [quarantine.QuarantinedPhoto(place, put_aside(studio))]
    with pytest.raises(OSError, match="leaves the folder"):
        restore(one, studio.inbox)
    assert one.path.exists()


# --- what is told of it ---------------------------------------------------------------------


def test_status_counts_what_waits_and_what_is_put_aside(make_studio):
    studio = make_studio(QUARANTINE)
    put_aside(studio)
    studio.put("c.png", seed=7)
    studio.put("d.png", seed=8)
    (studio.inbox / "list.txt").write_text("no picture")
    report = status_report(loaded(studio))
    assert report["waiting"] == {"files": 2, "at_least": False}
    assert [one["content"] for one in report["quarantine"]] == ["sub/a.png"]
    text = status_text(report)
    assert "waiting in the inbox: 2 files" in text
    assert "in quarantine: 1" in text
    assert "engine_error" in text
    told = explain_text(explain_report(loaded(studio), Path("sub/a.png")))
    assert "in quarantine: " in told
    studio.until_idle()
    assert status_report(loaded(studio))["waiting"] == {"files": 0, "at_least": False}


def test_a_photo_that_was_replaced_waits_again(make_studio):
    studio = make_studio()
    studio.put("a.png")
    studio.until_idle()
    studio.put("a.png", seed=3)
    assert count_backlog(studio.config, studio.ledger).waiting == 1


def test_a_count_that_takes_too_long_says_at_least(make_studio):
    studio = make_studio()
    for seed in range(5):
        studio.put(f"{seed}.png", seed)
    times = iter(range(100))
    found = count_backlog(studio.config, studio.ledger, 2.0, lambda: float(next(times)))
    assert (found.waiting, found.whole) == (3, False)


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    with Ledger(path) as ledger:
        ledger.files.record_mount(tmp_path, "nfs4 at /mnt")
    with Ledger(path) as ledger:
        assert ledger.files.mount_of(tmp_path) == "nfs4 at /mnt"
        assert ledger.files.mount_of(tmp_path / "other") is None
        assert ledger.counts()[JobState.DONE] == 0


# --- names as long as a disk takes ----------------------------------------------------------


@pytest.mark.parametrize("config", [QUARANTINE, CONFIG + "after: archive\n"])
def test_the_loop_survives_names_of_255_bytes_that_are_put_aside_twice(make_studio, config):
    studio = make_studio(config)
    name = "ü" * 125 + "x.png"
    for seed in (1, 2):
        studio.put(name, seed)
        studio.until_running()
        if config == QUARANTINE:
            studio.fail(Reason.ENGINE_ERROR)
        studio.until_idle()
        assert not (studio.inbox / name).exists()
    aside = studio.root / ("quarantine" if config == QUARANTINE else "archive")
    names = {path.name for path in aside.iterdir() if path.suffix == ".png"}
    assert len(names) == 2
    assert name in names
    studio.good_one_survives()


# --- races ----------------------------------------------------------------------------------


def test_a_photo_replaced_and_put_back_is_never_painted_from_what_lay_there_between(tmp_path):
    worker = pytest.importorskip("pipeline.render.run_job")
    path, other = photo(tmp_path / "a.png", 1), photo(tmp_path / "b.png", 2)
    away = tmp_path / "away.png"

    sha256 = hash_file(path)

    def pixels():
        worker._photo.cache_clear()  # as in a worker that has just started
        return worker._photo(sha256, path, 32, Limits(), "srgb").rgb

    first = pixels()
    path.rename(away)
    other.rename(path)
    with pytest.raises(ChangedError):
        pixels()
    away.rename(path)
    assert first.equal(pixels())


def test_a_folder_that_turns_into_a_link_leads_nobody_out_of_the_inbox(tmp_path):
    """After the photo was examined, and back again before anybody looks at it anew."""
    worker = pytest.importorskip("pipeline.render.run_job")
    private, inbox = tmp_path / "private", tmp_path / "inbox"
    photo(private / "a.png", 1)
    path = photo(inbox / "sub" / "a.png", 2)
    job = replace(make_job("sub/a.png"), path=path, sha256=hash_file(path))
    (inbox / "sub").rename(inbox / "away")
    (inbox / "sub").symlink_to(private)
    with pytest.raises(JobError) as caught:
        worker._photo(job.sha256, path, 32, Limits(), "srgb", worker._untrusted_names(job))
    assert caught.value.code in (Reason.VANISHED, Reason.NOT_REGULAR_FILE)
    (inbox / "sub").unlink()
    (inbox / "away").rename(inbox / "sub")
    worker._photo(job.sha256, path, 32, Limits(), "srgb", worker._untrusted_names(job))


def test_only_the_result_that_a_twin_waits_for_makes_a_new_plan(make_studio, monkeypatch):
    """Each plan reads all that is known: one for every job would cost more than the jobs."""
    studio = make_studio()
    for seed in range(12):
        studio.put(f"{seed:02}.png", seed)
    studio.put("zz-twin.png", seed=11)
    studio.tick()
    studio.examined()
    studio.until_running()
    plans = []
    plan = studio.service.planner.make_plan
    monkeypatch.setattr(
        studio.service.planner, "make_plan", lambda *given: plans.append(given) or plan(*given)
    )
    studio.until_idle()
    assert studio.states()["zz-twin.png"] == "skipped"
    assert set(studio.states().values()) == {"done", "skipped"}
    assert len(plans) <= 4


def test_the_loop_survives_an_outbox_that_it_is_not_let_into(make_studio, monkeypatch):
    studio = make_studio()
    studio.put("a.png")
    closed = [True]
    mkdir = Path.mkdir

    def refused(path, *arguments, **options):
        if closed[0] and studio.outbox.root in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refused)
    studio.tick()
    studio.examined()
    studio.tick()
    assert "permission denied" in studio.view.message
    assert studio.view.message.startswith("paused: ")
    closed[0] = False
    studio.good_one_survives()
    assert {pair.attempt for pair in studio.ledger.pairs()} == {1}


def test_an_original_that_a_kill_left_behind_is_seen_to_at_the_next_start(make_studio):
    studio = make_studio(CONFIG + "after: archive\nfailed: quarantine\n")
    studio.put("a.png")
    studio.put("b.png", seed=2)
    studio.service.finish_original = lambda _: (
        None
    )  # the kill falls between the books and the photo
    for how in (done, lambda job, _: failed(job, Reason.TRUNCATED)):
        studio.until_running()
        studio.executor.end(how)
    studio.until_idle()
    assert sorted(path.name for path in studio.inbox.iterdir()) == ["a.png", "b.png"]
    studio.again()
    studio.until_idle()
    assert list(studio.inbox.iterdir()) == []
    assert (studio.root / "archive/a.png").exists()
    assert (studio.root / "quarantine/b.png").exists()
    assert studio.states() == {"a.png": "done", "b.png": "failed"}


def test_a_disk_that_fills_behind_a_published_pair_does_not_keep_its_original_back(
    make_studio, monkeypatch
):
    studio = make_studio(CONFIG + "after: archive\n")
    studio.put("a.png")
    studio.put("b.png", seed=2)
    publish, full = studio.outbox.__class__.publish, []

    def fills_up(outbox, staged, stem, previous=()):
        if stem.startswith("b") and not full:
            full.append(stem)
            raise OutputError("full", code=Reason.DISK_FULL)
        return publish(outbox, staged, stem, previous)

    monkeypatch.setattr(studio.outbox.__class__, "publish", fills_up)
    studio.until_idle()
    assert full
    assert list(studio.inbox.iterdir()) == []


# --- files that never end -------------------------------------------------------------------


def test_the_loop_survives_a_hole_of_terabytes_and_reads_none_of_it(make_studio):
    studio = make_studio()
    with (studio.inbox / "endless.png").open("wb") as file:
        try:
            file.truncate(1 << 42)
        except OSError:
            pytest.skip("needs a disk for sparse files")
    print_dry_run(loaded(studio), as_json=True)
    studio.until_idle()
    assert studio.codes()["endless.png"] == Reason.TOO_LARGE
    studio.good_one_survives()


def test_a_file_that_grows_as_fast_as_it_is_read_is_left_for_later(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 300_000)
    reads = []

    def endless(_fd, size):
        reads.append(size)
        assert len(reads) < 100
        with path.open("ab") as file:
            file.write(b"x")
        return b"x" * size

    monkeypatch.setattr("pipeline.system.safe_files.os.read", endless)
    assert hash_file(path) is None


def test_a_stop_does_not_wait_for_a_file_that_hangs_its_decoder(tmp_path, monkeypatch):
    program = "import os, time; os.write(1, b'ready\\n'); os.read(0, 99999); time.sleep(600)"
    monkeypatch.setattr("pipeline.imaging.sandbox._PROGRAM", program)
    path = photo(tmp_path / "a.png")
    examiner = Examiner(Limits())
    examiner.ask(Found("a.png", path, Stamp.of(path.stat())))
    assert examiner.answers(timeout=2.0) == []  # by now it hangs
    began = time.monotonic()
    examiner.close()
    assert time.monotonic() - began < 20  # and not the minute that a file may take
