"""The outbox: nothing half-written, nothing of others touched, nothing lost by a crash."""

import errno
import json
import os
import resource
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest
from support.stock import make_job, pictures, render
from support.system_calls import before_call

from pipeline.errors import OutputError, Reason
from pipeline.outbox.names import candidate_names
from pipeline.outbox.publisher import Outbox, staged_output
from pipeline.outbox.run_log import RunLog
from pipeline.system.copying import part_name
from pipeline.system.safe_files import disk_errors


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    outbox = Outbox(tmp_path / "outbox")
    outbox.prepare()
    return outbox


def publish(outbox: Outbox, stem: str, mark: str = "", previous=(), **job):
    return outbox.publish(render(outbox, make_job(**job), mark).outputs, stem, previous)


def read(outbox: Outbox, name: str) -> str:
    return (outbox.root / name).read_text().split()[1]


def within(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- names ----------------------------------------------------------------------------------


def test_a_pair_is_named_after_its_photo_and_its_style():
    names = candidate_names("sub/deep/a.b.jpg", "mosaic")
    assert list(islice(names, 3)) == [f"sub/deep/a.b{mark}--mosaic" for mark in ("", "~2", "~3")]


@pytest.mark.parametrize("letter", ["x", "é", "漢", "\udcff"])
def test_long_names_are_cut_to_what_a_disk_takes_and_stay_apart(outbox, letter):
    stem = letter * (251 // len(os.fsencode(letter)))
    twin = stem[:-1] + "y"
    made = [next(candidate_names(f"{name}.jpg", "mosaic")) for name in (stem, twin)]
    assert made[0] != made[1]
    for name in made:
        publish(outbox, name)
    assert len(pictures(outbox)) == 4


# --- publishing -----------------------------------------------------------------------------


def test_published_pictures_are_the_staged_ones_and_nothing_temporary_is_left(outbox):
    outputs = publish(outbox, "sub/a--mosaic", "one")
    assert [o.path for o in outputs] == ["sub/a--mosaic.png", "sub/a--mosaic.enhanced.png"]
    assert pictures(outbox) == sorted(o.path for o in outputs)
    assert all((outbox.root / o.path).stat().st_size == o.bytes for o in outputs)
    outbox.discard(make_job().id, 0)
    assert outbox.sweep() == 0
    assert sorted(p.name for p in outbox.root.iterdir()) == ["sub"]


def test_publishing_again_changes_nothing(outbox):
    staged = render(outbox, make_job()).outputs
    first = outbox.publish(staged, "a--mosaic")
    inodes = [(outbox.root / o.path).stat().st_ino for o in first]
    assert outbox.publish(staged, "a--mosaic") == first
    outbox.discard(make_job().id, 0)
    assert outbox.publish(staged, "a--mosaic") == first
    assert [(outbox.root / o.path).stat().st_ino for o in first] == inodes


def test_a_pair_rendered_again_replaces_its_own_pictures(outbox):
    first = publish(outbox, "a--mosaic", "one")
    publish(outbox, "a--mosaic", "two", previous=first)
    assert read(outbox, "a--mosaic.png") == read(outbox, "a--mosaic.enhanced.png") == "two"
    assert len(pictures(outbox)) == 2


def test_own_pictures_of_an_earlier_name_go_when_the_new_ones_stand(outbox):
    first = publish(outbox, "a--mosaic", "one")
    publish(outbox, "a~2--mosaic", "two", previous=first)
    assert pictures(outbox) == ["a~2--mosaic.enhanced.png", "a~2--mosaic.png"]


@pytest.mark.parametrize("kind", ["file", "empty file", "folder", "link", "broken link", "pipe"])
def test_what_others_put_there_is_never_overwritten(outbox, tmp_path, kind):
    place = outbox.root / "a--mosaic.enhanced.png"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not ours")
    {
        "file": lambda: place.write_text("not ours"),
        "empty file": place.touch,
        "folder": place.mkdir,
        "link": lambda: place.symlink_to(elsewhere),
        "broken link": lambda: place.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(place),
    }[kind]()
    before = os.lstat(place)
    staged = render(outbox, make_job()).outputs
    assert outbox.is_taken("a--mosaic", staged)
    with pytest.raises(OutputError, match="did not make"):
        outbox.publish(staged, "a--mosaic")
    assert os.lstat(place) == before
    assert elsewhere.read_text() == "not ours"
    assert not (outbox.root / "a--mosaic.png").exists()


def test_a_picture_of_ours_that_somebody_changed_is_not_ours_any_more(outbox):
    first = publish(outbox, "a--mosaic", "one")
    (outbox.root / "a--mosaic.png").write_text("retouched by hand")
    staged = render(outbox, make_job(), "two").outputs
    assert outbox.is_taken("a--mosaic", staged, first)
    with pytest.raises(OutputError, match="did not make"):
        outbox.publish(staged, "a--mosaic", first)
    outbox.publish(staged, "a~2--mosaic", first)
    assert pictures(outbox) == ["a--mosaic.png", "a~2--mosaic.enhanced.png", "a~2--mosaic.png"]


def test_a_name_taken_between_the_check_and_the_link_leaves_no_half_set(outbox, monkeypatch):
    link = os.link

    def somebody_was_faster(source, name, **options):
        if name == "a--mosaic.enhanced.png":
            (outbox.root / name).write_text("not ours")
        link(source, name, **options)

    monkeypatch.setattr(os, "link", somebody_was_faster)
    staged = render(outbox, make_job()).outputs
    with pytest.raises(OutputError, match="did not make"):
        outbox.publish(staged, "a--mosaic")
    assert pictures(outbox) == ["a--mosaic.enhanced.png"]
    assert (outbox.root / "a--mosaic.enhanced.png").read_text() == "not ours"
    outbox.publish(staged, "a~2--mosaic")
    assert len(pictures(outbox)) == 3


def test_pictures_are_published_to_a_disk_without_hard_links(outbox, monkeypatch):
    def no_links(*_args, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    first = publish(outbox, "a--mosaic", "one")
    (outbox.root / "b--mosaic.png").write_text("not ours")
    publish(outbox, "a--mosaic", "two", previous=first)
    with pytest.raises(OutputError, match="did not make"):
        publish(outbox, "b--mosaic")
    assert read(outbox, "a--mosaic.png") == "two"
    assert (outbox.root / "b--mosaic.png").read_text() == "not ours"


@pytest.fixture
def far(monkeypatch):
    """Every folder of the outbox on a disk of its own."""
    near = os.link

    def link(source, name, *, src_dir_fd=None, **options):
        if src_dir_fd is None and options.get("dst_dir_fd") is not None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        near(source, name, src_dir_fd=src_dir_fd, **options)

    monkeypatch.setattr(os, "link", link)


def test_pictures_are_published_to_a_folder_of_the_outbox_on_another_disk(outbox, far):
    first = render(outbox, make_job("sub/a.jpg"), "one").outputs
    finals = outbox.publish(first, "sub/a--mosaic")
    assert within(outbox.root / "sub") == ["a--mosaic.enhanced.png", "a--mosaic.png"]
    second = render(outbox, make_job("sub/a.jpg", seed=1), "two").outputs
    outbox.publish(second, "sub/a--mosaic", finals)
    assert "two" in (outbox.root / "sub/a--mosaic.png").read_text()
    assert within(outbox.root / "sub") == ["a--mosaic.enhanced.png", "a--mosaic.png"]


def test_what_a_crash_leaves_of_a_copy_to_another_disk_goes_with_the_next_publishing(outbox, far):
    first = render(outbox, make_job("sub/a.jpg")).outputs
    outbox.publish(first, "sub/a--mosaic")
    half = outbox.root / "sub" / part_name("a--mosaic.png")
    half.write_text("half")
    outbox.publish(first, "sub/a--mosaic")
    assert not half.exists()


def test_others_files_on_another_disk_are_never_overwritten(outbox, far):
    staged = render(outbox, make_job("sub/a.jpg")).outputs
    (outbox.root / "sub").mkdir()
    (outbox.root / "sub/a--mosaic.enhanced.png").write_text("not ours")
    with pytest.raises(OutputError) as caught:
        outbox.publish(staged, "sub/a--mosaic")
    assert caught.value.code is Reason.PUBLISH_CONFLICT
    assert within(outbox.root / "sub") == ["a--mosaic.enhanced.png"]


def test_an_outbox_without_permission_is_waited_for_like_a_failed_disk(outbox, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(OutputError) as caught:
        outbox.make_staging_folder(make_job())
    assert caught.value.code is Reason.IO_ERROR


def test_a_damaged_or_missing_staged_picture_publishes_nothing(outbox):
    for spoil in (lambda p: p.write_text("rotten"), Path.unlink):
        staged = render(outbox, make_job()).outputs
        spoil(Path(staged[1].path))
        with pytest.raises(OutputError, match="staged picture is"):
            outbox.publish(staged, "a--mosaic")
        assert pictures(outbox) == []


def test_an_empty_picture_is_no_result(outbox):
    path = outbox.make_staging_folder(make_job()) / "stylized.png"
    path.touch()
    with pytest.raises(OutputError, match="empty"):
        staged_output("stylized", path, 1, 1)


# --- where it may not write -----------------------------------------------------------------


def test_a_link_in_the_outbox_leads_nowhere(outbox, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outbox.root / "sub").symlink_to(outside)
    staged = render(outbox, make_job()).outputs
    with pytest.raises(OutputError, match=r"sub: cannot be written.*symbolic links"):
        outbox.publish(staged, "sub/a--mosaic")
    assert not outbox.is_taken("sub/a--mosaic", staged)  # `publish` reports the folder
    assert list(outside.iterdir()) == []


def test_a_staging_folder_that_is_a_link_is_neither_used_nor_cleared(tmp_path):
    outbox = Outbox(tmp_path / "outbox")
    outbox.prepare()
    precious = tmp_path / "precious"
    (precious / f"{make_job().id}.0").mkdir(parents=True)
    (outbox.root / ".staging").symlink_to(precious)
    with pytest.raises(OutputError, match="symbolic links"):
        outbox.make_staging_folder(make_job())
    outbox.discard(make_job().id, 0)
    outbox.sweep()
    assert len(list(precious.iterdir())) == 1


@pytest.mark.parametrize("stem", ["../a--mosaic", "sub/../../a--mosaic", "/tmp/a--mosaic"])
def test_a_name_that_leaves_the_outbox_is_refused(outbox, stem):
    staged = render(outbox, make_job()).outputs
    with pytest.raises(OutputError):
        outbox.publish(staged, stem)
    assert pictures(outbox) == []


def test_a_vanished_outbox_is_an_error_and_is_not_made_again_by_accident(tmp_path):
    outbox = Outbox(tmp_path / "outbox")
    with pytest.raises(OutputError, match="is this folder still there"):
        outbox.make_staging_folder(make_job())
    assert not outbox.root.exists()


def test_a_file_where_a_folder_must_be_is_an_error(outbox):
    (outbox.root / "sub").write_text("a file")
    with pytest.raises(OutputError, match="not a directory"):
        publish(outbox, "sub/a--mosaic")


# --- staging --------------------------------------------------------------------------------


def test_a_job_starts_in_an_empty_folder_whatever_a_crash_left_in_it(outbox):
    (outbox.make_staging_folder(make_job()) / "rest").write_text("half a picture")
    assert list(outbox.make_staging_folder(make_job()).iterdir()) == []


def test_the_sweep_removes_orphans_and_keeps_what_waits(outbox):
    kept = outbox.make_staging_folder(make_job("a.jpg"))
    outbox.make_staging_folder(make_job("b.jpg"))
    assert outbox.sweep({kept.name}) == 1
    assert list((outbox.root / ".staging").iterdir()) == [kept]
    assert outbox.sweep() == 1
    assert list(outbox.root.iterdir()) == []


# --- the run log ----------------------------------------------------------------------------


def lines(log: RunLog) -> list[str]:
    return log.path.read_text().splitlines()


def test_lines_are_appended_whole_and_in_order(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    end = log.append(["1", "2"])
    assert log.append(["3"], end) == log.path.stat().st_size
    assert lines(log) == ["1", "2", "3"]


def test_lines_written_just_before_a_crash_are_not_written_again(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    end = log.append(["1"])
    log.append(["2", "2"], end)  # ... and the new end was not noted
    log.append(["2", "2", "3"], end)
    assert lines(log) == ["1", "2", "2", "3"]


def test_a_line_equal_to_one_long_confirmed_is_a_line_of_its_own(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    end = log.append(["1"])
    log.append(["1"], end)
    assert lines(log) == ["1", "1"]


@pytest.mark.parametrize("torn", ['{"a": 1, "b', '{"a": 1, "b": 2}'])
def test_a_torn_last_line_stays_alone_and_the_next_one_is_whole(tmp_path, torn):
    log = RunLog(tmp_path / "runs.jsonl")
    end = log.append(['{"x": 0}'])
    with log.path.open("a") as file:
        file.write(torn)
    end = log.append(['{"a": 1, "b": 2}'], end)
    log.append(['{"y": 9}'], end)
    whole = [line for line in lines(log) if line.endswith("}")]
    assert [json.loads(line) for line in whole] == [{"x": 0}, {"a": 1, "b": 2}, {"y": 9}]


def test_a_disk_that_becomes_full_within_a_line_leaves_none_of_it(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    end = log.append(["1"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (end + 5, before[1]))
    try:
        with pytest.raises(OutputError):
            log.append(['{"a": 1, "b": 2}'], end)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.path.stat().st_size == end
    log.append(['{"a": 1, "b": 2}'], end)
    assert lines(log) == ["1", '{"a": 1, "b": 2}']


def test_a_log_that_was_moved_away_is_started_again(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    end = log.append(["1", "2"])
    log.path.rename(tmp_path / "runs.old")
    log.append(["3"], end)
    assert lines(log) == ["3"]


def test_a_full_disk_is_reported_as_such(tmp_path):
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OutputError, match=r"no space left.*free some space") as caught:  # noqa: SIM117
        with disk_errors(tmp_path):
            os.write(full, b"1")
    os.close(full)
    assert caught.value.code is Reason.DISK_FULL


def test_a_log_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("not ours")
    (tmp_path / "runs.jsonl").symlink_to("precious")
    with pytest.raises(OutputError, match="symbolic links"):
        RunLog(tmp_path / "runs.jsonl").append(["1"])
    assert (tmp_path / "precious").read_text() == "not ours"


@pytest.mark.parametrize("stem", ["a--mosaic", "b--mosaic"])
@pytest.mark.parametrize("picture", ["a--mosaic.png", "a--mosaic.enhanced.png"])
def test_a_file_that_takes_the_name_of_an_earlier_picture_while_pictures_are_read_stays(
    tmp_path, stem, picture
):
    """Before each call, but for the last one that replaces or removes what was just looked at."""
    for number in count(1):
        outbox = Outbox(tmp_path / str(number))
        outbox.prepare()
        earlier = publish(outbox, "a--mosaic", "one")
        staged = render(outbox, make_job(seed=1), "two").outputs
        (tmp_path / "new.png").write_text("a person's picture")
        act = partial((tmp_path / "new.png").rename, outbox.root / picture)
        with suppress(OutputError), before_call(number, act, ("open", "stat", "read")) as made:
            outbox.publish(staged, stem, earlier)
        if len(made) < number:
            break
        assert (outbox.root / picture).read_text() == "a person's picture", (number, made)
    assert number > 5


def test_only_staging_folders_of_the_program_are_removed(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.prepare()
    staging = tmp_path / ".staging"
    for name in ("0123456789ab.3", "thesis", "0123456789ab.3.bak", "0123456789AB.3"):
        (staging / name).mkdir(parents=True)
    (staging / "notes.txt").touch()
    assert outbox.sweep() == 1
    kept = sorted(path.name for path in staging.iterdir())
    assert kept == ["0123456789AB.3", "0123456789ab.3.bak", "notes.txt", "thesis"]
