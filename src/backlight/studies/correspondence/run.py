"""Correspondence: does masking the same part in several images change a layer in the same way?

*Source*: Zeiler & Fergus (2013), section 4.3 and Table 1. *Differs*: the minus sign printed between the signs is
read as "the share of entries that differ"; the mean over pairs is given instead of the sum, as Table 1 must have done;
added are the same over changed entries only, p-values, and a second control.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from backlight.network import Network
from backlight.network.layers import Layers, layer_names
from backlight.progress import Watching, shows_progress
from backlight.studies.correspondence.masking import (
    CONTROL_MASKS,
    ENTRIES,
    Scene,
    SignDifferences,
)
from backlight.studies.correspondence.parts import MarkedImage, read_parts
from backlight.studies.correspondence.result import Correspondence, CorrespondenceConfig
from backlight.studies.defaults import late_layers
from backlight.studies.numbers import mean_and_spread


@shows_progress
def run(
    net: Network,
    parts: Path | str | Sequence[MarkedImage],
    layers: Layers | None = None,
    config: CorrespondenceConfig | None = None,
    *,
    progress: Watching = None,
) -> Correspondence:
    """Return for each part and layer how far masking the part changes the layer in the same way in all images.

    Let x be the layer's activations of image i as a vector, x~ those with the part masked, and eps_i = x - x~. Delta is
    the mean over pairs i < j of mean(sign(eps_i) != sign(eps_j)), with signs -1, 0 and 1. Two controls mask other boxes
    of the part's sizes. `random` places each uniformly inside its image, clear of all marked parts if possible.
    `shifted` moves the part's boxes by one shift in all images: they lie at places as similar as those of the part, so
    what they do not explain is due to what the part shows. `all` counts every entry, as the paper does, and so rises
    with the number of entries that a mask moves at all; `changed` leaves out those that it does not move.

    Args:
        net: A network with preprocessing.
        parts: A JSON file (`backlight.studies.correspondence.parts.read_parts`), or the images with their boxes.
        layers: Names of layers; None takes `default_layers`.
        config: How masks are made.
        progress: True shows bars; a function is called with `correspondence`, the number of masked images done and
            the number in all.

    Raises:
        BadInputError: A file or box that cannot be used, fewer than two images, or a network without preprocessing.
        ImageError: An image cannot be read.
        UnknownLayerError: The network has no such layer.

    *Convention*: the spread is the standard deviation over pairs (divided by their number, not by one less). Changes
    within floating-point rounding have the sign 0.

    Example:
        >>> import backlight, torch
        >>> from PIL import Image
        >>> as_is = backlight.Preprocessing(None, (16, 16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> box = backlight.geometry.Box(4, 4, 8, 8)
        >>> marked = [MarkedImage(name, Image.new("RGB", (16, 16), "red"), {"nose": box}) for name in "ab"]
        >>> config = CorrespondenceConfig(n_random=4)
        >>> run(backlight.capture(model, (3, 16, 16), as_is), marked, config=config).delta("1", "nose")
        (0.0, 0.0)
    """
    config = config or CorrespondenceConfig()
    marked = read_parts(parts) if isinstance(parts, str | Path) else list(parts)
    scene = Scene(net, marked, config.fill, config.seed)
    chosen = [net.layer(name) for name in layer_names(layers or late_layers(net))]
    masks = [mask for part in range(len(scene.parts)) for mask in scene.masks(part, config.n_random)]
    pairs = list(combinations(range(len(scene.boxes)), 2))
    shape = len(ENTRIES), len(chosen), len(scene.parts)
    differs = np.full((*shape, len(pairs)), np.nan)
    deltas, spreads = (np.full((len(CONTROL_MASKS), *shape, config.n_random), np.nan) for _ in range(2))
    for mask, found in SignDifferences(net, chosen, scene)(masks, progress):
        if mask.control is None:  # found is (entries, layers, pairs of the images that have the part)
            differs[:, :, mask.part, [pairs.index(pair) for pair in combinations(mask.images, 2)]] = found
        else:  # the mean over pairs leaves (entries, layers)
            at = CONTROL_MASKS.index(mask.control), slice(None), slice(None), mask.part, mask.draw
            deltas[at], spreads[at] = mean_and_spread(found)
    return Correspondence(
        config=config,
        network=net.name,
        layers=tuple(layer.name for layer in chosen),
        parts=tuple(scene.parts),
        images=tuple(scene.names),
        pairs=np.array(pairs, np.int64),
        differs=differs,
        control_deltas=deltas,
        control_spreads=spreads,
        boxes=scene.box_array(),
        pictures=scene.pictures,
    )
