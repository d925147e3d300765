"""Choosing: which remedies there are for a finding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from backlight.network import Network
from backlight.studies.diagnosis.remedies.low_pass import low_pass
from backlight.studies.diagnosis.remedies.padding import even_input, pad_evenly
from backlight.studies.diagnosis.remedies.prune import Twin, delete_maps, merge_maps
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.renormalise import renormalise_maps
from backlight.studies.diagnosis.remedies.trial import Remedy
from backlight.studies.diagnosis.remedies.wiring import maps_of

KINDS = ("dead", "sleeping", "duplicate", "loud", "aliased", "checkerboard", "uneven")
"""The findings for which there are remedies without training."""


_N_CHECKED = 4


def remedies_for(
    model: nn.Module, net: Network, kind: str, layer: str, channels: Sequence[int], images: Tensor
) -> list[Remedy]:
    """Return the remedies for a finding, the gentlest first; none for a kind that takes training.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        kind: One of `KINDS`, or another.
        layer: The layer that has the finding.
        channels: The maps concerned. Of duplicates the last one stays, and the others become multiples of it.
        images: (n, c, h, w) inputs, on which multiples are fitted, batch norms are estimated anew, and changed
            copies are checked.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> net = backlight.capture(model, (3, 8, 8))
        >>> [own.name for own in remedies_for(model, net, "loud", "1", [2], torch.ones(2, 3, 8, 8))]
        ['renormalise', 'scale down']
    """
    shown = images[:_N_CHECKED]
    if kind in ("dead", "sleeping"):
        return [Remedy("delete", partial(delete_maps, model, net, layer, channels, shown))]
    if kind == "duplicate":
        return [Remedy("merge", partial(_merge, model, net, layer, channels, images))]
    if kind == "loud":
        scale = partial(renormalise_maps, model, net, layer, channels, shown)
        return [Remedy("renormalise", scale), Remedy("scale down", partial(scale, exactly=False))]
    if kind in ("aliased", "checkerboard"):
        after, before = (partial(low_pass, model, net, layer, place, images) for place in ("after", "before"))
        return [
            Remedy("low-pass after the rectifier", after),
            Remedy("low-pass before the convolution", before),
        ]
    if kind == "uneven":
        inputs = [
            Remedy(f"even input ({mode})", partial(even_input, model, net, mode))
            for mode in ("pad", "resize")
        ]
        return [Remedy("pad evenly", partial(pad_evenly, model, net, layer)), *inputs]
    return []


def _merge(model: nn.Module, net: Network, layer: str, channels: Sequence[int], images: Tensor) -> Remedied:
    *lost, kept = channels
    twins = [multiple_of(net, layer, channel, kept, images) for channel in lost]
    return merge_maps(model, net, layer, twins, images[:_N_CHECKED])


@torch.no_grad()
def multiple_of(net: Network, layer: str, channel: int, of: int, images: Tensor) -> Twin:
    """Return how many times another a map is, by least squares over its activations; 1 where the other is silent.

    Args:
        net: The captured network.
        layer: The layer.
        channel: The map.
        of: The other map.
        images: (n, c, h, w) inputs.

    Raises:
        BadInputError: The network has no such maps.

    Example:
        >>> import backlight
        >>> conv = nn.Conv2d(1, 2, 1)
        >>> conv.weight.data[1], conv.bias.data[1] = 3 * conv.weight.data[0], 3 * conv.bias.data[0]
        >>> net = backlight.capture(conv, (1, 4, 4))
        >>> round(multiple_of(net, net.layers[0].name, 1, 0, torch.ones(2, 1, 4, 4)).times, 5)
        3.0
    """
    maps_of(net, layer, [channel, of])
    features = net.features(layer)  # (n, c, h, w) or (n, c), whatever the layer's own order is
    product = square = 0.0
    for batch in torch.split(net.prepare(images), _N_CHECKED):
        maps = features(batch)[0].double().transpose(0, 1)
        product += float((maps[channel] * maps[of]).sum())
        square += float(maps[of].square().sum())
    return Twin(channel, of, product / square if square else 1.0)
