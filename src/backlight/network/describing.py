"""Describing a network: its fingerprint, and its layers as a table for notebooks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape

import torch
from torch import fx

from backlight.geometry import WHOLE_IMAGE
from backlight.network.layers import Layer


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


def describe_field(layer: Layer) -> str:
    """Return a layer's receptive field in words: `51x51 every 8`, or `whole image`."""
    return WHOLE_IMAGE if layer.receptive_field is None else layer.receptive_field.in_words


def table_of_layers(title: str, layers: Sequence[Layer]) -> str:
    """Return a table of layers as HTML: name, feature maps, size and receptive field."""
    rows = "".join(
        f"<tr><td style='text-align:left'><code>{escape(layer.name)}</code></td><td>{layer.n_maps}</td>"
        f"<td>{'×'.join(map(str, layer.shape[1:]))}</td><td>{describe_field(layer)}</td></tr>"
        for layer in layers
    )
    head = "<tr><th>layer</th><th>maps</th><th>size</th><th>receptive field</th></tr>"
    return f"<p>{escape(title)}</p><table>{head}{rows}</table>"
