"""The rate of an inversion's steps against bare forward and backward passes of the same truncated network.

All of `backlight.invert` is timed: graph, starts, priors, optimiser, bound, curves, pictures, answers. The bare pass
is the user's own model cut at the same layer (torchvision's feature extractor, channels last) and `torch.autograd.grad`
of the squared distance of the codes, and nothing else, on the same batch. Both keep freed memory, as `backlight invert`
does. Prints a table and writes benchmarks/results/inversion.json.

    python benchmarks/inversion.py [--networks squeezenet1_0] [--steps 40] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from backlight import invert
from backlight.cli.allocation import keep_freed_memory
from backlight.inversion import RECIPES, InversionConfig
from common import (
    load_network,
    machine,
    number,
    photographs,
    print_table,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)
from scan import take_turns

TARGET = 0.8


@dataclass(frozen=True)
class Settings:
    """Size of the benchmark.

    Attributes:
        networks: Classifiers of torchvision.
        layers: Of each network; those it does not have are left out.
        recipes: By what is inverted.
        restarts: Images at once.
        steps: Of an inversion, and bare passes.
        rounds: How often each contender runs; they take turns, and the median counts.
        sgemm_sizes: Sizes of the matrices whose product gives the machine's rate.
    """

    networks: tuple[str, ...] = ("squeezenet1_0",)
    layers: tuple[str, ...] = (
        "features.0",
        "features.4.cat",
        "features.7.cat",
        "classifier.1",
        "classifier.3",
    )
    recipes: tuple[str, ...] = ("default", "ijcv2016", "cvpr2015")
    restarts: tuple[int, ...] = (1, 4)
    steps: int = 30
    rounds: int = 3
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(
    layers=("features.0",), recipes=("default",), restarts=(2,), steps=2, rounds=1, sgemm_sizes=(512,)
)


def run(settings: Settings) -> dict[str, Any]:
    """Return the rates of each layer, as plain JSON."""
    use_all_cores()
    keep_freed_memory()
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    for name in settings.recipes:
        RECIPES[f"short {name}"] = partial(_shortened, name, settings.steps)
    rows = [
        measure(name, layer, restarts, settings)
        for name in settings.networks
        for layer in settings.layers
        for restarts in settings.restarts
    ]
    print_table("inversion, steps of one image a second", *table(rows))
    return {"machine": machine(sgemm), "settings": asdict(settings), "target": TARGET, "rows": rows}


def _shortened(name: str, steps: int, place: Any, strength: float | None) -> Any:
    """Return a recipe of `steps` steps, all of its first stage, that never ends early."""
    recipe = RECIPES[name](place, strength)
    return replace(recipe, stages=(replace(recipe.stages[0], steps=steps),), patience=None)


def measure(name: str, layer: str, restarts: int, settings: Settings) -> dict[str, Any]:
    """Return the steps of one image a second of each recipe, and those of the bare pass."""
    model, net, _ = load_network(name)
    image = net.prepare(photographs(1)[0])
    calls: dict[str, Callable[[], object]] = {"bare": bare(model, image, layer, restarts, settings.steps)}
    for recipe in settings.recipes:
        config = InversionConfig(f"short {recipe}", restarts=restarts)
        calls[recipe] = partial(invert, net, image[0], layer, config)
    seconds = take_turns(calls, settings.rounds)
    rates = {kind: restarts * settings.steps / value for kind, value in seconds.items()}
    ratios = {recipe: rates[recipe] / rates["bare"] for recipe in settings.recipes}
    return {"network": name, "layer": layer, "restarts": restarts, "rates": rates, "ratios": ratios}


def bare(model: nn.Module, image: Tensor, layer: str, restarts: int, steps: int) -> Callable[[], object]:
    """Return a function that runs `steps` forward and backward passes of the model cut at the layer."""
    cut = create_feature_extractor(model.eval(), [layer]).to(memory_format=torch.channels_last)
    cut.requires_grad_(False)
    batch = image.repeat(restarts, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        target = cut(batch)[layer]

    def passes() -> None:
        x = torch.rand_like(batch)
        for _ in range(steps):
            x.requires_grad_()
            cost = (cut(x)[layer] - target).square().sum()
            (gradient,) = torch.autograd.grad(cost, x)
            x = x.detach() - 0.0 * gradient

    return passes


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the rates: header and rows."""
    recipes = list(rows[0]["ratios"])
    header = [
        "network",
        "layer",
        "restarts",
        "bare",
        *(f"{name}{part}" for name in recipes for part in ("", " / bare")),
    ]
    body = []
    for row in rows:
        cells = [row["network"], f"`{row['layer']}`", str(row["restarts"]), number(row["rates"]["bare"])]
        for name in recipes:
            cells += [number(row["rates"][name]), f"{row['ratios'][name]:.2f}"]
        body.append(cells)
    return header, body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--layers", nargs="+", metavar="NAME")
    parser.add_argument("--steps", type=int, help="of an inversion")
    parser.add_argument("--quick", action="store_true", help="one layer, two steps")
    write_results("inversion", run(settings_from(parser.parse_args(), Settings(), QUICK)))


if __name__ == "__main__":
    main()
