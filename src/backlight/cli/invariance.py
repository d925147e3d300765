"""`backlight invariance`: pictures shifted, magnified and turned; how far do layers and the classifier move?"""

from __future__ import annotations

from functools import partial
from math import floor, isfinite
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table

from backlight.cli.labels import read_labels
from backlight.cli.options import (
    ClassOutput,
    Device,
    Mean,
    ModelArgument,
    PlotOutput,
    Resize,
    SaveStem,
    Size,
    Std,
    ValueRange,
    Weights,
    check_plot,
    load_network,
    parse_layers_of,
    say_class_output,
    write_result,
)
from backlight.cli.output import console, progress_bars, styled
from backlight.errors import BadInputError
from backlight.studies.invariance import Invariance, InvarianceConfig, run
from backlight.studies.invariance.moves import MOVE_MEASURES
from backlight.studies.invariance.transforms import TRANSFORMS, Border, Transform, amount_text, check_border

_MOST_AMOUNTS = 10_000
_AMOUNTS = "such as -60,0,60, or first:last:step"


def invariance(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="One or more pictures.")],
    output: PlotOutput = None,
    save: SaveStem = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers", help="Layers with commas; default: the first and the last before the output."
        ),
    ] = "default",
    classes: Annotated[
        str | None,
        typer.Option(
            "--class", help="The true class of each picture, from 0; else the network's own answer."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A text file with the name of a class on each line.")
    ] = None,
    class_output: ClassOutput = None,
    translation: Annotated[
        str | None,
        typer.Option(
            "--translation", help=f"Shifts down in pixels, {_AMOUNTS}; default: -60:60:5 of 224 rows."
        ),
    ] = None,
    scale: Annotated[str, typer.Option("--scale", help="Factors, as the shifts.")] = "1:1.8:0.05",
    rotation: Annotated[
        str, typer.Option("--rotation", help="Degrees counter-clockwise, as the shifts.")
    ] = "0:350:10",
    border: Annotated[
        str,
        typer.Option("--border", help="What shows beside the moved picture: its mean colour, or its edge."),
    ] = "mean",
    raw: Annotated[bool, typer.Option("--raw", help="Draw distances as they are, not relative.")] = False,
    measure: Annotated[
        str, typer.Option("--measure", help="Compare whole maps, or their peak wherever it is.")
    ] = "whole",
    weights: Weights = None,
    device: Device = "cpu",
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """Shift, magnify and turn pictures: how far do layers move, how far does the class's probability fall?"""
    check_plot(output, save)
    check_border(border)
    if measure not in MOVE_MEASURES:
        raise BadInputError(f"--measure is {' or '.join(MOVE_MEASURES)}, but came {measure!r}")
    config = InvarianceConfig(
        translation=None if translation is None else _whole("--translation", translation),
        scale=parse_amounts("--scale", scale),
        rotation=parse_amounts("--rotation", rotation),
        border=cast(Border, border),
        class_names=read_labels(labels),
        output=class_output,
    )
    given = None if classes is None else _whole("--class", classes)
    net = load_network(model, weights, device, size, resize, mean, std, value_range)
    say_class_output(net, class_output, len(config.class_names))
    with progress_bars(resumes=False) as progress:
        result = run(net, images, parse_layers_of(net, layers), config, classes=given, progress=progress)
    _print(result)
    write_result(result, output, save, partial(result.plot, raw, measure))


def parse_amounts(flag: str, text: str) -> tuple[float, ...]:
    """Return the numbers of `-60,0,60`, of `-60:60:5` (first, last and step), or of a mixture of both.

    Raises:
        BadInputError: Something else, or a step that does not lead from the first to the last.

    Example:
        >>> parse_amounts("--scale", "1:1.3:0.1,2")
        (1.0, 1.1, 1.2, 1.3, 2.0)
    """
    found: list[float] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            numbers = [float(number) for number in part.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3) or not all(map(isfinite, numbers)):
            raise BadInputError(f"{flag} is a list of numbers, {_AMOUNTS}, but came {text!r}")
        found += numbers if len(numbers) == 1 else _range(flag, *numbers)
    return tuple(found)


def _range(flag: str, first: float, last: float, step: float) -> list[float]:
    if step == 0 or not 0 <= (last - first) / step < _MOST_AMOUNTS:
        came = f"{first:g}:{last:g}:{step:g}"
        raise BadInputError(
            f"{flag}: the step leads from the first to the last in less than {_MOST_AMOUNTS} steps, "
            f"but came {came}; write -60:60:5"
        )
    count = floor((last - first) / step + 1e-9)
    return [round(first + i * step, 9) for i in range(count + 1)]


def _whole(flag: str, text: str) -> tuple[int, ...]:
    numbers = parse_amounts(flag, text)
    if any(number != int(number) for number in numbers):
        raise BadInputError(f"{flag} takes whole numbers, but came {text!r}")
    return tuple(map(int, numbers))


def _print(result: Invariance) -> None:
    found = result.summary()
    for transform in TRANSFORMS:
        console.print(_table(found, transform))
        _print_probability(found, transform)
        console.print()
    several = "; another image: from each image to the next" if len(result.images) > 1 else ""
    console.print(
        f"Distances relative to the original's length, means over images: whole, of all "
        f"activations, each at its place; peak, of each map's largest, wherever it is{several}.",
        soft_wrap=True,
    )
    for layer in result.layers:
        for transform in TRANSFORMS:
            _print_maps(found, layer, transform)


def _table(found: dict[str, Any], transform: Transform) -> Table:
    layers = found[transform]["layers"]
    table = Table(title=styled("[bold]{}[/]", transform), title_justify="left", box=None, pad_edge=False)
    table.add_column("layer", no_wrap=True)
    table.add_column("", style="dim")
    table.add_column("mean", justify="right")
    least = next(iter(layers.values()))["whole"]["least_change"]
    table.add_column("–" if least is None else f"at {_amount(least, transform)}", justify="right")
    table.add_column("furthest", justify="right")
    table.add_column("another image", justify="right", style="dim")
    for layer, measures in layers.items():
        for measure, own in measures.items():
            first, furthest = own["least_change"], own["furthest"]
            table.add_row(
                layer if measure == MOVE_MEASURES[0] else "",
                measure,
                _number(own["mean"]),
                "–" if first is None else _number(first["value"]),
                "–"
                if furthest is None
                else f"{_number(furthest['value'])} at {_amount(furthest, transform)}",
                _number(own["other_image"]),
            )
    return table


def _print_probability(found: dict[str, Any], transform: Transform) -> None:
    own = found[transform]["probability"]
    if own is not None and own["lowest"] is not None:
        kind = "true class" if found["images"][0]["class"]["is_given"] else "network's own class"
        lowest = f"{own['lowest']['value']:.2f} at {_amount(own['lowest'], transform)}"
        console.print(
            f"probability of the {kind}: {own['original']:.2f}, {own['mean']:.2f} in the mean, down to {lowest}",
            soft_wrap=True,
        )


def _print_maps(found: dict[str, Any], layer: str, transform: Transform) -> None:
    maps = found[transform]["layers"][layer]["peak"]["maps"]
    if maps["n_active"]:
        most, least = (
            ", ".join(f"{row['map']} ({row['moves']:.2f})" for row in maps[end]) for end in ("most", "least")
        )
        console.print(
            styled(
                "[bold]{}[/], {}: of {} maps, by their peaks, the most invariant {}; the least {}",
                *(layer, transform, maps["n_active"], most, least),
            ),
            soft_wrap=True,
        )


def _amount(point: dict[str, Any], transform: Transform) -> str:
    return amount_text(transform, point["amount"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
