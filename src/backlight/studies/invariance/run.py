"""Invariance: how far layers move, and the class's probability falls, when an image is shifted, magnified or turned.

*Source*: Zeiler & Fergus (2013), section 4.1 and Fig. 5. *Differs*: distances are also given relative to the length of
the original's vector, compared with the distance to another image, and for each feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backlight.errors import BadInputError
from backlight.network import Images, Network
from backlight.network.layers import Layers, layer_names
from backlight.progress import Watching, shows_progress
from backlight.studies.classes import check_classes
from backlight.studies.defaults import late_layers
from backlight.studies.invariance.changes import TransformSweep
from backlight.studies.invariance.moves import ActivationStream
from backlight.studies.invariance.result import Invariance, InvarianceConfig
from backlight.studies.shown import image_names, inputs_of


@shows_progress
def run(
    net: Network,
    images: Images,
    layers: Layers | None = None,
    config: InvarianceConfig | None = None,
    *,
    classes: Sequence[int] | None = None,
    progress: Watching = None,
) -> Invariance:
    """Return how far layers move, and how probable the class is, when images are shifted, magnified and turned.

    With f(x) a layer's activations of an image as one vector and T a transformation, the distance is |f(x) - f(T x)|,
    and relative |f(x) - f(T x)| / |f(x)|. For comparison it is also given with another image (the next one) in the
    place of T x: how far the layer moves for a picture of something else.

    Args:
        net: The captured network.
        images: Images, as `Network.prepare` takes them.
        layers: The layers' names; None takes `default_layers`.
        config: How images are changed.
        classes: The true class of each image; None takes the most probable one of the unchanged image.
        progress: True shows bars; a function is called with `invariance`, the number of images run and the number in
            all.

    Raises:
        BadInputError: No image, shifts that leave nothing of it, too few or unknown classes, too few or too many class
            names, or an output that the network does not have.
        ImageError: An image cannot be read.
        UnknownLayerError: The network has no such layer.
        ActivationError: Activations are not finite.

    *Convention*: the network's input is transformed (a picture resized and cropped; what lay outside the crop does not
    move in), not the larger source, so magnified images are blurred. Shifting, magnifying and turning commute with the
    normalisation; nothing is rounded to 8 bits again.

    Example:
        >>> import torch, backlight
        >>> body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> net = backlight.capture(body, (3, 16, 16))
        >>> found = run(net, torch.rand(2, 3, 16, 16), config=InvarianceConfig(translation=(0, 2)))
        >>> found.distances("1", "translation")[:, 0].tolist()
        [0.0, 0.0]
    """
    config = config or InvarianceConfig()
    inputs, pictures = inputs_of(net, images)
    if not len(inputs):
        raise BadInputError("there are no images to shift, magnify and turn; give at least one")
    amounts = config.amounts(net.input_shape[1])
    chosen = [net.layer(name) for name in dict.fromkeys(layer_names(layers or default_layers(net)))]
    scores = net.class_output(config.output, len(config.class_names))
    check_classes(net.name, scores, len(inputs), classes, config.class_names)
    activations = ActivationStream(net, chosen, scores, config.batch_size)
    sweep = TransformSweep(activations, inputs, amounts, config.border)
    return Invariance(
        config=config,
        network=net.name,
        layers=tuple(layer.name for layer in chosen),
        shapes=tuple(layer.shape for layer in chosen),
        images=tuple(Path(name).name for name in image_names(images, len(inputs))),
        class_given=classes is not None,
        **sweep(classes, progress),
        pictures=np.stack(pictures),
        output=scores.name,
    )


def default_layers(net: Network) -> list[str]:
    """Return the first default layer, and the one before a linear output; without such an output the last default.

    Raises:
        BadInputError: The network has neither feature maps nor a linear output.

    *Source*: Fig. 5, which shows layers 1 and 7.

    Example:
        >>> import backlight, torch
        >>> convolutions = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3), torch.nn.ReLU()
        >>> default_layers(backlight.capture(torch.nn.Sequential(*convolutions), (3, 16, 16)))
        ['1', '3']
    """
    late = late_layers(net)[-1]
    return list(dict.fromkeys([*[layer.name for layer in net.default_layers[:1]], late]))
