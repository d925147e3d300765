"""Which feature maps the demo shows: of so many drawn at random in each layer, those with the best evidence.

Of each layer that the demo draws, maps are sampled as `backlight build --maps N` samples them. Of each the strongest
hits are covered, and the maps are ranked by how much more of the activation is lost than when the covered pixels are
turned about the unit: by what the pictures tell beyond their position. Layers that are done are not studied again.

    python benchmarks/demo_maps.py [--maps 24]

Prints the maps and writes benchmarks/results/demo_maps.json; a test holds `backlight demo` to it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import backlight
import backlight_demo
from backlight import Preprocessing
from backlight.cli.demo import MAPS, SHOWN, rules_of
from backlight.images import CropSource, open_images
from backlight.studies import faithfulness
from backlight.studies.faithfulness import FaithfulnessConfig
from common import print_table, read_results, use_all_cores, write_results

PART = "demo_maps"
HITS, SHARE = 3, 0.1


def study(layer: str, maps: int) -> list[dict[str, Any]]:
    """Return what each sampled map of a layer loses by its own picture and by the picture turned, best first."""
    preprocessing = Preprocessing.from_dict(backlight_demo.PREPROCESSING)
    net = backlight.capture(backlight_demo.model(), (3, *preprocessing.crop), preprocessing)
    source = CropSource(open_images(backlight_demo.photographs()))
    rules = rules_of([layer])
    with tempfile.TemporaryDirectory() as folder:
        atlas = backlight.build(net, source, Path(folder) / "maps.atlas", [layer], maps=maps, rules=rules)
        config = FaithfulnessConfig(maps=None, hits=HITS, shares=(SHARE,), fills=("mean",))
        found = faithfulness.run(atlas, net, source, [layer], config)
    own = found.methods.index(found.own_rules(layer))
    falls, turned = (found.by_map(layer, kind)[:, own].mean((1, 2)) for kind in (found.falls, found.turned))
    channels = np.unique(found.channels).tolist()
    rows: list[dict[str, Any]] = [
        {"layer": layer, "channel": c, "fall": round(fall, 4), "turned": round(other, 4)}
        for c, fall, other in zip(channels, falls.tolist(), turned.tolist(), strict=True)
    ]
    return sorted(rows, key=lambda row: row["turned"] - row["fall"])


def best(results: dict[str, Any]) -> dict[str, list[int]]:
    """Return by layer the channels that the demo shows, in their order."""
    chosen: dict[str, list[int]] = {}
    for row in results["rows"]:
        chosen.setdefault(row["layer"], []).append(row["channel"])
    return {layer: sorted(channels[:MAPS]) for layer, channels in chosen.items()}


def main(maps: int) -> None:
    """Study the layers that were not studied with so many maps."""
    use_all_cores()
    known = read_results(PART) or {}
    rows = known["rows"] if known.get("maps") == maps else []
    for layer in SHOWN:
        if layer not in {row["layer"] for row in rows}:
            rows += study(layer, maps)
            write_results(PART, {"maps": maps, "hits": HITS, "share": SHARE, "rows": rows})
    chosen = best({"rows": rows})
    print_table("maps", ["layer", "channels"], [[layer, f"{own}"] for layer, own in chosen.items()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=24)
    main(parser.parse_args().maps)
