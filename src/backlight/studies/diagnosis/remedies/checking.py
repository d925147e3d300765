"""Is a changed model what it should be? It is held against the captured network with some maps replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from backlight.errors import RemedyError, first_line
from backlight.network import Network
from backlight.network.eager import run_eagerly
from backlight.studies.diagnosis.remedies.cutting import Change, changed, copy_of

ROUNDING = 1e-8
"""Of the largest output: what float64 may differ by after hundreds of layers."""
_ROUNDING_SINGLE = 1e-4
_N_NOISE = 3


@dataclass(frozen=True)
class Reference:
    """What a network gives with some maps replaced.

    Attributes:
        images: What it was given, (n, c, h, w).
        outputs: The tensors that it returns.
        kept: The values of some nodes.
    """

    images: Tensor
    outputs: tuple[Tensor, ...]
    kept: Mapping[fx.Node, Tensor]


def inputs_for(net: Network, images: Tensor | None, seed: int = 0) -> Tensor:
    """Return noise, and images behind it, to hold two networks against each other; float64 on the network's device."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((_N_NOISE, *net.input_shape), generator=generator, dtype=torch.float64)
    given = [] if images is None else [net.prepare(images).cpu().double()]
    return torch.cat([noise, *given]).to(net.device)


class _Replacing(fx.Interpreter):
    """Runs a graph in a given precision, with the value of one node replaced."""

    def __init__(
        self,
        module: fx.GraphModule,
        dtype: torch.dtype,
        replace: Mapping[fx.Node, Callable[[Tensor], Tensor]],
        keep: Iterable[fx.Node],
    ) -> None:
        super().__init__(module)
        self._dtype, self._replace, self._keep = dtype, replace, set(keep)
        self.kept: dict[fx.Node, Tensor] = {}

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(self._dtype) if floating else value

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._replace:
            value = self._replace[n](value)
        if n in self._keep:
            self.kept[n] = value
        return value


def reference(
    model: nn.Module,
    net: Network,
    images: Tensor,
    replace: Mapping[fx.Node, Callable[[Tensor], Tensor]],
    keep: Iterable[fx.Node] = (),
) -> Reference:
    """Return what a network gives for images, with the values of some nodes replaced.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        images: (n, c, h, w), float64.
        replace: By node what makes its new value of the old.
        keep: Nodes whose values are kept.

    *Convention*: in float64, or in the model's own precision where its forward or its graph names types, as
    `x.float()` does.
    """
    if _runs_in_double(model, images[:1]):
        try:
            return _run(net, images, replace, keep)
        except RuntimeError:
            pass
    return _run(net, images.to(net.dtype), replace, keep)


def _runs_in_double(model: nn.Module, image: Tensor) -> bool:
    double = copy_of(model).double()
    try:
        run_eagerly(double, image)
    except Exception:  # whatever the model's own code raises
        return False
    return True


def _run(
    net: Network,
    images: Tensor,
    replace: Mapping[fx.Node, Callable[[Tensor], Tensor]],
    keep: Iterable[fx.Node],
) -> Reference:
    run = _Replacing(net.module, images.dtype, replace, keep)
    with torch.no_grad():
        outputs = run.run(images)
    return Reference(images, tuple(own for own in outputs if isinstance(own, Tensor)), run.kept)


def applied(model: nn.Module, change: Change, expected: Reference) -> nn.Module:
    """Return a changed copy of a model that gives what is expected, to rounding.

    Args:
        model: The model; it is not changed.
        change: What becomes of its weights.
        expected: What it should give.

    Raises:
        RemedyError: It gives something else, or does not run.

    *Convention*: the answers are compared in float64, with new weights as they were computed; the copy that is
    returned has them rounded to the model's own type.
    """
    in_double = expected.images.dtype == torch.float64
    new = changed(model, change)
    check_same(changed(copy_of(model).double(), change) if in_double else new, expected)
    return new


def check_same(model: nn.Module, expected: Reference) -> None:
    """Raise RemedyError unless a model gives what is expected, to rounding.

    Args:
        model: A model of the type of the expected images; it is not changed.
        expected: What it should give.
    """
    try:
        found = [own for own in tree_leaves(run_eagerly(model, expected.images)) if isinstance(own, Tensor)]
    except Exception as error:
        raise RemedyError(f"the model does not run without them ({first_line(error)})") from error
    limit = ROUNDING if expected.images.dtype == torch.float64 else _ROUNDING_SINGLE
    for own, other in zip(found, expected.outputs, strict=True):
        if own.shape != other.shape:
            raise RemedyError(f"the model would return {tuple(own.shape)}, and not {tuple(other.shape)}")
        off = float((own - other).abs().max() / other.abs().max().clamp(min=1e-30)) if own.numel() else 0.0
        if not off <= limit:
            raise RemedyError(f"the outputs would change by up to {off:.2g} of the largest")
