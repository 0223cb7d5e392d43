"""Styles that a trial compares: what they are painted with, and how config.yaml writes them."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.transfer import Transfer

Images = tuple[tuple[Path, float], ...]  # paintings with their shares, which sum to 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A style that is tried.

    Attributes:
        name: Its name in the config, or the name that it would have there.
        images: Its paintings.
        transfer: Its options for full pictures.
        lines: What to write into config.yaml to choose it.
    """

    name: str
    images: Images
    transfer: Transfer
    lines: str
