"""The commands; the only place that exits. Errors become exit codes and one clear line.

Nothing heavy is imported before a command needs it: `--help`, `check` and `status` never load
torch.
"""

import json
import os
import sys
import time
import traceback
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from pipeline import __version__
from pipeline.errors import PipelineError, UsageError

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Drop a photo in, get a painting out: neural style transfer on a watched folder.",
)
debug = False

ConfigOption = Annotated[Path, typer.Option("--config", help="The config file.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EventsOption = Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
DEFAULT_CONFIG = Path("config.yaml")


def main() -> NoReturn:
    """Run a command and exit: 0 all well, 1 some jobs failed, 2 wrong usage, 130 interrupted."""
    global debug
    words = [word for word in sys.argv[1:] if word != "--debug"]  # before or after the command
    debug = len(words) < len(sys.argv) - 1
    try:
        code = app(words, standalone_mode=False)
        sys.stdout.flush()
    except PipelineError as error:
        code = error.exit_code
        _complain(str(error))
    except TyperException as error:
        code = WRONG
        _complain(f"{error.format_message().rstrip('.')} (see `{_asked(error)} --help`)")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
        _complain("interrupted")
    except (BrokenPipeError, SystemExit):  # typer makes the one into the other
        # The reader of our output went away (`| head`); the flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except Exception as error:
        code = FAILED
        _complain(f"unexpected {type(error).__name__}: {error} (--debug shows where)")
    sys.exit(code if isinstance(code, int) else OK)


def _asked(error: TyperException) -> str:
    """The command that was called wrongly."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "python -m pipeline"


def _complain(message: str) -> None:
    from pipeline.terminal import visible

    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Tracebacks on errors.")] = False,
) -> None:
    if show_version:
        print(__version__)
        raise typer.Exit(OK)
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(WRONG)


# --- folders --------------------------------------------------------------------------------


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: EventsOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and why; write nothing.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Begin at most so many jobs.")] = None,
    until: Annotated[
        str | None, typer.Option(help="End at 06:00, or in 8h, at the latest.", metavar="TIME")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Whatever schedule.hours says.")] = False,
) -> None:
    """Bring the outbox up to date with inbox x manifest, then exit."""
    from pipeline import dryrun, running

    loaded = running.load(config)
    if dry_run:
        raise typer.Exit(dryrun.dry_run(loaded, as_json, limit))
    end = _moment(until, loaded.config.schedule)
    raise typer.Exit(
        running.run(
            loaded, as_json=as_json, keep_going=False, limit=limit, until=end, anyway=anyway
        )
    )


@app.command()
def watch(config: ConfigOption = DEFAULT_CONFIG, as_json: EventsOption = False) -> None:
    """Like run, and keep going until Ctrl-C or SIGTERM.

    The first one stops cleanly, a second one at once. Running jobs go back into the queue.
    """
    from pipeline import running

    raise typer.Exit(running.run(running.load(config), as_json=as_json, keep_going=True))


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[str | None, typer.Option(help="Instead of the config's.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Instead of the config's; 0: any.")
    ] = None,
) -> None:
    """Show the gallery as a local web page: live, and photos can be dropped on it.

    Works beside a running watch, and alone. On this machine's own address everybody here may look;
    on any other one needs the token in the address that is printed.
    """
    from pipeline import running
    from pipeline import serve as serving

    raise typer.Exit(serving.serve(running.load(config), host, port))


@app.command()
def pause(
    config: ConfigOption = DEFAULT_CONFIG,
    until: Annotated[
        str | None, typer.Option(help="Go on by itself at 18:00, or after 90m.", metavar="TIME")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Put running jobs off, too, instead of finishing them.")
    ] = False,
) -> None:
    """Begin no more jobs until `resume`, also after a restart."""
    from pipeline import holding, running

    loaded = running.load(config)
    found = holding.Hold(_moment(until, loaded.config.schedule), now)
    holding.hold(loaded.config.state, found)
    print(found.words(time.time(), _zone(loaded.config.schedule)))


@app.command()
def resume(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a pause."""
    from pipeline import holding, running

    paused = holding.resume(running.load(config).config.state)
    print("goes on" if paused else "was not paused")


@app.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    healthy: Annotated[
        bool,
        typer.Option("--healthy", help="Only whether the running instance is well: exit code 0."),
    ] = False,
    within: Annotated[
        float, typer.Option(min=1, help="For --healthy: its loop ticked in so many seconds.")
    ] = 60.0,
) -> None:
    """Show jobs by state, what runs now, last results.

    With --healthy, for service managers: exit code 1 and a reason when nobody works here, the loop
    hangs, a worker is stuck, or job after job fails through no photo's fault.
    """
    from pipeline import reports, running

    if healthy:
        wrong = reports.health(running.load(config), within)
        _print({"healthy": not wrong, "why": wrong}, as_json, lambda _: wrong or "well")
        raise typer.Exit(FAILED if wrong else OK)
    _print(reports.status(running.load(config)), as_json, reports.status_text)


@app.command()
def explain(
    file: Annotated[
        Path, typer.Argument(help="A file in the inbox, or a finished picture.", metavar="FILE")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    again: Annotated[
        Path | None, typer.Option(help="Paint the finished picture FILE again.", metavar="OUT")
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(help="Where else its photo and paintings may lie.", metavar="DIR"),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Say why a file is processed or not, or how a finished picture was made.

    A finished picture, wherever it lies, tells by itself how it was made. With --again it is
    painted once more, from the same photo and paintings, which are found by what they hold.
    """
    from pipeline import origins, reports, running

    if again is not None:
        raise typer.Exit(origins.again(file, again, config, sources or (), device, as_json))
    if (told := origins.told(file, config)) is not None:
        _print(told, as_json, origins.text)
        return
    _print(reports.explain(running.load(config), file), as_json, reports.explain_text)


@app.command()
def retry(
    jobs: Annotated[
        list[str] | None, typer.Argument(help="Job ids, or files of the inbox.", metavar="JOB|FILE")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed job.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put failed jobs back into the queue, and their photos from quarantine into the inbox.

    By id also finished ones: a result that was deleted from the outbox is made again.
    """
    from pipeline import retries, running

    if bool(jobs) == everything:
        raise UsageError("give job ids (see `status`) or --all", where="retry")
    count = retries.retry(running.load(config), jobs or None)
    if jobs and not count:
        raise UsageError("no such job", where=", ".join(jobs), mend="`status` lists them")
    print(f"{counted(count, 'job')} back in the queue; `run` or `watch` takes them up")


@app.command()
def accept(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take the inbox as it is now, on another disk and with nothing in it that is known.

    Work pauses over such an inbox, because a disk that is missing looks just like it.
    """
    from pipeline import retries, running

    print(f"accepted: the inbox lies on {retries.accept(running.load(config))}")


# --- one picture ----------------------------------------------------------------------------

StyleArgument = Annotated[
    list[str], typer.Argument(help="Paintings: a path or builtin:NAME.", metavar="STYLE")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the noise.")]
PresetOption = Annotated[str, typer.Option(help="draft, balanced, fine or print.")]
WeightsOption = Annotated[str, typer.Option(help="embedded, torchvision or a path.")]
NamesOption = Annotated[
    Path | None,
    typer.Option("--config", help="STYLE may then be a name of its styles.", metavar="FILE"),
]
ContentArgument = Annotated[Path, typer.Argument(help="The photo.", metavar="CONTENT")]


class OptionsCommand(TyperCommand):
    """A command that takes every transfer and enhance option besides its own parameters.

    Their models are read when such a command is called, not before: reading them takes longer
    than all the rest of `--help`. What the flags say is in the context's ``obj``.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own parameters, then a flag for each option, then ``--help``."""
        from pipeline.flags import option_flags

        *own, help_option = super().get_params(ctx)
        return [*own, *option_flags(), help_option]

    def invoke(self, ctx: Any) -> Any:
        """Call the command with its own parameters."""
        own = {parameter.name for parameter in self.params}
        ctx.obj = {name: ctx.params.pop(name) for name in list(ctx.params) if name not in own}
        return super().invoke(ctx)


@app.command(cls=OptionsCommand)
def stylize(
    flags: typer.Context,
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
    timelapse: Annotated[
        Path | None,
        typer.Option(help="A film of its growth: .webp, .gif or .mp4.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
    config: NamesOption = None,
) -> None:
    """Paint one picture, without folders.

    Writes OUT, as its suffix says (.png .jpg .webp .tif .avif .heic), and its enhanced version
    OUT.enhanced.SUFFIX beside it.
    """
    from pipeline import ordering

    styles = ordering.named(styles, config)
    order = ordering.order(content, styles, shares, preset, seed, device, weights, flags.obj, out)
    raise typer.Exit(ordering.stylize(replace(order, film=timelapse), out, as_json))


@app.command(cls=OptionsCommand)
def sweep(
    flags: typer.Context,
    content: ContentArgument,
    style: Annotated[str, typer.Argument(help="A path or builtin:NAME.", metavar="STYLE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder.", metavar="DIR")],
    rows: Annotated[
        str, typer.Option(help="Option and values down the sheet.", metavar="NAME=V,V")
    ] = "content_weight=0.1,0.3,1",
    columns: Annotated[
        str, typer.Option(help="Option and values across the sheet.", metavar="NAME=V,V")
    ] = "style_scale=0.5,1,2",
    preset: PresetOption = "draft",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    weights: WeightsOption = "embedded",
    config: NamesOption = None,
) -> None:
    """Paint a grid over two options, to choose by eye.

    Writes a picture for each cell into DIR, and contact-sheet.png, which shows them all.
    """
    from pipeline import ordering

    (style,) = ordering.named([style], config)
    order = ordering.order(content, [style], "", preset, seed, device, weights, flags.obj)
    raise typer.Exit(ordering.sweep(order, out, rows, columns))


# --- looking at the set-up ------------------------------------------------------------------


@app.command()
def styles(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the styles in force, with their origin."""
    from pipeline import reports, running

    _print(reports.styles(running.load(config)), as_json, reports.styles_text)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Validate config.yaml."""
    from pipeline import running

    loaded = running.load(config)
    styles, rules = len(loaded.manifest.styles), len(loaded.manifest.rules)
    print(f"{config}: good; {counted(styles, 'style')}, {counted(rules, 'match rule')}")


@app.command()
def schema(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print config.yaml's JSON Schema."""
    from pipeline.config import json_schema

    del config  # taken everywhere, needed here by nothing: the schema is the same for all
    print(json.dumps(json_schema(), indent=2))


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Examine machine, folders, weights and device."""
    from pipeline import doctor as examination
    from pipeline import running

    report = examination.examine(running.load(config))
    _print(report, as_json, examination.text)
    raise typer.Exit(OK if report["healthy"] else FAILED)


def _moment(text: str | None, schedule: Any) -> float | None:
    """A time on the command line, on the schedule's clock, as seconds since 1970."""
    from pipeline.clock import moment

    if text is None:
        return None
    try:
        return moment(text, datetime.now(_zone(schedule))).timestamp()
    except ValueError as error:
        raise UsageError(str(error), where="--until") from None


def _zone(schedule: Any) -> tzinfo:
    from pipeline.clock import MACHINE

    return schedule.zone if schedule else MACHINE


@app.command()
def service(
    kind: Annotated[str, typer.Argument(help="systemd or launchd.", metavar="KIND")],
    config: ConfigOption = DEFAULT_CONFIG,
    user: Annotated[
        bool, typer.Option("--user", help="systemd: for your own account, without root.")
    ] = False,
    account: Annotated[
        str, typer.Option(help="systemd: who it runs as; else the owner of the inbox.")
    ] = "",
) -> None:
    """Print what runs `watch` for good: a systemd unit or a launchd agent, for this config.

    It names this Python, this config and its folders, and lets the service do little else.
    """
    from pipeline import running, units

    loaded = running.load(config)
    if kind not in units.KINDS:
        raise UsageError(f"no such kind: {kind}", where="service", mend="systemd or launchd")
    print(units.text(kind, loaded.config, config, user=user, account=account), end="")
    for folder in units.missing(loaded.config):
        print(f"make this folder before the service starts: {folder}", file=sys.stderr)


def counted(count: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _print(report: dict[str, Any], as_json: bool, text: Any) -> None:
    print(json.dumps(report, indent=2) if as_json else text(report))
