"""Choosing options by eye: what is compared, what an answer changes, and where it ends."""

import math

import pytest

from pipeline.config.transfer import Transfer
from pipeline.render.trials.tuning import DIALS, Dial, Tuning

FACTOR = Dial("content_weight", 0.01, 100.0, log=True)
PART = Dial("style_scale", 1.0, 9.0)


def test_a_dial_goes_from_its_lowest_to_its_highest_value():
    assert [FACTOR.value(place) for place in (0, 0.25, 0.5, 0.75, 1)] == [0.01, 0.1, 1, 10, 100]
    assert [PART.value(place) for place in (0, 0.25, 0.5, 1)] == [1, 3, 5, 9]
    assert Dial("x", 0.0, 1.0).value(0.0) == 0.0


def test_all_dials_that_ship_are_options_within_their_limits():
    for dial in DIALS:
        for place in (0.0, 0.5, 1.0):
            Transfer.model_validate({dial.option: dial.value(place)})


def test_rounds_take_the_dials_in_turn_and_keep_what_was_chosen():
    tuning = Tuning((FACTOR, PART), rounds=3)
    assert tuning.pair() == ({"content_weight": 0.1}, {"content_weight": 10})
    tuning.answer("2")
    assert tuning.pair() == (
        {"content_weight": 10, "style_scale": 3},
        {"content_weight": 10, "style_scale": 7},
    )
    tuning.answer("1")
    first, second = tuning.pair()
    assert {first["style_scale"], second["style_scale"]} == {3}
    assert not tuning.is_over
    tuning.answer("=")
    assert tuning.is_over


def test_what_was_chosen_is_the_value_of_the_last_picture_chosen():
    tuning = Tuning((FACTOR,), rounds=4)
    for answer in ("1", "2", "2", "1"):
        chosen = tuning.pair()[answer == "2"]["content_weight"]
        tuning.answer(answer)
        assert tuning.values == {"content_weight": chosen}


def test_the_lower_value_is_now_on_this_side_and_now_on_that():
    tuning, sides = Tuning((FACTOR,), rounds=4), []
    while not tuning.is_over:
        first, second = (each["content_weight"] for each in tuning.pair())
        sides.append(first < second)
        tuning.answer("=")
    assert sides == [True, False, True, False]
    assert tuning.values == {"content_weight": 1.0}  # the middle of the range


@pytest.mark.parametrize("best", [0.02, 0.5, 3.0, 60.0])
def test_who_always_prefers_the_nearer_value_ends_near_the_best_one(best):
    tuning = Tuning((FACTOR,), rounds=6)
    while not tuning.is_over:
        one, two = (abs_log(each["content_weight"], best) for each in tuning.pair())
        tuning.answer("1" if one < two else "2")
    assert abs_log(tuning.values["content_weight"], best) < 1.2


def abs_log(value: float, other: float) -> float:
    """How often one must be multiplied by ten, or divided, to be the other; times two."""
    return 2 * abs(math.log10(value / other))


def test_nothing_is_chosen_before_the_first_answer():
    assert Tuning().values == {}
