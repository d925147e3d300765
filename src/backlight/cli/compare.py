"""`backlight compare`: which feature maps changed between two atlases of one architecture, and how much."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from backlight.cli import flags
from backlight.cli.output import console, new_table, note, say
from backlight.cli.parsing import parse_layers
from backlight.cli.tables import as_text
from backlight.errors import BadInputError
from backlight.storage import check_place, replacing
from backlight.text import counted

if TYPE_CHECKING:
    from backlight.atlas import Comparison, LayerChange, MapChange

_KINDS = (".csv", ".json")
_SHOWN = 20
_NONE, _MAYBE = "–", ("in one only", "filters", "evidence")
_TITLE = "mean share of a map's {} strongest images that are not the same in both"


def compare(
    atlas: flags.AtlasArgument,
    other: Annotated[
        Path, typer.Argument(metavar="OTHER", help="Another atlas, of the same architecture and images.")
    ],
    layers: flags.AtlasLayers = "all",
    maps: Annotated[
        int, typer.Option("--maps", min=0, help="How many of the most changed feature maps to list.")
    ] = _SHOWN,
    save: Annotated[
        Path | None, typer.Option("--save", help="Also write all feature maps: to a .csv or a .json file.")
    ] = None,
) -> None:
    """Compare two atlases: which feature maps have changed?

    Both are of one architecture. A map has changed by the share of its strongest images that are not the same in both.
    `serve` and `export` show the maps side by side with --beside OTHER.
    """
    if save is not None:
        _check_save(save)
    from backlight.atlas import compare as run
    from backlight.atlas import open_atlas

    found = run(open_atlas(atlas), open_atlas(other), parse_layers(layers))
    pairing = found.pairing
    say("A {}", pairing.names[0])
    say("B {}", pairing.names[1])
    if not pairing.differences:
        note("the two are of the same network, images and rules")
    console.print()
    console.print(_layer_table(found.layers, _TITLE.format(pairing.top)))
    say("By chance a map would change by {:.0%}.", 1 - pairing.by_chance)
    for name, reason in pairing.left_out:
        say("Not compared: {} ({})", name, reason)
    if maps:
        console.print()
        console.print(_map_table(found.maps[:maps], counted(len(found.maps), "feature map")))
    if save is not None:
        _write(found, save)
        say("{}", save)


def _layer_table(layers: tuple[LayerChange, ...], title: str) -> Table:
    table = new_table(title)
    table.add_column("layer", no_wrap=True, style="bold")
    columns = {
        "maps": [str(len(own.maps)) for own in layers],
        "in one only": [str(len(own.only_a) + len(own.only_b)) for own in layers],
        "changed": [f"{own.changed:.0%}" for own in layers],
        "filters": [_distance(own.filters) for own in layers],
        "died": [str(own.n_died) for own in layers],
        "revived": [str(own.n_revived) for own in layers],
    }
    return _filled(table, [own.name for own in layers], columns)


def _map_table(maps: tuple[MapChange, ...], count: str) -> Table:
    table = new_table(f"the most changed of {count}")
    table.add_column("layer", no_wrap=True, style="bold")
    columns = {
        "map": [str(own.channel) for own in maps],
        "changed": [f"{own.changed:.0%}" for own in maps],
        "same": [f"{own.n_shared} of {own.n_hits}" if own.n_hits else _NONE for own in maps],
        "filters": [_distance(own.filters) for own in maps],
        "strength": [_strength(own) for own in maps],
        "evidence": [_NONE if own.evidence is None else f"{own.evidence:+.0%}" for own in maps],
    }
    return _filled(table, [own.layer for own in maps], columns)


def _filled(table: Table, names: list[str], columns: dict[str, list[str]]) -> Table:
    """Return a table with the columns that say something: lines are short, and a terminal may be narrow."""
    shown = {
        name: cells for name, cells in columns.items() if name not in _MAYBE or set(cells) - {_NONE, "0"}
    }
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in zip(names, *shown.values(), strict=True):
        table.add_row(*row)
    return table


def _distance(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _strength(own: MapChange) -> str:
    """Return the strongest activation of B in multiples of that of A, or which of them there is none in."""
    if any(own.dead):
        return "dead in both" if all(own.dead) else "died" if own.died else "revived"
    if own.strength is None:
        return _NONE
    return "over 999" if own.strength >= 1000 else f"x {own.strength:.2f}"


def _check_save(path: Path) -> None:
    if path.suffix.lower() not in _KINDS:
        raise BadInputError(f"a comparison is written as {' or '.join(_KINDS)}, got {str(path)!r}")
    check_place(path, "file of numbers")


def _write(found: Comparison, path: Path) -> None:
    """Write a row for each feature map as CSV; or as JSON, with what was left out.

    Raises:
        StorageError: It cannot be written; a file that was there is as it was.
    """
    rows = [_row(own) for own in found.maps]
    with replacing(path) as (fresh,):
        if path.suffix.lower() == ".json":
            a, b = found.pairing.names
            whole = {"a": a, "b": b, "left_out": dict(found.pairing.left_out), "maps": rows}
            fresh.write_text(json.dumps(whole, indent=1), "utf-8")
            return
        with fresh.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "layer": as_text(row["layer"])} for row in rows)


def _row(own: MapChange) -> dict[str, Any]:
    dead_a, dead_b = own.dead
    return {
        "layer": own.layer,
        "channel": own.channel,
        "changed": own.changed,
        "n_shared": own.n_shared,
        "n_hits": own.n_hits,
        "filters": own.filters,
        "strength": own.strength,
        "evidence": own.evidence,
        "dead_a": dead_a,
        "dead_b": dead_b,
    }
