"""Does averaging a projection over the grid of the strides below make it foretell better?

The adjoint of a strided convolution leaves checkerboards. Projections of residual and strided networks are averaged
over a box of half a stride of the layer and of a whole one, and foretell again; differences are paired by map.

    python benchmarks/low_pass.py [--networks residual strided demo]

Prints a table and writes benchmarks/results/low_pass.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import backlight
from backlight.studies import foretelling
from backlight.studies.foretelling import ForetellingConfig
from backlight.studies.intervals import mean_interval, sign_flip_p
from common import machine, print_table, sgemm_gflops, use_all_cores, write_results
from evidence import load, spread

PART = "low_pass"
NETWORKS = ("residual", "strided", "demo")
BOXES = (0.5, 1.0)
RULES = ("deconvnet", "guided")
N_LAYERS, N_IMAGES, N_MAPS, N_HITS, SIZE = 4, 300, 12, 3, 0.3


def study(name: str) -> list[dict[str, Any]]:
    """Return the rows of a network: for each layer, rule set and box the change of the correlations."""
    net, source = load(name, N_IMAGES)
    layers = spread([layer.name for layer in net.default_layers], N_LAYERS)
    with tempfile.TemporaryDirectory() as folder:
        atlas = backlight.build(net, source, Path(folder) / "low.atlas", layers, maps=2 * N_MAPS)
        found = {
            box: foretelling.run(
                atlas, net, source, layers, ForetellingConfig(N_MAPS, N_HITS, SIZE, low_pass=box)
            )
            for box in (0.0, *BOXES)
        }
    rows = []
    for layer in layers:
        _, *before = found[0.0].map_values(layer)
        for box in BOXES:
            _, *after = found[box].map_values(layer)
            for rules in RULES:
                at = found[0.0].methods.index(rules)
                row: dict[str, Any] = {"network": name, "layer": layer, "rules": rules, "box": box}
                for kind, old, new in zip(("plain", "partial"), before, after, strict=True):
                    change = new[:, at] - old[:, at]
                    row |= {
                        kind: mean_interval(old[:, at]).mean,
                        f"{kind}_change": mean_interval(change).mean,
                        f"{kind}_p": sign_flip_p(change),
                    }
                rows.append(row)
    return rows


def main(networks: list[str]) -> None:
    """Study networks."""
    use_all_cores()
    rows = [row for name in networks for row in study(name)]
    write_results(PART, {"machine": machine(sgemm_gflops()), "rows": rows})
    print_table(
        "change of foretelling by a low-pass",
        ["network", "layer", "rules", "box", "plain", "change", "p", "given distance", "change", "p"],
        [
            [row["network"], row["layer"], row["rules"], f"{row['box']}"]
            + [f"{row[f'{k}{e}'] or 0:.3f}" for k in ("plain", "partial") for e in ("", "_change", "_p")]
            for row in rows
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    main(parser.parse_args().networks)
