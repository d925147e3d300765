"""`backlight occlude`: a square slid over a picture; how a feature map and the classifier respond at each position."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backlight.cli import flags
from backlight.cli.output import progress_bars, say
from backlight.cli.parsing import parse_cover, parse_sides, read_labels
from backlight.cli.writing import check_plot, write_result
from backlight.errors import BadInputError

if TYPE_CHECKING:
    from backlight.studies.occlusion import Occlusion

_N_ANSWERS = 6


def occlude(
    model: flags.ModelArgument,
    images: flags.PicturesArgument,
    layer: Annotated[
        str,
        typer.Option("--layer", help="The layer whose strongest feature map, or class score, is watched."),
    ],
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    square: Annotated[
        str, typer.Option("--square", help="Side of the square in pixels of the input, or HxW of a window.")
    ] = "32",
    stride: Annotated[
        str, typer.Option("--stride", help="Pixels from one position to the next, or DOWNxRIGHT.")
    ] = "8",
    fill: Annotated[
        str,
        typer.Option(
            "--fill",
            help="What covers: mean, blur or noise of the image, a colour such as black or '#808080', or a number "
            "of the input after normalisation (0 or 0,0,0).",
        ),
    ] = "mean",
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="A picture to cover with, in the place of --fill.")
    ] = None,
    by_pixel: Annotated[
        bool,
        typer.Option(
            "--by-pixel", help="Draw the heat maps by pixel: the mean over the squares that cover it."
        ),
    ] = False,
    channel: flags.Channel = None,
    row: flags.Row = None,
    col: flags.Col = None,
    class_index: Annotated[
        int | None,
        typer.Option("--class", help="The true class, from 0; defaults to the network's own answer."),
    ] = None,
    labels: flags.Labels = None,
    class_output: flags.ClassOutput = None,
    atlas: Annotated[
        Path | None,
        typer.Option(
            "--atlas",
            help="An atlas with projections in other images; the strongest of the maps that it has is watched.",
        ),
    ] = None,
    others: Annotated[
        list[Path] | None, typer.Option("--other", help="Another picture to project the map in; may repeat.")
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", help="As for `project`; defaults to the atlas's rules, or to deconvnet."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed for the noise.")] = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Slide a square over an image: what falls, and where?

    At each position a feature map or a class score, the probability of the class, and the answer are measured. Of
    several pictures each has its own figure and numbers: fig-1.png, fig-2.png and so on.
    """
    places = _places(output, save, len(images))
    for figure, numbers in places:
        check_plot(figure, numbers)
    if atlas is not None and others:
        raise BadInputError("other images are given by --atlas or by --other; choose one of them")
    from backlight.atlas import open_atlas
    from backlight.cli.models import Overrides, load_network, say_class_output
    from backlight.operators.ruleset import parse_rules
    from backlight.studies.occlusion import OcclusionConfig, run_all

    config = OcclusionConfig(
        size=parse_sides("--square", square),
        stride=parse_sides("--stride", stride),
        fill=parse_cover(fill),
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
    net = load_network(model, weights, device, Overrides(size, resize, mean, std, value_range))
    say_class_output(net, class_output, len(config.class_names))
    with progress_bars(resumes=False) as progress:
        results = run_all(net, images, layer, config, others=beside, baseline=baseline, progress=progress)
    for path, result, place in zip(images, results, places, strict=True):
        if len(images) > 1:
            say("{}:", path)
        _print_falls(result)
        write_result(result, *place, partial(result.plot, by_pixel=by_pixel))


def _places(output: Path | None, save: Path | None, count: int) -> list[tuple[Path | None, Path | None]]:
    """Return where the figure and the numbers of each picture go: of several they are numbered from 1."""
    if count == 1:
        return [(output, save)]
    return [
        (
            output and output.with_stem(f"{output.stem}-{i}"),
            save and save.with_name(f"{save.stem if save.suffix in ('.json', '.npz') else save.name}-{i}"),
        )
        for i in range(1, count + 1)
    ]


def _print_falls(result: Occlusion) -> None:
    found, unit = result.summary(), result.watched.unit
    place = f"row {unit.row}, column {unit.col}"
    if found["stronger_channel"] is not None:
        say(
            "map {} is stronger in this image, but the atlas has no projections of it; watching map {}, the strongest "
            "that it has",
            *(found["stronger_channel"], unit.channel),
        )
    if unit.row is None:
        say("[bold]{}, unit {}[/]: {}", unit.layer, unit.channel, _fall(found["unit_value"]))
    else:
        say("[bold]{}, map {}[/], summed: {}", unit.layer, unit.channel, _fall(found["map_sum"]))
        say("its unit at {}: {}", place, _fall(found["unit_value"]))
    own = found["class"]
    if own is not None:
        kind = "class given" if own["is_given"] else "the network's own answer"
        say("probability of [bold]{}[/] ({}): {}", own["name"], kind, _fall(own["probability"]))
        say("answers over {} positions: {}", found["n_positions"], _answers(own["labels"]))
    parts = (found["map_sum"], found["unit_value"], *([own["probability"]] if own is not None else []))
    if any(part["agreement_with_projection"] is not None for part in parts):
        say(
            "rank correlations are over the {} of {} squares that touch what the unit sees",
            *(found["n_in_field"], found["n_positions"]),
        )


def _fall(part: dict[str, Any]) -> str:
    top, left, bottom, right = part["falls_most_at"]
    text = f"{part['uncovered']:.4g}, down to {part['lowest']:.4g}"
    if part["fall"] is not None:
        text += f" ({part['fall']:.0%} lost)"
    text += f" with rows {top}–{bottom - 1}, columns {left}–{right - 1} covered"
    agreement = part["agreement_with_projection"]
    return text if agreement is None else f"{text}; rank correlation with the projection {agreement:.2f}"


def _answers(labels: list[dict[str, Any]]) -> str:
    shown = [f"{own['name']} {own['positions']}" for own in labels[:_N_ANSWERS]]
    rest = sum(own["positions"] for own in labels[_N_ANSWERS:])
    return ", ".join([*shown, *([f"{len(labels) - _N_ANSWERS} others {rest}"] if rest else [])])
