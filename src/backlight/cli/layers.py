"""`backlight layers`: what can be shown of a model."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from backlight.cli.options import Mean, ModelArgument, Resize, Size, Std, ValueRange, Weights, load_network
from backlight.cli.output import console, counted, styled
from backlight.network import Layer, Network, describe_field


def layers(
    model: ModelArgument,
    weights: Weights = None,
    every: Annotated[bool, typer.Option("--all", help="List every node that can be named.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    size: Size = None,
    resize: Resize = None,
    mean: Mean = None,
    std: Std = None,
    value_range: ValueRange = None,
) -> None:
    """List a model's layers, with their receptive fields, and what its operators are."""
    net = load_network(model, weights, "cpu", size, resize, mean, std, value_range)
    chosen = net.layers if every else net.default_layers
    if as_json:
        console.print_json(json.dumps([_as_dict(layer) for layer in chosen]))
        return
    console.print(_table(net, chosen))
    console.print()
    _print_coverage(net)
    print_left_out(net)
    note = net.class_output().note(net.name) if len(net.outputs) > 1 else None
    if note is not None:
        console.print(f"{note}.", soft_wrap=True)


def _as_dict(layer: Layer) -> dict[str, object]:
    return {
        "name": layer.name,
        "operator": layer.operator,
        "shape": layer.shape,
        "rectified": layer.rectified,
        "default": layer.is_default,
        "receptive_field": describe_field(layer),
    }


def _table(net: Network, chosen: tuple[Layer, ...]) -> Table:
    size = "x".join(map(str, net.input_shape))
    table = Table(title=f"{net.name}, input {size}", title_justify="left", box=None, pad_edge=False)
    table.add_column("layer", no_wrap=True, style="bold")
    table.add_column("operator")
    table.add_column("maps", justify="right")
    table.add_column("size", justify="right")
    table.add_column("a unit sees")
    for layer in chosen:
        extent = "x".join(map(str, layer.shape[1:])) or "-"
        table.add_row(layer.name, layer.operator, str(layer.n_maps), extent, describe_field(layer))
    return table


def _print_coverage(net: Network) -> None:
    maps = sum(layer.n_maps for layer in net.default_layers)
    n_layers = len(net.default_layers)
    verb = "is" if n_layers == 1 else "are"
    summary = f"{counted(n_layers, 'layer')} with {counted(maps, 'feature map')} {verb} shown by default."
    unsupported = net.coverage().unsupported
    if not unsupported:
        rules = " Every operator below them has a rule." if net.default_layers else ""
        console.print(f"{summary}{rules}", soft_wrap=True)
        return
    console.print(summary, soft_wrap=True)
    listed = "; ".join(f"{e.operator} ({', '.join(e.places[:3])})" for e in unsupported)
    rest = "Layers above cannot be projected by deconvnet or guided."
    console.print(styled("[yellow]No rule for:[/] {}. {}", listed, rest), soft_wrap=True)


def print_left_out(net: Network) -> None:
    """Say what makes features on the way to the output and is no layer: what, where it begins, and why."""
    for line in net.coverage().left_out_in_words():
        console.print(styled("[yellow]Left out:[/] {}", line), soft_wrap=True)
