"""The report: writes the results of the benchmarks into the tables of the docs pages; the prose is written by hand.

A table lies between `<!-- table: NAME -->` and `<!-- end -->`. Tables whose benchmark has not run are left unchanged.

    python benchmarks/report.py [FILE...]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import adaptive
import adaptive_errors
import decoding
import diagnosis
import engines
import evidence
import evidence_tables
import full_build
import ground_truth
import growth
import inversion
import inversion_errors
import inversion_rivals
import low_pass
import memory
import occlusion
import projection_tables
import remedies
import rounding
import scan
import soak
import sound_maps
import studies
import watching
import web_site
from common import number, ratio, read_results

_DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    _DOCS / name
    for name in (
        *("performance.md", "inversion.md", "adaptive.md", "evidence.md", "ground-truth.md"),
        *("diagnosis.md", "remedies.md", "scaling.md", "reliability.md"),
    )
]
_MARKED = re.compile(r"(<!-- table: (?P<name>[\w. -]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str, results: dict[str, dict[str, Any]]) -> str:
    """Return the page with every table filled in for which there are results.

    Args:
        text: The page.
        results: The results of each part, by its name.

    Raises:
        KeyError: The page asks for a table with an unknown name.
    """

    def replaced(match: re.Match[str]) -> str:
        name, _, of = match["name"].partition(" ")
        part, render = TABLES[name]
        found = results.get(part)
        body = render(found, of) if found else None
        return match[0] if body is None else f"{match[1]}{body}\n{match[3]}"

    return _MARKED.sub(replaced, text)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first column aligned left, the others right."""
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _machine(results: dict[str, Any], _: str) -> str:
    found = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    rows = [
        ["processor", f"{found['cpu']}, {found['cores']} cores, {found['capability']}"],
        ["memory", f"{found['ram_gb']:.0f} GB"],
        ["system", f"{found['system']}, Python {found['python']}"],
        ["packages", packages],
        ["torch's threads", str(found["threads"])],
        ["sgemm", f"{found['sgemm_gflops']:.0f} GFLOP/s"],
    ]
    return "\n".join(["| what | |", "|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def _ratios(results: dict[str, Any], _: str) -> str:
    rows = []
    for network in results["networks"]:
        found = network["summary"]
        cells = [network["network"], network["weights"], f"{found['maps']:,}"]
        cells += [number(found["backlight_ms"]), ratio(found.get("captum_ratio")), number(found["build_ms"])]
        cells += [ratio(found.get(f"build_{kind}_ratio")) for kind in ("captum", "naive", "zennit")]
        difference = f"{found['captum_difference']:.0e}" if "captum_difference" in found else "–"
        rows.append([*cells, ratio(found.get("build_over_floor")), difference])
    header = ["network", "weights", "maps", "each layer alone, ms", "Captum", "in a build, ms", "Captum"]
    return _table([*header, "naive loop", "zennit-crp", "over the floor", "difference from Captum"], rows)


def _by_layer(results: dict[str, Any], network: str) -> str | None:
    found = next((n for n in results["networks"] if n["network"] == network), None)
    return _table(*projection_tables.table(found)) if found else None


def _achieved(results: dict[str, Any], _: str) -> str | None:
    found = next((n["summary"]["achieved"] for n in results["networks"] if "achieved" in n["summary"]), None)
    if found is None:
        return None
    cells = [number(found["cone_gflop"]), number(found["forward_gflop"])]
    rates = [number(found["gflops"]), number(results["machine"]["sgemm_gflops"]), f"{found['of_sgemm']:.0%}"]
    header = ["layers from", "cone GFLOP", "forward GFLOP", "GFLOP/s", "sgemm GFLOP/s", "share"]
    return _table(header, [[found["from"], *cells, *rates]])


def _scan(results: dict[str, Any], source: str) -> str:
    table = scan.files_table if source == "files" else scan.table
    return _table(*table(results["networks"]))


def _decoding(results: dict[str, Any], _: str) -> str:
    return _table(*decoding.table(results["rows"]))


def _memory(results: dict[str, Any], _: str) -> str:
    return "\n\n".join(
        f"{network['network']}: grows by {network['growth']:.1%}.\n\n{_table(*memory.table(network))}"
        for network in results["networks"]
    )


def _full_build(results: dict[str, Any], _: str) -> str:
    return f"{full_build.describe(results)}.\n\n{_table(*full_build.table(results))}"


def _growth(results: dict[str, Any], along: str) -> str:
    return f"{growth.describe(results, along)}.\n\n{_table(*growth.table(results[along]['rows']))}"


def _occlusion(results: dict[str, Any], _: str) -> str:
    return _table(*occlusion.table(results["networks"]))


def _inversion(results: dict[str, Any], _: str) -> str:
    return _table(*inversion.table(results["rows"]))


def _inversion_errors(results: dict[str, Any], _: str) -> str:
    return _table(*inversion_errors.table(results))


def _inversion_way(results: dict[str, Any], _: str) -> str:
    return _table(*inversion_errors.way(results))


def _inversion_rivals(results: dict[str, Any], _: str) -> str:
    return _table(*inversion_rivals.table(results))


def _ground_truth(results: dict[str, Any], of: str) -> str:
    return _table(*(ground_truth.reached(results) if of == "masked" else ground_truth.table(results, of)))


def _sound_maps(results: dict[str, Any], _: str) -> str:
    return _table(*sound_maps.table(results))


def _adaptive(results: dict[str, Any], of: str) -> str:
    tables = {"memory": adaptive.inference_table, "training": adaptive.training_table}
    return _table(*tables.get(of, adaptive.table)(results))


def _evidence(results: dict[str, Any], of: str) -> str | None:
    over_all = {
        "changes": evidence_tables.changes_table,
        "failures": evidence_tables.failures_table,
        "sanity": evidence_tables.sanity_table,
    }
    found = over_all[of](results) if of in over_all else evidence_tables.layers_table(results, of)
    return None if found is None else _table(*found)


def _low_pass(results: dict[str, Any], _: str) -> str:
    return _table(*low_pass.table(results))


def _adaptive_errors(results: dict[str, Any], of: str) -> str:
    return _table(*adaptive_errors.TABLES[of](results))


def _site(results: dict[str, Any], _: str) -> str:
    return f"{web_site.describe(results)}.\n\n{_table(*web_site.table(results))}"


def _rounding(results: dict[str, Any], _: str) -> str:
    return f"{rounding.describe(results)}\n\n{_table(*rounding.table(results))}"


def _studies(results: dict[str, Any], _: str) -> str:
    return f"{studies.describe(results)}.\n\n{_table(*studies.table(results))}"


def _engines(results: dict[str, Any], of: str) -> str:
    return _table(*engines.TABLES[of](results))


def _soak(results: dict[str, Any], of: str) -> str:
    return _table(*soak.TABLES[of](results))


def _watching(results: dict[str, Any], _: str) -> str:
    return _table(*watching.table(results))


def _diagnosis(results: dict[str, Any], of: str) -> str:
    return _table(*(diagnosis.sound_table if of == "sound" else diagnosis.planted_table)(results))


def _remedies(results: dict[str, Any], of: str) -> str:
    return _table(*remedies.TABLES[of](results))


TABLES: dict[str, tuple[str, Callable[[dict[str, Any], str], str | None]]] = {
    "machine": ("projection", _machine),
    "ratios": ("projection", _ratios),
    "layers": ("projection", _by_layer),
    "achieved": ("projection", _achieved),
    "scan": ("scan", _scan),
    "engines": ("engines", _engines),
    "soak": ("soak", _soak),
    "decoding": ("decoding", _decoding),
    "memory": ("memory", _memory),
    "full-build": ("full_build", _full_build),
    "growth": ("growth", _growth),
    "occlusion": ("occlusion", _occlusion),
    "inversion": ("inversion", _inversion),
    "inversion-errors": ("inversion_errors", _inversion_errors),
    "inversion-way": ("inversion_errors", _inversion_way),
    "inversion-rivals": ("inversion_rivals", _inversion_rivals),
    "inversion-rivals-demo": ("inversion_rivals_demo", _inversion_rivals),
    "inversion-rivals-leaky": ("inversion_rivals_leaky", _inversion_rivals),
    "adaptive": ("adaptive", _adaptive),
    "evidence": (evidence.PART, _evidence),
    "low-pass": (low_pass.PART, _low_pass),
    "adaptive-errors": ("adaptive_errors", _adaptive_errors),
    "sound-maps": ("sound_maps", _sound_maps),
    "ground-truth": ("ground_truth", _ground_truth),
    "site": (web_site.PART, _site),
    "remedies": (remedies.PART, _remedies),
    "rounding": (rounding.PART, _rounding),
    "studies": (studies.PART, _studies),
    "watching": (watching.PART, _watching),
    "diagnosis": (diagnosis.PART, _diagnosis),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="*", default=PAGES)
    pages = parser.parse_args().pages
    parts = {part for part, _ in TABLES.values()}
    results = {part: found for part in parts if (found := read_results(part))}
    for page in pages:
        page.write_text(fill(page.read_text(), results))
    print(f"{page}: filled from {', '.join(sorted(results)) or 'no results; run `make bench` first'}")


if __name__ == "__main__":
    main()
