"""How close reconstructions come: the error of each recipe by layer, over photographs, as in the paper's Table 3.

Every photograph is inverted from every layer by every recipe, with a batch on each core. Results are kept after each
batch, and rerunning the command resumes from there, except for recipes that have changed since, or if the descent has
(`REVISION`). All of it takes hours, so the results are kept with the project. Prints a table and writes
benchmarks/results/inversion_errors.json; `report.py` puts it into docs/inversion.md.

    python benchmarks/inversion_errors.py [--images 100] [--quick]
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from rich.progress import track

from backlight import Network
from backlight.inversion import RECIPES, CodeSpread, Inversion, InversionConfig, Place, invert_all, spread_of
from common import (
    load_network,
    machine,
    n_cores,
    photographs,
    print_table,
    read_results,
    settings_from,
    write_results,
)

PART = "inversion_errors"
REVISION = 2
"""Of the descent: increase it when a change of `inversion/descent.py` gives other images by the same recipe."""
STEPS = (25, 50, 100, 150, 200, 300, 400)
MEASURES = ("normalised_error", "normalised_squared_error", "relative_error", "same_label")


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        network: A classifier of torchvision.
        layers: What is inverted; none for those of `LAYERS`.
        recipes: By what, of RECIPES.
        images: Photographs, whose distances normalise the errors too.
        block: So many photographs go through all recipes before more are taken.
        batch: Photographs at once.
    """

    network: str = "squeezenet1_0"
    layers: tuple[str, ...] = (
        "features.0",
        "features.3.cat",
        "features.4.cat",
        "features.7.cat",
        "features.9.cat",
        "features.12.cat",
        "classifier.1",
        "classifier.3",
    )
    recipes: tuple[str, ...] = ("default", "wide", "ijcv2016", "cvpr2015")
    images: int = 100
    block: int = 12
    batch: int = 4


QUICK = Settings(layers=("features.0",), images=2, block=2, batch=2)


def run(settings: Settings) -> dict[str, Any]:
    """Return the errors of each image for each layer and recipe, as plain JSON; resumes what was interrupted."""
    net, is_random = _network(settings.network)
    part = _part(settings)
    found = read_results(part) or {"machine": machine(0.0), "rows": []}
    found |= {"settings": asdict(settings), "weights": "random" if is_random else "trained"}
    found["rows"] = [row for row in found["rows"] if row["key"] == _key(net, row["layer"], row["recipe"])]
    done = {(row["layer"], row["recipe"], row["image"]) for row in found["rows"]}
    wanted = [
        (layer, recipe, left)
        for layer, recipe, names in _work(settings)
        if (left := [name for name in names if (layer, recipe, name) not in done])
    ]
    for rows in track(_measured(settings, wanted), "inverting", len(wanted)):
        found["rows"] += rows
        write_results(part, found)
    print_table("normalised error, %", *table(found))
    return found


def _part(settings: Settings) -> str:
    """Return the name of the results; that of the part alone for those that are kept with the project.

    Errors compare where the same photographs normalise them.
    """
    own = settings.network, settings.images
    return PART if own == (Settings.network, Settings.images) else f"{PART}-{own[0]}-{own[1]}"


