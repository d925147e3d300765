"""Describing a network: its fingerprint, and its layers as a table for notebooks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape

import torch
from torch import fx

from backlight.network.layers import Layer, describe_field
from backlight.text import counted


def fingerprint_of(module: fx.GraphModule) -> str:
    """Return a hash of a graph and of every weight: equal for equal networks, on any device."""
    digest = hashlib.sha256()
    for node in module.graph.nodes:
        digest.update(f"{node.op} {node.name} {node.target} {node.args} {node.kwargs}\n".encode())
    for name, tensor in module.named_buffers():
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(flat.numpy().tobytes())
    return digest.hexdigest()


class LayerTable(tuple[Layer, ...]):
    """Layers, in the order of the graph: a tuple that a notebook shows as a table, and a terminal one on each line."""

    def __repr__(self) -> str:
        """Return a layer on each line."""
        return "(" + ",\n ".join(map(repr, self)) + ("," if len(self) == 1 else "") + ")"

    def _repr_html_(self) -> str:
        return table_of_layers(counted(len(self), "layer"), self)


def table_of_layers(title: str, layers: Sequence[Layer]) -> str:
    """Return a table of layers as HTML: name, feature maps, size and receptive field."""
    rows = "".join(
        f"<tr><td style='text-align:left'><code>{escape(layer.name)}</code></td><td>{layer.n_maps}</td>"
        f"<td>{'×'.join(map(str, layer.shape[1:]))}</td><td>{describe_field(layer)}</td></tr>"
        for layer in layers
    )
    head = "<tr><th>layer</th><th>maps</th><th>size</th><th>receptive field</th></tr>"
    return f"<p>{escape(title)}</p><table>{head}{rows}</table>"
