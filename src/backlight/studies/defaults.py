"""Layers that studies take by default."""

from __future__ import annotations

from backlight.errors import BadInputError
from backlight.network import Network


def late_layers(net: Network) -> list[str]:
    """Return the last default layer and the one before a linear output; without such an output the last three defaults.

    Where the model has several outputs, the output is the one that gives the class; any of them if none does.

    Raises:
        BadInputError: The network has neither feature maps nor a linear output.

    *Source*: Zeiler & Fergus (2013), section 4.3, which studies layers 5 and 7.

    Example:
        >>> import backlight
        >>> from torch import nn
        >>> body = [nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5), nn.ReLU()]
        >>> model = nn.Sequential(*body, nn.Linear(5, 2))
        >>> late_layers(backlight.capture(model, (3, 8, 8)))
        ['1', '4']
    """
    spatial = [layer.name for layer in net.default_layers]
    layers = net.leading_to(net.class_output().output)
    linear = [i for i, layer in enumerate(layers) if layer.operator == "linear" and not layer.is_spatial]
    if linear and linear[-1] > 0:
        return list(dict.fromkeys([*spatial[-1:], layers[linear[-1] - 1].name]))
    if not spatial:
        raise BadInputError(f"{net.name} has no feature maps to take by default; name layers")
    return spatial[-3:]
