"""Following a model: captured once, its weights are copied into the same graph at every later step.

A capture takes seconds, a copy of the weights milliseconds. A model may change in more than its weights, however (a
layer that is faded in, a branch that is switched on), so its answer for one image is compared with the graph's, and
where they differ it is captured again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from backlight.images import Preprocessing
from backlight.network import Network, capture
from backlight.network.eager import run_eagerly
from backlight.network.weights import with_weights
from backlight.network.wrappers import unwrap

_LITERALS = ("lifted_tensor", "_tensor_constant")
"""What torch.export calls tensors that a forward makes: no part of the model, so they stay as they were captured."""
_TOLERANCE = 1e-2
"""How far the graph's answer may be off, as a share of the largest: more than half precision, less than a branch."""


class Follower:
    """Gives a network of its own for a model at each step of a training; shares no memory with the model.

    Args:
        shape: (c, h, w) of one input.
        preprocessing: How pictures become inputs.

    Attributes:
        n_captures: How often a model was captured.
    """

    def __init__(self, shape: tuple[int, int, int], preprocessing: Preprocessing | None) -> None:
        self._shape, self._preprocessing = shape, preprocessing
        self._net: Network | None = None
        self.n_captures = 0

    def follow(self, model: nn.Module) -> Network:
        """Return the model's network with the weights that it has now; the next call changes them.

        Raises:
            CaptureError: The model cannot be captured.
            BadInputError: Its inputs are of another shape.
        """
        example = self._example(model)
        inner = unwrap(model, example)
        if self._net is None or not (
            _refilled(self._net, inner) and _answers_alike(self._net, inner, example)
        ):
            shared = capture(inner, self._shape, self._preprocessing)
            copies = {name: tensor.clone() for name, tensor in shared.module.named_buffers()}
            self._net = with_weights(shared, copies)
            self.n_captures += 1
        return self._net

    def _example(self, model: nn.Module) -> Tensor:
        """Return noise on the model's device, the same in every run: a blank image would hide most differences."""
        weights = [*model.parameters(), *model.buffers()]
        floating = next((own for own in weights if own.is_floating_point()), torch.zeros(0))
        noise = torch.randn(1, *self._shape, generator=torch.Generator().manual_seed(0))
        return noise.to(floating)


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """Let a training see nothing of what is done inside: no random number drawn, no mode of torch changed.

    Inside, autograd works whatever the caller has switched off: under `inference_mode` tensors would be made that it
    cannot use.
    """
    # where no GPU has been used, no random number was drawn on one, and asking would start it
    is_used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if is_used else []
    with ExitStack() as stack:
        for context in (torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad()):
            stack.enter_context(context)
        for device in ("cpu", "cuda") if is_used else ("cpu",):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def _refilled(net: Network, model: nn.Module) -> bool:
    """Copy a model's weights into a network of the same names and shapes; return whether it has them."""
    found: dict[str, Tensor] = {}
    for node in net.module.graph.find_nodes(op="get_attr"):
        name, path = str(node.target), str(node.meta.get("parameter"))
        try:
            tensor = attrgetter(path)(model)
        except AttributeError:
            if any(word in path for word in _LITERALS):
                continue
            return False
        own = net.module.get_buffer(name)
        if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (own.shape, own.dtype):
            return False
        if tensor.device != own.device:
            return False
        found[name] = tensor
    with torch.no_grad():
        for name, tensor in found.items():
            net.module.get_buffer(name).copy_(tensor)
    return True


def _answers_alike(net: Network, model: nn.Module, example: Tensor) -> bool:
    """Return whether a network gives for an image what its model gives."""
    with torch.no_grad():
        ours = [own for own in net.module(example) if isinstance(own, Tensor)]
    theirs = [own for own in tree_leaves(run_eagerly(model, example)) if isinstance(own, Tensor)]
    return len(ours) == len(theirs) and all(map(_close, ours, theirs))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not one.is_floating_point() or not one.numel():
        return True
    # weights that are not finite are told about by the scan, which names the layer
    largest = other.abs().max()
    return bool((one - other).abs().max() <= _TOLERANCE * largest) or not bool(largest.isfinite())
