"""Inversions by the default recipe against other ways of descending, at equal steps from the same codes.

Each photograph is inverted from each layer by each recipe. Errors are those of the 8-bit pictures, over the mean
distance between codes of photographs; differences from the default are paired by photograph. Prints a table and writes
benchmarks/results/inversion_rivals.json; `report.py` puts it into docs/inversion.md. Of other networks, the demo's and
those of `cifar_networks.py` over images of CIFAR-10, the results are kept beside it.

    python benchmarks/inversion_rivals.py [--images 100] [--pixels 224] [--recipes NAME...] [--quick]
    python benchmarks/inversion_rivals.py --network demo --pixels 227 --layers relu0 ... --recipes default wide
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

import backlight_demo
import cifar_networks
from backlight import Network, Preprocessing, capture
from backlight.inversion import (
    RECIPES,
    Inversion,
    InversionConfig,
    Place,
    Recipe,
    Stage,
    invert_all,
    spread_of,
)
from backlight.inversion.mixing import NATURAL_MIXING, mixed
from backlight.inversion.optimisers import Adam, Optimiser, Step, frequency_gains
from backlight.inversion.priors import TotalVariation
from backlight.inversion.recipes import wide
from backlight.studies.intervals import mean_interval
from common import (
    load_network,
    machine,
    photographs,
    print_table,
    settings_from,
    use_all_cores,
    write_results,
)

PART = "inversion_rivals"
MEAN = 127.5, 127.5, 127.5
CHOSEN_ON = (
    "n03196217_7460_digital_clock.jpg",
    "n03838899_31925_oboe.jpg",
    "n02346627_1821_porcupine.jpg",
    "n03633091_27358_ladle.jpg",
    "n02509815_27612_red_panda.jpg",
    "n03062245_872_cocktail_shaker.jpg",
)
"""The photographs on which constants of the default and the rates of the rivals were chosen."""


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        network: A classifier of torchvision, `demo`, or a network of `cifar_networks`.
        layers: What is inverted.
        recipes: By what: the first is what the others are compared with.
        images: Photographs.
        pixels: Side of the image that the network sees.
        batch: Photographs at once.
        spread: Photographs whose distances normalise the errors.
    """

    network: str = "squeezenet1_0"
    layers: tuple[str, ...] = ("features.4.cat", "features.7.cat", "features.10.cat", "classifier.1")
    recipes: tuple[str, ...] = ("default", "wide", "adam", "l-bfgs", "fourier", "magnitude")
    images: int = 100
    pixels: int = 224
    batch: int = 6
    spread: int = 100


QUICK = Settings(layers=("features.4.cat",), images=2, pixels=64, batch=2, spread=2)


@dataclass(frozen=True)
class Limited:
    """L-BFGS with a backtracking line search; each image on its own, and each evaluation is a step.

    *Source*: Nocedal & Wright (2006), algorithms 7.4 and 3.1.

    Attributes:
        first: Length of the first step, of the longest value.
        memory: Pairs of steps and changes of the gradient that are kept.
    """

    first: float = 8.0
    memory: int = 10

    def start(self, n_steps: int) -> Step:
        """Return a new descent."""
        walkers: list[_Walker] = []

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            walkers.extend(_Walker(self) for _ in range(len(x) - len(walkers)))
            parts = zip(walkers, x, value.tolist(), gradient, strict=True)
            return torch.stack([walker.next(*part) for walker, *part in parts])

        return step


