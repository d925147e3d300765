"""Makes the figures of the documentation: SqueezeNet, and an adaptive network, over the demo photographs.

    python docs/make_figures.py squeezenet1_0.safetensors docs/figures
    python docs/make_figures.py m.adn docs/figures

The second needs a network trained by `backlight adaptive fit`, and prints the page's table of errors. The feature maps
of figure2 are chosen by eye from those of their layers; everything else comes from `backlight build`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

from PIL import Image
from torchvision.models import SqueezeNet1_0_Weights

import backlight
import backlight_demo
from backlight import adaptive, inversion
from backlight.atlas import rules_by_evidence
from backlight.inversion.descriptors import descriptor
from backlight.models import load_model
from backlight.render import strip
from backlight.render.page import Frame, page
from backlight.render.plots import Plot
from backlight.studies import correspondence, faithfulness, homogeneity, invariance, occlusion, sanity

FIGURES = {
    "figure2": ("features.8.expand3x3_activation", [66, 76, 126, 24, 21, 11]),
    "figure2-early": ("features.5.expand3x3_activation", [31, 46, 15, 41, 1, 109]),
}


FAITHFULNESS_LAYERS = [
    "features.1",
    "features.4.expand3x3_activation",
    "features.7.expand3x3_activation",
    "features.9.expand3x3_activation",
    "features.10.expand3x3_activation",
    "features.12.expand3x3_activation",
]
WELL, BADLY = "features.7.expand3x3_activation", "features.12.expand3x3_activation"


OCCLUSIONS = [
    ("occlusion", "tabby_cat.jpg", "features.9.cat", 197, "tabby"),
    ("occlusion-badly", "german_shepherd_dog.jpg", "features.12.cat", 367, "German shepherd"),
]

INVERTED = "red_panda.jpg"
INVERTED_LAYERS = ["features.0", "features.4.cat", "features.7.cat", "features.8.cat", "features.9.cat"]
INVERTED_LAYERS += ["features.10.cat", "features.12.cat", "classifier.1", "classifier.3"]
MAXIMISED = [("features.7.cat", 20), ("features.9.cat", 197), ("features.12.cat", 367), ("flatten", 281)]

DESCRIPTORS = {"hogb": "HOG, bilinear bins", "hog": "HOG, hard bins", "dsift": "dense SIFT"}

ADAPTED = ["angelfish", "bicycle_cutout", "berlin_cathedral", "tabby_cat"]

MOVED = ["tabby_cat", "red_panda", "brown_hens", "colosseum", "sheep"]


def main(weights: str, folder: Path) -> None:
    """Build the atlases of the layers shown and write the figures."""
    preprocessing = backlight.Preprocessing.from_torchvision(SqueezeNet1_0_Weights.DEFAULT)
    model = load_model("torchvision:squeezenet1_0", weights).model
    net = backlight.capture(model, (3, 224, 224), preprocessing)
    for name, (layer, channels) in FIGURES.items():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "docs.atlas"
            atlas = backlight.build(net, backlight_demo.photographs(), path, [layer], maps=channels)
            atlas.figure(layer, channels, columns=3).save(folder / f"{name}.webp", quality=90)
            atlas.superposed(layer, channels[:4]).save(folder / f"{name}-superposed.webp", quality=90)
    with tempfile.TemporaryDirectory() as scratch:
        evidence(net, folder, Path(scratch))
        occluded(net, folder, Path(scratch))
    moved_and_masked(net, folder)
    inverted(net, folder)


def evidence(net: backlight.Network, folder: Path, scratch: Path) -> None:
    """Write the figures of faithfulness, sanity and homogeneity; the feature maps are sampled at random."""
    photos = backlight_demo.photographs()
    atlas = backlight.build(net, photos, scratch / "evidence.atlas", FAITHFULNESS_LAYERS, maps=16)
    result = faithfulness.run(atlas, net, photos)
    result.keep(atlas.path)
    save(result.plot(), folder / "faithfulness.webp")
    studied = backlight.open_atlas(atlas.path)
    for layer, name in ((WELL, "evidence-strong"), (BADLY, "evidence-weak")):
        studied.figure(layer, studied[layer].channels[:4], columns=2).save(
            folder / f"{name}.webp", quality=90
        )
    rules = rules_by_evidence(studied, net.fingerprint())
    best = backlight.build(net, photos, scratch / "best.atlas", [BADLY], rules=rules, maps=16)
    best.figure(BADLY, best[BADLY].channels[:4], columns=2).save(folder / "evidence-best.webp", quality=90)
    save(sanity.run(atlas, net, photos, BADLY).plot(), folder / "sanity.webp")
    save(homogeneity.run(atlas).plot(), folder / "homogeneity.webp")


def occluded(net: backlight.Network, folder: Path, scratch: Path) -> None:
    """Write the paper's Fig. 7 for a cat, and for a case in which projection and occlusion disagree."""
    photos, names = backlight_demo.photographs(), tuple(SqueezeNet1_0_Weights.DEFAULT.meta["categories"])
    for name, picture, layer, channel, class_name in OCCLUSIONS:
        atlas = backlight.build(net, photos, scratch / f"{name}.atlas", [layer], maps=[channel])
        config = occlusion.OcclusionConfig(
            channel=channel, class_index=names.index(class_name), class_names=names
        )
        save(
            occlusion.run(net, photos / picture, layer, config, others=atlas).plot(), folder / f"{name}.webp"
        )


