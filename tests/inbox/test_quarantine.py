"""Photos come back from quarantine whole, also where the return is killed."""

import errno
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from support.fake_work import photo
from support.inbox_project import QUARANTINE, loaded, put_aside

from pipeline.cli.retry import retry_jobs
from pipeline.cli.status import status_report
from pipeline.errors import PipelineError, Reason, UsageError
from pipeline.inbox import quarantine
from pipeline.inbox.quarantine import (
    QuarantinedPhoto,
    files_in_quarantine,
    quarantined_photos,
    restore,
)
from pipeline.system.copying import part_name


@pytest.mark.parametrize("how", ["all", "content", "path", "job"])
def test_retry_brings_a_photo_back_from_quarantine_and_it_is_made(make_studio, how):
    studio = make_studio(QUARANTINE)
    path = put_aside(studio)
    (pair,) = studio.ledger.pairs()
    jobs = {"all": None, "content": ["sub/a.png"], "path": [str(path)], "job": [pair.job]}[how]
    assert retry_jobs(loaded(studio), jobs) == 1
    assert (studio.inbox / "sub/a.png").exists()
    assert quarantined_photos(studio.config.quarantine, studio.ledger) == []
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
    (one,) = quarantined_photos(studio.config.quarantine, studio.ledger)
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
    with pytest.raises(UsageError, match=r"sub/a\.png: another file in the inbox has its name"):
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


@pytest.mark.parametrize("links", [True, False])
def test_a_return_from_another_disk_may_be_killed_anywhere_and_is_ended_by_the_next(
    tmp_path, monkeypatch, links
):
    """Each call that changes a folder is the last one of a process, once."""
    monkeypatch.setattr(os, "link", across_disks(os.link) if links else no_links)
    for last in count():
        root, calls = tmp_path / str(last), count()
        for name in ("inbox", "quarantine"):
            (root / name).mkdir(parents=True)
        path = root / "quarantine/a.png"
        path.write_bytes(b"the photo")
        with monkeypatch.context() as patch, suppress(Killed):
            for name in ("link", "unlink", "replace", "rename", "fsync", "open"):
                patch.setattr(os, name, last_call(getattr(os, name), calls, last))
            assert restore(QuarantinedPhoto("a.png", path), root / "inbox")
            break
        there = [p.read_bytes() for p in (root / "inbox").glob("[!.]*")]
        assert there in ([], [b"the photo"]) or (there == [b""] and not links)
        assert all(restore(one, root / "inbox") for one in files_in_quarantine(root / "quarantine"))
        assert (root / "inbox/a.png").read_bytes() == b"the photo"
        assert not path.exists()
    assert last > 5