class _Walker:
    """One image's descent by L-BFGS."""

    def __init__(self, options: Limited) -> None:
        self._options = options
        self._pairs: list[tuple[Tensor, Tensor]] = []
        # where the line search began: image, cost, gradient; then its direction and the length tried
        self._begin: tuple[Tensor, float, Tensor] | None = None
        self._direction, self._length = torch.zeros(0), 1.0

    def next(self, x: Tensor, value: float, gradient: Tensor) -> Tensor:
        """Return the next image to evaluate, given the last one."""
        if self._begin is not None:
            base, cost, slope = self._begin
            falls = float((slope * self._direction).sum())
            if not value <= cost + 1e-4 * self._length * falls and self._length > 1e-4:
                self._length /= 2
                return base + self._length * self._direction
            moved, changed = x - base, gradient - slope
            if float((moved * changed).sum()) > 1e-10 * float(changed.square().sum()):
                self._pairs = [*self._pairs, (moved, changed)][-self._options.memory :]
        self._begin = x, value, gradient
        self._direction, self._length = self._downhill(gradient), 1.0
        return x + self._direction

    def _downhill(self, gradient: Tensor) -> Tensor:
        """Return minus the inverse Hessian, as the pairs know it, times the gradient."""
        if not self._pairs:
            return gradient * (-self._options.first / float(gradient.abs().max().clamp_min(1e-30)))
        found, shares = -gradient, []
        for moved, changed in reversed(self._pairs):
            share = (moved * found).sum() / (moved * changed).sum()
            shares.append(share)
            found = found - share * changed
        moved, changed = self._pairs[-1]
        found = found * ((moved * changed).sum() / changed.square().sum())
        for (moved, changed), share in zip(self._pairs, reversed(shares), strict=True):
            found = found + (share - (changed * found).sum() / (moved * changed).sum()) * moved
        return found


@dataclass(frozen=True)
class Through:
    """Adam on parameters that an image is computed from; its rate falls linearly to 0.

    Attributes:
        rate: Length of the first steps of each parameter.
        encode: Parameters of the images that the search starts with.
        decode: Images of parameters, differentiable.
    """

    rate: float
    encode: Callable[[Tensor], Tensor] = field(repr=False)
    decode: Callable[[Tensor], Tensor] = field(repr=False)

    def start(self, n_steps: int) -> Step:
        """Return a new descent of at most n_steps steps."""
        inner = Adam(self.rate).start(n_steps)
        parameters: Tensor | None = None

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal parameters
            if parameters is None:
                parameters = self.encode(x)
                return self.decode(parameters)  # the start need not be an image of parameters
            own = parameters.requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(self.decode(own), own, gradient)
            parameters = inner(own.detach(), value, slope)
            return self.decode(parameters)

        return step


def fourier(rate: float) -> Through:
    """Return Adam in whitened frequencies and colours, through a sigmoid that keeps values in range.

    *Source*: Olah, Mordvintsev & Schubert (2017), "Feature visualization": frequencies by 1/f, decorrelated colours.
    """
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    mixing = torch.tensor(NATURAL_MIXING)

    def filtered(z: Tensor, power: float) -> Tensor:
        gains = frequency_gains(z, 1.0).pow(power)
        found: Tensor = torch.fft.irfft2(torch.fft.rfft2(z) * gains, s=z.shape[-2:])
        return found

    def encode(x: Tensor) -> Tensor:
        logits = ((x + mean) / 255).clamp(0.01, 0.99).logit()
        return filtered(mixed(logits, torch.linalg.inv(mixing)), -1.0)

    return Through(rate, encode, lambda z: 255 * mixed(filtered(z, 1.0), mixing).sigmoid() - mean)


def constrained(rate: float) -> Through:
    """Return Adam on the phases of frequencies whose magnitudes are those of photographs, in decorrelated colours.

    *Source*: Fel et al. (2023), "Unlocking feature visualization for deep networks with magnitude constrained
    optimization". *Differs*: without the sigmoid after it, and without crops and noise, which change the code.
    """
    mixing = torch.tensor(NATURAL_MIXING)

    def encode(x: Tensor) -> Tensor:
        return torch.fft.rfft2(mixed(x, torch.linalg.inv(mixing))).angle()

    def decode(phases: Tensor) -> Tensor:
        side = phases.shape[-2]
        spectrum = torch.polar(magnitudes(side).expand_as(phases), phases)
        return mixed(torch.fft.irfft2(spectrum, s=(side, side)), mixing)

    return Through(rate, encode, decode)


