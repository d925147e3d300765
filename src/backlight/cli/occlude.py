"""`backlight occlude`: a square slid over a picture; what a feature map and the classifier make of each position."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from backlight.atlas import open_atlas
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
    parse_fill,
    say_class_output,
    write_result,
)
from backlight.cli.output import console, progress_bars, styled
from backlight.errors import BadInputError
from backlight.operators.ruleset import parse_rules
from backlight.studies.occlusion import Config, Occlusion, run

_N_LABELS = 6


def occlude(
    model: ModelArgument,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="One picture.")],
    layer: Annotated[str, typer.Option("--layer", help="The layer whose strongest feature map is watched.")],
    output: PlotOutput = None,
    save: SaveStem = None,
    square: Annotated[int, typer.Option("--square", help="Side of the square, in pixels of the input.")] = 32,
    stride: Annotated[int, typer.Option("--stride", help="Pixels from one position to the next.")] = 8,
    fill: Annotated[str, typer.Option("--fill", help="What covers: mean, blur or noise.")] = "mean",
    channel: Annotated[
        int | None, typer.Option("--channel", help="The feature map; else the strongest of the picture.")
    ] = None,
    row: Annotated[int | None, typer.Option("--row", help="Row of the unit; else the strongest.")] = None,
    col: Annotated[int | None, typer.Option("--col", help="Column of the unit; else the strongest.")] = None,
    class_index: Annotated[
        int | None, typer.Option("--class", help="The true class, from 0; else the network's own answer.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A text file with the name of a class on each line.")
    ] = None,
    class_output: ClassOutput = None,
    atlas: Annotated[
        Path | None, typer.Option("--atlas", help="An atlas with the map's projections in other images.")
    ] = None,
    others: Annotated[
        list[Path] | None, typer.Option("--other", help="Another picture to project the map in; may repeat.")
    ] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", help="As for `project`; else the atlas's, or deconvnet.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise.")] = 0,
    weights: Weights = None,
    device: Device = "cpu",
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """Slide a square over a picture: where does a feature map fall, the class's probability, the answer?"""
    check_plot(output, save)
    if atlas is not None and others:
        raise BadInputError("other images come from --atlas or from --other, but both were given; choose one")
    config = Config(
        size=square,
        stride=stride,
        fill=parse_fill(fill),
        channel=channel,
        row=row,
        col=col,
        class_index=class_index,
        class_names=read_labels(labels),
        rules=parse_rules(rules) if rules is not None else None,
        seed=seed,
        output=class_output,
    )
    beside = open_atlas(atlas) if atlas is not None else others or None
    net = load_network(model, weights, device, size, resize, mean, std, value_range)
    say_class_output(net, class_output, len(config.class_names))
    with progress_bars(resumes=False) as progress:
        result = run(net, image, layer, config, beside, progress)
    _print(result)
    write_result(result, output, save)


def _print(result: Occlusion) -> None:
    found, unit = result.summary(), result.watched.unit
    place = f"row {unit.row}, column {unit.col}"
    _say("[bold]{}, map {}[/], summed: {}", unit.layer, unit.channel, _fall(found["map_sum"]))
    _say("its unit at {}: {}", place, _fall(found["unit_value"]))
    own = found["class"]
    if own is not None:
        kind = "class given" if own["is_given"] else "the network's own answer"
        _say("probability of [bold]{}[/] ({}): {}", own["name"], kind, _fall(own["probability"]))
        _say("answers over {} positions: {}", found["n_positions"], _labels(own["labels"]))


def _fall(part: dict[str, Any]) -> str:
    top, left, bottom, right = part["falls_most_at"]
    text = f"{part['uncovered']:.4g}, down to {part['lowest']:.4g}"
    if part["fall"] is not None:
        text += f" ({part['fall']:.0%} lost)"
    text += f" with rows {top}–{bottom - 1}, columns {left}–{right - 1} covered"
    agreement = part["agreement_with_projection"]
    return text if agreement is None else f"{text}; rank correlation with the projection {agreement:.2f}"


def _labels(labels: list[dict[str, Any]]) -> str:
    shown = [f"{own['name']} {own['positions']}" for own in labels[:_N_LABELS]]
    rest = sum(own["positions"] for own in labels[_N_LABELS:])
    return ", ".join([*shown, *([f"{len(labels) - _N_LABELS} others {rest}"] if rest else [])])


def _say(template: str, *values: object) -> None:
    console.print(styled(template, *values), soft_wrap=True)
