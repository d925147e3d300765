"""Recognition by an adaptive network that is learned without labels, as Zeiler, Taylor & Fergus (2011) do it.

The network is learned on the training images. Then, for each image, the M strongest activations of the top layer are
projected one by one to the feature maps of layer 1. Each of these decompositions gives descriptors of patches, words of
a codebook, and a spatial pyramid of them; the M pyramids are averaged. The feature maps that inference gives layer 1
get a pyramid in the same way. A linear SVM takes either or both; raw pixels and HOG with the same SVM are the
baselines.

Needs `pip install 'backlight[examples]'` and small labelled pictures: a folder that holds `train` and `test`, each with
a folder for every class, or shards `*train*.tar` and `*test*.tar`.

    python examples/adaptive_recognition.py FOLDER [--train 2000] [--test 1000] [--strongest 8] [--validate]

*Differs*: images of 32x32 instead of 150x150, three smaller layers instead of four, patches of 8 pixels instead of 16,
fewer words, and a linear SVM on the square roots of the pyramids instead of a kernel of histograms.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.feature import hog
from sklearn.cluster import MiniBatchKMeans
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.nn import functional as F

from backlight import open_images
from backlight.adaptive import (
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    Codes,
    ContrastNormalisation,
    LayerCode,
    LayerConfig,
    Learning,
)
from backlight.adaptive.operators import Reconstruction
from backlight.errors import BadInputError

CONFIG = AdaptiveConfig(
    layers=(
        LayerConfig(12, filter=5, block=Block(2, 2, 3), weight=4.0),
        LayerConfig(32, filter=5, block=Block(2, 2, 2), weight=1.0),
        LayerConfig(64, filter=5, block=Block(2, 2, 2), weight=0.5),
    ),
    size=(32, 32),
    contrast=ContrastNormalisation(9, 3.0),
)
LEVELS = (1, 2, 4)
CHUNK = 50


@dataclass(frozen=True)
class Settings:
    """Size of the experiment.

    Attributes:
        train: Number of training images; only the SVM uses their labels.
        test: Number of test images.
        learned_on: Number of training images that the network is learned on.
        epochs: Epochs of each of its layers.
        layer: The top layer, whose activations are projected.
        strongest: M, their number.
        words: Words of a codebook.
        patch: Side of a patch, in pixels of layer 1.
        spacing: Pixels from patch to patch.
        seed: Random seed of the choice of images, the network and the codebooks.
    """

    train: int = 2000
    test: int = 1000
    learned_on: int = 500
    epochs: int = 5
    layer: int = 3
    strongest: int = 8
    words: int = 200
    patch: int = 8
    spacing: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """Pictures with what they show."""

    pictures: list[Image.Image]
    labels: np.ndarray

    def __getitem__(self, own: slice) -> Labelled:
        """Return some of them."""
        return Labelled(self.pictures[own], self.labels[own])


def read(folder: Path, part: str, count: int, seed: int) -> Labelled:
    """Return a random sample of the images of a part, "train" or "test"."""
    source = open_images(folder / part if (folder / part).is_dir() else str(folder / f"*{part}*.tar"))
    chosen = np.random.default_rng(seed).permutation(len(source))[:count].tolist()
    labels = np.array([source.records[i].label for i in chosen])
    return Labelled([source.load(i).convert("L").resize(CONFIG.size[::-1]) for i in chosen], labels)


def learn(pictures: list[Image.Image], settings: Settings) -> AdaptiveDeconvNet:
    """Return the network, learned on pictures without their labels."""
    net = AdaptiveDeconvNet(replace(CONFIG, layers=CONFIG.layers[: settings.layer]), settings.seed)
    learning = Learning(epochs=settings.epochs, batch=CHUNK, seed=settings.seed, first_share=1.0)
    for own in net.fit(net.prepare(pictures), learning):
        if own.epoch == settings.epochs:
            print(f"layer {own.layer}: error {own.error:.0%}, {own.active_share:.1%} active")
    return net


def project_activations(net: AdaptiveDeconvNet, codes: Codes, settings: Settings) -> Tensor:
    """Return (n · M, k, h, w) the feature maps of layer 1 that each of the M strongest activations gives alone."""
    top: LayerCode = codes[settings.layer]
    flat = top.pooled.flatten(1)
    # (n, M, values): a copy of zeros for each activation, with its value at its place
    places = flat.abs().topk(settings.strongest, 1).indices
    alone = flat.new_zeros(*places.shape, flat.shape[1])
    alone.scatter_(2, places[..., None], flat.gather(1, places)[..., None])
    # every image M times, so that each activation has the switches of its own image
    repeated = codes.at([i for i in range(len(codes)) for _ in range(settings.strongest)])
    maps = repeated[settings.layer].unpooling()(alone.view(-1, *top.pooled.shape[1:]))
    if settings.layer == 1:
        return maps
    below = repeated.below(settings.layer)
    pooled = Reconstruction(net.filters[1 : settings.layer], below[1:])(maps)
    return below[0](pooled)


def describe(maps: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Return descriptors (n, rows, cols, 4 k) of unit length of patches of feature maps, and which are not empty.

    A descriptor holds the mean magnitude of each map in each quarter of the patch.
    """
    half, step = settings.patch // 2, settings.spacing
    means = F.avg_pool2d(maps.abs(), half, 1)
    rows, cols = (side - half for side in means.shape[2:])
    quarters = [
        means[:, :, top : top + rows : step, left : left + cols : step]
        for top in (0, half)
        for left in (0, half)
    ]
    found = torch.cat(quarters, 1).permute(0, 2, 3, 1)
    lengths = found.norm(dim=3, keepdim=True)
    return found / lengths.clamp_min(1e-12), lengths[..., 0] > 1e-6