@cache
def magnitudes(side: int) -> Tensor:
    """Return (3, side, side // 2 + 1) the mean magnitudes of the demo's photographs, in decorrelated colours."""
    files = sorted(backlight_demo.photographs().glob("*.jpg"))
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((side, side))) for file in files]
    levels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() - torch.tensor(MEAN).view(
        1, 3, 1, 1
    )
    apart = mixed(levels, torch.linalg.inv(torch.tensor(NATURAL_MIXING)))
    return torch.fft.rfft2(apart).abs().mean(0)


def _rival(optimiser: Optimiser, priors: bool, place: Place, strength: float | None) -> Recipe:
    """Return the weight and number of steps of `wide` with another optimiser, and with total variation or no prior."""
    recipe = wide(place, strength)
    variation = tuple(prior for prior in recipe.priors if isinstance(prior, TotalVariation))
    # what is computed from parameters starts from grey, as its authors do, the others from its noise
    return replace(
        recipe,
        priors=variation if priors else (),
        stages=(Stage(optimiser, recipe.n_steps),),
        spread=recipe.spread if priors else 2.5,
        bound=None,
        patience=None,
    )


RIVALS: dict[str, Callable[[Place, float | None], Recipe]] = {
    "adam": partial(_rival, Adam(16.0), True),
    "l-bfgs": partial(_rival, Limited(), True),
    "fourier": partial(_rival, fourier(0.1), False),
    "magnitude": partial(_rival, constrained(1.0), False),
}


def run(settings: Settings) -> dict[str, Any]:
    """Return the errors of each photograph, as plain JSON."""
    use_all_cores()
    RECIPES.update(RIVALS)
    net, is_random = _network(settings.network, settings.pixels)
    found = {
        "machine": machine(0.0),
        "settings": asdict(settings),
        "weights": "random" if is_random else "trained",
    }
    found["rows"] = rows = []
    work = list(_work(settings))
    for layer, recipe, paths in track(work, "inverting", len(work)):
        rows += measure(net, settings, layer, recipe, paths)
        if settings.images == Settings.images:  # hours: a look in between must be possible
            write_results(_part(settings), found)
    print_table("normalised error of the pictures, %", *table(found))
    return found


def _part(settings: Settings) -> str:
    """Return the name of the results."""
    return PART if settings.network == Settings.network else f"{PART}_{settings.network}"


def _paths(settings: Settings, count: int) -> list[Path]:
    """Return so many pictures for a network to see."""
    if settings.network not in cifar_networks.BODIES:
        return photographs(count)
    source, folder = cifar_networks.images("test"), cifar_networks.FOLDER / "test"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:03}.png" for i in range(count)]
    for i, path in enumerate(paths):
        Image.fromarray(np.asarray(source.load(i))).save(path)
    return paths


def _network(name: str, pixels: int) -> tuple[Network, bool]:
    if name in cifar_networks.BODIES:
        return cifar_networks.load(name), False
    if name == "demo":
        preprocessing = Preprocessing.from_dict(backlight_demo.PREPROCESSING)
        return capture(backlight_demo.model(), (3, *preprocessing.crop), preprocessing), False
    model, net, is_random = load_network(name)
    if net.input_shape[1:] == (pixels, pixels):
        return net, is_random
    whole = net.preprocessing
    assert whole is not None
    # a smaller image, not a smaller part of it
    resize = round(whole.resize * pixels / whole.crop[0]) if isinstance(whole.resize, int) else whole.resize
    smaller = replace(whole, resize=resize, crop=(pixels, pixels))
    return capture(model, (3, pixels, pixels), smaller), is_random


def _work(settings: Settings) -> Iterator[tuple[str, str, list[Any]]]:
    paths = _paths(settings, settings.images)
    for start in range(0, len(paths), settings.batch):
        for layer in settings.layers:
            for recipe in settings.recipes:
                yield layer, recipe, paths[start : start + settings.batch]


