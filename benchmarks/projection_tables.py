"""The tables of the projection benchmark: ratios over all layers, and a row for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import number, print_table, ratio

ACHIEVED = "vgg16", "features.11"  # conv3_1: the layers from here on are compared with sgemm


def summarise(rows: Sequence[dict[str, Any]], together: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the ratios over all layers where both were measured, each layer weighted by its number of maps.

    They are given for each layer alone (`backlight_ms`) and for a build (`build_ms`), in which layers share
    forward passes.
    """
    rows = [row | {"build_ms": _as_built(row, together, "backlight_ms")} for row in rows]
    summary: dict[str, Any] = {"maps": sum(row["maps"] for row in rows)}
    for kind in ("captum", "zennit", "naive", "floor"):
        both = [row for row in rows if row.get(f"{kind}_ms")]
        if not both:
            continue
        own, built, other = (_weighted(both, key) for key in ("backlight_ms", "build_ms", f"{kind}_ms"))
        summary[f"{kind}_ms"] = other
        if kind == "floor":
            summary |= {"over_floor": own / other, "build_over_floor": built / other}
        else:
            summary |= {f"{kind}_ratio": other / own, f"build_{kind}_ratio": other / built}
            summary[f"{kind}_difference"] = max(row[f"{kind}_difference"] for row in both)
    own = {key: _weighted(rows, key) for key in ("backlight_ms", "build_ms")} if rows else {}
    return summary | own


def _as_built(row: dict[str, Any], together: dict[str, Any] | None, key: str) -> Any:
    """Return a layer's value in a build: for layers that are projected together, their common mean."""
    return together[key] if together is not None and row["layer"] in together["layers"] else row[key]


def _weighted(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(sum(row["maps"] * row[key] for row in rows) / sum(row["maps"] for row in rows))


def achieved_rate(
    name: str, rows: Sequence[dict[str, Any]], together: dict[str, Any] | None, sgemm: float
) -> dict[str, Any]:
    """Return the rate of a build's projections in the deep layers: operations performed, divided by the time."""
    network, first = ACHIEVED
    names = [row["layer"] for row in rows]
    if name != network or first not in names:
        return {}
    keys = "backlight_ms", "forward_multiply_adds"
    deep = [row | {key: _as_built(row, together, key) for key in keys} for row in rows[names.index(first) :]]
    seconds = _weighted(deep, "backlight_ms") / 1e3
    cone, forward = (_weighted(deep, f"{key}_multiply_adds") for key in ("cone", "forward"))
    gflops = 2 * (cone + forward) / seconds / 1e9
    return {
        "achieved": {
            "from": first,
            "cone_gflop": 2 * cone / 1e9,
            "forward_gflop": 2 * forward / 1e9,
            "gflops": gflops,
            "of_sgemm": gflops / sgemm,
        }
    }


_OTHERS = ("captum", "naive", "zennit")


def table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a network's table, in milliseconds: the header, a row for each layer, and two for all layers.

    Each other tool's time is followed by its ratio to Backlight's; the floor is followed by Backlight's ratio to it.
    """
    kinds = [kind for kind in _OTHERS if f"{kind}_ms" in result["summary"]]
    header = ["layer", "maps", "field", "hits/image", "Backlight"]
    header += [text for kind in kinds for text in (kind, "ratio")]
    rows = [_cells(row["layer"], row, kinds) for row in result["layers"]]
    summary = result["summary"]
    built = {key.removeprefix("build_"): value for key, value in summary.items() if key.startswith("build_")}
    built |= {"backlight_ms": summary["build_ms"]}
    rows += [_cells("all, by maps", summary, kinds), _cells("all, in a build", summary | built, kinds)]
    return [*header, "floor", "over", "difference"], rows


def _cells(name: str, row: dict[str, Any], kinds: Sequence[str]) -> list[str]:
    own = row["backlight_ms"]
    field = "×".join(map(str, row["field"] or ["all"])) if "field" in row else ""
    cells = [name, f"{row['maps']:,}", field, f"{row['units'] / row['images']:.1f}" if "units" in row else ""]
    cells.append(number(own))
    for kind in kinds:
        other = row.get(f"{kind}_ms")
        cells += [number(other), ratio(row.get(f"{kind}_ratio", other / own if other else None))]
    difference = f"{row['captum_difference']:.0e}" if "captum_difference" in row else "–"
    return [*cells, number(row.get("floor_ms")), ratio(row.get("over_floor")), difference]


def print_network(result: dict[str, Any]) -> None:
    """Print a network's table and, if it was measured, the rate against sgemm."""
    network = f"{result['network']}, {result['weights']} weights"
    title = f"{network}, hits of {result['images']} photographs; ms per projection"
    print_table(title, *table(result))
    achieved = result["summary"].get("achieved")
    if achieved:
        print(
            f"from {achieved['from']} on: {achieved['gflops']:.0f} GFLOP/s, "
            f"{achieved['of_sgemm']:.0%} of this machine's sgemm\n"
        )
