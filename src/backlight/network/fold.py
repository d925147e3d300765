"""Folding batch norm: at inference it scales and shifts each channel, which the convolution below can do itself."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.reading import aten, options_of, packet, shape_of
from backlight.operators.table import is_batch_norm, is_convolution


def fold_batch_norms(module: fx.GraphModule) -> fx.GraphModule:
    """Return a module of the same outputs and gradients without batch norms.

    A batch norm is folded into the convolution or linear map that feeds it, if nothing else reads that; otherwise it
    becomes a product and a sum. A batch norm whose statistics are read or are not plain weights stays.

    Args:
        module: A graph that `cut` made; neither it nor its weights are changed.

    Returns:
        A graph over the same weights and, under new names, the folded ones.
    """
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    graph.find_nodes(op="output")[0].meta = dict(module.graph.find_nodes(op="output")[0].meta)
    folded = fx.GraphModule(module, graph)
    for node in list(graph.nodes):
        if node.op == "call_function" and is_batch_norm(node):
            _fold(folded, node)
    graph.eliminate_dead_code()
    graph.lint()
    # Made anew, the module keeps only what its graph still reads: not the weights that the folded ones replace.
    return fx.GraphModule(folded, graph).eval()


def _fold(module: fx.GraphModule, norm: fx.Node) -> None:
    """Take one batch norm out of the module's graph, if it can be folded."""
    users = list(norm.users)
    options = options_of(norm, norm.args, norm.kwargs)
    constants = {name: _constant(module, options[name]) for name in ("weight", "bias")}
    mean, variance = (_constant(module, options[name]) for name in ("running_mean", "running_var"))
    if any(user.target is not operator.getitem or user.args[1] != 0 for user in users):
        return
    if mean is None or variance is None:
        return
    if any(options[name] is not None and value is None for name, value in constants.items()):
        return
    # (c,), in float64: (x - mean) / sqrt(variance + eps) * weight + bias = x * scale + shift.
    scale = torch.rsqrt(variance.double() + options["eps"])
    scale = scale if constants["weight"] is None else scale * constants["weight"].double()
    shift = -mean.double() * scale
    shift = shift if constants["bias"] is None else shift + constants["bias"].double()
    value = _into_convolution(module, norm, scale, shift) or _as_product(module, norm, scale, shift)
    for user in users:
        user.replace_all_uses_with(value)


def _into_convolution(module: fx.GraphModule, norm: fx.Node, scale: Tensor, shift: Tensor) -> fx.Node | None:
    """Put a convolution with scaled weights before the norm and return it; None if there is none to scale."""
    below: Any = norm.args[0]
    # A linear map of tokens (n, t, c) has its channels last, where a batch norm has them second: only (n, c) is alike.
    is_linear = packet(below) is aten.linear and len(shape_of(below) or ()) == 2
    if len(below.users) > 1 or not (is_linear or is_convolution(below)):
        return None
    options = options_of(below, below.args, below.kwargs)
    weight, bias = (_constant(module, options.get(name)) for name in ("weight", "bias"))
    if weight is None or (bias is None and options.get("bias") is not None):
        return None
    is_transposed = options.get("transposed", "conv_transpose" in str(packet(below)))
    by_channel = _spread(scale, weight, options.get("groups", 1) if is_transposed else None)
    # scale * (W x + b) + shift = (scale * W) x + (scale * b + shift), computed in float64.
    new_bias = shift if bias is None else shift + bias.double() * scale
    with module.graph.inserting_before(norm):
        options["weight"] = _keep(
            module, (weight.double() * by_channel).to(weight.dtype), f"{below.name}_weight"
        )
        options["bias"] = _keep(module, new_bias.to(weight.dtype), f"{below.name}_bias")
        args = (below.args[0], options.pop("weight"), options.pop("bias"))
        node = module.graph.call_function(below.target, args, options)
    node.meta = dict(below.meta)
    return node


def _spread(scale: Tensor, weight: Tensor, groups: int | None) -> Tensor:
    """Return the scale in the shape of a weight (out, in, ...), or transposed (in, out / groups, ...)."""
    tail = [1] * (weight.dim() - 2)  # the kernel's dimensions
    if groups is None:
        return scale.reshape(-1, 1, *tail)
    # Group g maps in / groups inputs to out / groups outputs: each of its rows gets that group's part of the scale.
    rows = scale.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1)
    return rows.reshape(len(weight), -1, *tail)


def _as_product(module: fx.GraphModule, norm: fx.Node, scale: Tensor, shift: Tensor) -> fx.Node:
    """Put a product and a sum before the norm and return the sum."""
    below: Any = norm.args[0]
    value = below.meta["val"]  # (n, c, ...): the scale and the shift (c,) become (c, 1, ...)
    shape = (-1, *[1] * (value.dim() - 2))
    with module.graph.inserting_before(norm):
        for name, target, factor in (("scale", aten.mul.Tensor, scale), ("shift", aten.add.Tensor, shift)):
            constant = _keep(module, factor.to(value.dtype).reshape(shape), f"{norm.name}_{name}")
            below = module.graph.call_function(target, (below, constant))
            below.meta = dict(norm.meta) | {"val": value}
    return below  # type: ignore[no-any-return]


def _keep(module: fx.GraphModule, tensor: Tensor, wanted: str) -> fx.Node:
    """Register a tensor under a free name and return the node that reads it."""
    name = f"folded_{wanted}"
    while hasattr(module, name):
        name += "_"
    module.register_buffer(name, tensor.contiguous())
    node = module.graph.get_attr(name)
    node.meta = {"val": tensor}
    return node


def _constant(module: fx.GraphModule, node: Any) -> Tensor | None:
    """Return the weight that a node reads; None where it is none, or computed."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    return module.get_buffer(str(node.target))