def _measured(
    settings: Settings, wanted: Sequence[tuple[str, str, list[str]]]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each batch, in the order in which they are done; each core works on its own."""
    if n_cores() == 1:
        yield from (measure(settings, *one) for one in wanted)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_cores(), spawn, torch.set_num_threads, (1,)) as pool:
        for done in as_completed([pool.submit(measure, settings, *one) for one in wanted]):
            yield done.result()


@cache
def _network(name: str) -> tuple[Network, bool]:
    """Return a network of torchvision, captured, and whether its weights are random; once in each process."""
    _, net, is_random = load_network(name)
    return net, is_random


@cache
def _spread(network: str, layer: str, images: int) -> CodeSpread:
    """Return how far photographs lie apart in a layer; once in each process."""
    return spread_of(_network(network)[0], photographs(images), layer)


@cache
def _key(net: Network, layer: str, recipe: str) -> str:
    """Return the beginning of a hash of the descent and of everything in a recipe for this layer."""
    whole = repr((REVISION, RECIPES[recipe](Place.of(net, net.layer(layer)), None)))
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


def _work(settings: Settings) -> Iterator[tuple[str, str, list[str]]]:
    names = [path.name for path in photographs(settings.images)]
    for start in range(0, len(names), settings.block):
        for recipe in settings.recipes:
            for layer in settings.layers:
                block = names[start : start + settings.block]
                for first in range(0, len(block), settings.batch):
                    yield layer, recipe, block[first : first + settings.batch]


def measure(settings: Settings, layer: str, recipe: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what photographs came to, one row for each."""
    net, _ = _network(settings.network)
    folder = photographs(1)[0].parent
    assert net.preprocessing is not None
    inputs = net.preprocessing.batch([folder / name for name in names])
    spread = _spread(settings.network, layer, settings.images)
    results = invert_all(net, inputs, layer, InversionConfig(recipe=recipe), spread)
    weight = RECIPES[recipe](Place.of(net, net.layer(layer)), None).weight
    key = {"key": _key(net, layer, recipe)}
    return [_row(result, name, weight) | key for name, result in zip(names, results, strict=True)]


def _row(result: Inversion, name: str, weight: float) -> dict[str, Any]:
    """Return what one photograph came to, and on the way the best error up to each of some steps."""
    summary = result.summary()
    row = {"layer": result.layer, "recipe": result.config.recipe, "image": name, "stopped": result.stopped}
    row |= {key: _rounded(summary[key][0]) for key in MEASURES}
    assert result.spread is not None
    goals = np.minimum.accumulate(result.curves[0, :, 0]) / weight
    errors = np.sqrt(goals) * result.norm / result.spread.distance
    return row | {"steps": len(goals), "way": [_rounded(errors[min(n, len(goals)) - 1]) for n in STEPS]}


def _rounded(value: Any) -> Any:
    return value if isinstance(value, bool) else float(f"{value:.4g}")


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the errors in per cent: header and rows, a layer in each.

    The header says of how many photographs they are, and a cell where it is of fewer.
    """
    settings, rows = found["settings"], found["rows"]
    header, counts = ["layer"], {}
    for recipe in settings["recipes"]:
        counts[recipe] = max(len(_values(rows, layer, recipe, "steps")) for layer in settings["layers"])
        header += [f"{recipe} (n = {counts[recipe]})", "squared", "same answer"]
    body = []
    for layer in settings["layers"]:
        cells = [f"`{layer}`"]
        for recipe in settings["recipes"]:
            errors, squares, same = (
                _values(rows, layer, recipe, key)
                for key in ("normalised_error", "normalised_squared_error", "same_label")
            )
            fewer = f" (n = {len(errors)})" if 0 < len(errors) < counts[recipe] else ""
            cells += [_percent(errors) + fewer, _percent(squares), f"{mean(same):.0%}" if same else "–"]
        body.append(cells)
    return header, body


def way(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the best errors up to each of some steps, in per cent: header and rows.

    Of each layer only photographs that all recipes have done count, so that its rows compare.
    """
    recipes = found["settings"]["recipes"]
    header = ["layer", "recipe", "n", *(f"{n} steps" for n in STEPS)]
    body = []
    for layer in found["settings"]["layers"]:
        own = {(row["recipe"], row["image"]): row for row in found["rows"] if row["layer"] == layer}
        common = [image for recipe, image in own if all((other, image) in own for other in recipes)]
        for recipe in recipes if common else []:
            rows = [own[recipe, image] for image in sorted(set(common))]
            last = max(row["steps"] for row in rows)
            shown = [
                f"{100 * mean(errors):.1f}" for errors in zip(*(row["way"] for row in rows), strict=True)
            ]
            until = next((i + 1 for i, n in enumerate(STEPS) if n >= last), len(STEPS))
            blank = [""] * (len(STEPS) - until)
            body.append([f"`{layer}`", recipe, str(len(rows)), *shown[:until], *blank])
    return header, body


def _values(rows: Sequence[dict[str, Any]], layer: str, recipe: str, key: str) -> list[float]:
    return [row[key] for row in rows if (row["layer"], row["recipe"]) == (layer, recipe)]


def _percent(values: Sequence[float]) -> str:
    if not values:
        return "–"
    deviation = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, help="photographs")
    parser.add_argument("--block", type=int, help="photographs that go through everything before more do")
    parser.add_argument("--recipes", nargs="+", metavar="NAME")
    parser.add_argument("--layers", nargs="+", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="two photographs, one layer")
    run(settings_from(parser.parse_args(), Settings(), QUICK))


if __name__ == "__main__":
    main()
