"""Commands on the folders: run, watch, serve, pause, status, explain, retry ..."""

import time
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

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
    app,
    print_report,
)
from pipeline.errors import UsageError
from pipeline.system.text import format_count


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
    from pipeline.cli import dry_run as dryrun
    from pipeline.config import loading
    from pipeline.daemon import run as running

    loaded = loading.load(config)
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
    """Like run, and keep going until Ctrl-C, SIGTERM or SIGHUP.

    The first one stops cleanly, a second one at once. Running jobs go back into the queue.
    """
    from pipeline.config import loading
    from pipeline.daemon import run as running

    raise typer.Exit(running.run(loading.load(config), as_json=as_json, keep_going=True))


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[str | None, typer.Option(help="Instead of the config's.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Instead of the config's; 0: any.")
    ] = None,
) -> None:
    """Show the gallery as a local web page, live.

    Photos can be dropped on it. Works beside a running watch, and alone. On this machine's own
    address everybody here may look; on any other one needs the token in the printed address.
    """
    from pipeline.config import loading
    from pipeline.gallery.server import run as serving

    raise typer.Exit(serving.serve(loading.load(config, complete=False), host, port))


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
    from pipeline.config import loading
    from pipeline.daemon import hold as holding

    loaded = loading.load(config, complete=False)
    found = holding.Hold(_moment(until, loaded.config.schedule), now)
    holding.hold(loaded.config.state, found)
    print(found.words(time.time(), _zone(loaded.config.schedule)))


@app.command()
def resume(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a pause."""
    from pipeline.config import loading
    from pipeline.daemon import hold as holding

    paused = holding.resume(loading.load(config, complete=False).config.state)
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
    from pipeline.cli import status as reports
    from pipeline.config import loading

    if healthy:
        wrong = reports.health(loading.load(config, complete=False), within)
        print_report({"healthy": not wrong, "why": wrong}, as_json, lambda _: wrong or "well")
        raise typer.Exit(FAILED if wrong else OK)
    report = reports.status(loading.load(config, complete=False))
    print_report(report, as_json, reports.status_text)


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
    force: ForceOption = False,
) -> None:
    """Say why a file is processed or not, or how a picture was made.

    A finished picture, wherever it lies, tells by itself how it was made. With --again it is
    painted once more, from the same photo and paintings, which are found by what they hold.
    """
    from pipeline.cli import explain as explaining
    from pipeline.cli import reproduce as origins
    from pipeline.config import loading

    if again is not None:
        raise typer.Exit(
            origins.render_again(file, again, config, sources or (), device, as_json, force)
        )
    if (told := origins.explain_picture(file, config)) is not None:
        print_report(told, as_json, origins.text)
        return
    report = explaining.explain(loading.load(config, complete=False), file)
    print_report(report, as_json, explaining.explain_text)


@app.command()
def retry(
    jobs: Annotated[
        list[str] | None, typer.Argument(help="Job ids, or files of the inbox.", metavar="JOB|FILE")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed job.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put failed jobs back into the queue.

    Their photos come back from quarantine into the inbox. By id also finished ones: a result that
    was deleted from the outbox is made again.
    """
    from pipeline.cli import retry as retries
    from pipeline.config import loading

    if bool(jobs) == everything:
        raise UsageError("give job ids (see `status`) or --all", where="retry")
    count = retries.retry(loading.load(config, complete=False), jobs or None)
    if jobs and not count:
        raise UsageError("no such job", where=", ".join(jobs), hint="`status` lists them")
    print(f"{format_count(count, 'job')} back in the queue; `run` or `watch` takes them up")


@app.command()
def restore(
    versions: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of versions (see `explain`), or files: one in .versions, or a photo or "
            "picture, whose latest earlier version is meant.",
            metavar="VERSION|FILE",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The latest earlier version of every picture.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Bring earlier pictures back.

    Those that stand now become an earlier version themselves. What was brought back stays until
    `retry`, or until its photo changes.
    """
    from pipeline.cli import restore as reports
    from pipeline.config import loading
    from pipeline.daemon import restore as restoring

    if bool(versions) == everything:
        raise UsageError("name versions (see `explain FILE`) or give --all", where="restore")
    done = restoring.restore(loading.load(config), versions or (), everything)
    print_report(reports.restore_report(done), as_json, reports.restore_text)


@app.command()
def accept(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take the inbox as it is now, on another disk.

    Work pauses over an inbox on another disk with nothing in it that is known, because a disk that
    is missing looks just like it.
    """
    from pipeline.cli import retry as retries
    from pipeline.config import loading

    print(f"accepted: the inbox lies on {retries.accept(loading.load(config, complete=False))}")


def _moment(text: str | None, schedule: Any) -> float | None:
    """A time on the command line, on the schedule's clock, as seconds since 1970."""
    from pipeline.system.clock import parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text, datetime.now(_zone(schedule))).timestamp()
    except ValueError as error:
        raise UsageError(str(error), where="--until") from None


def _zone(schedule: Any) -> tzinfo:
    from pipeline.system.clock import MACHINE_ZONE

    return schedule.zone if schedule else MACHINE_ZONE
