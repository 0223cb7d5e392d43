"""What all commands share: the app, exit codes, common options, and how a report is printed."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.models import CommandFunctionType

from pipeline.system.text import fold

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130


class Command(TyperCommand):
    """A command whose usage and arguments read the same in ``--help``, docs and man pages.

    Typer would write ``{FILE}`` and ``FILE <path>``.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``[OPTIONS]``, then the arguments: ``FILE``, ``STYLE...`` or ``[PAINTING...]``."""
        return ["[OPTIONS]", *map(usage_word, self._arguments(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the help of arguments and options."""
        arguments = self._arguments(ctx)
        options = [p for p in self.get_params(ctx) if p not in arguments]
        for title, parameters in (("Arguments", arguments), ("Options", options)):
            if parameters:
                with formatter.section(title):
                    formatter.write_dl([help_row(parameter, ctx) for parameter in parameters])

    def _arguments(self, ctx: Any) -> list[Any]:
        return [p for p in super().get_params(ctx) if p.param_type_name == "argument"]


def usage_word(argument: Any) -> str:
    """An argument as the usage line shows it."""
    word = f"{argument.metavar}..." if argument.nargs == -1 else str(argument.metavar)
    return word if argument.required else f"[{word}]"


def help_row(parameter: Any, ctx: Any) -> tuple[str, str]:
    """A row of the help: the name of an argument or the flag of an option, and its text."""
    name, text = parameter.get_help_record(ctx)
    if parameter.param_type_name == "argument":
        name = usage_word(parameter).strip("[]")
    return name, re.sub(r"(;|  \[)[ \d<=]*x[<>=\d]*\]$", lambda m: "]" if m[1] == ";" else "", text)


class _App(typer.Typer):
    """Its commands are `Command` unless they name another class."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **options: Any
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, cls=cls, **options)


app = _App(
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Drop photos into a folder, and get pictures in the style of paintings.",
)

DEFAULT_CONFIG = Path("config.yaml")


def examples(*commands: str) -> str:
    """The end of a command's help: examples, each on a line of its own."""
    lines = (f"  pipeline {command}" for command in commands)
    return "\n".join(["\b", "Examples:", *lines])  # \b: the lines are not joined


def complete_style(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes STYLE: starter styles, and with --config the styles of that file."""
    from pipeline.config.loading import load_config

    starters = [path.stem for path in Path(str(files("pipeline") / "styles")).glob("*.jpg")]
    if [*(ctx.params.get("styles") or ())][-1:] == [
        ":"
    ] or incomplete == ":":  # bash takes a colon for a word of its own
        return sorted(name for name in starters if name.startswith(incomplete.lstrip(":")))
    names = [f"builtin:{name}" for name in sorted(starters)]
    if (config := ctx.params.get("config")) is not None:
        with suppress(Exception):  # a faulty config must not print errors into a command line
            names += load_config(Path(config), complete=False).styles
    return [name for name in names if name.startswith(incomplete)]


def complete_from(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Completes a value to one of the words; files are completed by the shell itself."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


ConfigOption = Annotated[Path, typer.Option("--config", help="The config file.", metavar="FILE")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also overwrite files that this program did not write.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain", help="Print plain lines instead of the dashboard, for screen readers and logs."
    ),
]
EventsOption = Annotated[bool, typer.Option("--json", help="Print events as JSON, one per line.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="The device that paints: auto, cpu, cuda, cuda:1, mps or xpu.",
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