_SPREADS: dict[tuple[Network, str, int], Any] = {}


def measure(
    net: Network, settings: Settings, layer: str, recipe: str, paths: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return what photographs came to, one row for each."""
    assert net.preprocessing is not None
    key = net, layer, settings.spread
    if key not in _SPREADS:
        _SPREADS[key] = spread_of(net, _paths(settings, settings.spread), layer)
    results = invert_all(net, net.preprocessing.batch(paths), layer, InversionConfig(recipe), _SPREADS[key])
    return [_row(result, path.name) for result, path in zip(results, paths, strict=True)]


def _row(result: Inversion, name: str) -> dict[str, Any]:
    (shown,), (own,) = result.shown.normalised_errors, result.normalised_errors  # type: ignore[misc]
    away = result.pictures[0].astype(float) - result.original
    numbers = {"picture_error": shown, "float_error": own, "rms_levels": np.sqrt(np.square(away).mean())}
    row = {"layer": result.layer, "recipe": result.config.recipe, "image": name}
    row |= {key: float(f"{value:.4g}") for key, value in numbers.items()}
    same = result.same_label
    return row | {"same_label": None if same is None else bool(same[0]), "steps": result.curves.shape[1]}


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the pictures' errors in per cent and of their distances from the photographs.

    A row for each layer and recipe; the difference from the first recipe with its 95 % interval over photographs, over
    all of them and over those on which nothing was chosen.
    """
    settings = found["settings"]
    first = settings["recipes"][0]
    header = ["layer", "recipe", "n", "steps", "error of the picture", f"more than {first}"]
    header += ["on new photographs", "float image"]
    body = []
    for layer in settings["layers"]:
        of = {
            recipe: {
                row["image"]: row for row in found["rows"] if (row["layer"], row["recipe"]) == (layer, recipe)
            }
            for recipe in settings["recipes"]
        }
        body += [_cells(layer, recipe, rows, of[first]) for recipe, rows in of.items() if rows]
    return [*header, "grey levels from the photograph", "same answer"], body


def _cells(layer: str, recipe: str, rows: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """Return the row of one recipe; both groups of results are by photograph."""
    pairs = {
        name: (row["picture_error"], first[name]["picture_error"])
        for name, row in rows.items()
        if name in first
    }
    shown = {
        key: np.mean([row[key] for row in rows.values()])
        for key in ("picture_error", "float_error", "rms_levels")
    }
    same = [row["same_label"] for row in rows.values()]
    return [
        f"`{layer}`",
        recipe,
        str(len(rows)),
        str(max(row["steps"] for row in rows.values())),
        f"{100 * shown['picture_error']:.1f}",
        _more(list(pairs.values())),
        _more([pair for name, pair in pairs.items() if name not in CHOSEN_ON]),
        f"{100 * shown['float_error']:.1f}",
        f"{shown['rms_levels']:.0f}",
        f"{np.mean(same):.0%}" if None not in same else "–",
    ]


def _more(pairs: Sequence[tuple[float, float]]) -> str:
    """Return the mean difference of pairs in per cent and its 95 % interval."""
    differences = 100 * np.array([own - other for own, other in pairs])
    if not differences.any():  # the first recipe itself, or none
        return ""
    interval = mean_interval(differences)
    limits = "–" if interval.low is None else f"{interval.low:+.1f}, {interval.high:+.1f}"
    return f"{differences.mean():+.1f} [{limits}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", help="a classifier of torchvision, demo, or a network of cifar_networks")
    parser.add_argument("--images", type=int, help="photographs")
    parser.add_argument("--pixels", type=int, help="side of the image that the network sees")
    parser.add_argument("--layers", nargs="+", metavar="NAME")
    parser.add_argument("--recipes", nargs="+", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="two small photographs, one layer")
    settings = settings_from(parser.parse_args(), Settings(), QUICK)
    write_results(_part(settings), run(settings))


if __name__ == "__main__":
    main()
