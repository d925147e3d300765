"""What refitting the codes of an adaptive network wins: the error of each layer, shrunk and refitted.

The network is one that `backlight adaptive fit` has learned; without one, the script learns it on photographs as that
command does. It is tried on the demo's photographs, and on some of those that it could have been learned on, but was
not. Shrunk and refitted codes have the same non-zeros. Beside them stand codes of more steps of shrinkage, which take
as many convolutions as the refit, what the strongest tenth of the activations reconstructs alone, how much each of the
three strongest resembles what it lies on, and what is left when the switches are known in part. Prints tables and
writes benchmarks/results/adaptive_errors.json; `report.py` puts them into docs/adaptive.md.

    python benchmarks/adaptive_errors.py [--network m.adn] [--unseen 24] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

import backlight_demo
from backlight.adaptive import (
    PRESETS,
    SWITCH_MODES,
    AdaptiveDeconvNet,
    Codes,
    LayerCode,
    Learning,
    SwitchMode,
)
from backlight.adaptive.decomposition import single, strongest_activations
from backlight.adaptive.inference import REFIT_STEPS, refit, settle
from backlight.adaptive.learning import steps_of
from backlight.adaptive.operators import Reconstruction
from backlight.cli.allocation import keep_freed_memory
from common import SEED, machine, photographs, print_table, settings_from, use_all_cores, write_results

PART = "adaptive_errors"
STEPS = (0, 1, 2, 3, 5, 10, 20)
STRONGEST = 0.1
MORE_STEPS = 6
"""Steps of shrinkage for the convolutions of a refit: 1 + 2 · 5 of them, and a step has 2."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        network: A file of `backlight adaptive fit PHOTOGRAPHS --images LEARNED_ON`; "" to learn one.
        preset: The network that is learned.
        learned_on: Photographs that it is learned on, the same random sample as by the command.
        epochs: Of each layer.
        demo: Photographs of the demo; 0 for all.
        unseen: Other photographs, not among those learned on.
        several: Photographs of the demo for which numbers of steps are compared.
    """

    network: str = ""
    preset: str = "paper"
    learned_on: int = 150
    epochs: int = 48
    demo: int = 0
    unseen: int = 24
    several: int = 12


QUICK = Settings("", "small", 4, 1, 2, 1, 1)


def run(settings: Settings) -> dict[str, Any]:
    """Return the errors of each photograph and layer, as plain JSON."""
    use_all_cores()
    keep_freed_memory()
    learned_on, unseen = _split(settings)
    net = _network(settings, learned_on)
    demo = _spaced(sorted(backlight_demo.photographs().glob("*.jpg")), settings.demo)
    found: dict[str, Any] = {"machine": machine(0.0), "settings": asdict(settings), "rows": [], "steps": []}
    for name, paths in (("demo", demo), ("unseen", unseen)):
        for path in track(paths, name):
            found["rows"] += [row | {"set": name} for row in measure(net, path)]
    for path in track(_spaced(demo, settings.several), "steps"):
        found["steps"] += by_steps(net, path)
    for name, make in TABLES.items():
        print_table(name, *make(found))
    write_results(PART, found)
    return found


def _spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """Return so many of them, evenly spaced; all for 0."""
    count = min(count, len(paths)) or len(paths)
    return [paths[i * len(paths) // count] for i in range(count)]


def _split(settings: Settings) -> tuple[list[Path], list[Path]]:
    """Return the photographs to learn on, and others; the demo's have no others."""
    every = sorted(photographs())
    # as `--images N` draws them, with its default seed
    order = np.random.default_rng(0).permutation(len(every)).tolist()
    learned_on, others = sorted(order[: settings.learned_on]), order[settings.learned_on :]
    if every[0].parent == backlight_demo.photographs():
        others = []
    return [every[i] for i in learned_on], [every[i] for i in others[: settings.unseen]]


