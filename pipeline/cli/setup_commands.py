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
from pipeline.system.text import format_count, visible


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
            help="A picture, a folder of pictures, or builtin:NAME. Pictures are copied. "
            "Default: two starter styles.",
            metavar="PAINTING",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Set up a folder with a config, an inbox and styles.

    Files that are already there stay as they are.
    """
    from pipeline.config.new_studio import create_studio, created_text

    print(created_text(create_studio(folder, paintings or [], config.name)))


@app.command()
def styles(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List your styles, and the starter styles."""
    from pipeline.cli.styles import styles_report, styles_text
    from pipeline.config.loading import load_or_starters

    print_report(styles_report(load_or_starters(config)), as_json, styles_text)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check config.yaml, and that the files it names exist."""
    from pipeline.cli.styles import describe_folders, describe_matching, describe_unwanted
    from pipeline.config.checks.options import find_products
    from pipeline.config.checks.places import find_doubtful
    from pipeline.config.loading import load

    loaded = load(config)
    ignored = [folder.ignored for folder in loaded.config.folders if folder.ignored]
    for warning in (*find_doubtful(loaded.config.places()), *ignored):
        print(f"warning: {visible(warning)}", file=sys.stderr)
    for style in loaded.manifest.styles.values():
        for product in find_products(style.transfer):
            print(f"note: style {visible(style.name)}: {product}", file=sys.stderr)
    styles = format_count(len(loaded.manifest.styles), "style")
    print(f"{config}: ok; {styles}, {describe_matching(loaded)}")
    for line in (*describe_folders(loaded), *describe_unwanted(loaded)):
        print(visible(line))


@app.command()
def schema(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print the JSON Schema of config.yaml, for editors."""
    from pipeline.config.loading import json_schema

    del config  # every command accepts it; the schema does not depend on it
    print(json.dumps(json_schema(), indent=2))


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Test this machine: folders, decoder, weights and device."""
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
        bool, typer.Option("--user", help="systemd: a unit of your own account, without root.")
    ] = False,
    account: Annotated[
        str,
        typer.Option(
            help="systemd: the user that it runs as. Default: the owner of the inbox.",
            metavar="USER",
        ),
    ] = "",
) -> None:
    """Print a service file for systemd or launchd.

    The service runs `watch` with this Python and this config, and starts with the machine or when
    you log in. Under systemd, a system service can write only to folders that the config names.
    """
    from pipeline.cli.service_units import KINDS, build_service_file, find_missing_folders
    from pipeline.config.loading import load

    loaded = load(config)
    if kind not in KINDS:
        raise UsageError(
            f"there is no service manager {kind!r}", where="service", hint=nearest(kind, KINDS)
        )
    print(build_service_file(kind, loaded.config, config, user=user, account=account), end="")
    for folder in find_missing_folders(loaded.config):
        print(f"create this folder before the service starts: {folder}", file=sys.stderr)
