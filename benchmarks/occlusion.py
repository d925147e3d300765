"""The occlusion study: positions per second against the bare forward pass of the same network, from memory.

The whole study of one image is timed: preparing the graph, running every position through the last feature maps
and the classifier, and projecting the strongest unit. The bare pass is the fastest of several, as for the scan; since
a sweep ends before compiling would have paid off, the fastest pass that is not compiled is shown as well.
Prints a table and writes benchmarks/results/occlusion.json.

    python benchmarks/occlusion.py [--networks squeezenet1_0] [--stride 8] [--quick]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from backlight.studies import occlusion
from backlight.studies.covering import sliding_squares
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
from scan import bare_passes, take_turns

TARGET = 0.9


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        networks: Classifiers of torchvision.
        size: Side of the square.
        stride: Pixels from one position to the next.
        images: Photographs for the bare pass.
        batch_sizes: Batch sizes of the bare pass.
        rounds: How often each contestant runs; they take turns, and the median counts.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    networks: tuple[str, ...] = ("squeezenet1_0",)
    size: int = 32
    stride: int = 8
    images: int = 96
    batch_sizes: tuple[int, ...] = (4, 8, 32)
    rounds: int = 3
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(stride=48, images=8, batch_sizes=(4,), rounds=1, sgemm_sizes=(512,))


def run(settings: Settings) -> dict[str, Any]:
    """Return the rates of each network, as plain JSON."""
    use_all_cores()
    sgemm = sgemm_gflops(settings.sgemm_sizes)
    networks = [measure(name, settings) for name in settings.networks]
    print_table(f"occlusion, {settings.size} pixels every {settings.stride}", *table(networks))
    return {"machine": machine(sgemm), "settings": asdict(settings), "target": TARGET, "networks": networks}


def measure(name: str, settings: Settings) -> dict[str, Any]:
    """Return the rates of one network in positions or images per second, and their ratios."""
    model, net, is_random = load_network(name)
    assert net.preprocessing is not None
    images = net.preprocessing.batch(photographs(settings.images))
    layer = net.default_layers[-1].name
    config = occlusion.OcclusionConfig(size=settings.size, stride=settings.stride)
    _, height, width = net.input_shape
    rows, cols = sliding_squares(height, width, settings.size, settings.stride)
    calls: dict[str, Callable[[], object]] = dict(bare_passes(model, images, settings.batch_sizes))
    counts = dict.fromkeys(calls, len(images)) | {"sweep": len(rows) * len(cols)}
    calls["sweep"] = partial(occlusion.run, net, images[0], layer, config)
    seconds = take_turns(calls, settings.rounds)
    rates = {kind: counts[kind] / value for kind, value in seconds.items()}
    bare = sorted((kind for kind in calls if kind != "sweep"), key=rates.__getitem__)
    plain = [kind for kind in bare if "compiled" not in kind]
    return {
        "network": name,
        "weights": "random" if is_random else "trained",
        "layer": layer,
        "positions": counts["sweep"],
        "sweep_s": seconds["sweep"],
        "rates": rates,
        "fastest_bare": bare[-1].removeprefix("bare "),
        "fastest_plain": plain[-1].removeprefix("bare "),
        "of_bare": rates["sweep"] / rates[bare[-1]],
        "of_plain": rates["sweep"] / rates[plain[-1]],
    }


def table(networks: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of the rates: header and rows."""
    header = ["network", "positions", "sweep s", "sweep", "fastest pass not compiled", "its rate", "ratio"]
    header += ["fastest pass", "its rate", "ratio"]
    rows = []
    for found in networks:
        rates = found["rates"]
        row = [found["network"], f"{found['positions']:,}", number(found["sweep_s"]), number(rates["sweep"])]
        for kind in ("plain", "bare"):
            fastest = found[f"fastest_{kind}"]
            row += [fastest, number(rates[f"bare {fastest}"]), f"{found[f'of_{kind}']:.2f}"]
        rows.append(row)
    return header, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--size", type=int, help="side of the square in pixels")
    parser.add_argument("--stride", type=int, help="pixels from one position to the next")
    parser.add_argument("--quick", action="store_true", help="few positions, images and rounds")
    options = parser.parse_args()
    write_results("occlusion", run(settings_from(options, Settings(), QUICK)))


if __name__ == "__main__":
    main()
