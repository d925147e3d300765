"""`backlight figure`: the paper's Fig. 2 for a layer of an atlas."""

from __future__ import annotations

from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import say
from backlight.cli.parsing import parse_channels
from backlight.cli.writing import figure_path, write_figure
from backlight.render.scaling import DEFAULT_SCALING


def figure(
    atlas: flags.AtlasArgument,
    layer: flags.LayerArgument,
    output: flags.Output = None,
    channels: flags.Channels = None,
    rules: flags.ShownRules = None,
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
    """Draw a layer: its maps' hits, projected, beside the patches."""
    from backlight.atlas import open_atlas

    output = figure_path(output, atlas.stem, layer, "filters" if filters else "")
    opened = open_atlas(atlas, rules)
    if filters:
        picture = opened.filters_figure(layer, columns)
    else:
        chosen = parse_channels(channels) if channels is not None else None
        picture = opened.figure(layer, chosen, scaling, columns, full_field, low_pass=low_pass, names=names)
    write_figure(picture, output)
    say("{} ({}x{})", output, picture.width, picture.height)
