"""The gallery on the disk: complete, incremental, mended by itself. Its page: tests/page."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gallery_stock import (
    CURVE,
    SIZE,
    add_film,
    add_map,
    digest,
    done_line,
    draw,
    failed_line,
    hang,
    learned_map,
    write_log,
)

from pipeline.errors import OutputError
from pipeline.gallery.entries import POINTS, make_entry, relative_url
from pipeline.gallery.page import build_page
from pipeline.gallery.writer import CHUNK, FOLDER, PICTURES, Gallery
from pipeline.outbox.learned_map import LearnedMap
from pipeline.outbox.thumbnails import (
    NAME,
    before_name,
    large_name,
    map_name,
    painting_name,
    small_name,
    staged_map_name,
)

NOWHERE = Path("/nowhere")


def listed_entries(outbox: Path) -> list[dict]:
    """What the data files list for a browser, in its order."""
    entries = []
    for path in sorted((outbox / FOLDER).glob("chunk-*.js")):
        text = path.read_text("ascii")
        entries += json.loads(text[text.index("[") : text.rindex(")")])
    return entries


def state(outbox: Path) -> dict[str, tuple[int, int]]:
    """Which files stand there: a file written again has another inode or time."""
    paths = [outbox / "index.html", *(outbox / FOLDER).glob("*.js")]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def lines(count: int, start: int = 0) -> list[dict]:
    return [done_line(f"{number}.jpg") for number in range(start, start + count)]


# --- incremental ----------------------------------------------------------------------------


def test_every_line_of_the_run_log_is_told_once_and_in_order(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    for start in range(0, 3 * CHUNK, 150):
        write_log(tmp_path, lines(150, start))
        assert gallery.update() == 150
    assert [entry["content"] for entry in listed_entries(tmp_path)] == [
        f"{n}.jpg" for n in range(3 * CHUNK)
    ]


def test_a_new_result_writes_the_last_chunk_and_the_head_alone(tmp_path: Path) -> None:
    write_log(tmp_path, lines(2 * CHUNK + 5))
    gallery = Gallery(tmp_path)
    gallery.update()
    before = state(tmp_path)
    write_log(tmp_path, lines(1, 9000))
    gallery.update()
    changed = {name for name, mark in state(tmp_path).items() if before.get(name) != mark}
    assert changed == {"chunk-0003.js", "head.js"}


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, lines(3))
    Gallery(tmp_path).update()
    before = state(tmp_path)
    assert Gallery(tmp_path).update() == 0
    assert state(tmp_path) == before


def test_the_next_start_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for start in range(0, 10, 5):
        write_log(tmp_path, lines(5, start))
        Gallery(tmp_path).update()
    assert [entry["content"] for entry in listed_entries(tmp_path)] == [
        f"{n}.jpg" for n in range(10)
    ]


def test_a_line_still_being_written_is_awaited(tmp_path: Path) -> None:
    write_log(tmp_path, lines(1))
    text = json.dumps(done_line("late.jpg")) + "\n"
    gallery, log = Gallery(tmp_path), tmp_path / "runs.jsonl"
    with log.open("a") as file:
        file.write(text[:40])
    assert gallery.update() == 1
    with log.open("a") as file:
        file.write(text[40:])
    assert gallery.update() == 1
    assert [entry["content"] for entry in listed_entries(tmp_path)] == ["0.jpg", "late.jpg"]


def test_a_torn_line_or_a_note_in_the_log_survives_without_harm(tmp_path: Path) -> None:
    write_log(tmp_path, lines(1))
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"status": "do\nhello\n[1]\n' + "[" * 9999 + "\n{}\n")
    write_log(tmp_path, lines(1, 1))
    assert Gallery(tmp_path).update() == 2


def test_a_log_put_away_and_begun_anew_keeps_what_hangs(tmp_path: Path) -> None:
    write_log(tmp_path, lines(4))
    gallery = Gallery(tmp_path)
    gallery.update()
    (tmp_path / "runs.jsonl").rename(tmp_path / "runs.1.jsonl")
    write_log(tmp_path, lines(1, 4))
    gallery.update()
    assert [entry["content"] for entry in listed_entries(tmp_path)] == [
        f"{n}.jpg" for n in range(5)
    ]


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ("head.js", "chunk-0003.js")
        for damage in ("gone", "empty", "torn")
    ]
    + [("chunk-0001.js", "gone"), ("chunk-0001.js", "empty")],
)
def test_a_damaged_gallery_is_told_anew(tmp_path: Path, name: str, damage: str) -> None:
    write_log(tmp_path, lines(2 * CHUNK + 1))
    Gallery(tmp_path).update()
    path = tmp_path / FOLDER / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text()[:14] if damage == "torn" else "")
    Gallery(tmp_path).update()
    assert len(listed_entries(tmp_path)) == 2 * CHUNK + 1


def test_a_gallery_deleted_while_running_comes_back_whole(tmp_path: Path) -> None:
    write_log(tmp_path, lines(3))
    gallery = Gallery(tmp_path)
    gallery.update()
    for path in (tmp_path / FOLDER).glob("*.js"):
        path.unlink()
    write_log(tmp_path, lines(1, 3))
    gallery.update()
    assert len(listed_entries(tmp_path)) == 4


def test_a_crash_between_chunk_and_head_loses_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, lines(CHUNK - 1))
    Gallery(tmp_path).update()
    head = tmp_path / FOLDER / "head.js"
    before = head.read_bytes()
    write_log(tmp_path, lines(5, CHUNK - 1))
    Gallery(tmp_path).update()
    head.write_bytes(before)  # as if the last write had not been made
    Gallery(tmp_path).update()
    assert {entry["content"] for entry in listed_entries(tmp_path)} == {
        f"{n}.jpg" for n in range(CHUNK + 4)
    }


def test_rebuilding_forgets_what_the_log_no_longer_says(tmp_path: Path) -> None:
    write_log(tmp_path, lines(CHUNK + 1))
    gallery = Gallery(tmp_path)
    gallery.update()
    (tmp_path / "runs.jsonl").unlink()
    write_log(tmp_path, lines(1))
    gallery.rebuild()
    assert len(listed_entries(tmp_path)) == 1


def test_no_temporary_file_stays_behind(tmp_path: Path) -> None:
    write_log(tmp_path, lines(CHUNK + 1))
    Gallery(tmp_path).update()
    assert not list(tmp_path.rglob("*.new"))


# --- other files ------------------------------------------------------------------------------


def test_a_page_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>my own page</h1>")
    with pytest.raises(OutputError, match="did not write"):
        Gallery(tmp_path).update()
    assert (tmp_path / "index.html").read_text() == "<h1>my own page</h1>"


def test_the_page_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    Gallery(tmp_path).update()
    (tmp_path / "index.html").write_bytes(build_page()[:60] + b"<p>older</p>")
    Gallery(tmp_path).update()
    assert (tmp_path / "index.html").read_bytes() == build_page()


@pytest.mark.parametrize("name", [FOLDER, f"{FOLDER}/{PICTURES}"])
def test_a_link_in_place_of_our_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    outbox, elsewhere = tmp_path / "outbox", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (outbox / name).parent.mkdir(parents=True)
    (outbox / name).symlink_to(elsewhere)
    write_log(outbox, lines(1))
    with pytest.raises(OutputError, match="symbolic link"):
        Gallery(outbox).update()
    assert not list(elsewhere.iterdir())


def test_the_data_of_an_older_version_are_rewritten_without_folders(tmp_path: Path) -> None:
    """Lines that the log does not hold any more too."""
    photo = "/home/ada/my photos/inbox/b.jpg"
    gone = [
        done_line(f"{n}.jpg", options={"styles": {"a": {"images": {"/home/ada/sea.jpg": 1.0}}}})
        for n in range(CHUNK)
    ]
    write_log(tmp_path, gone)
    Gallery(tmp_path).update()
    (tmp_path / "runs.jsonl").unlink()
    write_log(tmp_path, [failed_line("b.jpg", "unreadable", "/home/ada/b.jpg: cannot be read")])
    Gallery(tmp_path).update()
    before = listed_entries(tmp_path)
    for path in (tmp_path / FOLDER).glob("*.js"):  # as it was written until now
        text = path.read_text().replace(',"form":1', "").replace(', "form": 1', "")
        text = text.replace('"sea.jpg"', '"/home/ada/sea.jpg"')
        path.write_text(text.replace('"b.jpg: cannot', '"/home/ada/b.jpg: cannot'))
    assert "/home/ada" in (tmp_path / FOLDER / "chunk-0001.js").read_text()
    Gallery(tmp_path).update()
    assert listed_entries(tmp_path) == before
    assert len(before) == CHUNK + 1
    assert not any("/home/ada" in p.read_text() for p in (tmp_path / FOLDER).glob("*.js"))
    renewed = state(tmp_path)
    Gallery(tmp_path).update()
    assert state(tmp_path) == renewed  # once
    assert photo not in json.dumps(before)


def test_only_small_copies_are_taken_from_a_staging_folder(tmp_path: Path) -> None:
    staged, good = tmp_path / "staged", small_name("5" * 64)
    for name in (good, "evil.html", f"x{good}", "stylized.png"):
        draw(staged / name, "red")
    gallery = Gallery(tmp_path)
    gallery.take_copies(staged)
    gallery.take_copies(staged)
    assert [path.name for path in gallery.pictures.iterdir()] == [good]


def test_copies_of_a_replaced_picture_go_with_it(tmp_path: Path) -> None:
    gallery, line = Gallery(tmp_path), done_line("a.jpg")
    hang(tmp_path, line)
    old = line["outputs"][0]["sha256"]
    draw(gallery.pictures / large_name(old), "red")
    before = {path.name for path in gallery.pictures.iterdir()}
    staged = tmp_path / "staged"
    draw(staged / small_name("5" * 64), "red")
    for _ in range(2):  # as after a crash
        gallery.take_copies(staged, {old})
    gone = {small_name(old), large_name(old)}
    assert {path.name for path in gallery.pictures.iterdir()} == before - gone | {
        small_name("5" * 64)
    }


def test_at_the_end_copies_that_nothing_shows_are_removed(tmp_path: Path) -> None:
    gallery, line = Gallery(tmp_path), done_line("a.jpg")
    hang(tmp_path, line)
    write_log(tmp_path, [line])
    gallery.update()
    shown = {path.name for path in gallery.pictures.iterdir()}
    for name in ("4" * 20 + ".jpg", "5" * 20 + "-96.jpg", "mine.jpg", "6" * 20 + ".jpg"):
        draw(gallery.pictures / name, "red")
        os.utime(gallery.pictures / name, (1e9, 1e9))
    os.utime(gallery.pictures / ("6" * 20 + ".jpg"))  # of now: it may not have been told yet
    for name in shown:
        os.utime(gallery.pictures / name, (1e9, 1e9))
    assert gallery.remove_unused_copies() == 2
    left = {path.name for path in gallery.pictures.iterdir()}
    assert left == shown | {"mine.jpg", "6" * 20 + ".jpg"}


def test_tidying_is_done_once_a_day_at_most(tmp_path: Path) -> None:
    gallery, stray = Gallery(tmp_path), "4" * 20 + ".jpg"
    write_log(tmp_path, lines(1))
    gallery.update()
    found = []
    for day in (1, 0, 1e9, 0, 4e9):  # the last: by a clock that was decades ahead
        mark = tmp_path / FOLDER / "tidied"
        if mark.exists() and day:
            os.utime(mark, (day, day))
        draw(gallery.pictures / stray, "red")
        os.utime(gallery.pictures / stray, (1e9, 1e9))
        found.append(gallery.remove_unused_copies())
    assert found == [1, 0, 1, 0, 1]


def test_a_run_that_told_nothing_new_tidies_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, lines(1))
    Gallery(tmp_path).update()
    again = Gallery(tmp_path)
    again.update()
    draw(again.pictures / ("4" * 20 + ".jpg"), "red")
    os.utime(again.pictures / ("4" * 20 + ".jpg"), (1e9, 1e9))
    assert again.remove_unused_copies() == 0


def test_a_job_without_small_copies_is_no_fault(tmp_path: Path) -> None:
    Gallery(tmp_path).take_copies(tmp_path / "missing")


# --- what a picture learned where -------------------------------------------------------------


def test_a_staged_map_becomes_a_script_of_the_gallery_and_outlives_a_rebuild(
    tmp_path: Path,
) -> None:
    gallery, line = Gallery(tmp_path), done_line("a.jpg")
    hang(tmp_path, line)
    add_map(tmp_path, line)
    write_log(tmp_path, [line, done_line("b.jpg")])
    for renew in (gallery.update, gallery.rebuild):
        renew()
        with_map, without = listed_entries(tmp_path)
        assert with_map["map"] == map_name(line["outputs"][0]["sha256"])
        assert "map" not in without
    text = (gallery.pictures / with_map["map"]).read_text("ascii")
    start = f'gallery.map("{with_map["map"]}",'
    assert text.startswith(start)
    assert LearnedMap.parse(text.removeprefix(start)[:-2]) == learned_map()


def _with(**changes: object) -> dict:
    return json.loads(learned_map().as_json()) | changes


PAINTING = _with()["paintings"][0]


@pytest.mark.parametrize(
    "found",
    [
        "alert(1)", "[]", "[" * 9999, _with(columns=25), _with(rows=0), _with(rows=True),
        _with(form=2), _with(columns="6"), _with(paintings=[PAINTING] * 7), _with(paintings=[3]),
        _with(paintings=[PAINTING | {"places": [0, 0, 0]}]), _with(paintings=None),
        _with(paintings=[PAINTING | {"places": [-1] * 72}]),
        _with(paintings=[PAINTING | {"places": [0.5] * 72}]),
        _with(paintings=[PAINTING | {"picture": "../../inbox/a.jpg"}]),
        _with(paintings=[PAINTING | {"picture": 4}]), _with(paintings=[PAINTING | {"name": [1]}]),
    ],
)  # fmt: skip
def test_a_file_that_is_no_map_runs_nowhere(tmp_path: Path, found: object) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    text = found if isinstance(found, str) else json.dumps(found)
    (staged / staged_map_name("5" * 64)).write_text(text)
    gallery = Gallery(tmp_path)
    gallery.take_copies(staged)
    assert list(gallery.pictures.iterdir()) == []


def test_map_and_paintings_go_when_no_picture_needs_them(tmp_path: Path) -> None:
    gallery, first, second = Gallery(tmp_path), done_line("a.jpg"), done_line("b.jpg")
    for line, name in ((first, "one.jpg"), (second, "two.jpg")):
        add_map(tmp_path, line, name)
    write_log(tmp_path, [first])
    gallery.update()
    for path in gallery.pictures.iterdir():
        os.utime(path, (1e9, 1e9))
    shas = [line["outputs"][0]["sha256"] for line in (first, second)]
    assert gallery.remove_unused_copies() == 2
    left = {path.name for path in gallery.pictures.iterdir()}
    assert left == {map_name(shas[0]), painting_name(digest("one.jpg"))}
    gallery.take_copies(tmp_path, {shas[0]})
    assert {path.name for path in gallery.pictures.iterdir()} == {painting_name(digest("one.jpg"))}


# --- one line -------------------------------------------------------------------------------


def test_a_picture_is_told_with_its_small_copies_once_they_are_there(tmp_path: Path) -> None:
    line = done_line("a.jpg")
    assert make_entry(line, tmp_path)["pictures"][0]["small"] is None
    hang(tmp_path, line)
    shown = make_entry(line, tmp_path / FOLDER / PICTURES)
    assert shown["photo"] == small_name(line["content_sha256"])
    assert shown["before"] == before_name(line["content_sha256"], *SIZE)
    assert all(NAME.fullmatch(picture["small"]) for picture in shown["pictures"])


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".mp4"])
def test_the_film_among_the_outputs_is_told(tmp_path: Path, suffix: str) -> None:
    line = done_line("sub/a b.jpg")
    add_film(tmp_path, line, suffix)
    shown = make_entry(line, NOWHERE)
    assert shown["timelapse"] == f"./sub/a%20b--mosaic.timelapse{suffix}"
    assert [picture["kind"] for picture in shown["pictures"]] == ["stylized", "enhanced"]


def test_a_film_that_no_browser_plays_is_not_told() -> None:
    line = done_line("a.jpg")
    add_film(NOWHERE, line, ".mp4")
    line["outputs"][-1]["path"] = "a.html"
    assert "timelapse" not in make_entry(line, NOWHERE)


def test_stills_are_told_by_their_steps() -> None:
    line = done_line("a.jpg")
    line["outputs"].append(line["outputs"][0] | {"kind": "still", "path": "a--m.step-0040.png"})
    (still,) = make_entry(line, NOWHERE)["stills"]
    assert (still["step"], still["url"]) == ("40", "./a--m.step-0040.png")


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".heic"])
def test_a_picture_that_no_browser_shows_is_looked_at_as_a_copy(
    tmp_path: Path, suffix: str
) -> None:
    line = done_line("a.jpg")
    line["outputs"][0]["path"] = "a--mosaic" + suffix
    sha256 = line["outputs"][0]["sha256"]
    draw(tmp_path / small_name(sha256), "red")
    assert make_entry(line, tmp_path)["pictures"][0]["view"] == small_name(sha256)
    draw(tmp_path / large_name(sha256), "red")
    assert make_entry(line, tmp_path)["pictures"][0]["view"] == large_name(sha256)
    assert NAME.fullmatch(large_name(sha256))
    assert "view" not in make_entry(line, tmp_path)["pictures"][1]


def test_the_curve_keeps_its_scales() -> None:
    curve = [[1, 9.0, 1], [2, 5.0, 1], [3, 8.0, 2]]
    assert make_entry(done_line("a.jpg", curve=curve), NOWHERE)["curve"] == curve


def test_a_long_curve_is_thinned_and_keeps_both_ends() -> None:
    long = [[step, 1.0] for step in range(9_007)]
    curve = make_entry(done_line("a.jpg", curve=long), NOWHERE)["curve"]
    assert len(curve) <= POINTS + 1
    assert (curve[0], curve[-1]) == (long[0], long[-1])


def test_a_short_curve_is_told_whole_as_finely_as_a_plot_can_show() -> None:
    curve = make_entry(done_line("a.jpg"), NOWHERE)["curve"]
    assert curve == [pytest.approx(point, rel=1e-3) for point in CURVE]


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("a b.png", "./a%20b.png"),
        ("100%#?.png", "./100%25%23%3F.png"),
        ("q'\"<x>.png", "./q%27%22%3Cx%3E.png"),
        ("javascript:alert(1).png", "./javascript%3Aalert%281%29.png"),
        ("\udcff\udcfe.png", "./%FF%FE.png"),
        ("é.png", "./%C3%A9.png"),
    ],
)
def test_an_address_spells_every_byte_of_a_name(path: str, address: str) -> None:
    assert relative_url(path) == address


@pytest.mark.parametrize("path", ["/etc/passwd", "//evil.example/a.png", "../a.png", "", "a\0.png",
                                  "x/../../a.png", "\ud800.png", 7, None])  # fmt: skip
def test_no_path_leads_out_of_the_outbox(path: object) -> None:
    line = done_line("a.jpg")
    for output in line["outputs"]:
        output["path"] = path
    assert make_entry(line, NOWHERE) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(done_line("a.jpg"))), JSON)
def test_no_value_in_the_log_can_stop_the_gallery(key: str, value: object) -> None:
    json.dumps(make_entry(done_line("a.jpg") | {key: value}, NOWHERE))


@given(st.sampled_from(sorted(done_line("a.jpg")["outputs"][0])), JSON)
def test_no_value_of_an_output_can_stop_the_gallery(key: str, value: object) -> None:
    line = done_line("a.jpg")
    line["outputs"] = [output | {key: value} for output in line["outputs"]]
    json.dumps(make_entry(line, NOWHERE))


def test_a_failure_is_told_with_its_reason() -> None:
    shown = make_entry(failed_line("a.jpg", "truncated", "cut off"), NOWHERE)
    assert (shown["status"], shown["code"], shown["message"]) == ("failed", "truncated", "cut off")
    assert "pictures" not in shown


# --- the page file --------------------------------------------------------------------------


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere() -> None:
    text = build_page().decode()
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)  # the name of SVG is no address
    assert not re.search(r"@(POLICY|STYLE|SCRIPT)@", text)
    assert text.count("<script>") == text.count("</script>") == 1
    assert "default-src 'none'" in text


def test_the_same_version_gives_the_same_page_byte_for_byte() -> None:
    first = build_page()
    build_page.cache_clear()
    assert build_page() == first
