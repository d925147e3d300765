"""Between a captured network and the model that it was captured from: maps, weights by their names, new values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from backlight.errors import BadInputError, RemedyError
from backlight.network import Network
from backlight.network.wrappers import unwrap
from backlight.studies.diagnosis.remedies.carried import Part
from backlight.studies.diagnosis.remedies.cutting import stored
from backlight.text import counted


def unwrapped(model: nn.Module, net: Network) -> nn.Module:
    """Return the model that was captured: what is inside DataParallel and other wrappers."""
    return unwrap(model, torch.zeros(1, *net.input_shape, device=net.device, dtype=net.dtype))


def maps_of(net: Network, layer: str, channels: Sequence[int]) -> Part:
    """Return the part of a layer's value that some of its maps fill.

    Raises:
        BadInputError: The network has no such maps, or none are given.
    """
    own = net.layer(layer)
    wrong = [c for c in channels if not 0 <= c < own.n_maps]
    if wrong or not channels:
        what = f"channel {wrong[0]} is out of range for" if wrong else "no channel is given of"
        raise BadInputError(f"{what} layer {layer!r} ({counted(own.n_maps, 'feature map')})")
    return Part(own.order[1], tuple(sorted(set(channels))))


def parameter(node: Any) -> str:
    """Return the name in the model of the weight that a node reads.

    Raises:
        RemedyError: The weight is computed in each run.
    """
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        raise RemedyError("weights that are computed in each run cannot be changed")
    return str(node.meta["parameter"])


def index_of(indices: Sequence[int], like: Tensor) -> Tensor:
    """Return indices as a tensor on the device of another."""
    return torch.tensor(indices, device=like.device)


class Values:
    """A model's weights by their names, and new values for some of them.

    Attributes:
        model: The model; it is not changed.
        changed: The new values, in float64.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.changed = model, dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        """Return a weight's new value, or what it is, in float64.

        Raises:
            RemedyError: The model has no weight of that name.
        """
        found = self.changed.get(name)
        found = stored(self.model, name) if found is None else found
        if found is None:
            raise RemedyError(f"{type(self.model).__name__} has no weights {name!r} of its own")
        return found.detach().double()

    def __contains__(self, name: str) -> bool:
        return name in self.changed or stored(self.model, name) is not None

    def scale(self, name: str, dim: int, indices: Sequence[int], factor: float) -> None:
        """Multiply some of a weight."""
        own = self[name]
        index = index_of(indices, own)
        self.changed[name] = own.index_copy(dim, index, own.index_select(dim, index) * factor)

    def add(self, name: str, dim: int, indices: Sequence[int], values: Tensor) -> None:
        """Add to some of a weight."""
        own = self[name]
        self.changed[name] = own.index_add(dim, index_of(indices, own), values)
