"""Occlusion: a square slides over an image; how do a feature map and the class change at each position?

*Source*: Zeiler & Fergus (2013), section 4.2 and Fig. 7. *Differs*: the paper gives neither the size nor the stride of
its grey square; here the caller chooses them, and covers with the image's mean colour, its blur, or noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Images, Layer, Network
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection import project
from backlight.scan import Progress
from backlight.studies.checks import check_network
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
    """Return how a feature map, a unit and the class change when each place of an image is covered in turn.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The name of a layer with rows and columns.
        config: What slides over the image, and what is watched.
        others: The source of the map's projections in other images: a finished atlas of this network, of whose maps
            one is taken unless the configuration asks for another, or further images, in each of which the map's
            strongest unit is projected; None shows none.
        progress: Called with `occlusion`, the number of positions done and the number in all.

    Raises:
        BadInputError: None or several images, a square that does not fit, a layer without rows and columns, a channel,
            unit, class or output that the network does not have, too few or too many class names, or an atlas that
            does not fit.
        UnsupportedOperatorError: An operator between the unit and the pixels has no rule.
        ActivationError: Activations are not finite.

    *Convention*: the positions are those of `sliding_squares`, so every pixel is covered unless the stride is larger
    than the square. Of equally strong maps the first is taken. A map is summed over its positive activations
    (`sweeps.map_sum`): a leaky rectifier's small negative values do not count.

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
    watched = choose_watched(net, found, sweep, config, chosen, _maps_among(others, net, found))
    rules = _projection_rules(others, found.name, config)
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
        # one value for each position, back in rows and columns
        **{k: v.reshape((len(rows), len(cols)) if v.size else (0, 0)) for k, v in vars(swept).items()},
        **{f"other_{k}": v for k, v in vars(beside).items()},
    )


def _one_image(net: Network, image: Images) -> tuple[Tensor, UInt8[np.ndarray, "h w 3"]]:
    """Return an image as an input (c, h, w), and its picture."""
    inputs, pictures = inputs_of(net, image)
    if len(inputs) != 1:
        raise BadInputError(
            f"the square slides over one image, got {len(inputs)}; study them one after the other"
        )
    return inputs[0], pictures[0]


def _maps_among(others: Atlas | Images | None, net: Network, layer: Layer) -> Sequence[int]:
    """Return the feature maps of which one may be taken: those projected in the atlas, where there is one."""
    if not isinstance(others, Atlas):
        return range(layer.n_maps)
    check_network(others, net)  # the maps of another network mean nothing here
    return others[layer.name].channels


def _projection_rules(others: Atlas | Images | None, layer: str, config: OcclusionConfig) -> RuleSet:
    """Return the rule set of the projections: the atlas's where there is one."""
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
