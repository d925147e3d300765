"""`backlight sanity`: do the projections change when weights are random, or switches not those of the image?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from backlight.atlas import open_atlas
from backlight.cli.figure import AtlasArgument
from backlight.cli.options import (
    Device,
    OwnImages,
    OwnModel,
    PlotOutput,
    SaveStem,
    Weights,
    check_plot,
    load_network_of,
    write_result,
)
from backlight.cli.output import console, progress_bars
from backlight.studies.sanity import Sanity, SanityConfig, run
from backlight.studies.sanity.similarity import METRICS


def sanity(
    atlas: AtlasArgument,
    model: OwnModel = None,
    images: OwnImages = None,
    output: PlotOutput = None,
    save: SaveStem = None,
    layer: Annotated[str | None, typer.Option("--layer", help="A layer of the atlas; else the last.")] = None,
    maps: Annotated[int, typer.Option("--maps", help="Feature maps, drawn at random.")] = 8,
    hits: Annotated[int, typer.Option("--hits", help="Hits of each map, the strongest first.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """Replace weights by random ones, and switches by others: how alike do the projections stay?"""
    check_plot(output, save)
    config = SanityConfig(maps, hits, seed)
    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "sanity")
    with progress_bars(resumes=False) as progress:
        result = run(opened, net, source, layer, config, progress=progress)
    console.print(_table(result))
    console.print()
    console.print(
        "1: the projection stays as it is; 0: nothing of it stays. What stays with random weights was not learnt.",
        soft_wrap=True,
    )
    write_result(result, output, save)


def _table(result: Sanity) -> Table:
    table = Table(
        title=f"{result.layer}: similarity to the trained projection",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("rules", style="bold")
    table.add_column("replaced")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    for rules, found in result.summary().items():
        for what, means in found.items():
            cells = ["–" if value is None else f"{value:.2f}" for value in means.values()]
            table.add_row(rules, what, *cells)
    return table
