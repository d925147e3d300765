"""Evidence for rule sets: what each gains over itself turned, and foretells, in the layers of trained networks.

SqueezeNet and the demo's ResNet-34 over photographs, and the networks of `cifar_networks.py` over test images of
CIFAR-10. For each a few layers from the bottom to the top, their maps drawn at random. Results are kept after each
network, and one that is there for the same settings is not studied again.

    python benchmarks/evidence.py [--networks squeezenet demo vgg ...] [--maps 12] [--hits 3] [--quick]

Prints a table and writes benchmarks/results/evidence.json; `report.py` puts it into docs/evidence.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

import backlight
import backlight_demo
import cifar_networks
from backlight import Network, Preprocessing
from backlight.images import ImageSource, SequenceSource, open_images
from backlight.studies import faithfulness, foretelling
from backlight.studies.faithfulness import FaithfulnessConfig
from backlight.studies.foretelling import ForetellingConfig
from backlight.studies.intervals import P_LIMIT, false_discoveries, mean_interval, sign_flip_p
from common import (
    load_network,
    machine,
    photographs,
    print_table,
    read_results,
    settings_from,
    sgemm_gflops,
    use_all_cores,
    write_results,
)

PART = "evidence"
OWN = "deconvnet"
RIVALS = ("masked,masked_levels=2", "masked,masked_levels=4", "masked")


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Of NETWORKS.
        layers: How many layers of each, spread evenly, the last among them.
        images: How many images are searched for hits.
        maps: Maps of each layer, drawn at random.
        hits: Hits of each map.
        rivals: Rule sets beside those of the papers.
        shares: Shares of the field that are covered.
        fills: What covers them.
    """

    networks: tuple[str, ...] = ("squeezenet", "demo", *cifar_networks.BODIES)
    layers: int = 6
    images: int = 1000
    maps: int = 12
    hits: int = 3
    rivals: tuple[str, ...] = RIVALS
    shares: tuple[float, ...] = (0.1,)
    fills: tuple[str, ...] = ("mean",)


QUICK = Settings(networks=("squeezenet",), layers=1, images=12, maps=2, hits=1, rivals=("masked",))


def _squeezenet(n_images: int) -> tuple[Network, ImageSource]:
    _, net, _ = load_network("squeezenet1_0")
    return net, open_images(photographs(n_images))


def _demo(n_images: int) -> tuple[Network, ImageSource]:
    preprocessing = Preprocessing.from_dict(backlight_demo.PREPROCESSING)
    return backlight.capture(backlight_demo.model(), (3, 227, 227), preprocessing), open_images(
        photographs(n_images)
    )


def _cifar(name: str, n_images: int) -> tuple[Network, ImageSource]:
    source = cifar_networks.images("test")
    pictures = [Image.fromarray(np.asarray(source.load(i))) for i in range(min(n_images, len(source)))]
    return cifar_networks.load(name), SequenceSource(pictures)


def load(name: str, n_images: int) -> tuple[Network, ImageSource]:
    """Return a network with the images that are searched for its hits."""
    known: dict[str, Callable[[int], tuple[Network, ImageSource]]] = {
        "squeezenet": _squeezenet,
        "demo": _demo,
    }
    return known[name](n_images) if name in known else _cifar(name, n_images)


def spread(names: Sequence[str], count: int) -> list[str]:
    """Return so many names, evenly spread, the last among them."""
    places = np.linspace(len(names) - 1, 0, min(count, len(names)) + 1)[:-1]
    return [names[round(place)] for place in places[::-1]]