def _network(settings: Settings, learned_on: Sequence[Path]) -> AdaptiveDeconvNet:
    if settings.network:
        return AdaptiveDeconvNet.load(settings.network)
    net = AdaptiveDeconvNet(PRESETS[settings.preset], SEED)
    net.fit(list(learned_on), Learning(settings.epochs))
    return net


@torch.no_grad()
def measure(net: AdaptiveDeconvNet, path: Path) -> list[dict[str, Any]]:
    """Return what each layer's codes of one photograph leave of it, by how their values were chosen."""
    image, rows, codes = net.prepare(path), [], Codes(())
    for layer, own in enumerate(net.config.layers, start=1):
        whole = Reconstruction(net.filters[:layer], codes.below(layer))
        how = steps_of(own, float(net.squared_norms[layer - 1]))
        shrunk = settle(image, whole, how, net.config.steps)
        longer = settle(image, whole, how, net.config.steps + MORE_STEPS)
        refitted = refit(image, shrunk, whole)
        kinds = {"shrunk": shrunk, "longer": longer, "refitted": refitted}
        row: dict[str, Any] = {"image": path.name, "layer": layer}
        for kind, code in kinds.items():
            row[f"{kind}_error"] = _error(whole(code.maps), image)
            row[f"{kind}_active"] = int(code.pooled.count_nonzero())
            row[f"{kind}_strongest"] = _error(whole(strongest(code)), image)
            row[f"{kind}_likeness"] = likeness(code, whole, image)
        before, after = shrunk.pooled, refitted.pooled
        # of codes without any value there is nothing to compare
        row["growth"] = float(after.norm() / before.norm()) if before.any() else None
        row["turned"] = float((after * before < 0).sum() / before.count_nonzero()) if before.any() else None
        for mode in SWITCH_MODES[1:]:
            for kind in ("shrunk", "refitted"):
                there = codes.then(kinds[kind])
                row[f"{kind}_{mode}"] = _error(net.reconstruct(there, layer, mode), image)
        rows.append(row)
        codes = codes.then(shrunk)
    return rows


@torch.no_grad()
def by_steps(net: AdaptiveDeconvNet, path: Path) -> list[dict[str, Any]]:
    """Return the error of each layer for one photograph, by the number of steps of the refit."""
    image, codes = net.prepare(path), net.infer(path, values="shrunk")
    rows = []
    for layer in range(1, net.n_layers + 1):
        whole = Reconstruction(net.filters[:layer], codes.below(layer))
        for n_steps in STEPS:
            found = refit(image, codes[layer], whole, n_steps)
            before, after = codes[layer].pooled, found.pooled
            row = {"image": path.name, "layer": layer, "steps": n_steps}
            row["error"] = _error(whole(found.maps), image)
            row["growth"] = float(after.norm() / before.norm()) if before.any() else None
            rows.append(row)
    return rows


def strongest(code: LayerCode) -> Tensor:
    """Return the feature maps (1, k, h, w) with only the tenth of the values of one image that is largest."""
    flat = code.pooled.flatten()
    kept = flat.abs().topk(int(STRONGEST * int(flat.count_nonzero()))).indices
    alone = torch.zeros_like(flat).scatter(0, kept, flat[kept])
    return code.unpooling()(alone.view_as(code.pooled))


def likeness(code: LayerCode, whole: Reconstruction, image: Tensor) -> float | None:
    """Return the mean cosine between each of the three strongest activations, projected, and the image below it."""
    found = strongest_activations(code.maps[0], 1, 3)
    cosines = []
    for own in found:
        painted = whole(single([own], code.shape, image))
        there = image * (painted != 0)
        lengths = float(painted.norm() * there.norm())
        cosines.append(float((painted * there).sum()) / lengths if lengths else 0.0)
    return mean(cosines) if cosines else None