def codebook(descriptors: Tensor, settings: Settings) -> Tensor:
    """Return (words, d) the centres of descriptors (n, d)."""
    if not len(descriptors):
        raise BadInputError("a layer's codes are all zeros; give it a larger weight, or learn on more images")
    generator = np.random.default_rng(settings.seed)
    chosen = descriptors.numpy()[generator.permutation(len(descriptors))[:50_000]]
    means = MiniBatchKMeans(
        min(settings.words, len(chosen)), batch_size=4096, n_init=1, random_state=settings.seed
    )
    return torch.from_numpy(means.fit(chosen).cluster_centers_.astype(np.float32))


def pyramids(descriptors: Tensor, known: Tensor, words: Tensor) -> Tensor:
    """Return (n, 21 · words) the counts of each word in each cell of 1x1, 2x2 and 4x4, scaled to the sum 1.

    *Source*: Lazebnik, Schmid & Ponce (2006): the levels have the weights 1/4, 1/4 and 1/2.
    """
    n, rows, cols, size = descriptors.shape
    flat = descriptors.reshape(-1, size)
    nearest = (words.square().sum(1) - 2 * flat @ words.T).argmin(1).view(n, rows, cols)
    found = []
    for level, weight in zip(LEVELS, (0.25, 0.25, 0.5), strict=True):
        cell = (torch.arange(rows) * level // rows)[:, None] * level + torch.arange(cols) * level // cols
        counts = descriptors.new_zeros(n, level * level * len(words))
        counts.scatter_add_(1, (cell * len(words) + nearest).flatten(1), known.flatten(1).to(counts))
        found.append(weight * counts)
    whole = torch.cat(found, 1)
    return whole / whole.sum(1, keepdim=True).clamp_min(1e-12)


@torch.no_grad()
def pyramid_features(
    net: AdaptiveDeconvNet, codes: Codes, settings: Settings, single: bool, n_train: int
) -> np.ndarray:
    """Return the features of images: of the maps that inference gave, or of single activations projected.

    The codebook is made from the descriptors of the first `n_train` images, at most 300.
    """
    times = settings.strongest if single else 1

    def described(start: int, stop: int) -> tuple[Tensor, Tensor]:
        own = codes.at(range(start, min(stop, len(codes))))
        return describe(project_activations(net, own, settings) if single else own[1].maps, settings)

    samples = []
    for start in range(0, min(n_train, 300), CHUNK):
        values, known = described(start, min(start + CHUNK, n_train))
        samples.append(values[known][:: 1 + (times > 1) * 3])
    words = codebook(torch.cat(samples), settings)
    found = []
    for start in range(0, len(codes), CHUNK):
        each = pyramids(*described(start, start + CHUNK), words)
        found.append(each.view(-1, times, each.shape[1]).mean(1))
    return torch.cat(found).sqrt().numpy()


def baselines(pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """Return raw gray pixels, and HOG."""
    gray = [np.asarray(own, np.float32) / 255 for own in pictures]
    of_gradients = [hog(own, 9, (8, 8), (2, 2)).astype(np.float32) for own in gray]
    return {"raw pixels": np.stack(gray).reshape(len(gray), -1), "HOG": np.stack(of_gradients)}


def classify(features: np.ndarray, labels: np.ndarray, n_train: int, validate: bool) -> tuple[float, float]:
    """Return the accuracy on the images after the first `n_train`, and the SVM's C.

    C is chosen on the last fifth of the training images; with `validate`, the accuracy there is returned.
    """
    centred = features - features[:n_train].mean(0)
    scaled = centred / np.sqrt(np.square(centred[:n_train]).sum(1).mean())
    split = n_train * 4 // 5

    def accuracy(strength: float, stop: int, end: int) -> float:
        machine = LinearSVC(C=strength, dual="auto", tol=1e-3, random_state=0).fit(
            scaled[:stop], labels[:stop]
        )
        return float(machine.score(scaled[stop:end], labels[stop:end]))

    scores = {strength: accuracy(strength, split, n_train) for strength in (0.03, 0.1, 0.3, 1.0)}
    best = max(scores, key=scores.__getitem__)
    return (scores[best] if validate else accuracy(best, n_train, len(labels))), best


def interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share out of a count (Wilson)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - reach, middle + reach


def recognise(folder: Path, settings: Settings, validate: bool = False) -> dict[str, float]:
    """Print and return the accuracies; with `validate`, no test image is used."""
    data = read(folder, "train", settings.train, settings.seed)
    n_train = len(data.pictures)
    net = learn(data[: settings.learned_on].pictures, settings)
    if not validate:
        test = read(folder, "test", settings.test, settings.seed)
        data = Labelled(data.pictures + test.pictures, np.concatenate([data.labels, test.labels]))
    # the published values: the table in docs/adaptive.md is of these
    codes = net.infer(net.prepare(data.pictures), values="shrunk")
    features = baselines(data.pictures)
    features["layer 1"] = pyramid_features(net, codes, settings, False, n_train)
    top = f"layer {settings.layer}, {settings.strongest} strongest"
    features[top] = pyramid_features(net, codes, settings, True, n_train)
    features["both"] = np.concatenate([features["layer 1"], features[top]], 1)
    counted = n_train - n_train * 4 // 5 if validate else len(data.labels) - n_train
    what = "the last fifth of the training images" if validate else "test images"
    print(f"{n_train} training images, {counted} counted ({what}), {len(set(data.labels))} classes\n")
    print("| features | numbers | accuracy | 95 % interval | C |\n|---|---:|---:|---:|---:|")
    found = {}
    for name, own in features.items():
        found[name], strength = classify(own, data.labels, n_train, validate)
        low, high = interval(found[name], counted)
        spread = f"{low:.1%} – {high:.1%}"
        print(f"| {name} | {own.shape[1]:,} | {found[name]:.1%} | {spread} | {strength} |", flush=True)
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, value in vars(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--validate", action="store_true", help="on the last fifth of the training images")
    asked = vars(parser.parse_args())
    folder, validate, start = asked.pop("folder"), asked.pop("validate"), time.perf_counter()
    recognise(folder, Settings(**asked), validate)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
