"""`backlight homogeneity`: how alike the hits of each feature map of an atlas are, against hits of different maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say, styled
from backlight.cli.parsing import parse_layers
from backlight.cli.writing import check_plot, write_result

if TYPE_CHECKING:
    from backlight.studies.homogeneity import Homogeneity
    from backlight.studies.homogeneity.likeness import Aspect

_N_SHOWN = 5


def homogeneity(
    atlas: flags.AtlasArgument,
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    layers: flags.AtlasLayers = "all",
    draws: Annotated[
        int, typer.Option("--draws", help="Random sets of hits of different maps of a layer to compare with.")
    ] = 999,
    seed: flags.RandomSeed = 0,
) -> None:
    """Compare the hits of each feature map: how alike are they?

    More alike than hits of different maps? By their projections, their patches, their colours, and their labels where
    there are any.
    """
    check_plot(output, save)
    from backlight.atlas import open_atlas
    from backlight.studies.homogeneity import HomogeneityConfig, run

    config = HomogeneityConfig(n_draws=draws, seed=seed)
    with progress_bars(resumes=False) as progress:
        result = run(open_atlas(atlas), parse_layers(layers), config, progress=progress)
    console.print(_likeness_table(result))
    console.print()
    say(
        "mean score of the maps, and how likely a map scores higher than hits of different maps ({} random sets): "
        "50 % is chance",
        draws,
    )
    for layer in result.layers:
        _print_extremes(result, layer)
    write_result(result, output, save)


def _likeness_table(result: Homogeneity) -> Table:
    table = new_table("how alike the hits of one map are", padding=(0, 0, 0, 1))
    table.add_column("layer", no_wrap=True, style="bold")
    for aspect in result.aspects:
        table.add_column(aspect, justify="right", no_wrap=True)
    if "labels" in result.aspects:
        table.add_column("purity", justify="right")
    for layer in result.layers:
        cells = [_cell(result, layer, aspect) for aspect in result.aspects]
        pure = result.mean_purity(layer)
        if "labels" in result.aspects:
            cells.append(Text("–" if pure is None else f"{pure:.0%}"))
        table.add_row(layer, *cells)
    return table


def _cell(result: Homogeneity, layer: str, aspect: Aspect) -> Text:
    found = result.layer_score(layer, aspect)
    if found.score is None or found.auc is None:
        return Text("–")
    template = "{:.2f} [green]{:.0%}[/]" if found.excess.above_zero else "{:.2f} [yellow]{:.0%}[/]"
    return styled(template, found.score, found.auc)


def _print_extremes(result: Homogeneity, layer: str) -> None:
    """Say which feature maps' hits are most and least alike."""
    ranked = [str(channel) for channel in result.ranked(layer)]
    n = min(_N_SHOWN, len(ranked) // 2)
    if n:
        found = result.layer_score(layer, "projections")
        say(
            "[bold]{}[/]: feature maps most alike by projections {}; least {}; {} of {} above chance (p at most 0.05, "
            "corrected for their number)",
            *(layer, ", ".join(ranked[:n]), ", ".join(ranked[::-1][:n]), found.n_above, found.n),
        )
