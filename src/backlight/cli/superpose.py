"""`backlight superpose`: the strongest hits of feature maps over a set, or the strongest units of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backlight.atlas import open_atlas
from backlight.cli.figure import FullField
from backlight.cli.options import (
    Device,
    Mean,
    Output,
    Resize,
    Rules,
    SeedValue,
    Size,
    Std,
    ValueRange,
    Weights,
    check_output,
    load_network,
    parse_channels,
    parse_seed_value,
    save_picture,
)
from backlight.cli.output import console
from backlight.cli.project import describe_seed, prepared, three_views
from backlight.errors import BadInputError
from backlight.operators.ruleset import parse_rules
from backlight.projection import project, strongest_units
from backlight.render import DEFAULT_SCALING, Scaling, strip


def superpose(
    source: Annotated[
        str, typer.Argument(metavar="ATLAS|MODEL", help="An atlas, or a model as for `build`.")
    ],
    target: Annotated[str, typer.Argument(metavar="LAYER|IMAGE", help="A layer of the atlas, or a picture.")],
    output: Output,
    layer: Annotated[str | None, typer.Option("--layer", help="With a model: the layer.")] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", help="Feature maps; with a model at most one.")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", help="How many are added; 3 for an image, all for a map.")
    ] = None,
    full_field: FullField = False,
    weights: Weights = None,
    rules: Rules = "deconvnet",
    seed_value: SeedValue = "activation",
    scaling: Annotated[
        Scaling, typer.Option("--scaling", help="How values become colours.")
    ] = DEFAULT_SCALING,
    device: Device = "cpu",
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """Superpose projections, each made by itself: of a feature map's hits, or of an image's strongest units."""
    check_output(output)
    chosen = parse_channels(channels) if channels is not None else None
    if (
        layer is None
        and (Path(source).is_file() or source.endswith(".atlas"))
        and not source.endswith(".pt2")
    ):
        if seed_value != "activation":
            raise BadInputError(
                f"--seed-value {seed_value} projects anew, which needs a model; an atlas holds finished projections"
            )
        picture = open_atlas(source).superposed(target, chosen, top, scaling, full_field)
    else:
        if layer is None:
            raise BadInputError("with a model, --layer names the layer whose units are superposed")
        if chosen is not None and len(chosen) > 1:
            raise BadInputError(f"with a model, --channels takes one feature map, but came {channels}")
        net = load_network(source, weights, device, size, resize, mean, std, value_range)
        (shown,) = prepared(net, [Path(target)])
        channel, count = chosen[0] if chosen else None, 3 if top is None else top
        image = net.preprocessing.normalise([shown])  # type: ignore[union-attr]
        seed, chosen_rules = parse_seed_value(seed_value), parse_rules(rules)
        units = strongest_units(net, image, layer, count, channel)
        shares, values = project(net, image, units, chosen_rules, seed=seed, return_activations=True)
        signal = shares.sum(0)
        what = f"the {count} strongest units of {'the layer' if channel is None else f'channel {channel}'}"
        views = three_views(Path(target).name, shown, signal.permute(1, 2, 0).cpu().numpy(), scaling, what)
        title = f"{net.name} · {net.layer(layer).name}, superposed {chosen_rules.name} projections"
        legend = f"The sum is scaled {scaling.caption}. {describe_seed(seed, values.tolist())}".strip()
        picture = strip(views, title, legend)
    save_picture(picture, output)
    console.print(f"{output} ({picture.width}x{picture.height})", soft_wrap=True)