def moved_and_masked(net: backlight.Network, folder: Path) -> None:
    """Write the paper's Fig. 5 for five photographs, and its Table 1 for the faces among them."""
    pictures = [backlight_demo.photographs() / f"{name}.jpg" for name in MOVED]
    moved = invariance.run(net, pictures, ["features.1", "classifier.3"])
    save(moved.plot(), folder / "invariance.webp")
    save(correspondence.run(net, backlight_demo.parts()).plot(), folder / "correspondence.webp")


def inverted(net: backlight.Network, folder: Path) -> None:
    """Write inversions: all layers, the papers' recipes, restarts, the other goals, the classical descriptors."""
    photos = backlight_demo.photographs()
    picture, others = photos / INVERTED, sorted(photos.glob("*.jpg"))
    spreads = {layer: inversion.spread_of(net, others, layer) for layer in INVERTED_LAYERS}

    def found(layer: str, recipe: str = "default", restarts: int = 1) -> inversion.Inversion:
        config = inversion.InversionConfig(recipe, restarts=restarts)
        return inversion.invert(net, picture, layer, config, spreads[layer])

    webp(inversion.figure([found(layer) for layer in INVERTED_LAYERS]), folder / "inversion-layers.webp")
    published = [
        inversion.figure([found(layer, recipe) for layer in INVERTED_LAYERS[1::2]])
        for recipe in ("ijcv2016", "cvpr2015")
    ]
    webp(page(published, Frame("", columns=1, gap=0)), folder / "inversion-recipes.webp")
    late = [found(layer, restarts=4) for layer in INVERTED_LAYERS[-2:]]
    webp(inversion.figure(late), folder / "inversion-restarts.webp")
    units = [inversion.maximise(net, backlight.Unit(layer, channel)) for layer, channel in MAXIMISED]
    webp(inversion.figure(units), folder / "inversion-goals.webp")
    webp(strip(described(picture)), folder / "inversion-descriptors.webp")


def described(picture: Path) -> list[tuple[str, Image.Image]]:
    """Return the original and the inversion of each classical descriptor, with captions."""
    shown = []
    for name, title in DESCRIPTORS.items():
        net = descriptor(name, 160)
        found = inversion.invert(net, picture, net.layers[-1])
        shown.append((f"{title}: {found.relative_errors[0]:.0%} off", found.picture))
    return [("original", Image.fromarray(found.original)), *shown]


def webp(picture: Image.Image, path: Path) -> None:
    """Write a picture as WebP."""
    picture.save(path, quality=90)


def save(plot: Plot, path: Path) -> None:
    """Write a plot as WebP."""
    plot.savefig(path, dpi=110, pil_kwargs={"quality": 90})


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
    if sys.argv[1].endswith(".adn"):
        adapted(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]))