def no_links(*_names, **_how):
    """A disk of FAT or exFAT."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_an_empty_file_of_somebody_elses_keeps_its_name_on_a_disk_without_links(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "link", no_links)
    for name in ("inbox", "quarantine"):
        (tmp_path / name).mkdir()
    path, place = tmp_path / "quarantine/a.png", tmp_path / "inbox/a.png"
    path.write_bytes(b"the photo")
    place.touch()
    assert not restore(QuarantinedPhoto("a.png", path), tmp_path / "inbox")
    copy = place.with_name(part_name("a.png"))
    copy.write_bytes(b"the photo")
    if sys.platform == "linux":
        with place.open("wb"):  # an upload has begun under the name since
            assert not restore(QuarantinedPhoto("a.png", path), tmp_path / "inbox")
        copy.write_bytes(b"the photo")
    assert restore(QuarantinedPhoto("a.png", path), tmp_path / "inbox")
    assert place.read_bytes() == b"the photo"


@pytest.mark.parametrize("kind", ["text", "json", "list", "pipe", "link", "folder"])
@pytest.mark.slow
def test_a_file_of_somebody_elses_under_the_name_of_a_note_stays(make_studio, kind):
    studio = make_studio(QUARANTINE)
    (studio.root / "quarantine/sub").mkdir(parents=True)
    note = studio.root / "quarantine/sub/a.png.reason.json"
    own = studio.root / "own"
    own.write_text("mine")
    match kind:
        case "pipe":
            os.mkfifo(note)
        case "link":
            note.symlink_to(own)
        case "folder":
            note.mkdir()
        case _:
            note.write_text({"text": "mine", "json": '{"error": 1}', "list": "[]"}[kind])
    before = note.lstat().st_ino
    put_aside(studio)
    (one,) = quarantined_photos(studio.config.quarantine, studio.ledger)
    assert (one.content, one.code) == ("sub/a.png", "")
    assert retry_jobs(loaded(studio), None) == 1
    assert note.lstat().st_ino == before
    assert own.read_text() == "mine"
    studio.until_idle()
    assert studio.states() == {"sub/a.png": "done"}


def test_a_note_whose_photo_was_taken_away_makes_way_for_the_next_one(make_studio):
    studio = make_studio(QUARANTINE)
    path = put_aside(studio)
    path.unlink()
    photo(path.with_name("other.png"), 77).rename(studio.inbox / "sub/a.png")
    studio.until_running()
    studio.fail(Reason.STALLED)
    studio.until_idle()
    (one,) = quarantined_photos(studio.config.quarantine, studio.ledger)
    assert one.code == "stalled"


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


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("where", ["quarantine", "inbox"])
def test_a_file_that_comes_while_a_photo_returns_is_never_lost(tmp_path, monkeypatch, far, where):
    """Before each call that changes a folder, once, another file takes one of the two names."""
    if far:
        monkeypatch.setattr(os, "link", across_disks(os.link))
    for moment in count():
        root = tmp_path / str(moment)
        for name in ("inbox", "quarantine"):
            (root / name).mkdir(parents=True)
        path, calls = root / "quarantine/a.png", count()
        path.write_bytes(b"the photo")
        (root / "new.png").write_bytes(b"another")

        def come(root=root):
            if where == "quarantine":
                (root / "new.png").rename(root / "quarantine/a.png")
            elif not (root / "inbox/a.png").exists():
                (root / "new.png").rename(root / "inbox/a.png")

        with monkeypatch.context() as patch:
            for name in ("link", "unlink", "replace", "rename", "fsync", "open", "stat"):
                patch.setattr(os, name, act_before(getattr(os, name), calls, moment, come))
            restore(QuarantinedPhoto("a.png", path), root / "inbox")
            made = next(calls)
        found = sorted(p.read_bytes() for p in root.rglob("*.png"))
        assert b"another" in found, moment
        assert found == [b"another", b"the photo"] or where == "quarantine", moment
        assert not list(root.rglob(".*")), moment
        assert all(p.stat().st_nlink == 1 for p in root.rglob("*.png")), moment
        if made <= moment:
            break
    assert moment > 10


def act_before(real, calls, moment, act):
    def counted(*args, **how):
        if next(calls) == moment:
            act()
        return real(*args, **how)

    return counted


HOSTILE = ["", ".", "..", "../x.png", "/x.png", "a/../../x.png", "sub/\0n.png", "b\ud800.png"]


def test_a_note_without_a_place_in_the_inbox_is_no_note(tmp_path):
    for number, content in enumerate(HOSTILE):
        (tmp_path / f"{number}.png").write_bytes(b"a photo")
        note = {"content": content, "error": {"code": "x", "message": "y"}}
        (tmp_path / f"{number}.png.reason.json").write_text(json.dumps(note))
    found = [one.content for one in files_in_quarantine(tmp_path)]
    assert found == [f"{number}.png" for number in range(len(HOSTILE))]


def test_a_photo_that_cannot_return_stops_no_other(make_studio):
    studio = make_studio(QUARANTINE)
    quarantined = studio.root / "quarantine"
    quarantined.mkdir()
    for name, place in (("1.png", f"{'n' * 300}.png"), ("2.png", "file/2.png"), ("3.png", "3.png")):
        (quarantined / name).write_bytes(b"a photo")
        note = {"content": place, "error": {"code": "x", "message": "y"}}
        (quarantined / f"{name}.reason.json").write_text(json.dumps(note))
    (studio.inbox / "file").write_text("no folder")
    with pytest.raises(PipelineError, match=r"cannot be moved back .* \(and 1 more\)"):
        retry_jobs(loaded(studio), None)
    assert (studio.inbox / "3.png").read_bytes() == b"a photo"
    assert {one.path.name for one in files_in_quarantine(quarantined)} == {"1.png", "2.png"}


@pytest.mark.parametrize("where", ["a.png", "sub/a.png", "notes.txt", "sub/painted.png"])
def test_a_file_that_the_program_did_not_put_into_quarantine_stays_there(make_studio, where):
    """The folder may have been there before, with photos and papers of its own."""
    studio = make_studio(QUARANTINE)
    for seed, name in enumerate(("a.png", "sub/a.png")):
        studio.put(name, seed)
        studio.until_running()
        studio.fail(Reason.ENGINE_ERROR)
        studio.until_idle()
    shutil.rmtree(studio.root / "quarantine")  # taken away by hand; the ledger still knows them
    mine = photo(studio.root / "quarantine" / Path(where).with_suffix(".png"), 99)
    mine = mine.rename(studio.root / "quarantine" / where)
    painted = studio.put("sub/painted.png", 99)
    studio.until_idle()
    painted.unlink()
    studio.tick()
    retry_jobs(loaded(studio), None)
    assert mine.exists()
    assert list(studio.inbox.rglob("*.*")) == []
    with suppress(UsageError):
        retry_jobs(loaded(studio), [str(mine)])
    assert mine.exists()
    assert status_report(loaded(studio))["quarantine"] == []


@pytest.mark.parametrize("broken", [False, True])
def test_a_photo_whose_note_was_never_written_is_still_known(make_studio, broken):
    """As where a kill came in between: here another file has the name of the note."""
    studio = make_studio(QUARANTINE)
    path = studio.root / "quarantine/sub/a.png"
    path.parent.mkdir(parents=True)
    path.with_name("a.png.reason.json").write_text("mine")
    if broken:
        cut = studio.put("sub/a.png")
        cut.write_bytes(cut.read_bytes()[:60])
        studio.until_idle()
    else:
        put_aside(studio)
    studio.again()
    studio.put("other.png", 5)
    studio.until_idle()
    assert [row["content"] for row in status_report(loaded(studio))["quarantine"]] == ["sub/a.png"]
    assert retry_jobs(loaded(studio), None) == 1
    assert (studio.inbox / "sub/a.png").exists()
    assert not path.exists()
