"""The tables of docs/evidence.md: what `evidence.py` measured, by layer, by network and over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backlight.studies.intervals import P_LIMIT, false_discoveries
from evidence_sanity import CHECKS, KEPT, RULES, SIGNED

OWN = "deconvnet"
SHOWN = ("deconvnet", "masked", "guided", "gradient")
MEASURES = {"fall": "fall", "gain": "gain over turned", "partial": "foretold, given distance"}
LIKE = 0.5
"""From this rank correlation on a picture has stayed, where only a part of what it comes from was replaced."""

Table = tuple[list[str], list[list[str]]]
Row = dict[str, Any]


def _below_disc(row: Row) -> bool | None:
    return None if row["fall"] is None or row["disc"] is None else row["fall"] < row["disc"]


def _not_sure(measure: str) -> Callable[[Row], bool | None]:
    """Return whether a row's interval reaches zero or lies below it."""
    return lambda row: None if row.get(f"{measure}_low") is None else row[f"{measure}_low"] <= 0


def _surely_like(row: Row) -> bool | None:
    """Return whether a picture is surely like that of random weights, of which nothing was learnt."""
    low = row["all"][SIGNED][1] if "all" in row else None
    return None if low is None else low > 0


def _like(check: str) -> Callable[[Row], bool | None]:
    def found(row: Row) -> bool | None:
        mean = row[check][SIGNED][0] if check in row else None
        return None if mean is None else mean >= LIKE

    return found


FAILURES: dict[str, tuple[str, Callable[[Row], bool | None]]] = {
    "fall": ("falls less than for the disc", _below_disc),
    "gain": ("gains nothing sure over turned", _not_sure("gain")),
    "partial": ("foretells nothing sure", _not_sure("partial")),
    "top": ("stays with random weights on top", _like("top")),
    "all": ("is like that of random weights", _surely_like),
    "switches": ("stays with another's switches", _like("switches")),
}
"""By what is measured: what the failure is called, and whether a row has it; None where it was not measured."""


def joined(results: dict[str, Any]) -> list[Row]:
    """Return the rows of the shown rule sets, one for each layer and rule set, with their sanity where it is known."""
    checked = {(row["network"], row["layer"], row["rules"]): row for row in results.get(KEPT, [])}
    return [
        {check: own[check] for check in CHECKS if own} | row
        for row in results["rows"]
        if row["rules"] in SHOWN
        for own in [checked.get((row["network"], row["layer"], row["rules"]), {})]
    ]


def layers_table(results: dict[str, Any], network: str) -> Table | None:
    """Return the header and the rows of a network's table, one for each layer; None where it was not studied.

    A cell holds the fall in percent, the gain over the turned mask in points, the partial correlation, and the rank
    correlation with the picture of random weights. Failures are bold.
    """
    rows = [row for row in joined(results) if row["network"] == network]
    if not rows:
        return None
    found = []
    for place in sorted({row["place"] for row in rows}):
        own = {row["rules"]: row for row in rows if row["place"] == place}
        first = own[OWN]
        cells = [_cell(own[rules]) if rules in own else "–" for rules in SHOWN]
        found.append([first["layer"], str(first["n"]), _percent(first["disc"]), *cells])
    return ["layer", "maps", "disc", *SHOWN], found


def _cell(row: Row) -> str:
    shown = {
        "fall": _percent(row["fall"]),
        "gain": "–" if row["gain"] is None else f"{100 * row['gain']:+.0f}",
        "partial": _number(row["partial"]),
    }
    if "all" in row:
        shown["all"] = _number(row["all"][SIGNED][0])
    return ", ".join(f"**{text}**" if FAILURES[name][1](row) else text for name, text in shown.items())


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"


def _number(value: float | None) -> str:
    # adding zero makes of -0.0 a plain 0
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"


def failures_table(results: dict[str, Any]) -> Table:
    """Return in how many layers of how many each rule set fails, by kind of failure."""
    rows, found = joined(results), []
    for rules in SHOWN:
        own = [row for row in rows if row["rules"] == rules]
        known = [
            [failed for row in own if (failed := fails(row)) is not None] for _, fails in FAILURES.values()
        ]
        found.append([rules, *(f"{sum(failed)} of {len(failed)}" if failed else "–" for failed in known)])
    return ["rules", *(title for title, _ in FAILURES.values())], found


def sanity_table(results: dict[str, Any]) -> Table:
    """Return for each network and rule set the rank correlations after each check, as means over the layers."""
    rows = results.get(KEPT, [])
    found = []
    for network in dict.fromkeys(row["network"] for row in results["rows"]):
        own = [row for row in rows if row["network"] == network]
        found.append([network, *(_checked([row for row in own if row["rules"] == rules]) for rules in RULES)])
    return ["network", *RULES], found


def _checked(rows: Sequence[Row]) -> str:
    values = [[row[check][SIGNED][0] for row in rows] for check in CHECKS]
    known = [[value for value in own if value is not None] for own in values]
    return ", ".join(_number(float(np.mean(own)) if own else None) for own in known)


def changes_table(results: dict[str, Any]) -> Table:
    """Return in how many layers each rule set is surely better and worse than the deconvnet, by each measure.

    *Convention*: surely is p <= 0.05 of the exact sign-flip test over maps, corrected over all layers of all networks
    (Benjamini and Hochberg).
    """
    names = list(dict.fromkeys(row["rules"] for row in results["rows"] if row["rules"] != OWN))
    found = []
    for rules in names:
        rows = [row for row in results["rows"] if row["rules"] == rules]
        cells = [f"{len(rows)}"]
        for measure in MEASURES:
            p = np.array([row[f"{measure}_p"] for row in rows], float)
            change = np.array([row[f"{measure}_change"] for row in rows], float)
            sure = false_discoveries(p) <= P_LIMIT
            cells.append(f"{(sure & (change > 0)).sum()} better, {(sure & (change < 0)).sum()} worse")
        found.append([rules, *cells])
    return ["rules", "layers", *MEASURES.values()], found
