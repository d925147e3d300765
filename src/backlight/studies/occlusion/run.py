"""Occlusion: a square slid over an image, and what a feature map and the classifier make of each position.

*Source*: Zeiler & Fergus (2013), section 4.2 and Fig. 7. *Differs*: the paper names neither the size nor the stride of
its grey square; here they are the caller's, and what covers is the image's mean colour, its blur, or noise.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Images, Network
from backlight.projection import project
from backlight.rules import DECONVNET, RuleSet
from backlight.scan import Progress
from backlight.studies.covering import filled, sliding_squares
from backlight.studies.occlusion.result import Occlusion, OcclusionConfig, Watched
from backlight.studies.occlusion.sweeps import SquareSweep
from backlight.studies.occlusion.watched import check_watched, choose_watched
from backlight.studies.shown import Others, inputs_of, others_of_atlas, others_of_images


def run(
    net: Network,
    image: Images,
    layer: str,
    config: OcclusionConfig | None = None,
    *,
    others: Atlas | Images | None = None,
    progress: Progress | None = None,
) -> Occlusion:
    """Return what a feature map and the classifier make of an image with each place covered in turn.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer's name; it has rows and columns.
        config: What is slid, and what is watched.
        others: Where the map's other projections come from: a finished atlas of this network in which the map was
            projected, or further images, of each of which the map's strongest unit is projected; None shows none.
        progress: Called with `occlusion`, the number of positions done and the number in all.

    Raises:
        BadInputError: Not one image, a square that does not fit, a layer without rows and columns, a channel, unit,
            class or output that the network does not have, names that are not one a class, an atlas that does not fit.
        UnsupportedOperatorError: No rule for an operator between the unit and the pixels.
        ActivationError: Activations that are not finite.

    *Convention*: the squares are those of `sliding_squares`, so that every pixel is covered where the stride is no
    larger than the square. Of equally strong maps the first is taken.

    Example:
        >>> import torch, backlight
        >>> body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> net = backlight.capture(body, (3, 16, 16))
        >>> run(net, torch.rand(3, 16, 16), "1", OcclusionConfig(size=4, stride=4)).map_sums.shape
        (4, 4)
    """
    config = config or OcclusionConfig()
    found = net.layer(layer)
    check_watched(found, config)
    inputs, picture = _one_image(net, image)
    height, width = net.input_shape[1:]
    rows, cols = sliding_squares(height, width, config.size, config.stride)
    chosen = net.class_output(config.output, len(config.class_names))
    sweep = SquareSweep(net, found, inputs, chosen.output, config.batch_size)
    watched = choose_watched(net, found, sweep, config, chosen)
    rules = _rules(others, found.name, config)
    beside = _others(net, others, watched, rules, config.n_others)
    signal = project(net, inputs, [watched.unit], rules)[0].permute(1, 2, 0).float().cpu().numpy()
    fill = filled(inputs, config.fill, np.random.default_rng(config.seed))
    boxes = [Box(r, c, r + config.size, c + config.size) for r in rows for c in cols]
    swept = sweep(watched.unit, watched.class_index, fill, boxes, progress)
    return Occlusion(
        config=config,
        model=net.name,
        rules=rules,
        watched=watched,
        rows=np.array(rows, np.int64),
        cols=np.array(cols, np.int64),
        image=picture,
        projection=signal,
        **{k: v.reshape((len(rows), len(cols)) if v.size else (0, 0)) for k, v in vars(swept).items()},
        **{f"other_{k}": v for k, v in vars(beside).items()},
    )


def _one_image(net: Network, image: Images) -> tuple[Tensor, UInt8[np.ndarray, "h w 3"]]:
    inputs, pictures = inputs_of(net, image)
    if len(inputs) != 1:
        raise BadInputError(
            f"the square is slid over one image, got {len(inputs)}; study them one after the other"
        )
    return inputs[0], pictures[0]


def _rules(others: Atlas | Images | None, layer: str, config: OcclusionConfig) -> RuleSet:
    if not isinstance(others, Atlas):
        return config.rules or DECONVNET
    rules = others[layer].rules
    if config.rules not in (None, rules):
        raise BadInputError(
            f"{others.path.name} holds {rules.name} projections of layer {layer!r}; leave the rules out, "
            f"or build it with {config.rules.name}"
        )
    return rules


def _others(
    net: Network, others: Atlas | Images | None, watched: Watched, rules: RuleSet, count: int
) -> Others:
    if others is None:
        return Others.of([], [])
    if isinstance(others, Atlas):
        return others_of_atlas(others, net, watched.unit, watched.unit_value, count)
    return others_of_images(net, others, watched.unit, rules)
