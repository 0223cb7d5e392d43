"""Commands on inbox and outbox: run, watch, serve, pause, status, explain, retry, prune ..."""

import sys
import time
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import (
    DEFAULT_CONFIG,
    FAILED,
    OK,
    ConfigOption,
    DeviceOption,
    EventsOption,
    ForceOption,
    JsonOption,
    PlainOption,
    app,
    complete_style,
    examples,
    print_report,
)
from pipeline.errors import UsageError
from pipeline.system.text import format_count

if TYPE_CHECKING:
    from pipeline.config.schedule import Schedule

PaintingArgument = Annotated[
    str | None,
    typer.Argument(
        help="With --layers: a painting, as a path or builtin:NAME.",
        metavar="PAINTING",
        autocompletion=complete_style,
    ),
]
LayersOption = Annotated[
    bool,
    typer.Option("--layers", help="Write a sheet of what each layer of the network keeps of FILE."),
]
SheetOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="With --layers: the sheet, a PNG. Default: FILE-layers.png in the current folder.",
        metavar="OUT",
    ),
]


@app.command(
    epilog=examples(
        "run",
        "run --dry-run",
        "run --limit 10 --until 8h",
    )
)
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: EventsOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done, and why.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Start at most this many jobs.", metavar="N")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Stop at a time of day (06:00) or after a duration (8h).", metavar="TIME"
        ),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also work outside `schedule.hours`.")
    ] = False,
    plain: PlainOption = False,
) -> None:
    """Paint all pictures that are missing or out of date, then exit."""
    from pipeline.cli.dry_run import print_dry_run
    from pipeline.config.loading import load
    from pipeline.daemon import run as running

    loaded = load(config)
    if dry_run:
        raise typer.Exit(print_dry_run(loaded, as_json, limit))
    end = _parse_time(until, loaded.config.schedule)
    code = running.run(
        loaded,
        as_json=as_json,
        keep_going=False,
        limit=limit,
        until=end,
        anyway=anyway,
        plain=plain,
    )
    raise typer.Exit(code)


@app.command(epilog=examples("watch", "watch --config config.yaml"))
def watch(
    config: ConfigOption = DEFAULT_CONFIG, as_json: EventsOption = False, plain: PlainOption = False
) -> None:
    """Do what `run` does, then wait for more photos.

    Stop it with Ctrl-C, SIGTERM or SIGHUP: running jobs go back into the queue. A second signal
    stops it at once.
    """
    from pipeline.config.loading import load
    from pipeline.daemon import run as running

    raise typer.Exit(running.run(load(config), as_json=as_json, keep_going=True, plain=plain))


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on, instead of `serve.host`.", metavar="HOST"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="The port, instead of `serve.port`; 0 takes any free one.",
            metavar="PORT",
        ),
    ] = None,
) -> None:
    """Show the gallery as a local web page, with live progress.

    You can drop photos on the page. It works with and without a running `watch`. Every user of this
    machine can open it. At an address that other machines can reach, visitors need the token in
    the URL that is printed.
    """
    from pipeline.config.loading import load
    from pipeline.gallery.server.run import serve_gallery

    raise typer.Exit(serve_gallery(load(config, complete=False), host, port))


@app.command()
def pause(
    config: ConfigOption = DEFAULT_CONFIG,
    until: Annotated[
        str | None,
        typer.Option(
            help="Resume at a time of day (18:00) or after a duration (90m).", metavar="TIME"
        ),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Also stop running jobs; they continue later.")
    ] = False,
) -> None:
    """Start no new jobs until you `resume`, even after a restart."""
    from pipeline.config.loading import load
    from pipeline.daemon.planned_pauses import UserPause, save_user_pause

    loaded = load(config, complete=False)
    user_pause = UserPause(_parse_time(until, loaded.config.schedule), now)
    save_user_pause(loaded.config.state, user_pause)
    print(user_pause.describe(time.time(), _get_zone(loaded.config.schedule)))


