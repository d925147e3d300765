"""Does averaging a projection over the grid of the strides below make it foretell better?

The adjoint of a strided convolution leaves checkerboards. Projections of residual and strided networks are averaged
over a box of half a stride of the layer and of a whole one, and foretell again; differences are paired by map. Results
are kept after each network with its settings, and one that is there for the same settings is not studied again.

    python benchmarks/low_pass.py [--networks residual strided depthwise demo] [--quick]

Prints a table and writes benchmarks/results/low_pass.json; `report.py` puts it into docs/evidence.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import backlight
from backlight.studies import foretelling
from backlight.studies.foretelling import ForetellingConfig
from backlight.studies.intervals import P_LIMIT, false_discoveries, mean_interval, sign_flip_p
from common import (
    machine,
    print_table,
    read_results,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)
from evidence import load, spread

PART = "low_pass"
NETWORKS = ("residual", "strided", "depthwise", "demo")
BOXES = (0.5, 1.0)
RULES = ("deconvnet", "guided")
MOST = {"demo": {"maps": 12, "hits": 1}}
"""Where squares are slid over whole photographs, fewer are studied."""
KINDS = {"plain": "foretold", "partial": "foretold, given distance"}


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Of those of `evidence.py`.
        layers: How many layers of each, spread evenly, the last among them.
        images: How many images are searched for hits.
        maps: Maps of each layer, drawn at random.
        hits: Hits of each map.
        size: Side of the covering square as a share of the field.
    """

    networks: tuple[str, ...] = NETWORKS
    layers: int = 4
    images: int = 300
    maps: int = 24
    hits: int = 3
    size: float = 0.3


QUICK = Settings(("residual",), layers=1, images=12, maps=2, hits=1)


def study(name: str, settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of a network: for each layer, rule set and box the change of the correlations."""
    net, source = load(name, settings.images)
    layers = spread([layer.name for layer in net.default_layers], settings.layers)
    with tempfile.TemporaryDirectory() as folder:
        atlas = backlight.build(net, source, Path(folder) / "low.atlas", layers, maps=2 * settings.maps)
        config = ForetellingConfig(settings.maps, settings.hits, settings.size)
        found = {
            box: foretelling.run(atlas, net, source, layers, replace(config, low_pass=box))
            for box in (0.0, *BOXES)
        }
    rows = []
    for layer in layers:
        field = net.layer(layer).receptive_field
        stride = max(map(float, field.stride)) if field else 0.0
        for box, rules in product(BOXES, RULES):
            at = found[0.0].methods.index(rules)
            (channels, *before), (_, *after) = (found[own].map_values(layer) for own in (0.0, box))
            row: dict[str, Any] = {"network": name, "layer": layer, "n": len(channels)}
            row |= {"stride": stride, "rules": rules, "box": box}
            for kind, old, new in zip(KINDS, before, after, strict=True):
                row |= _change(kind, old[:, at], new[:, at])
            rows.append(row)
    return rows


def _change(kind: str, old: NDArray[np.float64], new: NDArray[np.float64]) -> dict[str, float | None]:
    found = {kind: mean_interval(old).mean, f"{kind}_change": mean_interval(new - old).mean}
    found |= {f"{kind}_p": sign_flip_p(new - old)}
    return {name: None if value is None else round(value, 4) for name, value in found.items()}


def sure(rows: Sequence[dict[str, Any]], kind: str) -> list[bool]:
    """Return for each row whether its change is sure: p at most 0.05, corrected over all rows (Benjamini, Hochberg).

    *Convention*: a box of one pixel changes nothing, and is no test that the others are corrected for.
    """
    tested = [round(row["box"] * row["stride"]) > 1 for row in rows]
    p = np.array([row[f"{kind}_p"] if own else None for row, own in zip(rows, tested, strict=True)], float)
    return (false_discoveries(p) <= P_LIMIT).tolist()  # type: ignore[no-any-return]


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row for each layer: the partial correlation, and what each box changes of it."""
    known = zip(results["rows"], sure(results["rows"], "partial"), strict=True)
    cells = {
        (row["network"], row["layer"], row["rules"], row["box"]): (row, is_sure) for row, is_sure in known
    }
    layers = dict.fromkeys((network, layer) for network, layer, *_ in cells)
    found = []
    for network, layer in layers:
        own = {rules: [cells[network, layer, rules, box] for box in BOXES] for rules in RULES}
        stride = own[RULES[0]][0][0]["stride"]
        found.append([network, f"`{layer}`", f"{stride:g}", *(_cell(own[rules]) for rules in RULES)])
    return ["network", "layer", "stride", *RULES], found


def _cell(rows: Sequence[tuple[dict[str, Any], bool]]) -> str:
    changes = [f"{_number(row['partial_change'], '+')}{' (sure)' if own else ''}" for row, own in rows]
    return ", ".join([_number(rows[0][0]["partial"]), *changes])


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.2f}"


def main(settings: Settings) -> None:
    """Study the networks that were not studied with these settings."""
    use_all_cores()
    known = read_results(PART) or {}
    kept = known.get("settings", {})
    rows = known.get("rows", [])
    for name in settings.networks:
        limits = {key: min(most, getattr(settings, key)) for key, most in MOST.get(name, {}).items()}
        own = replace(settings, **limits)
        wanted = {key: value for key, value in asdict(own).items() if key != "networks"}
        if kept.get(name) == wanted:
            continue
        rows = [row for row in rows if row["network"] != name] + study(name, own)
        kept |= {name: wanted}
        write_results(PART, {"machine": machine(sgemm_gflops()), "settings": kept, "rows": rows})
    print_table("change of foretelling by a low-pass", *table({"rows": rows}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it runs")
    parser.add_argument("--networks", nargs="*")
    for name in ("layers", "images", "maps", "hits"):
        parser.add_argument(f"--{name}", type=int)
    main(settings_from(parser.parse_args(), Settings(), QUICK))
