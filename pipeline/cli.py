"""The commands; the only place that exits. Errors become exit codes and one clear line.

Nothing heavy is imported before a command needs it: `--help`, `check` and `status` never load
torch.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from pipeline import __version__
from pipeline.errors import PipelineError, UsageError
from pipeline.flags import option_flags

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Drop a photo in, get a painting out: neural style transfer on a watched folder.",
)
debug = False

ConfigOption = Annotated[Path, typer.Option("--config", help="The config file.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CONFIG = Path("config.yaml")


def main() -> NoReturn:
    """Run a command and exit: 0 all well, 1 some jobs failed, 2 wrong usage, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except (PipelineError, TyperException) as error:
        code = error.exit_code
        _complain(error.format_message() if isinstance(error, TyperException) else str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
        _complain("interrupted")
    except BrokenPipeError:
        # The reader of our output went away (`| head`); the flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except Exception as error:
        code = FAILED
        _complain(f"unexpected {type(error).__name__}: {error} (--debug shows where)")
    sys.exit(code if isinstance(code, int) else OK)


def _complain(message: str) -> None:
    from pipeline.terminal import visible

    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr)


@app.callback(invoke_without_command=True)
def _main(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    show_debug: Annotated[bool, typer.Option("--debug", help="Tracebacks on errors.")] = False,
) -> None:
    global debug
    debug = show_debug
    if show_version:
        print(__version__)
        raise typer.Exit(OK)


# --- folders --------------------------------------------------------------------------------


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and why; write nothing.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Begin at most so many jobs.")] = None,
) -> None:
    """Bring the outbox up to date with inbox x manifest, then exit."""
    from pipeline import running

    loaded = running.load(config)
    if dry_run:
        raise typer.Exit(running.dry_run(loaded, as_json))
    raise typer.Exit(running.run(loaded, as_json=as_json, limit=limit, keep_going=False))


@app.command()
def watch(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """The same, and keep going; SIGTERM or Ctrl-C stops cleanly, a second one at once."""
    from pipeline import running

    raise typer.Exit(running.run(running.load(config), as_json=as_json, keep_going=True))


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Jobs by state, now running, last results."""
    from pipeline import reports, running

    _print(reports.status(running.load(config)), as_json, reports.status_text)


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="A file in the inbox.", metavar="FILE")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Why this file was, will be or will not be processed."""
    from pipeline import reports, running

    _print(reports.explain(running.load(config), file), as_json, reports.explain_text)


@app.command()
def retry(
    jobs: Annotated[list[str] | None, typer.Argument(help="Job ids.", metavar="[JOB]...")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed job.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Failed jobs back into the queue (by id also finished ones whose pictures are gone)."""
    from pipeline import reports, running

    if bool(jobs) == everything:
        raise UsageError("give job ids (see `status`) or --all", where="retry")
    count = reports.retry(running.load(config), jobs or None)
    print(f"{count} job{'s' * (count != 1)} back in the queue; `run` or `watch` takes them up")
    if jobs and not count:
        raise UsageError("no such job", where=", ".join(jobs), mend="`status` lists them")


# --- one picture ----------------------------------------------------------------------------

StyleArgument = Annotated[
    list[str], typer.Argument(help="Paintings: a path or builtin:NAME.", metavar="STYLE...")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the noise.")]
PresetOption = Annotated[str, typer.Option(help="draft, balanced, fine or print.")]
WeightsOption = Annotated[str, typer.Option(help="embedded, torchvision or a path.")]
ContentArgument = Annotated[Path, typer.Argument(help="The photo.", metavar="CONTENT")]


@app.command()
@option_flags
def stylize(
    content: ContentArgument,
    styles: StyleArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture to write.", metavar="OUT")],
    shares: Annotated[
        str, typer.Option(help="Weights of several styles: 2,1.", metavar="LIST")
    ] = "",
    preset: PresetOption = "balanced",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    weights: WeightsOption = "embedded",
    as_json: JsonOption = False,
    **flags: str | None,
) -> None:
    """One picture, no folders: OUT, and OUT's enhanced version beside it."""
    from pipeline import ordering

    order = ordering.order(content, styles, shares, preset, seed, device, weights, flags)
    raise typer.Exit(ordering.stylize(order, out, as_json))


@app.command()
@option_flags
def sweep(
    content: ContentArgument,
    style: Annotated[str, typer.Argument(help="A path or builtin:NAME.", metavar="STYLE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder.", metavar="DIR")],
    rows: Annotated[
        str, typer.Option(help="Option and values down the sheet.", metavar="NAME=V,V")
    ] = "content_weight=0.02,0.1,0.5",
    columns: Annotated[
        str, typer.Option(help="Option and values across the sheet.", metavar="NAME=V,V")
    ] = "style_scale=0.5,1,2",
    preset: PresetOption = "draft",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    weights: WeightsOption = "embedded",
    **flags: str | None,
) -> None:
    """A grid over weights: pictures plus a contact sheet, to choose by eye."""
    from pipeline import ordering

    order = ordering.order(content, [style], "", preset, seed, device, weights, flags)
    raise typer.Exit(ordering.sweep(order, out, rows, columns))


# --- looking at the set-up ------------------------------------------------------------------


@app.command()
def styles(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """The styles in force, with their origin."""
    from pipeline import reports, running

    _print(reports.styles(running.load(config)), as_json, reports.styles_text)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Validate config.yaml."""
    from pipeline import running

    loaded = running.load(config)
    rules = len(loaded.manifest.rules)
    print(f"{config}: good; {len(loaded.manifest.styles)} styles, {rules} match rules")


@app.command()
def schema() -> None:
    """Print config.yaml's JSON Schema."""
    from pipeline.config import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Examine machine, folders, weights and device."""
    from pipeline import doctor as examination
    from pipeline import running

    report = examination.examine(running.load(config))
    _print(report, as_json, examination.text)
    raise typer.Exit(OK if report["healthy"] else FAILED)


def _print(report: dict[str, Any], as_json: bool, text: Any) -> None:
    print(json.dumps(report, indent=2) if as_json else text(report))
