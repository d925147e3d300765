"""`backlight foretelling`: do the pictures of an atlas tell where covering an image costs the activation?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say
from backlight.cli.parsing import parse_layers, parse_sample
from backlight.cli.writing import check_plot, write_result
from backlight.storage import locked
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.studies.foretelling import Foretelling
    from backlight.studies.intervals import Interval


def foretelling(
    atlas: flags.AtlasArgument,
    model: flags.OwnModel = None,
    images: flags.OwnImages = None,
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    layers: flags.AtlasLayers = "all",
    maps: flags.SampledMaps = "16",
    hits: flags.StudiedHits = 9,
    size: Annotated[
        float, typer.Option("--size", help="Side of the square, in percent of the receptive field's side.")
    ] = 40,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride", help="Pixels from one square to the next; by default 2, more in large fields."
        ),
    ] = None,
    seed: flags.RandomSeed = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
) -> None:
    """Slide a square: do activations fall where projections say?

    Do they fall where the projections have their energy? The answer is kept in the atlas, one layer at a time, and
    shown by `backlight figure`. Layers that were already studied in the same way are skipped.
    """
    check_plot(output, save)
    from backlight.atlas import open_atlas
    from backlight.cli.models import load_network_of
    from backlight.studies.foretelling import ForetellingConfig, count_hits, merged, run_by_layer

    config = ForetellingConfig(parse_sample(maps), hits, size / 100, stride, seed=seed)
    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "foretelling")
    chosen = parse_layers(layers)
    say(
        "{} of {}, each covered by a square at many places",
        *(counted(count_hits(opened, chosen, config), "hit"), counted(len(chosen or opened), "layer")),
    )
    found: list[Foretelling] = []
    with locked(atlas), progress_bars() as progress:
        for result in run_by_layer(opened, net, source, chosen, config, progress=progress):
            result.keep(atlas)
            found.append(result)
    whole = merged(found)
    for kind, title in (
        ("plain", "rank correlation of energy and fall"),
        ("partial", "the same given the distance from the unit"),
    ):
        console.print(_table(whole, kind, title))
        console.print()
    write_result(whole, output, save)


def _table(result: Foretelling, kind: str, title: str) -> Table:
    """Return by layer and method the mean correlation over maps; of the atlas's own rules with its interval."""
    methods = result.methods if kind == "plain" else result.methods[:-1]  # the last is the distance itself
    table = new_table(title)
    table.add_column("layer", no_wrap=True, style="bold")
    for name in methods:
        table.add_column(name, justify="right")
    for layer in result.layers:
        cells = [
            _cell(result.interval(layer, name, kind), with_ends=name == result.own_rules(layer))
            for name in methods
        ]
        table.add_row(layer, *cells)
    return table


def _cell(found: Interval, with_ends: bool) -> str:
    if found.mean is None:
        return "–"
    if not with_ends or found.low is None or found.high is None:
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"
