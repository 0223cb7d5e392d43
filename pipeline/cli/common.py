"""What all commands share: the app they hang on, exit codes, options, printing."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Drop a photo in, get a painting out: neural style transfer on a watched folder.",
)

ConfigOption = Annotated[Path, typer.Option("--config", help="The config file.", metavar="FILE")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that this program did not make.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EventsOption = Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
DEFAULT_CONFIG = Path("config.yaml")


def print_report(report: dict[str, Any], as_json: bool, text: Any) -> None:
    print(json.dumps(report, indent=2) if as_json else text(report))
