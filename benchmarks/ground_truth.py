"""Ground truth: do projections show the pixels that are responsible, in networks where those are known?

A thousand small networks with weights set by hand (`planted.py`), ten families of a hundred. For each, every rule set
projects the unit, and the picture is compared with the truth. Prints tables and writes
benchmarks/results/ground_truth.json; `report.py` puts them into docs/ground-truth.md. Takes a quarter of an hour.

    python benchmarks/ground_truth.py [--networks 100] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from backlight import DECONVNET, GRADIENT, GUIDED, RuleSet, capture, project
from backlight.operators.ruleset import MASKED
from common import number, print_table, settings_from, write_results
from planted import FAMILIES, Plan, Planted, draw_plan, plant

PART = "ground_truth"
RULES: tuple[RuleSet, ...] = (DECONVNET, MASKED, GUIDED, GRADIENT)
MEASURES = ("recall", "precision", "energy", "ignored")


@dataclass(frozen=True)
class Settings:
    """How much is measured: so many networks of each family, the first seeds."""

    networks: int = 100


QUICK = Settings(networks=2)


@dataclass(frozen=True)
class Measured:
    """How a picture compares with the truth.

    Attributes:
        recall: Share of the responsible pixels among the k largest in magnitude, where k is their number. A pixel of
            zero is never among them.
        precision: Share of those (up to k) largest pixels that are responsible; None for an empty picture.
        energy: Share of the picture's energy (squares, summed over channels) on responsible pixels; None if empty.
        ignored: Share of its energy on patterns that the unit ignores; None if empty.
        impossible: Energy on pixels from which no path leads to the unit: not a share, and exactly zero.
    """

    recall: float
    precision: float | None
    energy: float | None
    ignored: float | None
    impossible: float


def measure(picture: Tensor, planted: Planted) -> Measured:
    """Return how a projection (3, h, w) compares with the truth."""
    energy = picture.double().square().sum(0)
    total, impossible = float(energy.sum()), float(energy[~planted.possible].sum())
    if total == 0:
        return Measured(0.0, None, None, None, impossible)
    responsible, k = planted.responsible, int(planted.responsible.sum())
    largest = energy.flatten().topk(k).indices
    # What rounding leaves of two weights that cancel is no pixel of the picture.
    largest = largest[energy.flatten()[largest] > 1e-10 * energy.max()]
    n_found = int(responsible.flatten()[largest].sum())
    ignored = planted.distractors.any(0) | planted.faint
    return Measured(
        n_found / k,
        n_found / len(largest),
        float(energy[responsible].sum()) / total,
        float(energy[ignored].sum()) / total,
        impossible,
    )


def nearest(planted: Planted) -> Tensor:
    """Return a picture (1, h, w) that knows only where the unit is: largest in the middle of its field."""
    rows, cols = planted.possible.any(1).nonzero(), planted.possible.any(0).nonzero()
    middle = [float(at.min() + at.max()) / 2 for at in (rows, cols)]
    i, j = (torch.arange(size, dtype=torch.float64) for size in planted.possible.shape)
    distance = (i[:, None] - middle[0]).square() + (j - middle[1]).square()
    return torch.where(planted.possible, 1 / (1 + distance), 0.0)[None]


def masks_needed(plan: Plan) -> int | None:
    """Return at how many of the topmost levels of rectifiers `masked` must mask to be exact here; None for none."""
    if plan.family in ("average pool", "strided convolution"):
        return 2 + plan.above  # the first level below the pool
    if plan.family == "alternatives":
        # Right below the unit; or the detectors, below the level that merges them.
        return 3 + plan.above + plan.below if plan.is_low else 2
    if plan.family == "skip":
        return 4 + plan.above + plan.below  # the detectors, below both levels of the block
    return None


def run(settings: Settings) -> dict[str, Any]:
    """Return the results of all networks: a row for each, with the measures of each rule set."""
    torch.set_num_threads(1)
    tasks = [(family, seed) for family in FAMILIES for seed in range(settings.networks)]
    rows = [row_of(plant(draw_plan(*task))) for task in track(tasks, "networks")]
    return {"settings": asdict(settings), "measures": [*MEASURES, "impossible"], "rows": rows}


def row_of(planted: Planted) -> dict[str, Any]:
    """Return what all rule sets measure in one network."""
    plan, net = planted.plan, capture(planted.model, tuple(planted.image.shape))
    pictures = {rules.name: project(net, planted.image[None], planted.unit, rules)[0] for rules in RULES}
    needed = masks_needed(plan)
    row = {
        "family": plan.family,
        "seed": plan.seed,
        "reaches": needed is None or needed <= MASKED.masked_levels,
    }
    for name, picture in (pictures | {"nearest": nearest(planted)}).items():
        values = asdict(measure(picture, planted)).values()
        row[name] = [None if value is None else float(f"{value:.4g}") for value in values]
    return row


def table(results: dict[str, Any], name: str) -> tuple[list[str], list[list[str]]]:
    """Return the means of one measure, a family in a row: header and rows."""
    at = results["measures"].index(name)
    columns = [rules.name for rules in RULES] + (["nearest pixels"] if name == "recall" else [])
    rows = []
    for family in FAMILIES:
        own = [row for row in results["rows"] if row["family"] == family]
        cells = [_mean([row[column.split()[0]][at] for row in own]) for column in columns]
        rows.append([family, str(len(own)), *cells])
    return ["family", "networks", *columns], rows


def reached(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return where the masks of `masked` reach the level that needs one, and what it gives there and elsewhere."""
    rows = []
    for family in FAMILIES:
        own = [row for row in results["rows"] if row["family"] == family]
        if masks_needed(draw_plan(family, 0)) is None:
            continue
        parts = [[row for row in own if row["reaches"] is there] for there in (True, False)]
        cells = [(str(len(part)), _mean([row["masked"][2] for row in part])) for part in parts]
        rows.append([family, *(cell for pair in cells for cell in pair)])
    return ["family", "reached in", "energy", "not reached in", "energy"], rows


def worst_impossible(results: dict[str, Any]) -> float:
    """Return the largest energy that any rule set puts on impossible pixels in any network."""
    at = results["measures"].index("impossible")
    return max(row[rules.name][at] for row in results["rows"] for rules in RULES)


def _mean(values: Sequence[float | None]) -> str:
    """Return a mean over the pictures that are not empty; a dash where all are."""
    known = [value for value in values if value is not None]
    return f"{mean(known):.2f}" if known else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, help="networks of each family")
    parser.add_argument(
        "--quick", action="store_true", help="few networks: shows that it runs; writes nothing"
    )
    options = parser.parse_args()
    results = run(settings_from(options, Settings(), QUICK))
    for name in MEASURES:
        print_table(name, *table(results, name))
    print_table("masked: energy where its masks reach, and where not", *reached(results))
    print(f"largest energy on impossible pixels: {number(worst_impossible(results))}")
    if not options.quick:
        print(write_results(PART, results))


if __name__ == "__main__":
    main()
