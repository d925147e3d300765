"""`backlight figure`: the paper's Fig. 2 for a layer of an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backlight.atlas import open_atlas
from backlight.cli.options import Output, check_output, parse_channels, save_picture
from backlight.cli.output import console
from backlight.render import DEFAULT_SCALING, Scaling

AtlasArgument = Annotated[
    Path, typer.Argument(metavar="ATLAS", help="An atlas that `backlight build` wrote.")
]
Channels = Annotated[str | None, typer.Option("--channels", help="Feature maps to show, such as 3,17,40.")]
Columns = Annotated[int | None, typer.Option("--columns", help="Feature maps side by side.")]
FullField = Annotated[
    bool,
    typer.Option("--full-field", help="Draw whole receptive fields, not only where the projections are."),
]
ScalingOption = Annotated[Scaling, typer.Option("--scaling", help="How values become colours.")]


def figure(
    atlas: AtlasArgument,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A layer of the atlas.")],
    output: Output,
    channels: Channels = None,
    columns: Columns = None,
    scaling: ScalingOption = DEFAULT_SCALING,
    full_field: FullField = False,
    filters: Annotated[
        bool, typer.Option("--filters", help="Show the first layer's filters themselves.")
    ] = False,
) -> None:
    """Draw a layer: for each feature map its strongest hits projected back to pixels, beside their patches."""
    check_output(output)
    opened = open_atlas(atlas)
    if filters:
        picture = opened.filters_figure(layer, columns)
    else:
        chosen = parse_channels(channels) if channels is not None else None
        picture = opened.figure(layer, chosen, scaling, columns, full_field)
    save_picture(picture, output)
    console.print(f"{output} ({picture.width}x{picture.height})", soft_wrap=True)
