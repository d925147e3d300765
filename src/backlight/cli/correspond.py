"""`backlight correspond`: the same part masked in several images, does it change a layer in the same way?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say, styled
from backlight.cli.parsing import parse_fill
from backlight.cli.writing import check_plot, write_result
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.studies.correspondence import Correspondence
    from backlight.studies.correspondence.masking import Entries


def correspond(
    model: flags.ModelArgument,
    boxes: Annotated[
        Path,
        typer.Argument(
            metavar="BOXES.json",
            help='The parts: {"images": {"dog1.jpg": {"left eye": [top, left, bottom, right]}}}.',
        ),
    ],
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            help="Layers, separated by commas, or all; default: the last feature maps and the layer before the output.",
        ),
    ] = "default",
    n_random: Annotated[
        int, typer.Option("--random", help="Random masks of each control for each part.")
    ] = 99,
    fill: Annotated[str, typer.Option("--fill", help="What masks: mean, blur or noise.")] = "mean",
    seed: flags.RandomSeed = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """Mask the same part in several images: does a layer know it?

    Does masking change the layer in the same way in all images, more than random masks do? Small differences mean that
    the layer knows the part. Boxes are in pixels of the image files.
    """
    check_plot(output, save)
    from backlight.cli.models import Overrides, chosen_layers, load_network
    from backlight.studies.correspondence import CorrespondenceConfig, run
    from backlight.studies.correspondence.parts import read_parts

    config = CorrespondenceConfig(n_random=n_random, fill=parse_fill(fill), seed=seed)
    marked = read_parts(boxes)
    net = load_network(model, weights, device, Overrides(size, resize, mean, std, value_range))
    with progress_bars(resumes=False) as progress:
        result = run(net, marked, chosen_layers(net, layers), config, progress=progress)
    for layer in result.layers:
        console.print(_part_table(result, layer))
        console.print()
    say(
        "{}. Share of entries whose sign differs between two images, ± over pairs of images; "
        "small: corresponding. p: share of random masks of the control whose difference is as small as the part's.",
        counted(len(result.images), "image"),
    )
    write_result(result, output, save)


def _part_table(result: Correspondence, layer: str) -> Table:
    from backlight.studies.correspondence.masking import CONTROL_MASKS

    table = new_table(styled("[bold]{}[/]", layer))
    table.add_column("part", no_wrap=True)
    table.add_column("entries", style="dim")
    table.add_column("differs", justify="right")
    for control in CONTROL_MASKS:
        table.add_column(control, justify="right", style="dim")
        table.add_column("p", justify="right")
    for part in result.parts:
        table.add_row(*_cells(result, layer, part, "all"))
        table.add_row(*_cells(result, layer, part, "changed"))
    return table


def _cells(result: Correspondence, layer: str, part: str, entries: Entries) -> list[str]:
    from backlight.studies.correspondence.masking import CONTROL_MASKS

    cells = [part if entries == "all" else "", entries, _with_spread(result.delta(layer, part, entries))]
    for control in CONTROL_MASKS:
        p = result.p_value(layer, part, entries, control)
        cells += [
            _with_spread(result.control(layer, part, entries, control)),
            "–" if p is None else f"{p:.2g}",
        ]
    return cells


def _with_spread(value: tuple[float, float]) -> str:
    return "–" if value[0] != value[0] else f"{value[0]:.3f}±{value[1]:.3f}"
