"""Two small pictures of one photo, for a choice by eye."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pipeline.config.transfer import Transfer
from pipeline.imaging.tensors import encode_png
from pipeline.render.contact_sheet import captioned, write_contact_sheet
from pipeline.render.output_files import Target
from pipeline.render.trials.candidates import Candidate
from pipeline.render.trials.quick_painter import OnProgress, QuickPainter

Values = Mapping[str, float]  # of options of `transfer:`


class Comparison:
    """Paints one photo in one style with different options, two pictures at a time.

    Args:
        painter: Paints them.
        photo: The photo.
        style: The style, with the options that are not compared.
        target: The file that shows the two side by side; each pair replaces the one before. None:
            no file is written.
    """

    def __init__(
        self, painter: QuickPainter, photo: Path, style: Candidate, target: Target | None
    ) -> None:
        self.painter, self.photo, self.style, self.target = painter, photo, style, target
        self.pngs: tuple[bytes, ...] = ()  # the pictures of the last pair, alone
        self._painted: dict[str, Tensor] = {}  # by the digest of the recipe

    def paint_pair(self, pair: Sequence[Values], on_progress: OnProgress) -> None:
        """Paint two pictures, and write them side by side as 1 and 2 if there is a target.

        Raises:
            UsageError: Another file has taken the name.
            JobError: A picture cannot be painted.
        """
        pictures = [self._paint(values, on_progress) for values in pair]
        self.pngs = tuple(map(encode_png, pictures))
        if self.target is None:
            return
        cells = [captioned(picture, str(number)) for number, picture in enumerate(pictures, 1)]
        self.target = write_contact_sheet(cells, len(cells), self.target)

    def _paint(self, values: Values, on_progress: OnProgress) -> Tensor:
        options = self.style.transfer.overlay(Transfer.model_validate(values))
        job = self.painter.build_job(self.photo, self.style.name, self.style.images, options)
        if job.recipe.digest not in self._painted:
            picture = self.painter.paint(job, on_progress).picture
            self._painted[job.recipe.digest] = picture
        return self._painted[job.recipe.digest]
