"""`backlight faithfulness`: is what the pictures of an atlas show what the units see? Kept in the atlas."""

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
    parse_fills,
    parse_layers,
    write_result,
)
from backlight.cli.output import console, progress_bars, styled
from backlight.errors import BadInputError
from backlight.storage import locked
from backlight.studies.faithfulness import Faithfulness, FaithfulnessConfig, count_hits, merged, run_by_layer
from backlight.studies.faithfulness.scores import CONTROLS


def faithfulness(
    atlas: AtlasArgument,
    model: OwnModel = None,
    images: OwnImages = None,
    output: PlotOutput = None,
    save: SaveStem = None,
    layers: Annotated[str, typer.Option("--layers", help="Layers of the atlas with commas; all.")] = "all",
    maps: Annotated[
        str, typer.Option("--maps", help="Feature maps a layer: a number, drawn at random; all.")
    ] = "16",
    hits: Annotated[int, typer.Option("--hits", help="Hits of each map, the strongest first.")] = 3,
    shares: Annotated[
        str, typer.Option("--shares", help="Percent of the receptive field that is covered.")
    ] = "5,10,20,40",
    fills: Annotated[
        str, typer.Option("--fills", help="What covers: mean, blur, noise.")
    ] = "mean,blur,noise",
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """Cover what the projections of an atlas show: does the activation fall more than for controls?

    The answer is kept in the atlas, a layer at a time, and shown by `backlight figure`; layers that were studied before
    in the same way are not done again.
    """
    check_plot(output, save)
    config = FaithfulnessConfig(
        maps=_count(maps),
        hits=hits,
        shares=_shares(shares),
        fills=parse_fills(fills),
        seed=seed,
    )
    opened = open_atlas(atlas)
    net, source = load_network_of(opened, model, images, weights, device, "faithfulness")
    chosen = parse_layers(layers)
    ways = len(config.shares) * len(config.fills)
    console.print(
        f"{count_hits(opened, chosen, config)} hits of {len(chosen or opened)} layers, each covered in {ways} ways by "
        f"each of {len(CONTROLS)} controls and three rule sets",
        soft_wrap=True,
    )
    found: list[Faithfulness] = []
    with locked(atlas), progress_bars() as progress:
        for result in run_by_layer(opened, net, source, chosen, config, progress=progress):
            result.keep(atlas)
            found.append(result)
    whole = merged(found)
    console.print(_table(whole))
    rules = " and ".join(dict.fromkeys(whole.rules))
    console.print()
    console.print(f"{rules} projections, beside {', '.join(CONTROLS)}:", soft_wrap=True)
    _print_verdicts(whole)
    write_result(whole, output, save)


_SHOWN = ("centre", "random")


def _table(result: Faithfulness) -> Table:
    rules = [name for name in result.methods if name not in CONTROLS]
    table = Table(title="lost when covered", title_justify="left", box=None, pad_edge=False)
    table.add_column("layer", no_wrap=True, style="bold")
    for name in (*rules, *_SHOWN):
        table.add_column(name, justify="right", style="dim" if name in _SHOWN else "")
    for layer in result.layers:
        falls = result.verdict(layer).falls
        cells = ["–" if (fall := falls[name]) is None else f"{fall:.0%}" for name in (*rules, *_SHOWN)]
        table.add_row(layer, *cells)
    return table


def _print_verdicts(result: Faithfulness) -> None:
    for layer in result.layers:
        verdict, best = result.verdict(layer), result.advised_rules(layer)
        advice = "" if best == result.own_rules(layer) else f"; advised: --rules {best}"
        template = "[bold]{}[/]: [green]{}[/]{}" if verdict.is_strong else "[bold]{}[/]: [yellow]{}[/]{}"
        console.print(styled(template, layer, verdict.text, advice), soft_wrap=True)


def _count(text: str) -> int | None:
    if text != "all" and not text.isdigit():
        raise BadInputError(f"--maps is a number or all, but came {text!r}")
    return None if text == "all" else int(text)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) / 100 for part in text.split(","))
    except ValueError as error:
        raise BadInputError(f"--shares is a list of percents such as 5,20, but came {text!r}") from error
