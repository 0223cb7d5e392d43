"""A project folder, and the program called within this process."""

import sys
from pathlib import Path

import pytest
from PIL import Image
from support.command_line import Ended, Pipeline

from pipeline.cli import main as cli


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A project folder to stand in: a photo and a text in the inbox, two styles."""
    (tmp_path / "inbox").mkdir()
    image = Image.new("RGB", (64, 48), "#c08040")
    image.paste("#2050a0", (0, 0, 32, 24))
    image.save(tmp_path / "inbox" / "cup.jpg")
    (tmp_path / "inbox" / "notes.jpg").write_text("milk, eggs")
    (tmp_path / "config.yaml").write_text(
        'styles:\n  mosaic: {image: "builtin:mosaic"}\n'
        '  mix: {images: {"builtin:watercolor": 3, "builtin:ink_hatching": 1}}\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipeline(folder, monkeypatch, capfd) -> Pipeline:
    """Call the program within this process, standing in the project folder."""

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return call
