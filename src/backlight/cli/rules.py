"""`backlight rules`: the hits of an atlas by other rule sets, beside its own pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import progress_bars, say
from backlight.cli.parsing import parse_channels
from backlight.cli.writing import figure_path, write_figure
from backlight.render.scaling import DEFAULT_SCALING


def rules(
    atlas: flags.AtlasArgument,
    output: flags.Output = None,
    model: flags.OwnModel = None,
    images: flags.OwnImages = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="A layer of the atlas; defaults to the last.")
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rules",
            help="Another rule set, as for `build`; may be given several times. Defaults to deconvnet, or guided.",
        ),
    ] = None,
    channels: flags.Channels = None,
    columns: Annotated[int | None, typer.Option("--columns", help="Feature maps side by side.")] = None,
    scaling: flags.ScalingName = DEFAULT_SCALING,
    full_field: flags.FullField = False,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
) -> None:
    """Draw a layer as several rule sets project it, side by side."""
    output = figure_path(output, atlas.stem, layer or "", "rules")
    chosen = parse_channels(channels) if channels is not None else None
    from backlight.atlas import open_atlas
    from backlight.cli.models import load_network_of
    from backlight.studies.side_by_side import side_by_side

    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "rules")
    with progress_bars(resumes=False) as progress:
        picture = side_by_side(
            opened,
            net,
            source,
            layer,
            rules or None,
            channels=chosen,
            scaling=scaling,
            columns=columns,
            full_field=full_field,
            progress=progress,
        )
    write_figure(picture, output)
    say("{} ({}x{})", output, picture.width, picture.height)
