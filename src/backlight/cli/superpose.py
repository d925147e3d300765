"""`backlight superpose`: the strongest hits of feature maps over a set, or the strongest units of one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backlight.cli import flags
from backlight.cli.atlas_files import is_atlas
from backlight.cli.output import say
from backlight.cli.parsing import parse_channels, parse_seed_value
from backlight.cli.writing import figure_path, write_figure
from backlight.errors import BadInputError
from backlight.render.scaling import DEFAULT_SCALING, Scaling

if TYPE_CHECKING:
    from PIL import Image

    from backlight.network import Network
    from backlight.operators.ruleset import RuleSet

_UNITS_OF_AN_IMAGE = 3


def superpose(
    source: Annotated[
        str, typer.Argument(metavar="ATLAS|MODEL", help="An atlas, or a model as for `build`.")
    ],
    target: Annotated[str, typer.Argument(metavar="LAYER|IMAGE", help="A layer of the atlas, or a picture.")],
    output: flags.Output = None,
    layer: Annotated[str | None, typer.Option("--layer", help="With a model: the layer.")] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            "--channels", "--maps", help="Feature maps, such as 3,17 or 0-31; with a model at most one."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", help="How many are added; defaults to 3 units of an image, all hits of a feature map."
        ),
    ] = None,
    full_field: flags.FullField = False,
    weights: flags.Weights = None,
    rules: Annotated[
        str | None,
        typer.Option(
            "--rules",
            help=f"{flags.RULES_HELP} Defaults to deconvnet; of an atlas, one of its rule sets, by default its own.",
        ),
    ] = None,
    seed_value: flags.SeedValue = "activation",
    scaling: flags.ScalingName = DEFAULT_SCALING,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Add up projections: of a map's hits, or of an image's units.

    Each projection is made by itself: with an atlas, of the hits of feature maps; with a model, of the strongest units
    of an image.
    """
    shown = (source, target) if is_atlas(source) else (target, layer or "")
    output = figure_path(output, Path(shown[0]).stem, shown[1], "superposed")
    chosen = parse_channels(channels) if channels is not None else None
    if is_atlas(source):
        if layer is not None:
            raise BadInputError("--layer is for a model; with an atlas, give the layer after it: ATLAS LAYER")
        if seed_value != "activation":
            raise BadInputError(
                f"--seed-value {seed_value} needs a model to project with; an atlas holds finished projections"
            )
        from backlight.atlas import open_atlas

        picture = open_atlas(source, rules).superposed(target, chosen, top, scaling, full_field)
    else:
        if layer is None:
            raise BadInputError("with a model, --layer names the layer whose units are superposed")
        if chosen is not None and len(chosen) > 1:
            raise BadInputError(f"with a model, --channels takes one feature map, got {channels}")
        from backlight.cli.models import Overrides, load_network
        from backlight.operators.ruleset import parse_rules

        channel, count = chosen[0] if chosen else None, _UNITS_OF_AN_IMAGE if top is None else top
        request = _Request(
            layer, channel, count, parse_rules(rules or "deconvnet"), parse_seed_value(seed_value), scaling
        )
        net = load_network(source, weights, device, Overrides(size, resize, mean, std, value_range))
        picture = _superposed_units(net, Path(target), request)
    write_figure(picture, output)
    say("{} ({}x{})", output, picture.width, picture.height)


@dataclass(frozen=True)
class _Request:
    """Which units of an image are superposed, and how."""

    layer: str
    channel: int | None
    count: int
    rules: RuleSet
    seed: float | Literal["activation"]
    scaling: Scaling


def _superposed_units(net: Network, path: Path, request: _Request) -> Image.Image:
    """Return an image, the sum of the projections of its strongest units, and one over the other."""
    from backlight.cli.views import describe_seed, prepared, three_views
    from backlight.projection import project, strongest_units
    from backlight.render import strip

    (shown,), image = prepared(net, [path])
    units = strongest_units(net, image, request.layer, request.count, request.channel)
    # (units, c, h, w): each unit is projected by itself, then they are added.
    shares, values = project(net, image, units, request.rules, seed=request.seed, return_activations=True)
    where = "the layer" if request.channel is None else f"channel {request.channel}"
    what = f"the {request.count} strongest units of {where}"
    views = three_views(path.name, shown, shares.sum(0), request.scaling, what)
    title = f"{net.name} · {net.layer(request.layer).name}, superposed {request.rules.name} projections"
    seeded = describe_seed(request.seed, values.tolist())
    return strip(views, title, f"The sum is scaled {request.scaling.caption}. {seeded}".strip())
