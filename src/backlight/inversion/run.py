"""From a code back to an image: inversion, activation maximisation, caricature.

*Source*: Mahendran & Vedaldi, "Understanding deep image representations by inverting them" (2014, CVPR 2015) and
"Visualizing deep convolutional neural networks using natural pre-images" (2016, IJCV).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.errors import BadInputError
from backlight.images import listed_images
from backlight.inversion.codes import Coder, is_layer_code, one_image
from backlight.inversion.descent import central
from backlight.inversion.measures import CodeSpread, spread
from backlight.inversion.result import Inversion, InversionConfig
from backlight.inversion.search import Task, search, starts
from backlight.network import Images, Layer, Network
from backlight.progress import Watching, shows_progress
from backlight.projection import Unit

MOST_PHOTOGRAPHS = 100
"""At most this many photographs, the first ones, measure how far codes lie apart; as many as in the paper."""


@shows_progress
def invert(
    net: Network,
    image_or_code: Images | NDArray[np.generic],
    layer: str | Layer,
    config: InversionConfig | None = None,
    photographs: Images | CodeSpread | None = None,
    progress: Watching = None,
) -> Inversion:
    """Return a photograph-like image with the same code in a layer as the image given.

    Args:
        net: The captured network.
        image_or_code: A picture, its path, or an input (c, h, w); or a code: an array, or a tensor of the layer's
            shape, (c, h, w) or (c,). A tensor that could be both is taken as an image.
        layer: Any layer of the network, or its name; fully connected ones too.
        config: Recipe, restarts, the part of the code to match; None for the defaults.
        photographs: At least two others, whose distances normalise the error as in the paper (only the first 100 are
            used); or what `spread_of` returned for this layer. None leaves the error relative to the code.
        progress: True shows bars; a function is called after each step with the layer, steps done and steps in all;
            an `ErrorProgress` also gets the error.

    Returns:
        What was found; Ctrl-C ends the search early and returns the best so far.

    Raises:
        BadInputError: A code of the wrong shape or all zero, a layer that is the input, an unknown recipe.
        ActivationError: The network's values are not finite.

    Example:
        >>> import torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 32, 32))
        >>> found = backlight.invert(net, torch.rand(3, 32, 32), "features.2")
        >>> found.images.shape
        (1, 3, 32, 32)
    """
    coder, config = Coder(net, layer), config or InversionConfig()
    if is_layer_code(net, image_or_code):
        code, image, title = coder.check_code(image_or_code), None, "a code"  # type: ignore[arg-type]
    else:
        image = one_image(net, image_or_code)
        code, title = coder.of_inputs(image), _title(image_or_code)
    task = Task(coder, "invert", config, _spread(coder, photographs, config))
    (found,) = search(task, code, image, [title], progress)
    return found


@shows_progress
def invert_all(
    net: Network,
    images: Images,
    layer: str | Layer,
    config: InversionConfig | None = None,
    photographs: Images | CodeSpread | None = None,
    progress: Watching = None,
) -> list[Inversion]:
    """Return an inversion of each of several images, searched for in one batch; otherwise as `invert`.

    The result for an image does not depend on the others, up to rounding.
    """
    coder, config = Coder(net, layer), config or InversionConfig()
    batch = net.prepare(images)
    titles = [_title(image) for image in images] if isinstance(images, (list, tuple)) else []
    task = Task(coder, "invert", config, _spread(coder, photographs, config))
    return search(task, coder.of_inputs(batch), batch, titles or ["an image"] * len(batch), progress)


@shows_progress
def caricature(
    net: Network,
    image: Images,
    layer: str | Layer,
    config: InversionConfig | None = None,
    progress: Watching = None,
) -> Inversion:
    """Return the image changed so that what the layer finds in it is exaggerated.

    The search starts from the image and raises the inner product with the image's rectified code.

    Args:
        net: The captured network.
        image: A picture, its path, or an input (c, h, w).
        layer: Any layer of the network, or its name.
        config: Recipe and the part of the code to raise; restarts differ only in their jitter.
        progress: As for `invert`; the error of an `ErrorProgress` is the inner product.

    *Source*: Mahendran & Vedaldi (2016), section 6.

    Raises:
        BadInputError: As for `invert`.
        ActivationError: As for `invert`.
    """
    coder, config = Coder(net, layer), config or InversionConfig()
    batch = one_image(net, image)
    task = Task(coder, "caricature", config)
    (found,) = search(task, coder.of_inputs(batch), batch, [_title(image)], progress)
    return found


@shows_progress
def maximise(
    net: Network,
    unit: Unit,
    config: InversionConfig | None = None,
    largest: float | None = None,
    progress: Watching = None,
) -> Inversion:
    """Return an image that excites one unit, as photograph-like as the priors make it.

    A unit that is silent on the initial noise is woken first, by gradients that pass its rectifier.

    Args:
        net: The captured network.
        unit: Its layer and channel; its row and column, or None for the one in the middle.
        config: Recipe and restarts.
        largest: The unit's largest activation over photographs (an atlas knows it), which normalises its activation;
            None takes the layer's largest activation over the starts of the search.
        progress: As for `invert`; the error of an `ErrorProgress` is the normalised activation.

    *Source*: Mahendran & Vedaldi (2016), section 5; the weight is 10000 over the area of the unit's receptive field.
    *Differs*: that area is at most the image's, and the weight is not divided by the number of units shown, since each
    unit is searched for by itself.

    Raises:
        BadInputError: The unit is out of range, or `largest` is not positive.
        ActivationError: As for `invert`.
    """
    coder, config = Coder(net, unit.layer, wakes=True), config or InversionConfig()
    if largest is not None and not largest > 0:
        raise BadInputError(f"the largest activation of a unit must be positive, got {largest}")
    task = Task(coder, "maximise", config)
    row, col = _place(unit, coder.layer)
    coder.mask((unit.channel,))  # refuses a channel that is out of range
    # the code sought: 1 at the unit, 0 elsewhere, (1, c, h, w) or (1, c)
    target = torch.zeros(1, *coder.layer.shape, dtype=net.dtype, device=net.device)
    target[(0, unit.channel) if row is None else (0, unit.channel, row, col)] = 1.0
    if largest is None:
        with torch.no_grad():
            # the first start, cropped to what the network sees: (1, c, h, w)
            noise = coder(central(starts(task, task.recipe, 1), net.input_shape[1:]))  # type: ignore[arg-type]
        largest = max(float(noise.abs().amax()), 1e-12)
    where = "" if row is None else f" at row {row}, column {col}"
    (found,) = search(task, target / largest, None, [f"map {unit.channel}{where}"], progress)
    return found


def spread_of(
    net: Network, photographs: Images, layer: str | Layer, config: InversionConfig | None = None
) -> CodeSpread:
    """Return how far the codes of photographs lie apart in a layer, to pass to `invert` many times.

    Raises:
        BadInputError: There are fewer than two photographs, or all have the same code.
    """
    found = _spread(Coder(net, layer), photographs, config or InversionConfig())
    assert found is not None
    return found


def check(net: Network, layer: str | Layer, config: InversionConfig) -> None:
    """Refuse what `invert` would refuse, before any work is done.

    Raises:
        BadInputError: An unknown layer, one that is the input, an unknown recipe, channels or a box out of range.
    """
    task = Task(Coder(net, layer), "invert", config)
    _ = task.mask, task.recipe


def _spread(
    coder: Coder, photographs: Images | CodeSpread | None, config: InversionConfig
) -> CodeSpread | None:
    """Return how far the codes of the first photographs lie apart, unless that is known already."""
    if photographs is None or isinstance(photographs, CodeSpread):
        return photographs
    if not isinstance(photographs, Tensor):
        photographs = listed_images(photographs, MOST_PHOTOGRAPHS)
    codes = coder.of_inputs(coder.net.prepare(photographs)[:MOST_PHOTOGRAPHS])
    mask = Task(coder, "invert", config).mask
    return spread(codes if mask is None else codes * mask)


def _title(image: object) -> str:
    if isinstance(image, (str, Path)):
        return Path(image).name
    known = getattr(image, "filename", "")
    return Path(known).name if known else "an image"


def _place(unit: Unit, layer: Layer) -> tuple[int | None, int | None]:
    """Return row and column of a unit: its own, or those in the middle.

    Raises:
        BadInputError: They do not lie in the layer.
    """
    if not layer.is_spatial:
        return None, None
    height, width = layer.shape[1:]
    row, col = height // 2 if unit.row is None else unit.row, width // 2 if unit.col is None else unit.col
    if not (0 <= row < height and 0 <= col < width):
        raise BadInputError(
            f"row {row}, column {col} is out of range for layer {layer.name!r} ({height} rows, {width} columns)"
        )
    return row, col
