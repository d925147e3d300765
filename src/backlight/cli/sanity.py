"""`backlight sanity`: do the projections change when weights are random, or switches not those of the image?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say
from backlight.cli.writing import check_plot, write_result

if TYPE_CHECKING:
    from backlight.studies.sanity import Sanity

_MEASURES = ("ranks", "magnitudes", "structure", "edges")
"""What the table calls `METRICS`, in their order."""


def sanity(
    atlas: flags.AtlasArgument,
    model: flags.OwnModel = None,
    images: flags.OwnImages = None,
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="A layer of the atlas; defaults to the last.")
    ] = None,
    maps: Annotated[int, typer.Option("--maps", help="Feature maps: a random sample of N.")] = 8,
    hits: flags.StudiedHits = 1,
    seed: flags.RandomSeed = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
) -> None:
    """Randomise weights and switches: do the projections change?

    Weights are replaced by random ones, and switches by those of other images: how alike do the projections stay?
    """
    check_plot(output, save)
    from backlight.atlas import open_atlas
    from backlight.cli.models import load_network_of
    from backlight.studies.sanity import SanityConfig, run

    config = SanityConfig(maps, hits, seed)
    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "sanity")
    with progress_bars(resumes=False) as progress:
        result = run(opened, net, source, layer, config, progress=progress)
    console.print(_similarity_table(result))
    console.print()
    say(
        "Ranks: rank correlation, also of the magnitudes alone. Structure: SSIM. Edges: correlation of HOG descriptors."
    )
    say(
        "1: the projection does not change; 0: nothing of it remains. What remains with random weights was not learnt."
    )
    write_result(result, output, save)


def _similarity_table(result: Sanity) -> Table:
    table = new_table(f"{result.layer}: similarity to the trained projection")
    table.add_column("rules", style="bold", no_wrap=True)
    table.add_column("replaced", no_wrap=True)
    for name in _MEASURES:
        table.add_column(name, justify="right")
    for rules, found in result.summary().items():
        for what, means in found.items():
            cells = ["–" if value is None else f"{value:.2f}" for value in means.values()]
            table.add_row(rules, what, *cells)
    return table
