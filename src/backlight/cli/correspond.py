"""`backlight correspond`: the same part masked in several images, does it change a layer in the same way?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from backlight.cli.options import (
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
    parse_layers_of,
    write_result,
)
from backlight.cli.output import console, progress_bars, styled
from backlight.studies.correspondence import Correspondence, CorrespondenceConfig, run
from backlight.studies.correspondence.masking import CONTROL_MASKS, Entries
from backlight.studies.correspondence.parts import read_parts


def correspond(
    model: ModelArgument,
    boxes: Annotated[
        Path,
        typer.Argument(
            metavar="BOXES.json",
            help='The parts: {"images": {"dog1.jpg": {"left eye": [top, left, bottom, right]}}}.',
        ),
    ],
    output: PlotOutput = None,
    save: SaveStem = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            help="Layers with commas; all; default: the last feature maps and the layer before the output.",
        ),
    ] = "default",
    n_random: Annotated[int, typer.Option("--random", help="Draws of each control for each part.")] = 99,
    fill: Annotated[str, typer.Option("--fill", help="What masks: mean, blur or noise.")] = "mean",
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
    weights: Weights = None,
    device: Device = "cpu",
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """Mask the same part in several images: does it change a layer in the same way, more than random masks do?

    Small differences mean that the layer knows the part in all images. Boxes are in pixels of the image files.
    """
    check_plot(output, save)
    config = CorrespondenceConfig(n_random=n_random, fill=parse_fill(fill), seed=seed)
    marked = read_parts(boxes)
    net = load_network(model, weights, device, size, resize, mean, std, value_range)
    with progress_bars(resumes=False) as progress:
        result = run(net, marked, parse_layers_of(net, layers), config, progress=progress)
    for layer in result.layers:
        console.print(_table(result, layer))
        console.print()
    console.print(
        f"{len(result.images)} images. Share of entries whose sign differs between two images, ± over pairs of images; "
        "small: corresponding. p: share of draws of the control that are as small as the part.",
        soft_wrap=True,
    )
    write_result(result, output, save)


def _table(result: Correspondence, layer: str) -> Table:
    table = Table(title=styled("[bold]{}[/]", layer), title_justify="left", box=None, pad_edge=False)
    table.add_column("part", no_wrap=True)
    table.add_column("entries", style="dim")
    table.add_column("differs", justify="right")
    for control in CONTROL_MASKS:
        table.add_column(control, justify="right", style="dim")
        table.add_column("p", justify="right")
    for part in result.parts:
        _add_row(table, result, layer, part, "all")
        _add_row(table, result, layer, part, "changed")
    return table


def _add_row(table: Table, result: Correspondence, layer: str, part: str, entries: Entries) -> None:
    cells = [part if entries == "all" else "", entries, _with_spread(result.delta(layer, part, entries))]
    for control in CONTROL_MASKS:
        p = result.p_value(layer, part, entries, control)
        cells += [
            _with_spread(result.control(layer, part, entries, control)),
            "–" if p is None else f"{p:.2g}",
        ]
    table.add_row(*cells)


def _with_spread(value: tuple[float, float]) -> str:
    return "–" if value[0] != value[0] else f"{value[0]:.3f}±{value[1]:.3f}"
