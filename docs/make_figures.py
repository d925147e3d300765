"""Makes the figures of the documentation: SqueezeNet, and the demo's network, over the demo photographs.

    python docs/make_figures.py squeezenet1_0.safetensors docs/figures
    python docs/make_figures.py squeezenet1_0.safetensors docs/figures evidence-weak sanity --work figures-work

Names choose single figures; without any, all are made. `--work` names a folder where atlases and what the studies found
are kept, as atlases and as JSON: another run with it studies no layer again. The feature maps of figure2 and of the
occlusions are chosen by eye, those of demo by eye among the maps that the demo shows; those of the studies are sampled
at random by `backlight build`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision.models import SqueezeNet1_0_Weights, squeezenet1_0

import backlight
import backlight_demo
from backlight import inversion
from backlight.atlas import rules_by_evidence
from backlight.images import CropSource, open_images
from backlight.inversion.descriptors import descriptor
from backlight.models import load_model
from backlight.operators.ruleset import GUIDED
from backlight.render import strip
from backlight.render.page import Frame, page
from backlight.render.plots import Plot
from backlight.studies import (
    correspondence,
    faithfulness,
    foretelling,
    homogeneity,
    invariance,
    occlusion,
    sanity,
)
from backlight.studies.side_by_side import side_by_side

FIGURES = {
    "figure2": ("features.8.expand3x3_activation", [66, 76, 126, 24, 21, 11]),
    "figure2-early": ("features.5.expand3x3_activation", [31, 46, 15, 41, 1, 109]),
}

DEMO = ("group3.4.relu2", [148, 210, 216])

STUDIED_LAYERS = [
    "features.1",
    "features.4.expand3x3_activation",
    "features.7.expand3x3_activation",
    "features.8.expand3x3_activation",
    "features.9.expand3x3_activation",
    "features.10.expand3x3_activation",
    "features.12.expand3x3_activation",
    "classifier.2",
]
N_MAPS = 16
WELL, BADLY = "features.7.expand3x3_activation", "features.12.expand3x3_activation"

OCCLUSIONS = {
    "occlusion": ("tabby_cat.jpg", "features.9.cat", 197, "tabby"),
    "occlusion-badly": ("german_shepherd_dog.jpg", "features.12.cat", 367, "German shepherd"),
}

INVERTED = "red_panda.jpg"
INVERTED_LAYERS = ["features.0", "features.4.cat", "features.7.cat", "features.8.cat", "features.9.cat"]
INVERTED_LAYERS += ["features.10.cat", "features.12.cat", "classifier.1", "classifier.3"]
MAXIMISED = [("features.7.cat", 20), ("features.9.cat", 197), ("features.12.cat", 367), ("flatten", 281)]

DESCRIPTORS = {"hogb": "HOG, bilinear bins", "hog": "HOG, hard bins", "dsift": "dense SIFT"}

CLASSES = tuple(SqueezeNet1_0_Weights.DEFAULT.meta["categories"])
MOVED = ["tabby_cat", "red_panda", "brown_hens", "colosseum", "sheep"]


class SqueezeNet:
    """The figures of SqueezeNet; what several of them need is made once.

    Args:
        weights: The network's weights.
        work: A folder for atlases and for what the studies found.
    """

    def __init__(self, weights: str, work: Path) -> None:
        self._weights, self._work = weights, work
        self._photos = backlight_demo.photographs()

    @cached_property
    def net(self) -> backlight.Network:
        """The captured network."""
        preprocessing = backlight.Preprocessing.from_torchvision(SqueezeNet1_0_Weights.DEFAULT)
        model = load_model("torchvision:squeezenet1_0", self._weights).model
        return backlight.capture(model, (3, 224, 224), preprocessing)

    def atlas(
        self, name: str, layers: Sequence[str], maps: Any, rules: Any = backlight.DECONVNET
    ) -> backlight.Atlas:
        """Return an atlas over the demo photographs, built where the work folder has none."""
        path = self._work / f"{name}.atlas"
        return backlight.build(self.net, self._photos, path, layers, rules=rules, maps=maps)

    def noted(self, name: str, result: Any) -> Any:
        """Return what a study found, after writing its numbers, which the pages quote, to the work folder."""
        (self._work / f"{name}.json").write_text(json.dumps(result.summary(), indent=1))
        return result

    @cached_property
    def sampled(self) -> backlight.Atlas:
        """The atlas of the studied layers, whose feature maps are sampled at random."""
        return self.atlas("evidence", STUDIED_LAYERS, N_MAPS)

    @cached_property
    def faithful(self) -> faithfulness.Faithfulness:
        """What covering the pixels of its projections shows, kept in the atlas layer by layer."""
        return self._kept("faithfulness", faithfulness)

    @cached_property
    def foretold(self) -> foretelling.Foretelling:
        """What its projections foretell, kept in the atlas layer by layer."""
        return self._kept("foretelling", foretelling)

    def _kept(self, name: str, study: Any) -> Any:
        found = []
        for own in study.run_by_layer(self.sampled, self.net, self._photos):
            own.keep(self.sampled.path)
            found.append(own)
        return self.noted(name, study.merged(found))

    def evidence(self, layer: str, *, is_best: bool = False) -> Image.Image:
        """Return the first sampled maps of a layer with their evidence, or by the rules that the evidence advises."""
        _ = self.faithful, self.foretold
        atlas = backlight.open_atlas(self.sampled.path)
        if is_best:
            rules = rules_by_evidence(atlas, self.net.fingerprint())
            atlas = self.atlas("best", [layer], N_MAPS, rules)
            faithfulness.run(atlas, self.net, self._photos).keep(atlas.path)
            foretelling.run(atlas, self.net, self._photos).keep(atlas.path)
            atlas = backlight.open_atlas(atlas.path)
        return atlas.figure(layer, atlas[layer].channels[:4], columns=2)

    def figure2(self, name: str, *, is_superposed: bool = False) -> Image.Image:
        """Return the paper's Fig. 2 of maps chosen by eye, or their hits superposed."""
        layer, channels = FIGURES[name]
        atlas = self.atlas(name, [layer], channels)
        if is_superposed:
            return atlas.superposed(layer, channels[:4])
        return atlas.figure(layer, channels, columns=3)

    def sanity(self) -> Plot:
        """Return the sanity checks of the layer where the deconvnet does badly."""
        return self.noted("sanity", sanity.run(self.sampled, self.net, self._photos, BADLY)).plot()

    @cached_property
    def random(self) -> backlight.Atlas:
        """The atlas of the same layers of a network with random weights."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = squeezenet1_0().eval()
        net = backlight.capture(model, self.net.input_shape, self.net.preprocessing)
        return backlight.build(net, self._photos, self._work / "random.atlas", STUDIED_LAYERS, maps=N_MAPS)

    def homogeneity(self) -> Plot:
        """Return how alike the hits of the sampled maps are; those of random weights are noted only."""
        self.noted("homogeneity-random", homogeneity.run(self.random))
        return self.noted("homogeneity", homogeneity.run(self.sampled)).plot()

    def occluded(self, name: str) -> Plot:
        """Return the paper's Fig. 7 of a photograph."""
        picture, layer, channel, class_name = OCCLUSIONS[name]
        atlas = self.atlas(name, [layer], [channel])
        config = occlusion.OcclusionConfig(
            channel=channel, class_index=CLASSES.index(class_name), class_names=CLASSES
        )
        found = occlusion.run(self.net, self._photos / picture, layer, config, others=atlas)
        return self.noted(name, found).plot()

    def moved(self) -> Plot:
        """Return the paper's Fig. 5 for five photographs."""
        pictures = [self._photos / f"{name}.jpg" for name in MOVED]
        config = invariance.InvarianceConfig(class_names=CLASSES)
        found = invariance.run(self.net, pictures, ["features.1", "classifier.3"], config)
        return self.noted("invariance", found).plot()

    def masked(self) -> Plot:
        """Return the paper's Table 1 for five faces."""
        return self.noted("correspondence", correspondence.run(self.net, backlight_demo.parts())).plot()

    @cached_property
    def _spreads(self) -> dict[str, Any]:
        others = sorted(self._photos.glob("*.jpg"))
        return {layer: inversion.spread_of(self.net, others, layer) for layer in INVERTED_LAYERS}

    def inverted(self, layers: Sequence[str], recipe: str = "default", restarts: int = 1) -> Image.Image:
        """Return inversions of a photograph from some layers."""
        config = inversion.InversionConfig(recipe, restarts=restarts)
        picture = self._photos / INVERTED
        return inversion.figure(
            [inversion.invert(self.net, picture, own, config, self._spreads[own]) for own in layers]
        )

    def recipes(self) -> Image.Image:
        """Return inversions by the recipes of the papers."""
        found = [self.inverted(INVERTED_LAYERS[1::2], recipe) for recipe in ("ijcv2016", "cvpr2015")]
        return page(found, Frame("", columns=1, gap=0))

    def maximised(self) -> Image.Image:
        """Return images that maximise single units."""
        units = [inversion.maximise(self.net, backlight.Unit(*own)) for own in MAXIMISED]
        return inversion.figure(units)

    def described(self) -> Image.Image:
        """Return a photograph and the inversion of each classical descriptor, with captions."""
        shown = []
        for name, title in DESCRIPTORS.items():
            net = descriptor(name, 160)
            found = inversion.invert(net, self._photos / INVERTED, net.layers[-1])
            shown.append((f"{title}: {found.relative_errors[0]:.0%} off", found.picture))
        return strip([("original", Image.fromarray(found.original)), *shown])


