"""`backlight invariance`: pictures shifted, magnified and turned; how far do layers and the classifier move?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say, styled
from backlight.cli.parsing import AMOUNTS_HELP, parse_amounts, parse_whole, read_labels
from backlight.cli.writing import check_plot, write_result
from backlight.errors import BadInputError

if TYPE_CHECKING:
    from backlight.studies.invariance import Invariance
    from backlight.studies.invariance.transforms import Border, Transform

_SIGNS: dict[Transform, str] = {"translation": "{:+g} px", "scale": "×{:g}", "rotation": "{:g}°"}


def invariance(
    model: flags.ModelArgument,
    images: flags.PicturesArgument,
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            help="Layers, separated by commas, or all; default: the first and the last before the output.",
        ),
    ] = "default",
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="The true class of each picture, from 0; defaults to the network's own answers.",
        ),
    ] = None,
    labels: flags.Labels = None,
    class_output: flags.ClassOutput = None,
    translation: Annotated[
        str | None,
        typer.Option(
            "--translation", help=f"Vertical shifts in pixels, {AMOUNTS_HELP}; default: -60:60:5 of 224 rows."
        ),
    ] = None,
    scale: Annotated[str, typer.Option("--scale", help="Factors, written as the shifts are.")] = "1:1.8:0.05",
    rotation: Annotated[
        str, typer.Option("--rotation", help="Degrees counter-clockwise, written as the shifts are.")
    ] = "0:350:10",
    border: Annotated[
        str,
        typer.Option("--border", help="What shows beside the moved picture: its mean colour, or its edge."),
    ] = "mean",
    raw: Annotated[bool, typer.Option("--raw", help="Draw distances as they are, not relative.")] = False,
    measure: Annotated[
        str, typer.Option("--measure", help="Compare whole maps, or their peak wherever it is.")
    ] = "whole",
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Shift, scale and turn images: how much do layers change?

    How far do layers move, and how far does the probability of the class fall?
    """
    check_plot(output, save)
    from backlight.cli.models import Overrides, chosen_layers, load_network, say_class_output
    from backlight.studies.invariance import InvarianceConfig, run
    from backlight.studies.invariance.moves import MOVE_MEASURES
    from backlight.studies.invariance.transforms import check_border

    check_border(border)
    if measure not in MOVE_MEASURES:
        raise BadInputError(f"--measure is {' or '.join(MOVE_MEASURES)}, got {measure!r}")
    config = InvarianceConfig(
        translation=None if translation is None else parse_whole("--translation", translation),
        scale=parse_amounts("--scale", scale),
        rotation=parse_amounts("--rotation", rotation),
        border=cast("Border", border),
        class_names=read_labels(labels),
        output=class_output,
    )
    given = None if classes is None else parse_whole("--class", classes)
    net = load_network(model, weights, device, Overrides(size, resize, mean, std, value_range))
    say_class_output(net, class_output, len(config.class_names))
    with progress_bars(resumes=False) as progress:
        result = run(net, images, chosen_layers(net, layers), config, classes=given, progress=progress)
    _print_changes(result)
    write_result(result, output, save, partial(result.plot, raw, measure))


def _print_changes(result: Invariance) -> None:
    found = result.summary()
    for transform in _SIGNS:
        console.print(_distance_table(found, transform))
        _print_probability(found, transform)
        console.print()
    several = "; another image: from each image to the next" if len(result.images) > 1 else ""
    say(
        "Distances relative to the original's length, means over images: whole, of all activations, each at its place; "
        "peak, of each map's largest, wherever it is{}.",
        several,
    )
    _print_exact(found)
    for layer in result.layers:
        for transform in _SIGNS:
            _print_extremes(found, layer, transform)


def _distance_table(found: dict[str, Any], transform: Transform) -> Table:
    layers = found[transform]["layers"]
    table = new_table(styled("[bold]{}[/]", transform))
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
                layer if measure == next(iter(measures)) else "",
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
        say(
            "probability of the {}: {:.2f}, {:.2f} on average, down to {}",
            *(kind, own["original"], own["mean"], lowest),
        )


def _print_exact(found: dict[str, Any]) -> None:
    """Say which turns only move pixels, where others read between them."""
    own = found["rotation"]
    turns = [amount for amount in own["exact"] if amount % 360]
    if turns and len(own["exact"]) < len(own["amounts"]):
        say(
            "{}: these turns only move pixels; other turns, and magnifications, also blur a little, so do not compare "
            "the two",
            ", ".join(f"{turn:g}°" for turn in turns),
        )


def _print_extremes(found: dict[str, Any], layer: str, transform: Transform) -> None:
    """Say which feature maps the transformation changes least and most."""
    maps = found[transform]["layers"][layer]["peak"]["maps"]
    if maps["n_active"]:
        most, least = (
            ", ".join(f"{row['map']} ({row['moves']:.2f})" for row in maps[end]) for end in ("most", "least")
        )
        say(
            "[bold]{}[/], {}: of {} maps, by their peaks, the most invariant {}; the least {}",
            *(layer, transform, maps["n_active"], most, least),
        )


def _amount(point: dict[str, Any], transform: Transform) -> str:
    from backlight.studies.invariance.transforms import amount_text

    return amount_text(transform, point["amount"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