def study(name: str, settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of a network, one for each layer and rule set."""
    net, source = load(name, settings.images)
    layers = spread([layer.name for layer in net.default_layers], settings.layers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidence.atlas"
        # maps are drawn as the studies draw them: all are searched, few projected
        atlas = backlight.build(net, source, path, layers, maps=4 * settings.maps)
        common: dict[str, Any] = {"maps": settings.maps, "hits": settings.hits, "rivals": settings.rivals}
        covering = FaithfulnessConfig(**common, shares=settings.shares, fills=settings.fills)
        covered = faithfulness.run(atlas, net, source, layers, covering)
        foretold = foretelling.run(atlas, net, source, layers, ForetellingConfig(**common))
    return [
        _row(name, place, layer, rules, covered, foretold)
        for place, layer in enumerate(covered.layers)
        for rules in foretold.methods[:-2]
    ]


def _row(
    network: str,
    place: int,
    layer: str,
    rules: str,
    covered: faithfulness.Faithfulness,
    foretold: foretelling.Foretelling,
) -> dict[str, Any]:
    """Return what a rule set reaches in a layer: means over maps, and differences from the deconvnet with their p."""
    falls, turned = (covered.by_map(layer, own).mean((2, 3)) for own in (covered.falls, covered.turned))
    _, plain, partial = foretold.map_values(layer)
    mine, own = covered.methods.index(rules), covered.methods.index(OWN)
    gains = falls[:, : turned.shape[1]] - turned
    found = {
        "fall": (falls[:, mine], falls[:, own]),
        "gain": (gains[:, mine], gains[:, own]),
        "foretold": (plain[:, mine], plain[:, own]),
        "partial": (partial[:, mine], partial[:, own]),
    }
    row: dict[str, Any] = {
        "network": network,
        "place": place,
        "layer": layer,
        "rules": rules,
        "n": len(falls),
    }
    row["disc"] = _rounded(mean_interval(falls[:, covered.methods.index("centre")]).mean)
    for name, (values, others) in found.items():
        row |= _measured(name, values, others)
    return row


def _measured(name: str, values: NDArray[np.float64], others: NDArray[np.float64]) -> dict[str, Any]:
    found, change = mean_interval(values), mean_interval(values - others)
    return {
        name: _rounded(found.mean),
        f"{name}_low": _rounded(found.low),
        f"{name}_high": _rounded(found.high),
        f"{name}_change": _rounded(change.mean),
        f"{name}_p": _rounded(sign_flip_p(values - others)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


SHOWN = ("deconvnet", "masked", "guided", "gradient")
MEASURES = {"fall": "fall", "gain": "gain over turned", "partial": "foretold, given distance"}


def layers_table(results: dict[str, Any], network: str) -> tuple[list[str], list[list[str]]] | None:
    """Return the header and the rows of a network's table, one for each layer; None where it was not studied.

    A cell holds the fall in percent, the gain over the turned mask in points, and the partial correlation.
    """
    rows = [row for row in results["rows"] if row["network"] == network]
    if not rows:
        return None
    found = []
    for place in sorted({row["place"] for row in rows}):
        own = {row["rules"]: row for row in rows if row["place"] == place}
        first = own[OWN]
        cells = [_cell(own[rules]) if rules in own else "–" for rules in SHOWN]
        found.append([first["layer"], str(first["n"]), _percent(first["disc"]), *cells])
    return ["layer", "maps", "disc", *SHOWN], found


def _cell(row: dict[str, Any]) -> str:
    partial = "–" if row["partial"] is None else f"{row['partial']:.2f}"
    gain = "–" if row["gain"] is None else f"{100 * row['gain']:+.0f}"
    return f"{_percent(row['fall'])}, {gain}, {partial}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"


def changes_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
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


def main(settings: Settings) -> None:
    """Study the networks that were not studied with these settings."""
    use_all_cores()
    wanted = {key: value for key, value in asdict(settings).items() if key != "networks"}
    known = read_results(PART) or {}
    rows = known.get("rows", []) if known.get("settings") == _plain(wanted) else []
    results = known
    for name in track(settings.networks, "networks"):
        if name not in {row["network"] for row in rows}:
            rows += study(name, settings)
            results = {"machine": machine(sgemm_gflops()), "settings": _plain(wanted), "rows": rows}
            write_results(PART, results)
    print_table("layers in which it is surely better or worse than the deconvnet", *changes_table(results))
    print_table(
        "evidence by layer and rule set",
        ["network", "layer", "rules", "fall", "gain over turned", "disc", "foretold", "given distance"],
        [
            [
                *(row["network"], row["layer"], row["rules"]),
                *(_shown(row[key]) for key in ("fall", "gain", "disc", "foretold", "partial")),
            ]
            for row in rows
        ],
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a minute: shows that it runs")
    parser.add_argument("--networks", nargs="*")
    for name in ("layers", "images", "maps", "hits"):
        parser.add_argument(f"--{name}", type=int)
    main(settings_from(parser.parse_args(), Settings(), QUICK))
