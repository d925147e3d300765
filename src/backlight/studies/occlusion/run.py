"""Occlusion: a square slides over an image; how do a feature map and the class change at each position?

*Source*: Zeiler & Fergus (2013), section 4.2 and Fig. 7. *Differs*: the paper gives neither the size nor the stride of
its grey square; here the caller chooses them, and covers with the image's mean colour, its blur, or noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from backlight.atlas import Atlas
from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.images import Preprocessing
from backlight.network import Images, Layer, Network
from backlight.network.fast import FastNetwork
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.progress import Watching, shows_progress
from backlight.projection import project
from backlight.studies.checks import check_network
from backlight.studies.covering import sliding_squares
from backlight.studies.occlusion.covers import Cover, cover_of
from backlight.studies.occlusion.result import Occlusion, OcclusionConfig, Watched
from backlight.studies.occlusion.sweeps import SquareSweep
from backlight.studies.occlusion.watched import check_watched, choose_watched
from backlight.studies.progress import Count
from backlight.studies.shown import Others, inputs_of, others_of_atlas, others_of_images


@shows_progress
def run(
    net: Network,
    image: Images,
    layer: str | Layer,
    config: OcclusionConfig | None = None,
    *,
    others: Atlas | Images | None = None,
    baseline: Images | None = None,
    progress: Watching = None,
) -> Occlusion:
    """Return how a feature map, a unit and the class change when each place of an image is covered in turn.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer of the map or of the fully connected unit, by name or itself; `net.output` for class scores.
        config: What slides over the image, and what is watched.
        others: The source of the map's projections in other images: a finished atlas of this network, of whose maps
            one is taken unless the configuration asks for another, or further images, in each of which the map's
            strongest unit is projected; None shows none.
        baseline: An image whose pixels are shown where the image is covered, in the place of the configuration's fill.
        progress: True shows bars; a function is called with `occlusion`, the number of positions done and the number
            in all.

    Raises:
        BadInputError: None or several images, a square that does not fit, a channel, unit, class or output that the
            network does not have, too few or too many class names, a fill or baseline that does not fit, or an atlas
            that does not.
        UnsupportedOperatorError: An operator between the unit and the pixels has no rule.
        ActivationError: Activations are not finite.

    *Convention*: the positions are those of `sliding_squares`, so every pixel is covered unless the stride is larger
    than the square. Of equally strong maps the first is taken. A map is summed over its positive activations
    (`sweeps.map_sum`): a leaky rectifier's small negative values do not count. A fully connected unit, a class score
    for one, is not summed and keeps its sign.

    Example:
        >>> import torch, backlight
        >>> body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> net = backlight.capture(body, (3, 16, 16))
        >>> run(net, torch.rand(3, 16, 16), "1", OcclusionConfig(size=4, stride=4)).map_sums.shape
        (4, 4)
    """
    study = _Study(net, net.layer(layer), config or OcclusionConfig(), others, baseline)
    inputs, pictures = inputs_of(net, image)
    if len(inputs) != 1:
        raise BadInputError(
            f"the square slides over one image, got {len(inputs)}; study them one after the other, as run_all does"
        )
    (found,) = study(inputs, pictures, _preprocessing(net, image), progress)
    return found


@shows_progress
def run_all(
    net: Network,
    images: Images,
    layer: str | Layer,
    config: OcclusionConfig | None = None,
    *,
    others: Atlas | Images | None = None,
    baseline: Images | None = None,
    progress: Watching = None,
) -> tuple[Occlusion, ...]:
    """Return what `run` gives for each of several images, in their order.

    Args:
        net: The captured network.
        images: At least one image, as `Network.prepare` takes them.
        layer: As for `run`.
        config: As for `run`; what is left open is chosen for each image by itself.
        others: As for `run`.
        baseline: As for `run`, one for all.
        progress: True shows bars; a function is called with `occlusion`, the number of positions done and the number
            in all, of all images.

    Raises:
        BadInputError: No image, or as for `run`.
        UnsupportedOperatorError: As for `run`.
        ActivationError: As for `run`.

    Example:
        >>> import torch, backlight
        >>> net = backlight.capture(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), (3, 16, 16))
        >>> run_all(net, torch.rand(2, 3, 16, 16), "1", OcclusionConfig(size=(4, 8), stride=4))[1].map_sums.shape
        (4, 3)
    """
    study = _Study(net, net.layer(layer), config or OcclusionConfig(), others, baseline)
    inputs, pictures = inputs_of(net, images)
    if not len(inputs):
        raise BadInputError("the square slides over at least one image, got none")
    return tuple(study(inputs, pictures, _preprocessing(net, images), progress))


class _Study:
    """What is the same for all images: what is watched, what slides, and the network that is run."""

    def __init__(
        self,
        net: Network,
        layer: Layer,
        config: OcclusionConfig,
        others: Atlas | Images | None,
        baseline: Images | None,
    ) -> None:
        self._net, self._layer, self._config = net, layer, config
        self._others, self._baseline = others, baseline
        check_watched(layer, config)
        size = net.input_shape[1], net.input_shape[2]
        self._rows, self._cols = sliding_squares(*size, config.size, config.stride)
        height, width = config.window
        self._boxes = [Box(r, c, r + height, c + width) for r in self._rows for c in self._cols]
        self._class = net.class_output(config.output, len(config.class_names))
        self._among = _maps_among(others, net, layer)
        self._rules = _projection_rules(others, layer.name, config)
        self._forward = FastNetwork(net, [layer], self._class.output)

    def __call__(
        self,
        inputs: Tensor,
        pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
        preprocessing: Preprocessing | None,
        progress: Watching,
    ) -> Iterator[Occlusion]:
        """Yield the result of each input (n, c, h, w), which is drawn as its picture is."""
        count = Count(progress, "occlusion", len(inputs) * len(self._boxes))
        for image, picture in zip(inputs, pictures, strict=True):
            config = self._config
            cover = cover_of(self._net, image, config.fill, config.seed, self._baseline, preprocessing)
            yield self._of(image, picture, cover, count)

    def _of(
        self, image: Tensor, picture: UInt8[np.ndarray, "h w 3"], cover: Cover, count: Count
    ) -> Occlusion:
        net, config = self._net, self._config
        sweep = SquareSweep(self._forward, self._layer, image, config.batch_size)
        watched = choose_watched(net, self._layer, sweep, config, self._class, self._among)
        beside = _others(net, self._others, watched, self._rules, config.n_others)
        signal = project(net, image, [watched.unit], self._rules)[0].permute(1, 2, 0).float().cpu().numpy()
        swept = sweep(watched.unit, watched.class_index, cover.values, self._boxes, count)
        shape = len(self._rows), len(self._cols)
        return Occlusion(
            config=config,
            model=net.name,
            rules=self._rules,
            watched=watched,
            rows=np.array(self._rows, np.int64),
            cols=np.array(self._cols, np.int64),
            image=picture,
            projection=signal,
            cover=cover.picture,
            # one value for each position, back in rows and columns
            **{k: v.reshape(shape if v.size else (0, 0)) for k, v in vars(swept).items()},
            **{f"other_{k}": v for k, v in vars(beside).items()},
        )


def _preprocessing(net: Network, images: Images) -> Preprocessing | None:
    """Return how inputs were made of the pictures that are drawn; None of tensors, which are drawn stretched."""
    return None if net.takes_as_inputs(images) else net.preprocessing


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
