"""Pictures of an adaptive network: its filters, the hits of its maps, and the reconstructions of an image.

*Source*: Zeiler, Taylor & Fergus (2011), Figs. 1 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from backlight.adaptive.decomposition import Activation, decompose
from backlight.adaptive.hits import FoundHits, MapHits
from backlight.adaptive.inference import Codes
from backlight.adaptive.net import AdaptiveDeconvNet
from backlight.adaptive.pooling import SWITCH_MODES
from backlight.adaptive.sheets import Panel, Row, pixels, sheet
from backlight.errors import BadInputError
from backlight.render import DEFAULT_SCALING, MapPanel, Tile, filter_figure, layer_figure

_SIGNS = "White is brighter than its surroundings, black darker."
_SCALED = f"Each picture is scaled {DEFAULT_SCALING.caption}. {_SIGNS}"
_ERROR = "Error: the length of the difference from the input, over the length of the input."
_MODES = (
    "full: each value goes where it came from; position-only: to its row and column, in the middle map of its block; "
    "map-only: to its map, in the middle row and column; centre: to the middle of the block; average: it is spread "
    "evenly over the block"
)


def filter_picture(net: AdaptiveDeconvNet, title: str = "Filters of layer 1") -> Image.Image:
    """Return the filters of the first layer, which paint into the pixels.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> filter_picture(AdaptiveDeconvNet(PRESETS["small"])).mode
        'RGB'
    """
    return filter_figure(net.filters[0].cpu().numpy(), title)


def layer_picture(found: FoundHits, layer: int, title: str = "") -> Image.Image:
    """Return the strongest activations of each feature map of a layer, projected, beside the image patches.

    Args:
        found: The result of `find_hits`.
        layer: From 1.
        title: "" for the layer's number.

    Raises:
        BadInputError: The layer was not searched.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> from backlight.adaptive import HitSearch, find_hits
        >>> net, noise = AdaptiveDeconvNet(PRESETS["small"]), torch.randn(2, 1, 64, 64).numpy()
        >>> layer_picture(find_hits(net, noise, HitSearch(layers=(1,), maps=2)), 1).mode
        'RGB'
    """
    panels = [
        MapPanel(
            f"map {own.channel}",
            [_tile(found, own, i) for i in range(len(own.hits))],
            _range(own),
            found.wanted.top,
        )
        for own in found.of(layer)
    ]
    subtitle = (
        f"strongest activations by magnitude over {found.n_images} images, by the switches of each image"
    )
    return layer_figure(panels, title or f"Layer {layer}", subtitle)


def reconstruction_picture(
    net: AdaptiveDeconvNet,
    images: Tensor,
    codes: Codes,
    names: Sequence[str],
    layers: Sequence[int] | None = None,
) -> Image.Image:
    """Return a row for each image: the image, and its reconstruction from each layer with the relative error.

    Args:
        net: The network.
        images: (n, c, h, w) prepared.
        codes: Their codes.
        names: Their names.
        layers: From 1; None for all that have codes.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> net = AdaptiveDeconvNet(PRESETS["small"])
        >>> images = torch.randn(1, 1, 64, 64)
        >>> reconstruction_picture(net, images, net.infer(images), ["noise"]).mode
        'RGB'
    """
    shown = layers or range(1, len(codes.layers) + 1)
    # by layer (n, c, h, w), all images at once
    painted = {layer: net.reconstruct(codes, layer) for layer in shown}
    rows = [
        Row(
            name,
            [Panel(pixels(image), "input"), *(_against(image, painted[n][i], f"layer {n}") for n in shown)],
        )
        for i, (image, name) in enumerate(zip(images, names, strict=True))
    ]
    subtitle = "each layer's code, run down to the pixels by the image's own switches"
    return sheet(rows, "Reconstructions", subtitle, f"{_ERROR} {_SCALED}")


def decomposition_picture(
    net: AdaptiveDeconvNet, image: Tensor, codes: Codes, top: int = 3, layers: Sequence[int] | None = None
) -> Image.Image:
    """Return a row for each layer: the image, its strongest activations one by one, their sum, and the whole layer.

    Args:
        net: The network.
        image: (c, h, w) prepared.
        codes: Its codes, and no others.
        top: Number of activations.
        layers: From 1; None for all that are active.

    Raises:
        BadInputError: A layer asked for has no activation, or none has.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> net = AdaptiveDeconvNet(PRESETS["small"])
        >>> images = torch.randn(1, 1, 64, 64)
        >>> decomposition_picture(net, images[0], net.infer(images), layers=[1]).mode
        'RGB'
    """
    rows = []
    for layer in _shown(codes, layers):
        found = decompose(net.filters, codes, layer, top)
        count = int(codes[layer].pooled.count_nonzero())
        # (top + 1, c, h, w): the single activations and their sum, which share a scale
        together = torch.cat([found.projections, found.superposed[None]]).cpu().numpy()
        panels = [Panel(pixels(image), "input")]
        panels += [
            Panel(pixels(own), f"map {activation.channel}", _value(activation), together)
            for activation, own in zip(found.activations, found.projections, strict=True)
        ]
        panels.append(Panel(pixels(found.superposed), f"sum of {len(found.activations)}", "", together))
        panels.append(_against(image, found.whole, f"all {count}"))
        rows.append(Row(f"Layer {layer}", panels))
    legend = (
        "In grey: the value of the activation, and its row and column in the map. The activations of a row and their "
        "sum, which is exact, share a scale; the input and the whole layer have their own. Grey is zero. "
        f"{_SIGNS} {_ERROR}"
    )
    return sheet(rows, "Decomposition", "the strongest activations of each layer, by magnitude", legend)


def switch_picture(
    net: AdaptiveDeconvNet, image: Tensor, codes: Codes, layers: Sequence[int] | None = None
) -> Image.Image:
    """Return a row for each layer: the image, and its reconstructions with all of the switches and with parts of them.

    Args:
        net: The network.
        image: (c, h, w) prepared.
        codes: Its codes, and no others.
        layers: From 1; None for all that are active.

    Raises:
        BadInputError: No layer has an activation.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> net = AdaptiveDeconvNet(PRESETS["small"])
        >>> images = torch.randn(1, 1, 64, 64)
        >>> switch_picture(net, images[0], net.infer(images), layers=[1]).mode
        'RGB'
    """
    rows = []
    for layer in _shown(codes, layers):
        painted = {mode: net.reconstruct(codes, layer, mode)[0] for mode in SWITCH_MODES}
        full = pixels(painted["full"])
        panels = [_against(image, own, mode, full) for mode, own in painted.items()]
        rows.append(Row(f"Layer {layer}", [Panel(pixels(image), "input"), *panels]))
    legend = (
        f"{_MODES}. The reconstructions of a row share a scale, that of the full one; the input has its own. "
        f"Grey is zero. {_SIGNS} {_ERROR}"
    )
    return sheet(
        rows, "Switch ablations", "what each layer reconstructs when switches are known in part", legend
    )


def active_layers(codes: Codes) -> list[int]:
    """Return the layers, from 1, that are active for at least one image.

    Example:
        >>> from backlight.adaptive import PRESETS
        >>> active_layers(AdaptiveDeconvNet(PRESETS["small"]).infer(torch.zeros(1, 1, 64, 64)))
        []
    """
    return [n for n, code in enumerate(codes.layers, start=1) if bool(code.pooled.any())]


def _shown(codes: Codes, layers: Sequence[int] | None) -> Sequence[int]:
    shown = active_layers(codes) if layers is None else layers
    if not shown:
        raise BadInputError(
            "no layer has an activation, so there is nothing to show; try an image with more contrast"
        )
    return shown


def _against(
    image: Tensor, painted: Tensor, label: str, reference: Float[np.ndarray, "..."] | None = None
) -> Panel:
    """Return the panel of a reconstruction, with its relative error."""
    length = float(image.norm())
    error = f"error {float((painted - image).norm()) / length:.1%}" if length else "input is zero"
    return Panel(pixels(painted), label, error, reference)


def _tile(found: FoundHits, own: MapHits, index: int) -> Tile:
    hit = own.hits[index]
    return Tile(hit.patch, hit.projection, hit.box, found.image_size)


def _range(own: MapHits) -> str:
    if not own.hits:
        return ""
    strongest, weakest = (f"{abs(own.hits[i].value):.3g}" for i in (0, -1))
    return f"magnitude {strongest} to {weakest}" if len(own.hits) > 1 else f"magnitude {strongest}"


def _value(activation: Activation) -> str:
    return f"{activation.value:.3g} at {activation.row}, {activation.col}"