def _error(painted: Tensor, image: Tensor) -> float:
    return float((painted - image).norm() / image.norm())


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the errors: header and rows."""
    header = ["photographs", "layer", "non-zeros", "shrunk", "refitted", "shrunk, 16 steps", "its non-zeros"]
    rows = []
    for name, layer, own in _groups(found):
        errors = [_percent(_all(own, f"{kind}_error")) for kind in ("shrunk", "refitted", "longer")]
        counts = [f"{mean(_all(own, f'{kind}_active')):,.0f}" for kind in ("shrunk", "longer")]
        rows.append([f"{name} ({len(own)})", str(layer), counts[0], *errors, counts[1]])
    return header, rows


def parts_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the strongest tenth, and of what the refit does to values: header and rows."""
    header = ["photographs", "layer", "strongest tenth, shrunk", "refitted"]
    header += [
        "likeness of the 3 strongest, shrunk",
        "refitted",
        "length of the refitted values",
        "of them turned",
    ]
    rows = []
    for name, layer, own in _groups(found):
        errors = [_percent(_all(own, f"{kind}_strongest")) for kind in ("shrunk", "refitted")]
        alike = [_all(own, f"{kind}_likeness") for kind in ("shrunk", "refitted")]
        errors += [f"{mean(values):.2f}" if values else "–" for values in alike]
        growth, turned = _all(own, "growth"), _all(own, "turned")
        cells = [f"{mean(growth):.2f}×", f"{mean(turned):.0%}"] if growth else ["–", "–"]
        rows.append([f"{name} ({len(own)})", str(layer), *errors, *cells])
    return header, rows


def switches_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of reconstructions by parts of the switches, shrunk then refitted: header and rows."""
    modes: tuple[SwitchMode, ...] = SWITCH_MODES[1:]
    rows = []
    for name, layer, own in _groups(found):
        cells = [
            " → ".join(f"{100 * mean(_all(own, f'{kind}_{mode}')):.0f}" for kind in ("shrunk", "refitted"))
            for mode in modes
        ]
        rows.append([f"{name} ({len(own)})", str(layer), *(f"{cell} %" for cell in cells)])
    return ["photographs", "layer", *modes], rows


def steps_table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the error, and the length of the values, by the number of steps: header and rows."""
    rows = []
    for layer in sorted({row["layer"] for row in found["steps"]}):
        cells = []
        for n_steps in STEPS:
            own = [row for row in found["steps"] if (row["layer"], row["steps"]) == (layer, n_steps)]
            growth = _all(own, "growth")
            longer = f" ({mean(growth):.1f}×)" if growth else ""
            cells.append(f"{100 * mean(_all(own, 'error')):.1f} %{longer}")
        rows.append([str(layer), *cells])
    return ["layer", *("1 step" if n == 1 else f"{n} steps" for n in STEPS)], rows


TABLES: dict[str, Callable[[dict[str, Any]], tuple[list[str], list[list[str]]]]] = {
    "errors": table,
    "parts": parts_table,
    "switches": switches_table,
    "steps": steps_table,
}
"""The tables, by the word after the name of the part in docs/adaptive.md."""


def _groups(found: dict[str, Any]) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """Return the rows of each set and layer."""
    names = list(dict.fromkeys(row["set"] for row in found["rows"]))
    layers = sorted({row["layer"] for row in found["rows"]})
    return [
        (name, layer, [row for row in found["rows"] if (row["set"], row["layer"]) == (name, layer)])
        for name in names
        for layer in layers
    ]


def _all(rows: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [row[key] for row in rows if row[key] is not None]


def _percent(values: Sequence[float]) -> str:
    deviation = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{deviation} %"


def main() -> None:
    assert 2 * MORE_STEPS >= 1 + 2 * REFIT_STEPS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", help="a file of `backlight adaptive fit PHOTOGRAPHS --images 150`")
    parser.add_argument("--demo", type=int, help="photographs of the demo; all by default")
    parser.add_argument("--several", type=int, help="of them, for which numbers of steps are compared")
    parser.add_argument("--unseen", type=int, help="other photographs, which it was not learned on")
    parser.add_argument("--quick", action="store_true", help="a small network, three photographs")
    run(settings_from(parser.parse_args(), Settings(), QUICK))


if __name__ == "__main__":
    main()
