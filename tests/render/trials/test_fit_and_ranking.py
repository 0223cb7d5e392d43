"""How well a painting fits a photo: what the parts of the score mean, and what is ranked first."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.errors import Failure, Reason
from pipeline.render.trials.candidates import Candidate
from pipeline.render.trials.fit import Fit, measure_fit
from pipeline.render.trials.quick_painter import Painted
from pipeline.render.trials.ranking import Tried, rank_styles, ranking_report
from pipeline.render.trials.sheet import arrange


def fit_of(network, photo: Tensor, picture: Tensor, painting: Tensor, *left: float) -> Fit:
    return measure_fit(Painted(photo, [painting], picture, left), [1.0], network)


# --- the parts ------------------------------------------------------------------------------


def test_a_picture_that_is_the_photo_has_all_of_its_structure_and_no_style(
    network, photo, painting
):
    fit = fit_of(network, photo, photo, painting, 1.0, 1.0)
    assert fit.structure == pytest.approx(1.0, abs=1e-4)
    assert fit.style == 0.0


def test_a_picture_in_the_style_without_the_photo_has_all_of_the_style_and_no_structure(
    network, photo
):
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    fit = fit_of(network, photo, noise, noise, 0.0, 0.0)
    assert fit.structure < 0.2
    assert fit.style == 1.0


def test_a_painting_like_the_photo_is_alike_in_tones_and_motifs(network, photo, painting):
    same = fit_of(network, photo, photo, photo, 0.5)
    other = fit_of(network, photo, photo, painting, 0.5)
    assert same.tones == pytest.approx(1.0, abs=1e-4)
    assert same.tones > other.tones
    assert same.motifs > 0.8 > other.motifs


def test_black_and_white_are_as_far_apart_in_tones_as_can_be(network):
    black, white = torch.zeros(3, 32, 32), torch.ones(3, 32, 32)
    fit = fit_of(network, black, black, white, 0.5)
    assert fit.tones == 0.0
    assert 0.0 <= fit.score <= 1.0


def test_the_score_is_the_mean_of_the_parts():
    assert Fit(1.0, 0.5, 0.25, 0.75, 0.0).score == pytest.approx(0.5)


def test_a_dull_picture_has_less_contrast(network, photo, painting):
    dull = 0.5 + (photo - 0.5) / 4
    fits = [fit_of(network, photo, picture, painting, 0.5) for picture in (photo, dull)]
    assert fits[1].contrast == pytest.approx(fits[0].contrast / 4, rel=0.05)
    assert fits[1].structure == pytest.approx(fits[0].structure, abs=1e-3)


# --- ranking and sheet ----------------------------------------------------------------------


def candidate(name: str) -> Candidate:
    return Candidate(name, ((Path(f"{name}.jpg"), 1.0),), Transfer(), f'"{name}.jpg"')


def tried(name: str, value: float, photo: str = "cat.jpg") -> Tried:
    """A result whose picture has the grey ``value`` and whose parts are all so large."""
    picture = torch.full((3, 120, 160), value)
    return Tried(Path(photo), candidate(name), picture, Fit(*[value] * 5))


def failed(name: str) -> Tried:
    failure = Failure(Reason.STYLE_INVALID, "it is torn")
    return Tried(Path("cat.jpg"), candidate(name), failure=failure)


def greys(cells: list[Tensor]) -> list[float]:
    """The grey at the bottom of each cell, where no caption is."""
    return [round(float(cell[0, -10, 60]), 2) for cell in cells]


def test_the_best_style_comes_first_with_its_parts_and_the_lines_for_the_config():
    report = ranking_report([tried("a", 0.3), tried("b", 0.6), failed("c")], 4, 192)
    assert [(each["rank"], each["style"]) for each in report["ranking"]] == [(1, "b"), (2, "a")]
    best = report["ranking"][0]
    assert best["score"] == 0.6
    parts = ("style", "structure", "contrast", "tones", "motifs")
    assert best["parts"] == dict.fromkeys(parts, 0.6)
    assert best["yaml"] == 'styles:\n  b: {image: "b.jpg"}\n'
    assert [each["style"] for each in report["failed"]] == ["c"]
    assert not report["complete"]


def test_a_style_of_several_photos_is_ranked_by_their_mean_and_its_best_photo_comes_first():
    found = [tried("a", 0.2, "1.jpg"), tried("a", 0.8, "2.jpg"), tried("b", 0.4, "1.jpg")]
    best, other = rank_styles(found)
    assert (best.style.name, round(best.fit.score, 6)) == ("a", 0.5)
    assert [each.photo.name for each in best.results] == ["2.jpg", "1.jpg"]
    assert other.style.name == "b"


def test_a_sheet_begins_with_the_photo_and_is_white_where_nothing_is_painted_yet():
    photos = {Path("cat.jpg"): torch.full((3, 120, 160), 0.1)}
    cells, across = arrange([tried("a", 0.3), tried("b", 0.6)], 4, photos)
    assert greys(cells) == [0.1, 0.6, 0.3, 1.0, 1.0]
    assert 1 < across < 5


def test_one_style_is_shown_on_several_photos_the_best_first():
    photos = {Path(f"{n}.jpg"): torch.zeros(3, 120, 160) for n in range(3)}
    found = [tried("a", 0.3, "0.jpg"), tried("a", 0.5, "1.jpg")]
    assert greys(arrange(found, 1, photos)[0]) == [0.5, 0.3, 1.0]


@pytest.mark.parametrize("photos", [2, 4])
def test_several_photos_and_styles_are_a_table_that_is_higher_than_wide(photos):
    shown = {Path(f"{n}.jpg"): torch.full((3, 120, 160), n / 10) for n in range(photos)}
    found = [tried(name, 0.8 if name == "b" else 0.6, str(p)) for name in "abc" for p in shown]
    cells, across = arrange(found, 3, shown)
    rows = [greys(cells[at : at + across]) for at in range(0, len(cells), across)]
    if photos == 2:
        assert rows == [[0.0, 0.1], [0.8, 0.8], [0.6, 0.6], [0.6, 0.6]]
    else:
        assert rows == [[n / 10, 0.8, 0.6, 0.6] for n in range(4)]


def test_the_place_of_a_painting_that_failed_stays_white():
    photos = {Path("cat.jpg"): torch.zeros(3, 120, 160)}
    assert greys(arrange([failed("a"), tried("b", 0.6)], 2, photos)[0]) == [0.0, 0.6, 1.0]
