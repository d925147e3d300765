"""`backlight figure`: the paper's Fig. 2 for a layer of an atlas."""

from __future__ import annotations

from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import say
from backlight.cli.parsing import parse_channels
from backlight.cli.writing import check_output, write_picture
from backlight.render.scaling import DEFAULT_SCALING


def figure(
    atlas: flags.AtlasArgument,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A layer of the atlas.")],
    output: flags.Output,
    channels: flags.Channels = None,
    columns: Annotated[int | None, typer.Option("--columns", help="Feature maps side by side.")] = None,
    scaling: flags.ScalingName = DEFAULT_SCALING,
    full_field: flags.FullField = False,
    low_pass: Annotated[
        bool,
        typer.Option(
            "--low-pass",
            help="Average projections over half a stride of the layer, against checkerboards; the figure says so.",
        ),
    ] = False,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Say below each map the labels of its hits and the names of their files."
        ),
    ] = False,
    filters: Annotated[
        bool, typer.Option("--filters", help="Show the first layer's filters themselves.")
    ] = False,
) -> None:
    """Draw a layer: for each feature map its strongest hits projected back to pixels, beside their patches."""
    from backlight.atlas import open_atlas

    check_output(output)
    opened = open_atlas(atlas)
    if filters:
        picture = opened.filters_figure(layer, columns)
    else:
        chosen = parse_channels(channels) if channels is not None else None
        picture = opened.figure(layer, chosen, scaling, columns, full_field, low_pass=low_pass, names=names)
    write_picture(picture, output)
    say("{} ({}x{})", output, picture.width, picture.height)
