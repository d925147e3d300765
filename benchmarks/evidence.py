"""Evidence for rule sets: what each gains over itself turned, foretells, and owes to the weights, layer by layer.

SqueezeNet and the demo's ResNet-34 over photographs, and the networks of `cifar_networks.py` over test images of
CIFAR-10. For each a few layers from the bottom to the top, their maps drawn at random. Results are kept after each
network; what is there for the same settings is not studied again, and only its sanity where that alone is missing.

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
import evidence_sanity
from backlight import Network, Preprocessing
from backlight.images import ImageSource, SequenceSource, open_images
from backlight.studies import faithfulness, foretelling
from backlight.studies.faithfulness import FaithfulnessConfig
from backlight.studies.foretelling import ForetellingConfig
from backlight.studies.intervals import mean_interval, sign_flip_p
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
from evidence_tables import OWN, changes_table, failures_table

PART = "evidence"
RIVALS = ("masked,masked_levels=2", "masked,masked_levels=4", "masked")
NETWORKS = (
    *("squeezenet", "demo"),
    *("vgg", "residual", "strided", "leaky", "depthwise", "dense", "average", "overlapping"),
)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Those of docs/evidence.md, or any of `cifar_networks.py`.
        layers: How many layers of each, spread evenly, the last among them.
        images: How many images are searched for hits.
        maps: Maps of each layer, drawn at random.
        hits: Hits of each map.
        rivals: Rule sets beside those of the papers.
        shares: Shares of the field that are covered.
        fills: What covers them.
    """

    networks: tuple[str, ...] = NETWORKS
    layers: int = 5
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


def study(name: str, settings: Settings, *, sanity_only: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a network by where they are kept, one for each layer and rule set."""
    net, source = load(name, settings.images)
    layers = spread([layer.name for layer in net.default_layers], settings.layers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidence.atlas"
        # maps are drawn as the studies draw them: all are searched, few projected
        atlas = backlight.build(net, source, path, layers, maps=4 * settings.maps)
        checked = evidence_sanity.study(name, atlas, net, source, layers)
        if sanity_only:
            return {evidence_sanity.KEPT: checked}
        common: dict[str, Any] = {"maps": settings.maps, "hits": settings.hits, "rivals": settings.rivals}
        covering = FaithfulnessConfig(**common, shares=settings.shares, fills=settings.fills)
        covered = faithfulness.run(atlas, net, source, layers, covering)
        foretold = foretelling.run(atlas, net, source, layers, ForetellingConfig(**common))
    rows = [
        _row(name, place, layer, rules, covered, foretold)
        for place, layer in enumerate(covered.layers)
        for rules in foretold.methods[:-2]
    ]
    return {"rows": rows, evidence_sanity.KEPT: checked}


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


def main(settings: Settings) -> None:
    """Study the networks that were not studied with these settings."""
    use_all_cores()
    wanted = {key: value for key, value in asdict(settings).items() if key != "networks"}
    results = _kept(_plain(wanted))
    for name in track(settings.networks, "networks"):
        studied, checked = (
            {row["network"] for row in results[part]} for part in ("rows", evidence_sanity.KEPT)
        )
        if name in studied & checked:
            continue
        for part, found in study(name, settings, sanity_only=name in studied).items():
            results[part] = [row for row in results[part] if row["network"] != name] + found
        write_results(PART, results)
    rows = results["rows"]
    print_table("layers in which it is surely better or worse than the deconvnet", *changes_table(results))
    print_table("layers in which it fails", *failures_table(results))
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


def _kept(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the results that were measured with these settings; sanity has its own beside them."""
    known = read_results(PART) or {}
    rows = known.get("rows", []) if known.get("settings") == wanted else []
    same = rows and known.get(f"{evidence_sanity.KEPT}_settings") == evidence_sanity.SETTINGS
    return {
        "machine": machine(sgemm_gflops()),
        "settings": wanted,
        "rows": rows,
        f"{evidence_sanity.KEPT}_settings": evidence_sanity.SETTINGS,
        evidence_sanity.KEPT: known.get(evidence_sanity.KEPT, []) if same else [],
    }


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
