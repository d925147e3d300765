"""The filters of layers that read the pixels directly: small pictures themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.network import Layer, Network
from backlight.operators.table import is_convolution


def first_filters(net: Network, layer: Layer) -> NDArray[np.float32] | None:
    """Return the filters (n, c, k, k) of a layer whose convolution reads the pixels; None for a deeper layer."""
    node: Any = net.node(layer)
    weights = None
    while node.op != "placeholder":
        if is_convolution(node):
            if weights is not None:
                return None
            weights = node.args[1]
        below = net.analysis.signal_inputs(node)
        if len(below) != 1:
            return None
        node = below[0]
    if weights is None:
        return None
    tensor = net.module.get_buffer(weights.name) if weights.op == "get_attr" else None
    square = tensor is not None and tensor.dim() == 4 and tensor.shape[0] == layer.n_maps
    return tensor.float().cpu().numpy() if tensor is not None and square else None
