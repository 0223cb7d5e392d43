"""Commands on inbox and outbox: run, watch, serve, pause, status, explain, retry, restore ..."""

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
    examples,
    print_report,
)
from pipeline.errors import UsageError
from pipeline.system.text import format_count

if TYPE_CHECKING:
    from pipeline.config.schedule import Schedule


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
        bool, typer.Option("--dry-run", help="Print what a run would do and why; write nothing.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Start at most this many jobs.")] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Stop at a time (06:00) or after a while (8h).", metavar="TIME"),
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Ignore schedule.hours.")] = False,
    plain: PlainOption = False,
) -> None:
    """Render all pictures that are missing or out of date, then exit."""
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
    """Like run, but keep watching the inbox for new photos.

    The first Ctrl-C, SIGTERM or SIGHUP stops cleanly and puts running jobs back into the queue; a
    second one stops at once.
    """
    from pipeline.config.loading import load
    from pipeline.daemon import run as running

    raise typer.Exit(running.run(load(config), as_json=as_json, keep_going=True, plain=plain))


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[str | None, typer.Option(help="Overrides serve.host of the config.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Overrides serve.port; 0: any free port.")
    ] = None,
) -> None:
    """Serve the gallery as a local web page with live progress.

    The page accepts photos by drag and drop. Works with or without a running watch. At a loopback
    address every user of this machine has access; at any other address, a visitor needs the token
    in the printed URL.
    """
    from pipeline.config.loading import load
    from pipeline.gallery.server.run import serve_gallery

    raise typer.Exit(serve_gallery(load(config, complete=False), host, port))


@app.command()
def pause(
    config: ConfigOption = DEFAULT_CONFIG,
    until: Annotated[
        str | None,
        typer.Option(help="Resume at a time (18:00) or after a while (90m).", metavar="TIME"),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Interrupt running jobs instead of finishing them.")
    ] = False,
) -> None:
    """Start no more jobs until `resume`, even after a restart."""
    from pipeline.config.loading import load
    from pipeline.daemon.planned_pauses import UserPause, save_user_pause

    loaded = load(config, complete=False)
    user_pause = UserPause(_parse_time(until, loaded.config.schedule), now)
    save_user_pause(loaded.config.state, user_pause)
    print(user_pause.describe(time.time(), _get_zone(loaded.config.schedule)))


@app.command()
def resume(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a pause."""
    from pipeline.config.loading import load
    from pipeline.daemon.planned_pauses import remove_user_pause

    paused = remove_user_pause(load(config, complete=False).config.state)
    print("resumed" if paused else "was not paused")


@app.command()
def status(
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    healthy: Annotated[
        bool,
        typer.Option("--healthy", help="Only check the running instance: exit code 0 or 1."),
    ] = False,
    within: Annotated[
        float,
        typer.Option(min=1, help="For --healthy: the loop must have run within this many seconds."),
    ] = 60.0,
) -> None:
    """Show jobs by state, running jobs and the last results.

    With --healthy, for service managers: exit code 1 and a reason when no instance is running, its
    loop hangs, a worker is stuck, or jobs keep failing for reasons other than their photos.
    """
    from pipeline.cli.status import find_health_problem, status_report, status_text
    from pipeline.config.loading import load

    loaded = load(config, complete=False)
    if healthy:
        problem = find_health_problem(loaded, within)
        print_report({"healthy": not problem, "why": problem}, as_json, lambda _: problem or "well")
        raise typer.Exit(FAILED if problem else OK)
    print_report(status_report(loaded), as_json, status_text)


@app.command(
    epilog=examples(
        "explain inbox/coffee.jpg",
        "explain outbox/coffee--mosaic.png",
        "explain outbox/coffee--mosaic.png --again again.png",
    )
)
def explain(
    file: Annotated[
        Path, typer.Argument(help="A file in the inbox, or a finished picture.", metavar="FILE")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    again: Annotated[
        Path | None, typer.Option(help="Render the finished picture FILE again.", metavar="OUT")
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(help="Another folder to search for its photo and paintings.", metavar="DIR"),
    ] = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
) -> None:
    """Show why a file is processed or not, or how a picture was made.

    A finished picture holds a record of how it was made, wherever it is. With --again, it is
    rendered again from the same photo and paintings, which are found by their checksums.
    """
    from pipeline.cli.explain import explain_report, explain_text
    from pipeline.cli.reproduce import picture_report, picture_text, render_again
    from pipeline.config.loading import load

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
        list[str] | None, typer.Argument(help="Job ids, or files of the inbox.", metavar="JOB|FILE")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed job.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put failed jobs back into the queue.

    Moves their photos from the quarantine back into the inbox. Given the id of a finished job whose
    pictures were deleted from the outbox, renders them again.
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
            help="Ids of versions (see `explain`), or files: a file in .versions, or a photo or "
            "picture, whose latest earlier version is restored.",
            metavar="VERSION|FILE",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The latest earlier version of every picture.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Restore earlier versions of pictures.

    The present pictures become an earlier version themselves. Restored pictures stay until `retry`,
    or until their photo changes.
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


@app.command()
def accept(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Accept an inbox that was moved to another disk.

    Work pauses when the inbox is on another disk and holds no known file, because a disk that is
    not mounted looks exactly the same.
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
