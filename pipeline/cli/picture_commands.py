"""Commands on single pictures, without folders: stylize, sweep, try, tune."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.common import (
    DEFAULT_CONFIG,
    Command,
    ConfigOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    PlainOption,
    app,
    complete_from,
    complete_style,
    examples,
    help_row,
)
from pipeline.config.file_kinds import FILMS_LISTED, WRITTEN_LISTED
from pipeline.errors import UsageError

StyleArgument = Annotated[
    list[str],
    typer.Argument(
        help="The painting: a path, or builtin:NAME. If you give several, they are blended.",
        metavar="STYLE",
        autocompletion=complete_style,
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="The random seed, 0 or a larger number.", metavar="N")
]
PRESETS = ("draft", "balanced", "fine", "print", "paper")
REGIONS = ("face", "person", "subject", "background", "sky")
PresetOption = Annotated[
    str,
    typer.Option(
        help="The size of the picture and the number of steps; paper: the method as published.",
        metavar="{" + "|".join(PRESETS) + "}",
        autocompletion=complete_from(PRESETS),
    ),
]
WeightsOption = Annotated[
    str,
    typer.Option(
        help="The weights of VGG-19, the network that measures content and style.",
        metavar="{embedded|torchvision|FILE}",
        autocompletion=complete_from(("embedded", "torchvision")),
    ),
]
REGION_ENDS = ("=", ".strength=", ".colors=", ".color_strength=")
RegionOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Paint a part of the photo differently; may be repeated. NAME=PAINTING: with this "
        "painting; NAME.strength=0..1: from photo to painting; NAME.colors=style|content|luminance|"
        "match; NAME.color_strength=0..1: how far these apply. NAME is face, person, subject, "
        "background, sky, or one of your own with --mask.",
        metavar="NAME=PAINTING",
        autocompletion=complete_from(
            tuple(f"{name}{end}" for name in REGIONS for end in REGION_ENDS)
        ),
    ),
]
MaskOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A mask that shows where a region is, white inside; may be repeated. regions=FILE: a "
        "map of several regions; give the colour of each with --region NAME.color=#rrggbb.",
        metavar="NAME=FILE",
    ),
]
NamesOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="A config file. STYLE can then be a name from its styles.", metavar="FILE"
    ),
]
SmallSizeOption = Annotated[
    int, typer.Option(min=16, max=1024, help="Long side of the pictures in px.", metavar="N")
]
ContentArgument = Annotated[str, typer.Argument(help="The photo.", metavar="CONTENT")]


class OptionsCommand(Command):
    """A command that takes every transfer, enhancement and output option as a flag.

    The models of these options are imported only when such a command is called: importing them
    takes longer than all the rest of `--help`. The values of the flags are in ``obj`` of the
    context.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own parameters, then a flag for each option, then ``--help``."""
        from pipeline.cli.flags import option_flags

        *own, help_option = super().get_params(ctx)
        return [*own, *option_flags(), help_option]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the help in groups, what is used most first."""
        from pipeline.cli.flags import EXPERT, OUTPUT, option_groups

        own = super().get_params(ctx)
        arguments = [p for p in own if p.param_type_name == "argument"]
        groups: dict[str, list[Any]] = {"Arguments": arguments, "Common options": []}
        groups |= {title: list(flags) for title, flags in option_groups().items()}
        elsewhere = {"timelapse": OUTPUT, "weights": EXPERT}
        for parameter in own:
            if parameter not in arguments:
                groups[elsewhere.get(parameter.name, "Common options")].append(parameter)
        for title, parameters in groups.items():
            with formatter.section(title):
                formatter.write_dl([help_row(parameter, ctx) for parameter in parameters])

    def invoke(self, ctx: Any) -> Any:
        """Call the command with its own parameters; the flags go into the context."""
        own = {parameter.name for parameter in self.params}
        ctx.obj = {name: ctx.params.pop(name) for name in list(ctx.params) if name not in own}
        return super().invoke(ctx)


