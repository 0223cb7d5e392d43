"""What the process of a tuning on the live page makes of a config, and where options belong."""

import os
from pathlib import Path

import pytest
from PIL import Image

from pipeline.cli.trials.live_tune import describe, plan
from pipeline.cli.trials.tune import check_save, save_options
from pipeline.config.loading import load
from pipeline.errors import ConfigError, UsageError
from pipeline.gallery.server.tunings import Chosen, TuneOrder
from pipeline.render.trials.tuning import Tuning


@pytest.fixture
def order(folder) -> TuneOrder:
    """To tune a painting of a folder; beside it in the config is a style of its own."""
    (folder / "paintings").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "paintings" / "dots.png")
    config = folder / "config.yaml"
    config.write_text('styles: [paintings, {mosaic: "builtin:mosaic"}]\n')
    return TuneOrder(config, folder / "inbox" / "cup.jpg", "dots", 64)


def chosen(order: TuneOrder) -> Chosen:
    """What the page shows after the first answer."""
    tuning = Tuning()
    tuning.answer("2")
    return describe(plan(order), tuning)[1]


def test_the_options_of_a_painting_belong_beside_it(order, folder):
    assert chosen(order) == Chosen(
        "transfer: {strength: 0.7}\n",
        "dots.png.yaml, beside the painting dots.png",
        can_save=True,
    )
    assert not (folder / "paintings/dots.png.yaml").exists()  # before anybody asks for it


def test_saved_options_are_replaced_until_the_user_edits_them(order, folder):
    file, trial, tuning = folder / "paintings/dots.png.yaml", plan(order), Tuning()
    save_options(check_save(trial, file), {"strength": 0.25})
    assert file.read_text() == "# chosen with pipeline tune\ntransfer: {strength: 0.25}\n"
    tuning.answer("1")
    target, found = describe(trial, tuning)
    assert found.can_save
    target = save_options(target, tuning.values)
    assert load(order.config).manifest.styles["dots"].transfer.strength == 0.3
    file.write_text(mine := f"{file.read_text()}regions: {{sky: {{strength: 0}}}}\n")
    with pytest.raises(UsageError, match="another file was created"):
        save_options(target, tuning.values)
    assert not describe(trial, tuning)[1].can_save
    assert file.read_text() == mine


def test_options_of_the_users_own_are_not_replaced(order, folder):
    (folder / "paintings/dots.png.yaml").write_text("transfer: {strength: 0.4}\n")
    found = chosen(order)
    assert not found.can_save
    assert "nothing in the file shows that this program made it" in found.why


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_named(order, folder):
    (folder / "paintings").chmod(0o555)
    found = chosen(order)
    (folder / "paintings").chmod(0o755)
    assert not found.can_save
    assert "paintings: cannot be written to" in found.why


def test_a_style_of_the_config_gives_lines_for_the_config(order):
    found = chosen(TuneOrder(order.config, order.photo, "mosaic"))
    assert found.lines == "styles:\n  mosaic:\n    transfer: {strength: 0.7}\n"
    assert (found.place, found.can_save) == ("config.yaml", False)


@pytest.mark.parametrize("style", ["gone", "inbox/cup.jpg", "builtin:mosaic", "", "../paintings"])
def test_only_a_style_of_the_config_is_tuned(order, style):
    with pytest.raises(ConfigError, match="no style of the config"):
        plan(TuneOrder(order.config, order.photo, style))


def test_a_photo_or_a_painting_that_is_gone_is_named(order, folder):
    with pytest.raises(UsageError, match=r"gone\.jpg"):
        plan(TuneOrder(order.config, Path("gone.jpg"), "dots"))
    (folder / "paintings/dots.png").unlink()
    with pytest.raises(ConfigError, match="no picture in the folder"):
        plan(order)
