"""Makes the figures of an adaptive network over the demo photographs, and prints the page's table of errors.

    python docs/make_adaptive_figures.py m.adn docs/figures

The network is one trained by `backlight adaptive fit`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean, stdev

from PIL import Image

import backlight
import backlight_demo
from backlight import adaptive

ADAPTED = ["angelfish", "bicycle_cutout", "berlin_cathedral", "tabby_cat"]


def adapted(model: Path, folder: Path) -> None:
    """Write the figures of a trained adaptive network; the feature maps are sampled at random."""
    net, photos = adaptive.AdaptiveDeconvNet.load(model), backlight_demo.photographs()
    found = adaptive.find_hits(net, backlight.open_images(photos), adaptive.HitSearch(maps=6))
    webp(adaptive.filter_picture(net), folder / "adaptive-filters.webp")
    for layer in range(2, net.n_layers + 1):
        webp(adaptive.layer_picture(found, layer), folder / f"adaptive-layer{layer}.webp")
    images = net.prepare([photos / f"{name}.jpg" for name in ADAPTED])
    codes, own = net.infer(images), net.infer(images[:1])
    rebuilt = adaptive.reconstruction_picture(net, images, codes, ADAPTED)
    webp(rebuilt, folder / "adaptive-reconstructions.webp")
    webp(adaptive.decomposition_picture(net, images[0], own), folder / "adaptive-decomposition.webp")
    webp(adaptive.switch_picture(net, images[0], own), folder / "adaptive-switches.webp")
    webp(adaptive.tree_picture(net, images[0], own), folder / "adaptive-tree.webp")
    print_errors(net, sorted(photos.glob("*.jpg")))


def webp(picture: Image.Image, path: Path) -> None:
    """Write a picture as WebP."""
    picture.save(path, quality=90)


def print_errors(net: adaptive.AdaptiveDeconvNet, photos: list[Path]) -> None:
    """Print the page's table: how well each layer reconstructs photographs, and from how many activations."""
    layers = range(1, net.n_layers + 1)
    errors: dict[str, list[list[float]]] = {values: [] for values in adaptive.CODE_VALUES}
    counts = []
    for photo in photos:
        image = net.prepare(photo)
        for values in adaptive.CODE_VALUES:
            codes = net.infer(image, values=values)
            rests = [net.reconstruct(codes, n) - image for n in layers]
            errors[values].append([float(rest.norm() / image.norm()) for rest in rests])
        counts.append([int(codes[n].pooled.count_nonzero()) for n in layers])  # the same for both
    print(f"| layer | {' | '.join(errors)} | activations |\n|---|{'---:|' * (len(errors) + 1)}")
    for i, n in enumerate(layers):
        own = [[error[i] for error in found] for found in errors.values()]
        cells = [f"{100 * mean(error):.1f} ± {100 * stdev(error):.1f} %" for error in own]
        print(f"| {n} | {' | '.join(cells)} | {mean(count[i] for count in counts):,.0f} |")
    for values, found in errors.items():
        rising = sum(own == sorted(own) for own in found)
        print(f"{values}: in {rising} of {len(photos)}, each layer reconstructs worse than the one below it")


if __name__ == "__main__":
    adapted(Path(sys.argv[1]), Path(sys.argv[2]))
