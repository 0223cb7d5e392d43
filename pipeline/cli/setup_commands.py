"""Commands on the set-up: init, styles, check, schema, doctor, service."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import (
    DEFAULT_CONFIG,
    FAILED,
    OK,
    ConfigOption,
    JsonOption,
    app,
    examples,
    print_report,
)
from pipeline.errors import UsageError
from pipeline.system.near_names import nearest
from pipeline.system.text import format_count


@app.command(
    epilog=examples(
        "init studio",
        "init harbour builtin:watercolor inbox/coffee.jpg",
    )
)
def init(
    folder: Annotated[Path, typer.Argument(help="The folder to set up.", metavar="DIR")],
    paintings: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pictures or folders of pictures, which are copied, or builtin:NAME.",
            metavar="PAINTING",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Set up a folder with a config, an inbox and styles.

    Nothing that is there already is changed. With --config the config gets this name.
    """
    from pipeline.config.new_studio import create_studio, created_text

    print(created_text(create_studio(folder, paintings or [], config.name)))


@app.command()
def styles(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the styles, with their paintings."""
    from pipeline.cli.styles import styles_report, styles_text
    from pipeline.config.loading import load_or_starters

    print_report(styles_report(load_or_starters(config)), as_json, styles_text)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Validate config.yaml and the files that it names."""
    from pipeline.config.loading import load

    loaded = load(config)
    styles, rules = len(loaded.manifest.styles), len(loaded.manifest.rules)
    print(f"{config}: good; {format_count(styles, 'style')}, {format_count(rules, 'match rule')}")


@app.command()
def schema(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print the JSON Schema of config.yaml."""
    from pipeline.config.loading import json_schema

    del config  # every command accepts it; the schema does not depend on it
    print(json.dumps(json_schema(), indent=2))


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check machine, folders, weights and device by using them."""
    from pipeline.cli.doctor import doctor_report, doctor_text
    from pipeline.config.loading import load_or_starters

    report = doctor_report(load_or_starters(config))
    print_report(report, as_json, doctor_text)
    raise typer.Exit(OK if report["healthy"] else FAILED)


@app.command()
def service(
    kind: Annotated[
        str, typer.Argument(help="The service manager: systemd or launchd.", metavar="KIND")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    user: Annotated[
        bool, typer.Option("--user", help="systemd: a unit for your own account, without root.")
    ] = False,
    account: Annotated[
        str, typer.Option(help="systemd: the user it runs as; default: the owner of the inbox.")
    ] = "",
) -> None:
    """Print a systemd unit or a launchd agent for this config.

    The service runs `watch` permanently with this Python and this config. It may write to the
    folders of the config and to little else.
    """
    from pipeline.cli.service_units import KINDS, build_service_file, find_missing_folders
    from pipeline.config.loading import load

    loaded = load(config)
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}", where="service", hint=nearest(kind, KINDS))
    print(build_service_file(kind, loaded.config, config, user=user, account=account), end="")
    for folder in find_missing_folders(loaded.config):
        print(f"create this folder before the service starts: {folder}", file=sys.stderr)
