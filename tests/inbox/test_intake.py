"""Files that are replaced, endless or long-named: none is lost, none is painted twice."""

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_work import done, failed, photo
from support.inbox_project import QUARANTINE, loaded
from support.stock import make_job
from support.studio import CONFIG

from pipeline.cli.dry_run import print_dry_run
from pipeline.config.sections import Limits
from pipeline.errors import ChangedError, JobError, OutputError, Reason
from pipeline.inbox.examiner import Examiner
from pipeline.inbox.scanner import Found
from pipeline.system.file_version import Stamp, hash_file

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
        worker.cached_photo.cache_clear()  # as in a worker that has just started
        return worker.cached_photo(sha256, path, 32, Limits(), "srgb").rgb

    first = pixels()
    path.rename(away)
    other.rename(path)
    with pytest.raises(ChangedError):
        pixels()
    away.rename(path)
    assert first.equal(pixels())


def test_a_folder_that_turns_into_a_link_leads_nobody_out_of_the_inbox(tmp_path):
    """After the photo was examined, and back again before it is looked at again."""
    worker = pytest.importorskip("pipeline.render.run_job")
    private, inbox = tmp_path / "private", tmp_path / "inbox"
    photo(private / "a.png", 1)
    path = photo(inbox / "sub" / "a.png", 2)
    job = replace(make_job("sub/a.png"), path=path, sha256=hash_file(path))
    (inbox / "sub").rename(inbox / "away")
    (inbox / "sub").symlink_to(private)
    with pytest.raises(JobError) as caught:
        worker.cached_photo(
            job.sha256, path, 32, Limits(), "srgb", worker._count_untrusted_names(job)
        )
    assert caught.value.code in (Reason.VANISHED, Reason.NOT_REGULAR_FILE)
    (inbox / "sub").unlink()
    (inbox / "away").rename(inbox / "sub")
    worker.cached_photo(job.sha256, path, 32, Limits(), "srgb", worker._count_untrusted_names(job))


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


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_file_that_hangs_its_decoder(tmp_path, monkeypatch):
    program = "import os, time; os.write(1, b'ready\\n'); os.read(0, 99999); time.sleep(600)"
    monkeypatch.setattr("pipeline.imaging.sandbox.PROGRAM", program)
    path = photo(tmp_path / "a.png")
    examiner = Examiner(Limits())
    examiner.ask(Found("a.png", path, Stamp.of(path.stat())))
    assert examiner.answers(timeout=2.0) == []  # by now it hangs
    began = time.monotonic()
    examiner.close()
    assert time.monotonic() - began < 20  # and not the minute that a file may take
