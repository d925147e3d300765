"""The first filters of the networks that are compared, of one seed, one network above the other.

python examples/zf_cifar10/figures.py filters.webp [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from training import COMPARED, FOLDER, Run, Settings

from backlight.render import filter_figure

TILE = 40  # a whole multiple of both sizes of filters, 8 and 5


def stacked(runs: list[Run]) -> Image.Image:
    """Return the figures of the runs' first filters, one below the other."""
    figures = []
    for run in runs:
        weights = run.model().conv1.weight.detach().numpy()
        title = f"{run.name}, seed {run.seed}, layer 1"
        subtitle = f"after {run.settings.epochs} epochs"
        figures.append(filter_figure(weights, title, subtitle, columns=16, tile_size=TILE))
    page = Image.new("RGB", (max(own.width for own in figures), sum(own.height for own in figures)), "white")
    top = 0
    for own in figures:
        page.paste(own, (0, top))
        top += own.height
    return page


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=Settings.epochs, help="as they were trained")
    asked = parser.parse_args()
    runs = [Run(name, asked.seed, Settings(asked.epochs), asked.folder) for name in COMPARED]
    stacked(runs).save(asked.output, lossless=True, method=6)


if __name__ == "__main__":
    main()
