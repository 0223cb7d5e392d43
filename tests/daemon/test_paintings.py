"""A folder of paintings while `watch` runs: what comes, changes and goes is taken up by itself."""

import pytest
from support.fake_work import honest, photo
from support.stock import pictures
from support.studio import Studio
from support.watch_loop import WatchLoop

from pipeline.daemon.run import RELOAD_SECONDS

SETTLE = 2.0
FOLDER = "styles: paintings/\nlimits: {free_bytes: 0}\n"
AT_ONCE = FOLDER + "watch: {settle_seconds: 0, scan_seconds: 1}\n"
SETTLING = FOLDER + f"watch: {{settle_seconds: {SETTLE}, scan_seconds: 1}}\n"


@pytest.fixture
def make(tmp_path, make_studio):
    """A studio with two paintings and one photo, and its loop."""

    def opened(config: str = AT_ONCE) -> tuple[Studio, WatchLoop]:
        for number, name in enumerate(("sea", "wood")):
            photo(tmp_path / "paintings" / f"{name}.png", number)
        studio = make_studio(config)
        studio.put("cup.png", 9)
        studio.until_idle()
        assert styles(studio) == ["sea", "wood"]
        return studio, WatchLoop(studio)

    return opened


def styles(studio: Studio) -> list[str]:
    """The styles whose pictures are in the outbox."""
    names = (name for name in pictures(studio.outbox) if "enhanced" not in name)
    return [name.removesuffix(".png").rpartition("--")[2] for name in names]


def lines(said: str) -> list[str]:
    """Plain lines without time and level."""
    return [line.split(maxsplit=2)[2] for line in said.splitlines()]


def test_a_painting_that_is_dropped_is_a_style_at_the_next_look(make) -> None:
    studio, loop = make()
    assert loop.look(1) == ""
    photo(studio.root / "paintings/Nacht (1889).png", 5)
    assert "config reloaded (styles new: Nacht_1889)" in loop.look(1)
    studio.until_idle()
    assert styles(studio) == ["Nacht_1889", "sea", "wood"]
    assert len(studio.executor.begun) == 3  # the others were not painted again
    assert loop.look(1) == ""


def test_a_painting_is_waited_for_while_it_is_being_copied_and_holds_up_no_other(make) -> None:
    studio, loop = make(SETTLING)
    half, whole = studio.root / "paintings/half.png", studio.root / "paintings/whole.png"
    content = photo(studio.root / "elsewhere.png", 6).read_bytes()
    half.write_bytes(content[:40])
    assert loop.look(1) == ""
    photo(whole, 7)
    said = ""
    for size in range(41, 51):  # it grows at each look
        half.write_bytes(content[:size])
        said += loop.look(1)
    assert lines(said) == ["config reloaded (styles new: whole)"]
    half.write_bytes(content)
    said = "".join(loop.look(1) for _ in range(10))
    assert lines(said) == ["config reloaded (styles new: half)"]
    studio.until_idle(honest)
    assert styles(studio) == ["half", "sea", "whole", "wood"]


def test_a_painting_that_is_copied_when_the_program_starts_is_waited_for(make) -> None:
    studio, _ = make(SETTLING)
    photo(studio.root / "paintings/new.png", 5)
    studio.configure(SETTLING)
    studio.wall = (studio.root / "paintings/new.png").stat().st_ctime + 0.5  # half a second ago
    studio.again()
    studio.tick(0.1)
    studio.examined()
    studio.tick(0.1)
    assert studio.executor.begun == []
    assert not studio.service.idle  # a `run` waits, too
    studio.until_idle()
    assert "new" in styles(studio)


def test_a_painting_that_is_removed_is_no_style_any_more_and_its_pictures_stay(make) -> None:
    studio, loop = make()
    said = []
    studio.service._on_run = said.append
    (studio.root / "paintings/wood.png").unlink()
    assert "config reloaded (styles gone: wood)" in loop.look(1)
    studio.put("jar.png", 3)
    studio.until_idle()
    assert pictures(studio.outbox)[::2] == ["cup--sea.enhanced.png", "cup--wood.enhanced.png",
                                            "jar--sea.enhanced.png"]  # fmt: skip
    (event,) = (event for event in said if event["event"] == "unwanted")
    assert event["styles"] == {"wood": 1}
    assert event["words"] == (
        "1 picture of style wood that no rule wants any more: `pipeline prune` removes it"
    )


