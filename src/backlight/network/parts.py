"""The part of a model that can be captured where the whole cannot: a detector's backbone, for example."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from torch import Tensor, nn

from backlight.errors import CaptureError
from backlight.network.capture import export_graph
from backlight.network.wrappers import unwrap

_USUAL = ("backbone", "encoder", "body", "features", "trunk", "feature_extractor", "visual", "vision_model")
_MOST_TRIED = 2


def part_that_can_be_captured(model: nn.Module, example: Tensor) -> str | None:
    """Return the path of a part that takes the images and can be captured; None where none of a few can.

    *Convention*: parts with the usual names come first (`backbone`, `encoder`, `body`), then the one with the most
    weights in convolutions. Two are tried, so that an error does not take much longer.

    Args:
        model: A model of which the whole could not be captured.
        example: A batch (n, c, h, w) on its device.
    """
    for _, path in zip(range(_MOST_TRIED), _candidates(model), strict=False):
        part = model.get_submodule(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graph = export_graph(unwrap(part, example), example)
        except CaptureError:
            continue
        if any(node.op == "call_function" for node in graph.graph.nodes):
            return path
    return None


def _candidates(model: nn.Module) -> Iterator[str]:
    """Yield paths of parts, the most likely first."""
    children = dict(model.named_children())
    named = [name for name in _USUAL if name in children]
    largest = max(children, key=lambda name: _n_weights(children[name]), default=None)
    yield from named
    for name in named:
        yield from (f"{name}.{inner}" for inner in _USUAL if hasattr(children[name], inner))
    if largest is not None and largest not in named and _n_weights(children[largest]):
        yield largest


def _n_weights(module: nn.Module) -> int:
    """Return the number of weights of the convolutions in a module."""
    kinds = nn.Conv1d | nn.Conv2d | nn.Conv3d
    return sum(own.weight.numel() for own in module.modules() if isinstance(own, kinds))
