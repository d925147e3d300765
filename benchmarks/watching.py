"""What watching a training costs: an example network is trained twice in one run, epoch by epoch in turns.

One of the two is watched by `EvolutionWatch`. Both must end with the same weights, bit for bit. The images are for
evaluation only, so nothing of them is kept.

    python benchmarks/watching.py [--epochs 40] [--quick]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backlight.studies.evolution import Evolution, EvolutionWatch
from common import SHARED, machine, number, print_table, settings_from, sgemm_gflops, write_results

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "zf_cifar10"
PART = "watching"


@dataclass(frozen=True)
class Settings:
    """What is trained, and how it is watched.

    Attributes:
        network: A network of examples/zf_cifar10.
        epochs: Epochs of each training.
        images: Training images.
        watched: Images that the watch looks at.
        maps: Feature maps of each layer that it follows.
        max_share: What the watch is allowed of the training's time.
        sgemm_sizes: Sizes of the matrices that measure the machine's rate.
    """

    network: str = "alexnet"
    epochs: int = 40
    images: int = 20_000
    watched: int = 500
    maps: int = 8
    max_share: float = 0.02
    sgemm_sizes: tuple[int, ...] = (2048, 3072, 4096)


QUICK = Settings(epochs=2, images=256, watched=32, maps=2, sgemm_sizes=(512,))


class Stopwatch:
    """Counts the seconds inside its blocks: the time of one training, whatever runs between its epochs."""

    def __init__(self) -> None:
        self._total, self._began, self._runs = 0.0, 0.0, False

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self._total + (time.perf_counter() - self._began if self._runs else 0.0)

    def __enter__(self) -> None:
        self._began, self._runs = time.perf_counter(), True

    def __exit__(self, *_: object) -> None:
        self._total, self._runs = self.seconds(), False


def run(settings: Settings, data: tuple[torch.Tensor, torch.Tensor] | None = None) -> dict[str, Any]:
    """Return what the watch took of the training's time, and whether the weights are the same, as plain JSON.

    Args:
        settings: What is trained.
        data: Images (n, 3, 32, 32) and classes (n,); None for those of the evaluation set.
    """
    sys.path.insert(0, str(EXAMPLE))
    import training

    x, y = data or training.load_images(SHARED / "cifar10", "train")
    data = x[: settings.images], y[: settings.images]
    plan = training.Run(settings.network, 0, training.Settings(epochs=settings.epochs))
    models, optimisers = zip(*(_fresh(training, plan) for _ in range(2)), strict=True)
    followed = Evolution(x[: settings.watched], maps=settings.maps)
    clocks = Stopwatch(), Stopwatch()
    watch = EvolutionWatch(followed, settings.max_share, clock=clocks[1].seconds)
    for epoch in range(1, settings.epochs + 1):
        for i in (epoch % 2, 1 - epoch % 2):  # in turns, so that neither is always the first
            with clocks[i]:
                training.train_epoch(models[i], optimisers[i], data, plan, epoch)
                if i == 1:
                    watch(models[1], epoch)
    without, with_watch = (clock.seconds() for clock in clocks)
    same = all(torch.equal(one, other) for one, other in _weights(models))
    looks = len(followed.result.steps)
    return {
        "machine": machine(sgemm_gflops(settings.sgemm_sizes)),
        "settings": asdict(settings),
        "looks": looks,
        "training_s": with_watch - watch.spent_s,
        "watching_s": watch.spent_s,
        "share": watch.spent_s / (with_watch - watch.spent_s),
        "ratio": with_watch / without,
        "same_weights": same,
    }


def _fresh(training: Any, plan: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(plan.seed)
    model = training.make(plan.name).to(memory_format=torch.channels_last)
    return model, torch.optim.SGD(model.parameters(), plan.settings.rate, momentum=0.9)


def _weights(models: Any) -> Any:
    return zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True)


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the table: header and rows."""
    header = ["epochs", "looks", "training s", "watching s", "share", "watched : not watched", "same weights"]
    share, ratio = f"{100 * results['share']:.2f} %", f"{results['ratio']:.3f}"
    row = [str(results["settings"]["epochs"]), str(results["looks"])]
    row += [number(results["training_s"]), number(results["watching_s"]), share, ratio]
    return header, [[*row, "yes" if results["same_weights"] else "no"]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="A small run, to see that all parts work.")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    found = run(settings_from(options, Settings(), QUICK))
    print_table("what watching a training costs", *table(found))
    write_results(PART, found)
