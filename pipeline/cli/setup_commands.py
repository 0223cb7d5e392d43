"""Commands that look at the set-up: styles, check, schema, doctor, service."""

import json
import sys
from typing import Annotated

import typer

from pipeline.cli.common import (
    DEFAULT_CONFIG,
    FAILED,
    OK,
    ConfigOption,
    JsonOption,
    app,
    print_report,
)
from pipeline.errors import UsageError
from pipeline.system.text import format_count


@app.command()
def styles(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the styles in force, with their origin."""
    from pipeline.cli import styles as style_list
    from pipeline.config import loading

    print_report(style_list.styles(loading.load(config)), as_json, style_list.styles_text)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Validate config.yaml."""
    from pipeline.config import loading

    loaded = loading.load(config)
    styles, rules = len(loaded.manifest.styles), len(loaded.manifest.rules)
    print(f"{config}: good; {format_count(styles, 'style')}, {format_count(rules, 'match rule')}")


@app.command()
def schema(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print config.yaml's JSON Schema."""
    from pipeline.config.loading import json_schema

    del config  # taken everywhere, needed here by nothing: the schema is the same for all
    print(json.dumps(json_schema(), indent=2))


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Examine machine, folders, weights and device."""
    from pipeline.cli import doctor as examination
    from pipeline.config import loading

    report = examination.examine(loading.load(config))
    print_report(report, as_json, examination.text)
    raise typer.Exit(OK if report["healthy"] else FAILED)


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
    """Print a systemd unit or a launchd agent for this config.

    It runs `watch` for good, names this Python, this config and its folders, and lets the service
    do little else.
    """
    from pipeline.cli import service_units as units
    from pipeline.config import loading

    loaded = loading.load(config)
    if kind not in units.KINDS:
        raise UsageError(f"no such kind: {kind}", where="service", hint="systemd or launchd")
    print(units.text(kind, loaded.config, config, user=user, account=account), end="")
    for folder in units.missing(loaded.config):
        print(f"make this folder before the service starts: {folder}", file=sys.stderr)
