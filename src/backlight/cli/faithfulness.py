"""`backlight faithfulness`: is what the pictures of an atlas show what the units see? Kept in the atlas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, progress_bars, say
from backlight.cli.parsing import parse_fills, parse_layers, parse_percents, parse_sample
from backlight.cli.writing import check_plot, write_result
from backlight.storage import locked
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.studies.faithfulness import Faithfulness
    from backlight.studies.intervals import Interval

_SHOWN = ("turned", "centre", "random")


def faithfulness(
    atlas: flags.AtlasArgument,
    model: flags.OwnModel = None,
    images: flags.OwnImages = None,
    output: flags.PlotOutput = None,
    save: flags.SaveStem = None,
    layers: flags.AtlasLayers = "all",
    maps: flags.SampledMaps = "16",
    hits: flags.StudiedHits = 9,
    shares: Annotated[
        str, typer.Option("--shares", help="Percentages of the receptive field that are covered.")
    ] = "5,10,20",
    fills: Annotated[
        str, typer.Option("--fills", help="What covers: mean, blur, noise.")
    ] = "mean,blur,noise",
    seed: flags.RandomSeed = 0,
    weights: flags.Weights = None,
    device: flags.Device = "cpu",
) -> None:
    """Cover what projections show: do the activations fall?

    Do they fall more than where controls are covered? The answer is kept in the atlas, one layer at a time, and shown
    by `backlight figure`. Layers that were already studied in the same way are skipped.
    """
    check_plot(output, save)
    from backlight.atlas import open_atlas
    from backlight.cli.models import load_network_of
    from backlight.studies.faithfulness import FaithfulnessConfig, count_hits, merged, run_by_layer
    from backlight.studies.faithfulness.scores import CONTROLS

    config = FaithfulnessConfig(
        maps=parse_sample(maps),
        hits=hits,
        shares=parse_percents("--shares", shares),
        fills=parse_fills(fills),
        seed=seed,
    )
    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "faithfulness")
    chosen = parse_layers(layers)
    ways = len(config.shares) * len(config.fills)
    say(
        "{} of {}, each covered in {} ways by three rule sets, these turned, and {} more controls",
        *(counted(count_hits(opened, chosen, config), "hit"), counted(len(chosen or opened), "layer")),
        *(ways, len(CONTROLS) - 1),
    )
    found: list[Faithfulness] = []
    with locked(atlas), progress_bars() as progress:
        for result in run_by_layer(opened, net, source, chosen, config, progress=progress):
            result.keep(atlas)
            found.append(result)
    whole = merged(found)
    console.print(_fall_table(whole, CONTROLS))
    rules = " and ".join(dict.fromkeys(whole.rules))
    console.print()
    say("{} projections, beside {}:", rules, ", ".join(CONTROLS))
    _print_verdicts(whole)
    write_result(whole, output, save)


def _fall_table(result: Faithfulness, controls: tuple[str, ...]) -> Table:
    """Return by layer the share of the activation that is lost, for rule sets and controls, and the gain."""
    rules = [name for name in result.methods if name not in controls]
    table = new_table("lost when covered")
    table.add_column("layer", no_wrap=True, style="bold")
    for name in (*rules, *_SHOWN):
        table.add_column(name, justify="right", style="dim" if name in _SHOWN else "")
    table.add_column("gain over turned", justify="right", no_wrap=True)
    for layer in result.layers:
        falls = result.verdict(layer).falls
        cells = ["–" if (fall := falls[name]) is None else f"{fall:.0%}" for name in (*rules, *_SHOWN)]
        table.add_row(layer, *cells, _gain(result.gains(layer)[result.own_rules(layer)]))
    return table


def _gain(gain: Interval) -> str:
    """Return a mean difference of falls in points of percent, with its interval."""
    if gain.mean is None:
        return "–"
    ends = (
        "" if gain.low is None or gain.high is None else f" ({100 * gain.low:+.0f} to {100 * gain.high:+.0f})"
    )
    return f"{100 * gain.mean:+.0f}{ends}"


def _print_verdicts(result: Faithfulness) -> None:
    for layer in result.layers:
        verdict, best = result.verdict(layer), result.advised_rules(layer)
        advice = "" if best == result.own_rules(layer) else f"; advised: --rules {best}"
        template = "[bold]{}[/]: [green]{}[/]{}" if verdict.is_strong else "[bold]{}[/]: [yellow]{}[/]{}"
        say(template, layer, verdict.text, advice)
