"""What all commands share: the app, exit codes, common options, and how a report is printed."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.system.text import fold

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Neural style transfer on a watched folder: drop in a photo, get a picture in your style.",
)

ConfigOption = Annotated[Path, typer.Option("--config", help="The config file.", metavar="FILE")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also overwrite files that this program did not make.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain", help="Print plain lines, as for screen readers and logs; no dashboard."
    ),
]
EventsOption = Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")]
DeviceOption = Annotated[
    str, typer.Option(help="The device to compute on: auto, cpu, cuda, cuda:1 or mps.")
]
DEFAULT_CONFIG = Path("config.yaml")


def print_report(
    report: dict[str, Any], as_json: bool, to_text: Callable[[dict[str, Any]], str]
) -> None:
    """Print a report as JSON, or as the text that ``to_text`` makes of it."""
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print_lines(to_text(report))


def print_lines(text: str) -> None:
    """Print text for people; on a terminal, long lines are broken between words.

    In a file or a pipe each line stays whole, for grep.
    """
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        text = "\n".join(fold(line, columns) for line in text.split("\n"))
    print(text)
