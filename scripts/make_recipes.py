"""Draw the pictures of docs/recipes.md: the photo, the default, and what the recipe's lines do.

python scripts/make_recipes.py [RECIPE ...]    # as their files are named; absent: all
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import skimage.data
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/recipes.md"
PICTURES = ROOT / "docs/pictures/recipes"
BASE: dict[str, Any] = {
    "preset": "draft",
    "timelapse": {"format": "none"},
    "styles": {"painting": {"image": "builtin:brush_strokes"}},
}
PHOTOS = {
    "less-style": "astronaut",
    "only-the-background": "astronaut",
    "leave-the-face": "astronaut",
    "portrait-strokes": "astronaut",
    "sky-and-ground": "rocket",
    "faces-only-on-faces": "astronaut",
}
# Where the default is not shown as a draft.
USUAL = {"faster-trials": {"preset": "balanced"}, "portrait-strokes": {"preset": "balanced"}}
SIZE = (320, 214)
SHEET = "find-the-right-painting"


def recipes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each recipe's heading, its picture's name ("" without one), and its lines as a config."""
    for section in PAGE.read_text().split("\n## ")[1:]:
        block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
        picture = re.search(r"\(pictures/recipes/([\w-]+)\.jpg\)", section)
        if block:
            lines = yaml.safe_load(block[1])
            yield section.partition("\n")[0], picture[1] if picture else "", BASE | lines


def paint(photo: Path, config: dict[str, Any], kind: str) -> Image.Image:
    """What a real run makes of a photo: the plain picture, or the enhanced one."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "inbox").mkdir()
        (home / "inbox" / photo.name).write_bytes(photo.read_bytes())
        (home / "config.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "pipeline", "run", "--config", str(home / "config.yaml")]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        enhanced = set((home / "outbox").glob("*.enhanced.png"))
        plain = set((home / "outbox").glob("*.png")) - enhanced
        (made,) = enhanced if kind == "enhanced" else plain
        with Image.open(made) as picture:
            return picture.convert("RGB")


def compare_paintings() -> None:
    """Write the sheet of *Find the right painting*: a photo in all starter styles."""
    with tempfile.TemporaryDirectory() as name:  # without a config
        photo = str(find_photo("coffee"))
        command = [sys.executable, "-m", "pipeline", "try", photo, "-o", "trial"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, cwd=name, env=environment, stdout=subprocess.DEVNULL)
        with Image.open(Path(name, "trial", "contact-sheet.png")) as sheet:
            sheet.convert("RGB").save(PICTURES / f"{SHEET}.jpg", quality=86)


def find_photo(name: str) -> Path:
    """A sample of the inbox, or a photo of scikit-image."""
    sample = ROOT / f"inbox/{name}.jpg"
    if not sample.exists():
        sample = Path(tempfile.mkdtemp(), f"{name}.jpg")
        Image.fromarray(getattr(skimage.data, name)()).save(sample, quality=95)
    return sample


def main(names: list[str]) -> None:
    """Write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    if not names or SHEET in names:
        compare_paintings()
    defaults: dict[tuple[Path, str, str], Image.Image] = {}
    for _, picture, config in recipes():
        if not picture or (names and picture not in names):
            continue
        photo = find_photo(PHOTOS.get(picture, "coffee"))
        kind = "enhanced" if "enhance" in config else "plain"
        with Image.open(photo) as plain:
            cells = [plain.convert("RGB")]
        usual = BASE | USUAL.get(picture, {})
        known = photo, kind, str(usual["preset"])
        if known not in defaults:
            defaults[known] = paint(photo, usual, kind)
        cells += [defaults[known], paint(photo, config, kind)]
        side = SIZE if cells[0].width > cells[0].height else (SIZE[1], SIZE[1])
        sheet = Image.new("RGB", (3 * side[0] + 16, side[1]), "white")
        for index, cell in enumerate(cells):
            sheet.paste(cell.resize(side, Image.Resampling.LANCZOS), (index * (side[0] + 8), 0))
        sheet.save(PICTURES / f"{picture}.jpg", quality=86)
        print(PICTURES.relative_to(ROOT) / f"{picture}.jpg", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
