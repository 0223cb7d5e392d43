"""What all commands share: the app, exit codes, common options, and how a report is printed."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.system.text import fold

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Neural style transfer on a watched folder: drop in a photo, get a picture in your style.",
)

DEFAULT_CONFIG = Path("config.yaml")


def examples(*commands: str) -> str:
    """The end of a command's help: examples, each on a line of its own."""
    lines = (f"  python -m pipeline {command}" for command in commands)
    return "\n".join(["\b", "Examples:", *lines])  # \b: the lines are not joined


def complete_style(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes STYLE: starter styles, and with --config the styles of that file."""
    from pipeline.config.yaml_file import read_yaml

    starters = [path.stem for path in Path(str(files("pipeline") / "styles")).glob("*.jpg")]
    if [*(ctx.params.get("styles") or ())][-1:] == [
        ":"
    ] or incomplete == ":":  # bash takes a colon for a word of its own
        return sorted(name for name in starters if name.startswith(incomplete.lstrip(":")))
    names = [f"builtin:{name}" for name in sorted(starters)]
    if (config := ctx.params.get("config")) is not None:
        with suppress(Exception):  # a faulty config must not print errors into a command line
            names += map(str, read_yaml(Path(config))[0]["styles"])
    return [name for name in names if name.startswith(incomplete)]


def complete_from(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Completes a value to one of the words; files are completed by the shell itself."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


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
    str,
    typer.Option(
        help="The device to compute on: auto, cpu, cuda, cuda:1, mps or xpu.",
        metavar="DEVICE",
        autocompletion=complete_from(("auto", "cpu", "cuda", "mps", "xpu")),
    ),
]


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