def demo(work: Path) -> Image.Image:
    """Return maps that the demo shows, by guided beside the deconvnet."""
    (layer, maps), photos = DEMO, CropSource(open_images(backlight_demo.photographs()))
    preprocessing = backlight.Preprocessing.from_dict(backlight_demo.PREPROCESSING)
    net = backlight.capture(backlight_demo.model(), (3, *preprocessing.crop), preprocessing)
    atlas = backlight.build(net, photos, work / "demo.atlas", [layer], rules=GUIDED, maps=maps)
    return side_by_side(atlas, net, photos, layer, channels=maps, columns=1)


def figures(network: SqueezeNet, work: Path) -> dict[str, Callable[[], Image.Image | Plot]]:
    """Return by name what makes each figure."""
    chosen = {name: partial(network.figure2, name) for name in FIGURES}
    superposed = {
        f"{name}-superposed": partial(network.figure2, name, is_superposed=True) for name in FIGURES
    }
    return {
        "demo": partial(demo, work),
        **chosen,
        **superposed,
        "faithfulness": lambda: network.faithful.plot(),
        "foretelling": lambda: network.foretold.plot(),
        "evidence-strong": partial(network.evidence, WELL),
        "evidence-weak": partial(network.evidence, BADLY),
        "evidence-best": partial(network.evidence, BADLY, is_best=True),
        "sanity": network.sanity,
        "homogeneity": network.homogeneity,
        **{name: partial(network.occluded, name) for name in OCCLUSIONS},
        "invariance": network.moved,
        "correspondence": network.masked,
        "inversion-layers": partial(network.inverted, INVERTED_LAYERS),
        "inversion-recipes": network.recipes,
        "inversion-restarts": partial(network.inverted, INVERTED_LAYERS[-2:], restarts=4),
        "inversion-goals": network.maximised,
        "inversion-descriptors": network.described,
    }


def make(weights: str, folder: Path, names: Sequence[str], work: Path) -> None:
    """Write figures to a folder, all of them if none is named."""
    work.mkdir(parents=True, exist_ok=True)
    known = figures(SqueezeNet(weights, work), work)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no figure is called {', '.join(unknown)}; there are {', '.join(known)}")
    for name in names or known:
        made, path = known[name](), folder / f"{name}.webp"
        if isinstance(made, Plot):
            made.savefig(path, dpi=110, pil_kwargs={"quality": 90})
        else:
            made.save(path, quality=90)
        print(path, flush=True)


def main() -> None:
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", help="weights of SqueezeNet 1.0")
    parser.add_argument("folder", type=Path, help="where the figures are written")
    parser.add_argument("names", nargs="*", help="figures to make; default: all")
    parser.add_argument("--work", type=Path, help="keeps atlases and results; default: a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make(given.weights, given.folder, given.names, given.work or Path(scratch))


if __name__ == "__main__":
    main()
