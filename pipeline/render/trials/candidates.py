"""Styles that a trial compares: what they are painted with, and how config.yaml writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.new_studio import quoted_yaml
from pipeline.config.transfer import Transfer

Images = tuple[tuple[Path, float], ...]  # paintings with their shares, which sum to 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A style that is tried.

    Attributes:
        name: Its name in the config, or the name that it would have there.
        images: Its paintings.
        transfer: Its options for full pictures.
        image: Its painting as config.yaml writes it; "" for a style that is in the config.
        options_file: Where its options belong, if it is of a folder of paintings.
    """

    name: str
    images: Images
    transfer: Transfer
    image: str = ""
    options_file: Path | None = None

    @property
    def lines(self) -> str:
        """What to write into config.yaml to choose it: the style, or photos for one of the config.

        YAML that ends with a line break.
        """
        name = quoted_yaml(self.name)
        if self.image:
            return f"styles:\n  {name}: {{image: {self.image}}}\n"
        return f'match:\n  - {{inbox: "**", styles: [{name}]}}\n'

    def entry_lines(self, options: Mapping[str, float]) -> str:
        """What to write for these options: of a style of the config only what is added.

        The content of its `options_file`, where it has one; otherwise lines of config.yaml.
        """
        if self.options_file:
            return f"{transfer_line(options)}\n"
        lines = ["styles:", f"  {quoted_yaml(self.name)}:"]
        lines += [f"    image: {self.image}"] if self.image else []
        return "\n".join([*lines, f"    {transfer_line(options)}", ""])


def transfer_line(options: Mapping[str, float]) -> str:
    """Options of the transfer as a line of YAML, for a style or a side file."""
    values = ", ".join(f"{option}: {value:g}" for option, value in options.items())
    return f"transfer: {{{values}}}"
