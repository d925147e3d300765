"""Network: capture, node names, operator classes and receptive fields over the graph."""

from backlight.network.coverage import Coverage, CoverageEntry
from backlight.network.layers import Layer, describe_field
from backlight.network.network import Images, Network, capture
from backlight.operators.operator import OperatorClass

__all__ = [
    "Coverage",
    "CoverageEntry",
    "Images",
    "Layer",
    "Network",
    "OperatorClass",
    "capture",
    "describe_field",
]
