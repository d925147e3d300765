"""`backlight layers`: what can be shown of a model, or is shown in an atlas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.atlas_files import is_atlas
from backlight.cli.completing import complete_model
from backlight.cli.output import console, new_table, say
from backlight.errors import BadInputError
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.network import Layer, Network

_SHOWN, _NUMBERS = ("shown", "rules"), ("maps", "size", "shown")


def layers(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|ATLAS",
            help=f"An atlas, or a model: {flags.MODEL_FORMS}.",
            autocompletion=complete_model,
        ),
    ],
    weights: flags.Weights = None,
    every: Annotated[bool, typer.Option("--all", help="List every node that can be named.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    size: flags.Size = None,
    resize: flags.Resize = None,
    mean: flags.Mean = None,
    std: flags.Std = None,
    value_range: flags.ValueRange = None,
) -> None:
    """List the layers of a model or an atlas, and what a unit sees.

    Of a model, also whether every operator has a rule. Of an atlas, without the model: it is only read.
    """
    if is_atlas(model):
        if every or (weights, size, resize, mean, std, value_range) != (None,) * 6:
            raise BadInputError(
                "--all, --weights and the preprocessing are for a model; an atlas has its own"
            )
        _of_atlas(Path(model), as_json)
        return
    from backlight.cli.models import Overrides, load_network, print_left_out

    net = load_network(model, weights, "cpu", Overrides(size, resize, mean, std, value_range))
    chosen = net.layers if every else net.default_layers
    if as_json:
        console.print_json(json.dumps([_as_dict(layer) for layer in chosen]))
        return
    console.print(_layer_table(net, chosen))
    console.print()
    _print_coverage(net)
    print_left_out(net)
    said = net.class_output().note(net.name) if len(net.outputs) > 1 else None
    if said is not None:
        say("{}.", said)


def _of_atlas(path: Path, as_json: bool) -> None:
    """Print the layers of an atlas."""
    from backlight.atlas import layer_summary, open_atlas

    opened = open_atlas(path)
    found = [layer_summary(layer, opened.other_rules) for layer in opened.layers]
    if as_json:
        console.print_json(json.dumps(found))
        return
    size = "x".join(map(str, opened.model.input_shape))
    table = _new_table(f"{path.name}: {opened.model.name}, input {size}", *_SHOWN)
    for own, layer in zip(found, opened.layers, strict=True):
        cells = _cells(layer.name, layer.operator, layer.shape, own["receptive_field"])
        table.add_row(*cells, str(len(layer.channels)), ", ".join((own["rules"], *own["other_rules"])))
    console.print(table)


def _new_table(title: str, *more: str) -> Table:
    table = new_table(title)
    table.add_column("layer", no_wrap=True, style="bold")
    for name in ("operator", "maps", "size", "a unit sees", *more):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    return table


def _cells(name: str, operator: str, shape: tuple[int, ...], field: str) -> list[str]:
    return [name, operator, str(shape[0]), "x".join(map(str, shape[1:])) or "-", field]


def _as_dict(layer: Layer) -> dict[str, object]:
    from backlight.network import describe_field

    return {
        "name": layer.name,
        "operator": layer.operator,
        "shape": layer.shape,
        "rectified": layer.rectified,
        "default": layer.is_default,
        "receptive_field": describe_field(layer),
    }


def _layer_table(net: Network, chosen: tuple[Layer, ...]) -> Table:
    from backlight.network import describe_field

    size = "x".join(map(str, net.input_shape))
    table = _new_table(f"{net.name}, input {size}")
    for layer in chosen:
        table.add_row(*_cells(layer.name, layer.operator, layer.shape, describe_field(layer)))
    return table


def _print_coverage(net: Network) -> None:
    maps = sum(layer.n_maps for layer in net.default_layers)
    n_layers = len(net.default_layers)
    verb = "is" if n_layers == 1 else "are"
    summary = f"{counted(n_layers, 'layer')} with {counted(maps, 'feature map')} {verb} shown by default."
    unsupported = net.coverage().unsupported
    if not unsupported:
        rules = " Every operator below them has a rule." if net.default_layers else ""
        say("{}{}", summary, rules)
        return
    say("{}", summary)
    listed = "; ".join(f"{e.operator} ({', '.join(e.places[:3])})" for e in unsupported)
    say("[yellow]No rule for:[/] {}. Layers above cannot be projected by deconvnet or guided.", listed)