def test_a_name_that_is_taken_away_for_a_moment_changes_nothing(make) -> None:
    studio, loop = make(SETTLING)
    wood = studio.root / "paintings/wood.png"
    wood.rename(studio.root / "away.png")
    said = loop.look(1)
    (studio.root / "away.png").rename(wood)
    assert said + "".join(loop.look(1) for _ in range(8)) == ""


def test_the_styles_stay_in_force_while_the_folder_is_empty_or_gone(make) -> None:
    studio, loop = make()
    folder = studio.root / "paintings"
    folder.rename(studio.root / "away")
    assert "config not reloaded" in loop.look(1)
    assert "no such folder" in loop.loop.refused  # `status` says it
    assert "".join(loop.look(RELOAD_SECONDS) for _ in range(3)) == ""
    folder.mkdir()
    assert "there is no picture in the folder" in loop.look(RELOAD_SECONDS)
    assert [style.name for style in studio.service.planner.manifest.styles.values()] == [
        *("sea", "wood")
    ]
    folder.rmdir()
    (studio.root / "away").rename(folder)
    assert "config reloaded\n" in loop.look(RELOAD_SECONDS)
    assert loop.loop.refused == ""
    studio.put("jar.png", 3)
    studio.until_idle()
    assert len(studio.executor.begun) == 4


def test_two_paintings_of_one_name_are_refused_until_one_is_renamed(make) -> None:
    studio, loop = make()
    photo(studio.root / "paintings/sea.bmp", 5)
    said = loop.look(1)
    assert "config not reloaded" in said
    assert "sea.bmp and sea.png" in said
    (studio.root / "paintings/sea.bmp").rename(studio.root / "paintings/lake.bmp")
    assert "config reloaded (styles new: lake)" in loop.look(RELOAD_SECONDS)


def test_what_is_no_painting_is_said_once_and_changes_nothing(make) -> None:
    studio, loop = make()
    before = studio.service.planner
    (studio.root / "paintings/notes.txt").write_text("milk")
    said = "".join(loop.look(2) for _ in range(4))
    assert lines(said) == [f"ignored in {studio.root}/paintings: notes.txt (not a picture)"]
    assert studio.service.planner is before


def test_changed_options_beside_a_painting_have_its_pictures_painted_again(make) -> None:
    studio, loop = make()
    side = studio.root / "paintings/sea.png.yaml"
    side.write_text("transfer: {style_scale: 2}\n")
    assert "config reloaded\n" in loop.look(1)
    studio.until_idle()
    assert [job.style for job in studio.executor.begun] == ["sea", "wood", "sea"]
    side.write_text("transfer: {style_scal: 2}\n")
    assert "sea.png.yaml:1: unknown key" in loop.look(2)
    side.unlink()
    assert "config reloaded\n" in loop.look(RELOAD_SECONDS)


def test_a_painting_that_is_renamed_while_its_job_runs_survives_under_its_new_name(make) -> None:
    studio, loop = make()
    studio.put("jar.png", 3)
    studio.until_running()
    running = studio.executor.begun[-1].style
    (studio.root / f"paintings/{running}.png").rename(studio.root / "paintings/new.png")
    assert f"(styles new: new; gone: {running})" in loop.look(1)
    studio.until_idle(honest)
    left = ({"sea", "wood"} - {running}).pop()
    made = {name for name in pictures(studio.outbox) if "jar--" in name and "enhanced" not in name}
    assert made == {"jar--new.png", f"jar--{left}.png"}
    assert studio.view.tally.any_failed is False


def test_a_config_that_waits_for_a_start_is_said_once(make) -> None:
    studio, loop = make()
    assert "slots change only at the next start" in loop.edit(AT_ONCE + "slots: 3\n")
    photo(studio.root / "paintings/new.png", 5)
    assert "".join(loop.look(RELOAD_SECONDS) for _ in range(3)) == ""


def test_styles_of_a_side_file_that_are_gone_fail_that_photo_alone(make) -> None:
    studio, loop = make()
    studio.put("jar.png", 3)
    (studio.inbox / "jar.png.yaml").write_text("styles: [wood]\n")
    studio.until_idle()
    (studio.root / "paintings/wood.png").unlink()
    loop.look(1)
    studio.until_idle()
    assert studio.codes()["jar.png"] == "sidecar_invalid"
    studio.put("zz.png", 4)
    studio.until_idle()
    assert "zz--sea.png" in pictures(studio.outbox)