@app.command()
def resume(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a `pause`."""
    from pipeline.config.loading import load
    from pipeline.daemon.planned_pauses import remove_user_pause

    paused = remove_user_pause(load(config, complete=False).config.state)
    print("resumed" if paused else "nothing to resume: there was no pause")


@app.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    healthy: Annotated[
        bool,
        typer.Option("--healthy", help="Only check that `run` or `watch` works: exit code 0 or 1."),
    ] = False,
    within: Annotated[
        float,
        typer.Option(
            min=1,
            help="With --healthy: the longest time since the loop last ran, in seconds.",
            metavar="SECONDS",
        ),
    ] = 60.0,
) -> None:
    """Show what waits, runs, is done and has failed.

    --healthy is for service managers. It prints a reason and exits with 1 when no `run` or `watch`
    is running, its loop or a worker hangs, or jobs keep failing although no photo is at fault.
    """
    from pipeline.cli.status import find_health_problem, status_report, status_text
    from pipeline.config.loading import load

    loaded = load(config, complete=False)
    if healthy:
        problem = find_health_problem(loaded, within)
        print_report({"healthy": not problem, "why": problem}, as_json, lambda _: problem or "ok")
        raise typer.Exit(FAILED if problem else OK)
    print_report(status_report(loaded), as_json, status_text)


@app.command(
    epilog=examples(
        "explain inbox/coffee.jpg",
        "explain outbox/coffee--mosaic.png",
        "explain outbox/coffee--mosaic.png --again again.png",
        "explain --layers inbox/coffee.jpg builtin:mosaic -o layers.png",
    )
)
def explain(
    file: Annotated[
        Path, typer.Argument(help="A file in the inbox, or a finished picture.", metavar="FILE")
    ],
    painting: PaintingArgument = None,
    layers: LayersOption = False,
    out: SheetOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    again: Annotated[
        Path | None,
        typer.Option(help="Paint the finished picture FILE again, as OUT.", metavar="OUT"),
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(help="With --again: a further folder to search for the files.", metavar="DIR"),
    ] = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
) -> None:
    """Show why a photo was painted or not, or how a picture was made.

    Every finished picture contains a record of how it was made. With --again, it is painted again
    from the same photo, paintings and other files, which are found by their checksums.

    With --layers, FILE is any photo: a sheet shows what each layer of VGG-19 keeps of it, and of
    PAINTING. That takes about a minute.
    """
    from pipeline.cli.explain import explain_report, explain_text, write_layers
    from pipeline.cli.reproduce import picture_report, picture_text, render_again
    from pipeline.config.loading import load

    if layers and again is None:
        sheet = write_layers(file, painting, out, device, force)
        print_report(sheet, as_json, lambda found: f"layers: {found['layers']}")
        return
    if layers or painting is not None or out is not None:
        hint = "explain --layers PHOTO [PAINTING] -o OUT.png"
        raise UsageError("--layers, PAINTING and -o go together", where="explain", hint=hint)
    if again is not None:
        code = render_again(file, again, config, sources or (), device, as_json, force)
        raise typer.Exit(code)
    if (report := picture_report(file, config)) is not None:
        print_report(report, as_json, picture_text)
        return
    print_report(explain_report(load(config, complete=False), file), as_json, explain_text)


@app.command(
    epilog=examples(
        "retry --all",
        "retry 3f2a9c1d7e60",
    )
)
def retry(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of jobs (see `status`), or files in the inbox.", metavar="JOB|FILE"
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry every failed job.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Try failed jobs again.

    Their photos move from the quarantine back into the inbox. If you deleted the pictures of a
    finished job, give its id to paint them again.
    """
    from pipeline.cli.retry import nearest_job, retry_jobs
    from pipeline.config.loading import load

    if bool(jobs) == everything:
        raise UsageError("give ids of jobs (see `status`), files, or --all", where="retry")
    loaded = load(config, complete=False)
    count = retry_jobs(loaded, jobs or None)
    if jobs and not count:
        hint = nearest_job(loaded, jobs[0]) or "`status` lists them"
        raise UsageError("no such job", where=", ".join(jobs), hint=hint)
    print(f"{format_count(count, 'job')} back in the queue, for `run` or `watch`")


@app.command()
def restore(
    versions: Annotated[
        list[str] | None,
        typer.Argument(
            help="The id of a version (see `explain FILE`), a file in outbox/.versions, or a photo "
            "or picture, for its latest earlier version.",
            metavar="VERSION|FILE",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Restore the latest earlier version of every picture.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Bring back earlier versions of pictures.

    The pictures that they replace become earlier versions themselves. Restored pictures stay
    until you `retry` them or replace their photo.
    """
    from pipeline.cli.restore import restore_report, restore_text
    from pipeline.config.loading import load
    from pipeline.daemon import restore as restoring

    if bool(versions) == everything:
        raise UsageError(
            "give ids of versions (see `explain FILE`), files, or --all", where="restore"
        )
    done = restoring.restore(load(config), versions or (), everything)
    print_report(restore_report(done), as_json, restore_text)


@app.command(epilog=examples("prune", "prune --yes"))
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove them, without asking.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove the pictures that no rule wants any more.

    These are the pictures of a style that is gone, and those of photos in the inbox that do not get
    their style any more. Without --yes they are only listed; on a terminal, you are asked. With
    `keep: replaced` they become earlier versions. Pictures that you changed stay.
    """
    from pipeline.cli.restore import prune_report, prune_text
    from pipeline.config.loading import load
    from pipeline.daemon.paintings import prune as pruning

    loaded = load(config)
    kept = loaded.config.version_limits is not None
    if not yes:
        report = prune_report(pruning.find_prunable(loaded), removed=False, kept=kept)
        print_report(report, as_json, prune_text)
        asked = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
        yes = bool(report["pictures"]) and asked and typer.confirm("Remove them?")
    if yes:
        report = prune_report(pruning.prune(loaded), removed=True, kept=kept)
        print_report(report, as_json, prune_text)


@app.command()
def accept(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Confirm that the inbox has moved to another disk.

    Work pauses when the inbox is on another disk and holds no known photo, because an inbox whose
    disk is not mounted looks the same.
    """
    from pipeline.cli.retry import accept_inbox
    from pipeline.config.loading import load

    print(f"accepted: the inbox is on {accept_inbox(load(config, complete=False))}")


def _parse_time(text: str | None, schedule: "Schedule | None") -> float | None:
    """A time from the command line, in the schedule's time zone, as seconds since 1970."""
    from pipeline.system.clock import parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text, datetime.now(_get_zone(schedule))).timestamp()
    except ValueError as error:
        raise UsageError(str(error), where="--until") from None


def _get_zone(schedule: "Schedule | None") -> tzinfo:
    from pipeline.system.clock import MACHINE_ZONE

    return schedule.zone if schedule else MACHINE_ZONE