@app.command(
    cls=OptionsCommand,
    epilog=examples(
        "stylize inbox/coffee.jpg builtin:mosaic -o coffee.png",
        "stylize inbox/coffee.jpg mosaic --config config.yaml --preset fine -o coffee.jpg",
        "stylize inbox/coffee.jpg builtin:mosaic builtin:watercolor --shares 2,1 --colors content "
        "-o both.png",
    ),
)
def stylize(
    flags: typer.Context,
    content: ContentArgument,
    styles: StyleArgument,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help=f"The picture to write. Its suffix decides the format: {WRITTEN_LISTED}.",
            metavar="OUT",
        ),
    ],
    shares: Annotated[
        str,
        typer.Option(
            help="The weight of each painting: 2,1 takes two thirds from the first.", metavar="N,N"
        ),
    ] = "",
    region: RegionOption = None,
    mask: MaskOption = None,
    preset: PresetOption = "balanced",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    weights: WeightsOption = "embedded",
    timelapse: Annotated[
        Path | None,
        typer.Option(
            help=f"Also write an animation of how the picture was painted: {FILMS_LISTED}.",
            metavar="FILE",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    config: NamesOption = None,
    plain: PlainOption = False,
) -> None:
    """Paint one photo in one style, without a config.

    Writes two pictures: `-o coffee.png` writes coffee.png and its enhanced version,
    coffee.enhanced.png.
    """
    from pipeline.cli import order as ordering

    styles = ordering.resolve_style_names(styles, config)
    order = ordering.build_order(
        content, styles, shares, preset, seed, device, weights, flags.obj, out
    )
    order = ordering.with_regions(order, region or (), mask or (), config)
    order = replace(order, film=timelapse, force=force, config=config)
    raise typer.Exit(ordering.run_stylize(order, out, as_json, plain))


@app.command(
    cls=OptionsCommand,
    epilog=examples(
        "sweep inbox/coffee.jpg builtin:mosaic -o grid",
        "sweep inbox/coffee.jpg builtin:mosaic --rows strength=0.4,0.6 "
        "--columns colors=style,content -o grid",
        "sweep inbox/coffee.jpg --rows style=builtin:mosaic,builtin:watercolor "
        "--columns enhance=natural,vivid -o grid",
    ),
)
def sweep(
    flags: typer.Context,
    content: ContentArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write to.", metavar="DIR")
    ],
    style: Annotated[
        str | None,
        typer.Argument(
            help="A painting: a path, or builtin:NAME. Not needed if --rows or --columns has "
            "style.",
            metavar="STYLE",
            autocompletion=complete_style,
        ),
    ] = None,
    rows: Annotated[
        str,
        typer.Option(
            help="An option of stylize, or style, preset or seed, and its values from top to "
            "bottom.",
            metavar="NAME=V,V",
        ),
    ] = "strength=0.25,0.5,0.75",
    columns: Annotated[
        str,
        typer.Option(
            help="The same for the columns, with values from left to right.",
            metavar="NAME=V,V",
        ),
    ] = "stroke=0,0.5,1",
    region: RegionOption = None,
    mask: MaskOption = None,
    preset: PresetOption = "draft",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    weights: WeightsOption = "embedded",
    force: ForceOption = False,
    config: NamesOption = None,
    plain: PlainOption = False,
) -> None:
    """Paint one photo with several values of two options to compare.

    Writes a picture for each pair of values into DIR, and contact-sheet.png, which shows them all
    in a grid.
    """
    from pipeline.cli import order as ordering
    from pipeline.cli.trials.sweep import parse_axes, run_sweep

    axes = parse_axes(rows, columns, config)
    if style is None and "style" not in [axis.name for axis in axes]:
        hint = "name a painting, or several with --rows style=PAINTING,PAINTING"
        raise UsageError("no painting is named", where="sweep", hint=hint)
    styles = ordering.resolve_style_names([style] if style else [], config)
    order = ordering.build_order(content, styles, "", preset, seed, device, weights, flags.obj)
    order = ordering.with_regions(order, region or (), mask or (), config)
    order = replace(order, force=force, config=config)
    raise typer.Exit(run_sweep(order, out, axes, plain))


@app.command(
    "try",
    epilog=examples(
        "try inbox/coffee.jpg -o trial",
        "try inbox/coffee.jpg inbox/astronaut.jpg builtin:mosaic --size 96 -o trial",
    ),
)
def try_styles(
    photo: Annotated[str, typer.Argument(help="The photo.", metavar="PHOTO")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write to.", metavar="DIR")
    ],
    paintings: Annotated[
        list[str] | None,
        typer.Argument(
            help="The name of a style, a path, builtin:NAME, or a folder of paintings. Default: "
            "all styles. A file in the inbox is taken for another photo.",
            metavar="PAINTING",
            autocompletion=complete_style,
        ),
    ] = None,
    photos: Annotated[
        list[str] | None,
        typer.Option(
            "--photo", help="Another photo, in any folder; may be repeated.", metavar="FILE"
        ),
    ] = None,
    styles: Annotated[
        list[str] | None,
        typer.Option(
            "--style",
            help="Another painting, even if it is in the inbox; may be repeated.",
            metavar="PAINTING",
            autocompletion=complete_style,
        ),
    ] = None,
    size: SmallSizeOption = 192,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
    plain: PlainOption = False,
) -> None:
    """Show one photo in many styles on one sheet, best first.

    Writes contact-sheet.png and ranking.json into DIR, and prints what to write into config.yaml
    for the style that fits best. Without a config, "all styles" are the starter styles. With
    several photos, each is painted in each style.
    """
    from pipeline.cli.trials.run import build_trial, run_try

    words = [photo, *(paintings or ())]
    trial = build_trial(words, photos or (), styles or (), size, device, config, force)
    raise typer.Exit(run_try(trial, out, as_json, plain))


@app.command(
    epilog=examples(
        "tune inbox/coffee.jpg mosaic",
        "tune inbox/coffee.jpg builtin:watercolor --size 96 -o pair.png --save chosen.yaml",
    ),
)
def tune(
    photo: Annotated[str, typer.Argument(help="The photo.", metavar="PHOTO")],
    style: Annotated[
        str,
        typer.Argument(
            help="The name of a style, a path, or builtin:NAME.",
            metavar="STYLE",
            autocompletion=complete_style,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="The file that shows the two pictures side by side.", metavar="FILE"
        ),
    ] = Path("compare.png"),
    save: Annotated[
        Path | None,
        typer.Option(
            help="Also write the chosen options into a new YAML file, such as a side file.",
            metavar="FILE",
        ),
    ] = None,
    browser: Annotated[
        bool,
        typer.Option("--browser", help="Ask on a page in the browser instead of the terminal."),
    ] = False,
    size: SmallSizeOption = 192,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Find the strength and stroke you like best by comparing pictures.

    Five times, writes two small pictures side by side into compare.png and asks which is better.
    Then prints what to write into config.yaml. No file of yours is changed.
    """
    from pipeline.cli.trials.run import build_trial
    from pipeline.cli.trials.tune import run_tune

    trial = build_trial([photo], (), [style], size, device, config, force)
    raise typer.Exit(run_tune(trial, out, save, browser))
