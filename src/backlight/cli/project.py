"""`backlight project`: one unit of each of some images, projected back to the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backlight.cli import flags
from backlight.cli.output import say
from backlight.cli.parsing import parse_seed_value
from backlight.cli.writing import figure_path, write_figure
from backlight.errors import BadInputError
from backlight.render.scaling import DEFAULT_SCALING

if TYPE_CHECKING:
    from torch import Tensor

    from backlight.network import Network
    from backlight.projection import Unit


def project(
    model: flags.ModelArgument,
    images: flags.PicturesArgument,
    layer: Annotated[str, typer.Option("--layer", help="The layer of the unit.")],
    output: flags.Output = None,
    channel: flags.Channel = None,
    row: flags.Row = None,
    col: flags.Col = None,
    weights: flags.Weights = None,
    rules: flags.Rules = "deconvnet",
    seed_value: flags.SeedValue = "activation",
    scaling: flags.ScalingName = DEFAULT_SCALING,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Project one unit of each image back to pixels.

    Its activation is kept, all others are set to zero.
    """
    output = figure_path(output, images[0].stem, layer)
    if (row is None) != (col is None) or (row is not None and channel is None):
        raise BadInputError("a unit is given by --channel, --row and --col together, or by --channel alone")
    from backlight import projection
    from backlight.cli.models import Overrides, load_network
    from backlight.cli.views import describe_seed, prepared, three_views
    from backlight.operators.ruleset import parse_rules
    from backlight.render import strip

    chosen_rules, seed = parse_rules(rules), parse_seed_value(seed_value)
    net = load_network(model, weights, device, Overrides(size, resize, mean, std, value_range))
    pictures, inputs = prepared(net, images)
    units = [_unit(net, own, layer, channel, row, col) for own in inputs]
    signals, found = projection.project(net, inputs, units, chosen_rules, seed=seed, return_activations=True)
    values = found.tolist()
    views = []
    for path, picture, unit, value, signal in zip(images, pictures, units, values, signals, strict=True):
        place = "" if unit.row is None else f", row {unit.row}, column {unit.col}"
        say("{}: {} channel {}{}, activation {:.4g}", path, unit.layer, unit.channel, place, value)
        views += three_views(path.name, picture, signal, scaling, f"channel {unit.channel}")
    title = f"{net.name} · {units[0].layer}, {chosen_rules.name} projection"
    legend = f"Each projection is scaled {scaling.caption}. {describe_seed(seed, values)}".strip()
    write_figure(strip(views, title, legend), output)
    say("{}", output)


def _unit(
    net: Network, image: Tensor, layer: str, channel: int | None, row: int | None, col: int | None
) -> Unit:
    from backlight.projection import Unit, strongest, strongest_units

    if channel is None:
        return strongest_units(net, image, layer, 1)[0]
    if row is None:
        return strongest(net, image, layer, channel)[0]
    return Unit(net.layer(layer).name, channel, row, col)
