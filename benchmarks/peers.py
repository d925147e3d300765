"""Other ways to project a unit: Captum, zennit with zennit-crp, and the naive loop.

All get the same weights. They need every rectifier to be a separate module, used once and not in place; so the
model is traced, and every call of `nn.ReLU` becomes a separate module, under Backlight's name for the layer.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import torch
from captum.attr import NeuronDeconvolution
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from backlight.projection import Unit


def with_own_rectifiers(
    model: nn.Module, rectifier: type[nn.Module] = nn.ReLU, end: str | None = None
) -> fx.GraphModule:
    """Return the model, sharing its weights, with a separate module for every rectifier.

    Args:
        model: A model whose rectifiers are `nn.ReLU`.
        rectifier: What replaces them.
        end: The name of the layer to end at; None for the model's own end.
    """
    tracer = NodePathTracer()
    graph = tracer.trace(model.eval())
    traced = fx.GraphModule(tracer.root, graph)
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(model.get_submodule(node.target), nn.ReLU):
            node.target = tracer.node_to_qualname[node]
            traced.add_submodule(node.target, rectifier())
            if node.target == end:
                _end_at(graph, node)
                break
    traced.recompile()
    return traced.eval()


def _end_at(graph: fx.Graph, last: fx.Node) -> None:
    for node in reversed(list(graph.nodes)):
        if node is last:
            break
        graph.erase_node(node)
    graph.output(last)


def _chosen(out: Tensor, units: list[Unit]) -> Tensor:
    """Return the activation of one unit in each image, (n,)."""
    channels, rows, cols = torch.tensor([(u.channel, u.row, u.col) for u in units]).unbind(1)
    return out[torch.arange(len(units)), channels, rows, cols]


class CaptumSide:
    """Captum's NeuronDeconvolution, a batch of images at a time, with one unit per image."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        copied = with_own_rectifiers(model)
        self._method = NeuronDeconvolution(copied, copied.get_submodule(layer))

    def __call__(self, images: Tensor, units: list[Unit]) -> Tensor:
        """Return the signals (n, c, h, w) for seeds of one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Tensor = self._method.attribute(images.clone(), lambda out: _chosen(out, units))
        return found.detach()


class ZennitSide:
    """Conditional attribution of zennit-crp with zennit's DeconvNet composite, started at the layer."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        from crp.attribution import CondAttribution
        from zennit.composites import DeconvNet

        self._attribution, self._composite = CondAttribution(with_own_rectifiers(model)), DeconvNet()
        self._layer = layer

    @staticmethod
    def is_installed() -> bool:
        """Return whether zennit-crp can be imported."""
        return find_spec("crp") is not None and find_spec("zennit") is not None

    def __call__(self, images: Tensor, units: list[Unit]) -> Tensor:
        """Return the signals (n, c, h, w) for seeds of one."""

        def seeds(out: Tensor) -> Tensor:
            seed = torch.zeros_like(out)
            for own, unit in zip(seed, units, strict=True):
                own[unit.channel, unit.row, unit.col] = 1
            return seed

        x = images.clone().requires_grad_()
        self._attribution(
            x,
            [{} for _ in units],
            self._composite,
            start_layer=self._layer,
            init_rel=seeds,
            exclude_parallel=False,
        )
        assert x.grad is not None
        return x.grad


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:  # type: ignore[override]
        return signal.clamp_min(0)


class _DeconvReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Rectify.apply(x)  # type: ignore[no-any-return, no-untyped-call]


class NaiveSide:
    """The loop that one would write first: the network up to the layer on a whole image, one unit at a time."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        self._module = with_own_rectifiers(model, _DeconvReLU, end=layer)

    def __call__(self, images: Tensor, units: list[Unit]) -> Tensor:
        """Return the signals (n, c, h, w) for seeds of one."""
        found = []
        for image, unit in zip(images, units, strict=True):
            x = image[None].clone().requires_grad_()
            unit_value = self._module(x)[0, unit.channel, unit.row, unit.col]
            found.append(torch.autograd.grad(unit_value, x)[0][0])
        return torch.stack(found)
