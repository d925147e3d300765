"""How far a projection reaches: a layer's receptive field holds for it only where gates are held fixed."""

from __future__ import annotations

from dataclasses import replace

from backlight.network.layers import Layer
from backlight.operators.ruleset import RuleSet


def under_rules(layer: Layer, rules: RuleSet) -> Layer:
    """Return the layer with the field that holds all of its projections under these rules.

    *Convention*: that is the layer's own, except where rules differentiate through gates (`gates=vjp`, and so
    `gradient`) and a gate sees more than the signal that it scales: then it is the whole image.

    Example:
        >>> import torch, backlight
        >>> class Gated(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x * x.mean((2, 3), keepdim=True).sigmoid()
        >>> layer = backlight.capture(Gated(), (3, 8, 8)).layer("mul")
        >>> [under_rules(layer, rules).receptive_field is None for rules in (backlight.DECONVNET, backlight.GRADIENT)]
        [False, True]
    """
    # A field without ignored gates holds for every rule; frozen gates pass nothing to their factors.
    field = layer.receptive_field
    if field is None or not field.gates_ignored or rules.gates == "frozen":
        return layer
    return replace(layer, receptive_field=None)
