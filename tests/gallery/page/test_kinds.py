"""Results of other kinds: enlarged, in formats no browser shows, with videos, replaced, gone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect
from support.gallery_stock import SIZE, add_film, done_line, draw, hang, write_log
from support.looking import Visit, colour_at, opened

from pipeline.gallery.writer import FOLDER, PICTURES
from pipeline.imaging.animation import write_film
from pipeline.outbox.thumbnails import large_name, small_name

pytestmark = pytest.mark.slow


@pytest.fixture
def enlarged(browser: Browser, tmp_path: Path) -> Iterator[Visit]:
    line = done_line("sea/1.jpg")
    hang(tmp_path, line)
    enhanced = line["outputs"][1]
    enhanced |= {"width": 2 * SIZE[0], "height": 2 * SIZE[1]}
    draw(tmp_path / enhanced["path"], "lime", (2 * SIZE[0], 2 * SIZE[1]))
    write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    yield visit
    visit.end()


def test_switching_to_a_picture_of_more_pixels_moves_nothing(enlarged: Visit) -> None:
    page = enlarged.page
    opened(page)
    fitted = page.locator("#frame").bounding_box()
    page.keyboard.press("e")
    assert colour_at(page, 0.5) == "stylized"
    assert page.locator("#frame").bounding_box() == fitted
    page.keyboard.press("z")
    page.keyboard.press("+")
    zoomed = page.locator("#frame").bounding_box()
    page.keyboard.press("e")
    assert colour_at(page, 0.5) == "enhanced"
    assert page.locator("#frame").bounding_box() == zoomed
    expect(page.get_by_role("button", name="Fit or real pixels")).to_have_text("100 %")
    assert "96 × 64, enhanced 192 × 128 px" in page.locator("#about").inner_text()


def test_the_slider_lays_the_photo_over_a_picture_of_more_pixels(enlarged: Visit) -> None:
    page = enlarged.page
    opened(page)
    page.keyboard.press("c")
    assert [colour_at(page, share) for share in (0.3, 0.7)] == ["photo", "enhanced"]


def test_a_tiff_is_looked_at_as_its_copy_and_is_itself_a_link(
    browser: Browser, tmp_path: Path
) -> None:
    line = done_line("sea/1.jpg")
    hang(tmp_path, line)
    for output, colour in zip(line["outputs"], ("red", "lime"), strict=True):
        output["path"] = output["path"].replace(".png", ".tif")
        (tmp_path / output["path"]).write_bytes(b"II*\0")
        draw(tmp_path / FOLDER / PICTURES / large_name(output["sha256"]), colour)
    write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    dialog = opened(visit.page)
    assert colour_at(visit.page, 0.5) == "enhanced"
    link = dialog.get_by_role("link", name="Enhanced")
    assert link.get_attribute("href").endswith(".tif")
    visit.end()


def test_a_video_plays_where_it_is_chosen_and_only_there(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("av")
    line = done_line("sea/1.jpg")
    hang(tmp_path, line)
    add_film(tmp_path, line, ".mp4")
    frames = [np.full((64, 96, 3), level, np.uint8) for level in (0, 120, 240)]
    write_film(frames, tmp_path / line["outputs"][-1]["path"], 1.0)
    write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    dialog, film = opened(visit.page), visit.page.locator("#film")
    expect(film).to_be_hidden()
    dialog.get_by_role("radio", name="Timelapse").check()
    expect(film).to_be_visible()
    expect(film).to_have_js_property("videoWidth", 96)
    dialog.get_by_role("radio", name="Picture").check()
    expect(film).to_be_hidden()
    assert colour_at(visit.page, 0.5) == "enhanced"
    visit.end()


def test_a_tile_whose_small_copy_went_shows_the_picture_itself(
    browser: Browser, tmp_path: Path
) -> None:
    line = done_line("sea/1.jpg")
    hang(tmp_path, line)
    write_log(tmp_path, [line])
    Visit(browser, tmp_path).end()  # told while the copies were there
    for output in line["outputs"]:
        (tmp_path / FOLDER / PICTURES / small_name(output["sha256"])).unlink()
    visit = Visit(browser, tmp_path)
    image = visit.page.locator(".tile img.here").first
    image.wait_for()
    assert image.get_attribute("src").endswith("sea/1--mosaic.enhanced.png")
    visit.wrong.clear()  # the browser itself says that a file is not there
    visit.end()


def test_the_plot_has_a_line_for_each_scale(browser: Browser, tmp_path: Path) -> None:
    line = done_line("sea/1.jpg", curve=[[1, 9.0, 1], [4, 2.0, 1], [5, 6.0, 2], [8, 1.0, 2]])
    hang(tmp_path, line)
    write_log(tmp_path, [line])
    visit = Visit(browser, tmp_path)
    opened(visit.page)
    assert visit.page.get_by_role("img", name="From 9 to 1 in 8 steps at 2 scales").is_visible()
    assert visit.page.locator(".plot .curve").count() == 2
    assert visit.page.locator(".plot .border").count() == 1
    visit.end()
