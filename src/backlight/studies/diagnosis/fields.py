"""Receptive fields that do not fit: layers that add nothing within the image, and fields smaller than the objects.

*Source*: Richter et al. (2021), *Should You Go Deeper?*: layers whose input sees the whole image already contribute
little. *Differs*: what lies within the image is counted, unit by unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backlight.network import Layer, Network
from backlight.network.sources import IMAGE, direct_sources
from backlight.studies.diagnosis.result import Finding
from backlight.studies.diagnosis.verdicts import Outcome

_ALL = 0.999
_MOST_UNITS = 16
"""Rows and columns of units whose fields are counted."""


def find_fields(
    net: Network, layers: Sequence[Layer], objects: Sequence[tuple[float, float]] | None
) -> Outcome:
    """Find the layers that see no more of the image than those below them, and those that see less than the objects.

    Args:
        net: The captured network.
        layers: Layers in the order of the graph.
        objects: Heights and widths of the images' objects, in pixels of the input; None where they are not known.
    """
    found, sources = Outcome(), direct_sources({layer.name: net.node(layer) for layer in layers})
    for layer in layers:
        if layer.receptive_field is None:
            found.lack("field", layer.name, "its receptive field cannot be told")
            continue
        own = seen_share(layer, net.input_shape[1:])
        below = [net.layer(name) for name in sources[layer.name] if name != IMAGE]
        before = max((seen_share(one, net.input_shape[1:]) for one in below), default=0.0)
        found.add("field", layer.name, layer.n_maps, [_field(net, layer, own, before)])
    if objects is None:
        found.lack("field", None, "no boxes are given, so fields are not compared with the size of objects")
    elif len(objects) and layers and layers[-1].receptive_field is not None:
        last = layers[-1]
        found.findings.append(_objects(last, objects))
    return found


def seen_share(layer: Layer, size: tuple[int, ...]) -> float:
    """Return which share of an image (h, w) a unit of a layer sees, on average over its units."""
    field = layer.receptive_field
    if field is None:
        return 1.0
    sees = []
    for axis, n_units, side in zip((field.rows, field.cols), layer.shape[1:], size, strict=True):
        units = np.unique(np.linspace(0, n_units - 1, min(n_units, _MOST_UNITS)).astype(int))
        spans = [axis.span(int(i)) for i in units]
        # rows and columns are independent: the mean of the products is the product of the means
        sees.append(float(np.mean([max(0, min(end, side) - max(start, 0)) / side for start, end in spans])))
    return sees[0] * sees[1]


def _field(net: Network, layer: Layer, own: float, before: float) -> Finding:
    assert layer.receptive_field is not None
    height, width = layer.receptive_field.size
    rows, cols = net.input_shape[1:]
    return Finding(
        kind="field",
        layer=layer.name,
        channels=(),
        value=before,
        unit="share",
        limit=_ALL,
        null="a layer that sees more of the image than the layers that it is made from",
        says=f"its fields of {height}x{width} pixels add nothing within the image of {rows}x{cols}: the layer below "
        f"sees {before:.0%} of it already",
        is_found=before > _ALL and own >= before,
    )


def _objects(layer: Layer, objects: Sequence[tuple[float, float]]) -> Finding:
    """Return whether the last layer's fields are smaller than most objects."""
    assert layer.receptive_field is not None
    side = min(layer.receptive_field.size)
    sizes = np.array([max(own) for own in objects], np.float64)
    larger = float((sizes > side).mean())
    return Finding(
        kind="field",
        layer=layer.name,
        channels=(),
        value=larger,
        unit="share",
        limit=0.5,
        null="a field as large as most objects",
        says=f"{larger:.0%} of {len(sizes)} objects are larger than the fields of {side} pixels of the last layer; "
        f"the median object has {np.median(sizes):.0f}",
        is_found=larger > 0.5,
    )
