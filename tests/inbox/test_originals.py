"""What becomes of originals: left, archived, deleted, or put into quarantine."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from support.fake_work import photo
from support.stock import pictures
from support.studio import CONFIG, Studio

from pipeline.errors import Reason
from pipeline.inbox.originals import AGAIN_SECONDS
from pipeline.system.safe_files import opened_folder
from pipeline.system.taking import taken


def test_by_default_no_original_is_touched(studio):
    good, bad = studio.put("a.png"), studio.put("b.png")
    bad.write_bytes(bad.read_bytes()[:60])
    before = [path.stat() for path in (good, bad)]
    studio.until_idle()
    assert [path.stat().st_ctime_ns for path in (good, bad)] == [s.st_ctime_ns for s in before]


def test_an_original_is_archived_once_its_pictures_are_verified(make_studio):
    studio = make_studio(CONFIG + "after: archive\n")
    content = studio.put("sub/a.png").read_bytes()
    studio.until_idle()
    assert not (studio.inbox / "sub/a.png").exists()
    assert (studio.root / "archive/sub/a.png").read_bytes() == content
    studio.put("sub/a.png", seed=9)
    studio.until_idle()
    assert (studio.root / "archive/sub/a~2.png").exists()
    assert (studio.root / "archive/sub/a.png").read_bytes() == content


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_an_original_whose_pictures_were_spoiled_or_that_changed_stays(make_studio, after):
    studio = make_studio(CONFIG)
    studio.put("a.png")
    studio.until_idle()
    (studio.outbox.root / "a--mosaic.enhanced.png").write_text("spoiled")
    studio.configure(CONFIG + f"after: {after}\n")
    studio.again()
    studio.until_idle()
    studio.service.finish_original("a.png")
    assert (studio.inbox / "a.png").exists()


def test_an_original_is_deleted_only_when_all_its_styles_are_done(make_studio):
    two = CONFIG.replace("styles:\n", 'styles:\n  waves: {image: "builtin:woodcut_waves"}\n')
    studio = make_studio(two + "after: delete\n")
    studio.put("a.png")
    studio.until_running()
    studio.executor.end()
    studio.until_running()
    assert (studio.inbox / "a.png").exists()
    studio.until_idle()
    assert not (studio.inbox / "a.png").exists()
    assert len(pictures(studio.outbox)) == 4


def test_an_archive_on_another_disk_gets_a_whole_copy(make_studio, tmp_path):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    archive = shm / f"archive-{tmp_path.name}"
    try:
        studio = make_studio(CONFIG + f"after: archive\narchive: {archive}\n")
        content = studio.put("a.png").read_bytes()
        studio.until_idle()
        assert [p.name for p in archive.iterdir()] == ["a.png"]
        assert (archive / "a.png").read_bytes() == content
        assert not (studio.inbox / "a.png").exists()
    finally:
        shutil.rmtree(archive, ignore_errors=True)


def test_what_failed_is_quarantined_with_its_reason_if_so_configured(make_studio):
    studio = make_studio(CONFIG + "failed: quarantine\n")
    path = studio.put("sub/broken.png")
    path.write_bytes(path.read_bytes()[:60])
    studio.put("hopeless.png", seed=3)
    studio.until_running()
    studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    told = json.loads((studio.root / "quarantine/sub/broken.png.reason.json").read_text())
    assert told["error"]["code"] == "truncated"
    assert (studio.root / "quarantine/hopeless.png").exists()
    assert [p.name for p in studio.inbox.rglob("*.png")] == []
    studio.good_one_survives()


def studio_with_a_blocked_folder(make_studio, key: str) -> tuple[Studio, Path, Path]:
    """A studio that can move no photo to one folder, with a painted photo and a failed one."""
    studio = make_studio(f"{CONFIG}after: archive\nfailed: quarantine\n")
    (studio.root / key).write_text("something stands in its place")
    good, bad = studio.put("a.png"), studio.put("b.png", seed=1)
    bad.write_bytes(bad.read_bytes()[:60])
    studio.until_idle()
    return studio, good, bad


@pytest.mark.parametrize("key", ["archive", "quarantine"])
def test_a_folder_that_takes_no_originals_is_reported_and_tried_again(make_studio, key):
    studio, good, bad = studio_with_a_blocked_folder(make_studio, key)
    left = good if key == "archive" else bad
    assert left.exists()
    assert f"photos cannot be moved from {studio.inbox} to {studio.root / key}" in (
        studio.view.message
    )
    (studio.root / key).unlink()
    studio.tick(AGAIN_SECONDS)
    assert studio.view.message == ""
    assert (studio.root / key / left.name).exists()
    studio.good_one_survives()


@pytest.mark.parametrize("key", ["archive", "quarantine"])
def test_originals_that_a_folder_did_not_take_leave_at_the_next_start(make_studio, key):
    studio, good, bad = studio_with_a_blocked_folder(make_studio, key)
    (studio.root / key).unlink()
    studio.again()
    studio.until_idle()
    assert not good.exists()
    assert not bad.exists()
    assert json.loads((studio.root / "quarantine/b.png.reason.json").read_text())


def test_a_photo_that_a_kill_left_under_a_private_name_is_archived_at_the_next_start(make_studio):
    studio = make_studio(CONFIG + "after: archive\n")
    content = studio.put("sub/a.png").read_bytes()
    with (
        suppress(KeyboardInterrupt),
        opened_folder(studio.inbox, ("sub",)) as folder,
        taken(folder, "a.png"),
    ):
        raise KeyboardInterrupt
    assert [p.name for p in (studio.inbox / "sub").iterdir()] != ["a.png"]
    studio.again()
    studio.until_idle()
    assert list((studio.inbox / "sub").iterdir()) == []
    assert (studio.root / "archive/sub/a.png").read_bytes() == content
    assert {line["content"] for line in studio.lines} == {"sub/a.png"}


NAMED = {
    "painting": "styles: {{a: {{image: {}}}}}\n",
    "one of two paintings": "styles: {{a: {{images: {{{}: 1, 'builtin:mosaic': 1}}}}}}\n",
    "start image": "styles: {{a: {{image: 'builtin:mosaic'}}}}\ntransfer: {{init: {}}}\n",
    "start image of a style": (
        "styles: {{a: {{image: 'builtin:mosaic', transfer: {{init: {}}}}}}}\n"
    ),
    "model": "styles: {{a: {{image: 'builtin:mosaic'}}}}\nenhance: {{upscale_model: {}}}\n",
}


@pytest.mark.parametrize("how", ["after: archive\n", "after: delete\n", "failed: quarantine\n"])
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("role", NAMED)
@pytest.mark.slow
def test_a_file_that_the_config_names_stays_in_the_inbox(make_studio, tmp_path, role, link, how):
    """A painting may lie among the photos: its only copy is not a photo to be put away."""
    (tmp_path / "inbox").mkdir()
    named = photo(tmp_path / "inbox/a.png", 9)
    if link:
        (tmp_path / "link.png").symlink_to(named)
    text = NAMED[role].format("link.png" if link else "inbox/a.png")
    studio = make_studio(text + "watch: {settle_seconds: 0}\nlimits: {free_bytes: 0}\n" + how)
    other, content = studio.put("b.png", 2), named.read_bytes()
    fails = how.startswith("failed")
    if fails:
        studio.until_running()
        studio.fail(Reason.ENGINE_ERROR)
    studio.until_idle()
    studio.again()
    studio.until_idle()
    assert studio.states() == {"a.png": "failed" if fails else "done", "b.png": "done"}
    assert other.exists() == fails
    assert named.read_bytes() == content
