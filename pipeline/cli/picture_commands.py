"""Commands on single pictures, without folders: stylize, sweep."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from pipeline.cli.common import DeviceOption, ForceOption, JsonOption, app

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
        from pipeline.cli.flags import option_flags

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
    force: ForceOption = False,
    as_json: JsonOption = False,
    config: NamesOption = None,
) -> None:
    """Paint one picture, without folders.

    Writes OUT, as its suffix says (.png .jpg .webp .tif .avif .heic), and its enhanced version
    OUT.enhanced.SUFFIX beside it.
    """
    from pipeline.cli import order as ordering

    styles = ordering.named(styles, config)
    order = ordering.order(content, styles, shares, preset, seed, device, weights, flags.obj, out)
    order = replace(order, film=timelapse, force=force, config=config)
    raise typer.Exit(ordering.stylize(order, out, as_json))


@app.command(cls=OptionsCommand)
def sweep(
    flags: typer.Context,
    content: ContentArgument,
    style: Annotated[str, typer.Argument(help="A path or builtin:NAME.", metavar="STYLE")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder.", metavar="DIR")],
    rows: Annotated[
        str, typer.Option(help="Option and values down the sheet.", metavar="NAME=V,V")
    ] = "content_weight=0.1,0.3,1.0",
    columns: Annotated[
        str, typer.Option(help="Option and values across the sheet.", metavar="NAME=V,V")
    ] = "style_scale=0.5,1,2",
    preset: PresetOption = "draft",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    weights: WeightsOption = "embedded",
    force: ForceOption = False,
    config: NamesOption = None,
) -> None:
    """Paint a grid over two options, to choose by eye.

    Writes a picture for each cell into DIR, and contact-sheet.png, which shows them all.
    """
    from pipeline.cli import order as ordering

    (style,) = ordering.named([style], config)
    order = ordering.order(content, [style], "", preset, seed, device, weights, flags.obj)
    order = replace(order, force=force, config=config)
    raise typer.Exit(ordering.sweep(order, out, rows, columns))
