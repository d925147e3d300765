"""`backlight project`: one unit of each of some images, run back to the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from PIL import Image
from torch import Tensor

from backlight.cli.options import (
    Device,
    Mean,
    ModelArgument,
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
    parse_seed_value,
    save_picture,
)
from backlight.cli.output import console
from backlight.errors import BadInputError
from backlight.images import Picture
from backlight.network import Network
from backlight.operators.ruleset import parse_rules
from backlight.projection import Unit, strongest, strongest_units
from backlight.projection import project as project_units
from backlight.render import DEFAULT_SCALING, Scaling, blend, scale, strip


def project(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="One or more pictures.")],
    layer: Annotated[str, typer.Option("--layer", help="The layer of the unit.")],
    output: Output,
    channel: Annotated[
        int | None, typer.Option("--channel", help="The feature map; else the strongest of the layer.")
    ] = None,
    row: Annotated[int | None, typer.Option("--row", help="Row of the unit; else the strongest.")] = None,
    col: Annotated[int | None, typer.Option("--col", help="Column of the unit; else the strongest.")] = None,
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
    """Project one unit of each image: its activation, all others zero, run back to the pixels."""
    check_output(output)
    if (row is None) != (col is None) or (row is not None and channel is None):
        raise BadInputError("a unit is given by --channel, --row and --col together, or by --channel alone")
    chosen_rules, seed = parse_rules(rules), parse_seed_value(seed_value)
    net = load_network(model, weights, device, size, resize, mean, std, value_range)
    pictures = prepared(net, images)
    inputs = net.preprocessing.normalise(pictures)  # type: ignore[union-attr]
    units = [_unit(net, own, layer, channel, row, col) for own in inputs]
    signals, found = project_units(net, inputs, units, chosen_rules, seed=seed, return_activations=True)
    values = found.tolist()
    entries = []
    for path, picture, unit, value, signal in zip(images, pictures, units, values, signals, strict=True):
        place = "" if unit.row is None else f", row {unit.row}, column {unit.col}"
        console.print(
            f"{path}: {unit.layer} channel {unit.channel}{place}, activation {value:.4g}", soft_wrap=True
        )
        entries += three_views(
            path.name, picture, signal.permute(1, 2, 0).cpu().numpy(), scaling, f"channel {unit.channel}"
        )
    title = f"{net.name} · {units[0].layer}, {chosen_rules.name} projection"
    legend = f"Each projection is scaled {scaling.caption}. {describe_seed(seed, values)}".strip()
    save_picture(strip(entries, title, legend), output)
    console.print(f"{output}", soft_wrap=True)


def prepared(net: Network, images: list[Path]) -> list[Picture]:
    """Return the pictures as the network sees them: `normalise` turns them into inputs."""
    return net.preprocessing.pictures(images)  # type: ignore[union-attr]


def describe_seed(seed: float | Literal["activation"], values: Sequence[float]) -> str:
    """Return what a reader must know of what was sent back from units of these activations; nothing if it is usual."""
    if seed != "activation":
        return f"Every unit was seeded with {seed:g} in the place of its activation."
    said = []
    if any(value < 0 for value in values):
        said.append("A negative unit was seeded with its own value: its picture shows what lowers it.")
    if any(value == 0 for value in values):
        said.append("A unit at zero has an empty picture.")
    return " ".join(said)


def three_views(
    name: str, picture: Picture, signal: np.ndarray, scaling: Scaling, what: str
) -> list[tuple[str, Image.Image | np.ndarray]]:
    """Return a picture, the projection, and one over the other, each with its caption."""
    shown = picture.convert("RGB")
    rgb = np.asarray(shown)
    return [(name, shown), (what, scale(signal, scaling)), ("both", blend(rgb, signal, scaling))]


def _unit(
    net: Network, image: Tensor, layer: str, channel: int | None, row: int | None, col: int | None
) -> Unit:
    if channel is None:
        return strongest_units(net, image, layer, 1)[0]
    if row is None:
        return strongest(net, image, layer, channel)[0]
    return Unit(net.layer(layer).name, channel, row, col)
