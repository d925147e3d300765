"""Sound maps: is the maximised picture of an honest feature map ever called unlike all of the map's hits?

Maps of SqueezeNet drawn at random from the layers behind the first three are maximised, and each picture is compared
with the map's nine strongest hits among photographs (`backlight.inversion.likeness`). Nobody has tampered with this
network, so every accusation is false. Results are kept after each map, and rerunning the command resumes. Prints a
table and writes benchmarks/results/sound_maps.json; `report.py` puts it into docs/inversion.md.

    python benchmarks/sound_maps.py [--maps 14] [--quick]
"""

from __future__ import annotations

import argparse
import random
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backlight import Network, Unit, capture
from backlight.inversion import likeness_of, maximise
from backlight.inversion.likeness import UNLIKE
from common import SHARED, load_network, photographs, print_table, read_results, settings_from, write_results

PART = "sound_maps"
NETWORK = "squeezenet1_0"
N_HITS = 9
_N_FIRST = 3


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        maps: Feature maps of each layer.
        images: Photographs among which the hits are found.
        side: Side of the inputs in pixels; smaller than usual, for time.
    """

    maps: int = 14
    images: int = 300
    side: int = 128


QUICK = Settings(maps=1, images=20, side=64)


def run(settings: Settings, most: int | None = None) -> dict[str, Any]:
    """Return the results of all maps, or of so many more than are kept already."""
    torch.set_num_threads(1)
    net = _network(settings.side)
    layers = [layer.name for layer in net.default_layers]
    part = PART if settings == Settings() else f"{PART}_of_{settings.maps}"
    kept = read_results(part) or {}
    rows = kept["rows"] if kept.get("settings") == asdict(settings) else []
    images = torch.cat([net.prepare([path]) for path in photographs(settings.images)])
    hits = _hits(net, images, layers)
    rng = random.Random(1)
    tasks = [
        (name, c)
        for name in layers[_N_FIRST:]
        for c in rng.sample(range(net.layer(name).n_maps), settings.maps)
    ]
    rng.shuffle(tasks)
    found = {"settings": asdict(settings), "n_maps": len(tasks), "rows": rows}
    done = {(row["layer"], row["channel"]) for row in rows}
    for name, channel in [task for task in tasks if task not in done][:most]:
        rows.append(row_of(net, images, name, channel, hits[name]))
        write_results(part, found)
    return found


def row_of(
    net: Network, images: Tensor, name: str, channel: int, hits: tuple[Tensor, Tensor]
) -> dict[str, Any]:
    """Return what the comparison says of one map; nothing where it is silent on photographs or stays so."""
    values, places = (own[:, channel] for own in hits)
    height, width = net.layer(name).shape[1:]
    best = values.topk(N_HITS).indices
    row = {"layer": name, "channel": channel, "carried": None, "in": None, "times": None}
    if not values[best[-1]] > 0:
        return row
    units = [Unit(name, channel, *divmod(int(places[i]), width)) for i in best]
    unit = Unit(name, channel, height // 2, width // 2)
    found = maximise(net, unit)
    if not -found.goals[found.best] > 0:
        return row
    compared = likeness_of(net, torch.from_numpy(found.images[found.best]), unit, images[best], units)
    assert compared.least is not None
    times = compared.value / float(values[best[0]])
    return row | {
        "carried": round(compared.least.carried, 4),
        "in": compared.least.layer,
        "times": round(times, 2),
    }


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return how much silent maps carry in sound maps: header and row."""
    known = sorted(row["carried"] for row in results["rows"] if row["carried"] is not None)
    times = sorted(row["times"] for row in results["rows"] if row["carried"] is not None)
    accused = sum(carried >= UNLIKE for carried in known)
    # Of n maps of which none is accused, the 95 % upper limit of the rate is 1 - 0.05^(1/n).
    limit = f"{1 - 0.05 ** (1 / len(known)):.1%}" if not accused else "–"
    cells = [f"{known[len(known) // 2]:.1%}", f"{known[int(0.9 * len(known))]:.1%}", f"{known[-1]:.1%}"]
    header = [
        "sound maps",
        "median",
        "90 %",
        "largest",
        "accused",
        "95 % upper limit",
        "times the best hit (median)",
    ]
    return header, [[str(len(known)), *cells, str(accused), limit, f"{times[len(times) // 2]:.1f}"]]


def _network(side: int) -> Network:
    model, full, _ = load_network(NETWORK)
    assert full.preprocessing is not None
    known = full.preprocessing
    resize = known.resize if not isinstance(known.resize, int) else round(known.resize * side / known.crop[0])
    return capture(model, (3, side, side), replace(known, crop=(side, side), resize=resize))


def _hits(net: Network, images: Tensor, layers: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return for each layer the largest activation of each map in each image, (n, c), and where it is."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    features = net.features(layers)
    with torch.no_grad():
        for batch in images.split(20):
            for name, maps in zip(layers, features(batch), strict=True):
                found[name].append(tuple(maps.flatten(2).max(2)))
    return {name: tuple(map(torch.cat, zip(*own, strict=True))) for name, own in found.items()}  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, help="feature maps of each layer")
    parser.add_argument("--most", type=int, help="stop after so many more")
    parser.add_argument("--quick", action="store_true", help="few maps: shows that it runs")
    options = parser.parse_args()
    if not (SHARED / "models" / f"{NETWORK}-imagenet.safetensors").is_file():
        print(
            f"sound maps are those of a trained network, and the weights of {NETWORK} are not in {SHARED}; skipped"
        )
        return
    results = run(settings_from(options, Settings(), QUICK), options.most)
    print_table("what silent maps carry", *table(results))


if __name__ == "__main__":
    main()
