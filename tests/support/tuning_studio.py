"""A studio with a folder of paintings and a live page that can tune its styles, at 64 px."""

import json
from pathlib import Path

from PIL import Image

from pipeline.gallery.server.access import Guard
from pipeline.gallery.server.tunings import PROGRAM, Tunings
from support.gallery_stock import done_line, hang
from support.gallery_visitor import Answer, Visitor, told

# Waits for ever, as a process does whose disk hangs: what is asked of the server needs no picture.
SILENT = (
    "import sys; from multiprocessing.connection import Connection; "
    "pipe = Connection(int(sys.argv[1])); pipe.recv(); pipe.recv()"
)
# At 64 px nearly all of a step would be matrix roots.
CONFIG = "styles: [paintings, builtin:mosaic]\ntransfer: {statistic: mean_std}\n"


class TuningStudio(Visitor):
    """A visitor of the studio: sea/1.jpg is painted as `dots`, of the folder, and as `mosaic`."""

    def __init__(self, root: Path, guard: Guard | None = None, program: str = PROGRAM) -> None:
        self.root, self.painting = root, root / "paintings" / "dots.png"
        self.painting.parent.mkdir()
        pattern = Image.effect_noise((64, 64), 90).convert("RGB")
        pattern.paste("#d04020", (8, 8, 40, 40))
        pattern.save(self.painting)
        (root / "config.yaml").write_text(CONFIG)
        self.tunings = Tunings(
            root / "config.yaml", 64, 300.0, clock=lambda: self.now, program=program
        )
        super().__init__(root, guard, tunings=self.tunings)
        (self.inbox / "sea").mkdir()
        photo = Image.new("RGB", (96, 64), "#c08040")
        photo.paste("#2050a0", (0, 0, 48, 32))
        photo.save(self.inbox / "sea" / "1.jpg")
        lines = [done_line("sea/1.jpg", style) for style in ("dots", "mosaic")]
        for line in lines:
            hang(self.outbox, line)
        told(self, *lines)

    def start(self, picture: str = "sea/1--dots.png", **headers: str) -> Answer:
        return self.change(f"start/{picture}", **headers)

    def started(self, picture: str = "sea/1--dots.png") -> str:
        answer = self.start(picture)
        assert answer.status == 201, answer.body
        return json.loads(answer.body)["name"]

    def change(self, path: str, **headers: str) -> Answer:
        return self.ask(f"/.tuning/{path}", "PUT", **headers)

    def state_of(self, name: str) -> dict:
        """What the page of a tuning shows."""
        return json.loads(self.ask(f"/.tuning/{name}/state").body)
