"""Network: a captured model, its layers, and what its operators are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, fx, nn

from backlight.errors import BadInputError, UnknownLayerError
from backlight.images import Preprocessing
from backlight.network.capture import export_graph
from backlight.network.coverage import Coverage, CoverageEntry
from backlight.network.cut import cut
from backlight.network.layers import Layer, find_layers
from backlight.network.names import module_outputs, name_nodes
from backlight.network.operators import OperatorClass, PathAnalysis, operator_name
from backlight.network.receptive import trace_spreads

Images = Tensor | Sequence[Image.Image | str | Path] | Image.Image | str | Path


class Network:
    """A model captured as a functional graph that shares the model's weights.

    Made by `capture`. Weights changed in place afterwards (`load_state_dict`) are seen by the network.

    Attributes:
        name: The class of the model.
        module: The graph; takes (n, c, h, w) and returns the model's outputs.
        input_shape: (c, h, w) of one input.
        preprocessing: How pictures become inputs; None where only tensors can be given.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        name: str,
        input_shape: tuple[int, ...],
        preprocessing: Preprocessing | None,
    ) -> None:
        self.module, self.name, self.input_shape, self.preprocessing = (
            module,
            name,
            input_shape,
            preprocessing,
        )
        self.analysis = PathAnalysis(module.graph)
        self.spreads = trace_spreads(module.graph, self.analysis)
        for node, spread in self.spreads.items():
            node.meta["spread"] = spread
        self._nodes = name_nodes(module.graph)
        self._modules = module_outputs(module.graph)
        self._path = set(self.analysis.path(module.graph.find_nodes(op="output"), past_steps=True))

    def __call__(self, x: Float[Tensor, "n c h w"]) -> Any:
        """Return what the model returns for a batch of inputs (a tensor, or a tuple where it gives several)."""
        with torch.no_grad():
            outputs = self.module(x)
        return outputs[0] if isinstance(outputs, (tuple, list)) and len(outputs) == 1 else outputs

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every nameable layer, in the order of the graph."""
        return find_layers(self._nodes, self.analysis, self.spreads, self._path)

    @property
    def default_layers(self) -> tuple[Layer, ...]:
        """The layers that an atlas shows by default: rectified feature maps, else convolution outputs."""
        return tuple(layer for layer in self.layers if layer.is_default)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        layers = {layer.name: layer for layer in self.layers}
        by_node = {self._nodes[layer.name]: layer for layer in self.layers}
        aliases = {path: by_node[node] for path, node in self._modules.items() if node in by_node}
        return aliases | layers

    def layer(self, name: str | Layer) -> Layer:
        """Return the layer of that name; a module's path names what the module gave back.

        Raises:
            UnknownLayerError: The network has no such layer.
        """
        key = name.name if isinstance(name, Layer) else name
        if key not in self._by_name:
            close = _closest(key, self._by_name)
            raise UnknownLayerError(
                f"{self.name} has no layer {key!r}{f'; did you mean {close!r}?' if close else ''}; "
                "`backlight layers MODEL --all` lists them"
            )
        return self._by_name[key]

    def node(self, layer: str | Layer) -> fx.Node:
        """Return the graph's node of a layer."""
        return self._nodes[self.layer(layer).name]

    def where(self, node: fx.Node) -> str:
        """Return where a node stands, in the user's words: its name, else its module and operator."""
        for name, named in self._nodes.items():
            if named is node:
                return name
        stack = node.meta.get("nn_module_stack") or {}
        path = next(reversed(stack.values()))[0] if stack else ""
        return f"{path}.{operator_name(node)}" if path else operator_name(node)

    def features(self, layers: Iterable[Layer]) -> fx.GraphModule:
        """Return a module of the layers' activations, each (n, c, h, w) or (n, c), as a tuple; cut at the last."""
        return cut(self.module, [(self.node(layer), layer.order) for layer in layers])

    def coverage(self) -> Coverage:
        """Return each operator on the way from the default layers to the pixels, its class, and where it stands."""
        heads = [self.node(layer) for layer in self.default_layers]
        heads = heads or [n for n in self.module.graph.nodes if n.op == "output"]
        found: dict[tuple[str, OperatorClass], list[str]] = {}
        for node in self.analysis.path(heads):
            if node.op == "call_function" and operator_name(node) != "getitem":
                found.setdefault((operator_name(node), self.analysis.classify(node)), []).append(
                    self.where(node)
                )
        return Coverage(tuple(CoverageEntry(op, kind, tuple(at)) for (op, kind), at in found.items()))

    def prepare(self, images: Images) -> Float[Tensor, "n c h w"]:
        """Return images as a batch of inputs on the network's device.

        Args:
            images: A batch of inputs (n, c, h, w) or one (c, h, w), already normalised; or pictures (PIL images
                or paths), which need the network's preprocessing.

        Raises:
            BadInputError: The shape does not fit, or pictures are given to a network without preprocessing.
        """
        if isinstance(images, Tensor):
            batch = images[None] if images.dim() == 3 else images
        elif self.preprocessing is None:
            raise BadInputError(
                f"{self.name} was captured without preprocessing and takes tensors only; "
                "pass capture(model, example, preprocessing=Preprocessing(...))"
            )
        else:
            single = isinstance(images, (Image.Image, str, Path))
            batch = self.preprocessing.batch([images] if single else list(images))  # type: ignore[list-item, arg-type]
        if batch.dim() != 4 or tuple(batch.shape[1:]) != self.input_shape:
            raise BadInputError(
                f"{self.name} was captured for inputs of {'x'.join(map(str, self.input_shape))}, "
                f"but came {'x'.join(map(str, batch.shape))}; resize the images or capture it at that size"
            )
        return batch.to(self.device, self.dtype)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.module.buffers(), torch.zeros(0)).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the inputs."""
        value: Tensor = next(n for n in self.module.graph.nodes if n.op == "placeholder").meta["val"]
        return value.dtype

    def fingerprint(self) -> str:
        """Return a hash of the graph and of every weight: equal for equal networks, on any device."""
        digest = hashlib.sha256()
        for node in self.module.graph.nodes:
            digest.update(f"{node.op} {node.name} {node.target} {node.args} {node.kwargs}\n".encode())
        for name, tensor in self.module.named_buffers():
            flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(flat.numpy().tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        """Return the name, the input's size and how many layers there are."""
        size = "x".join(map(str, self.input_shape))
        maps = sum(layer.n_maps for layer in self.default_layers)
        return f"Network({self.name}, input {size}, {len(self.default_layers)} layers, {maps} feature maps)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'><code>{escape(layer.name)}</code></td><td>{layer.n_maps}</td>"
            f"<td>{'×'.join(map(str, layer.shape[1:]))}</td><td>{describe_field(layer)}</td></tr>"
            for layer in self.default_layers
        )
        head = "<tr><th>layer</th><th>maps</th><th>size</th><th>receptive field</th></tr>"
        return f"<p>{escape(repr(self))}</p><table>{head}{rows}</table>"


def describe_field(layer: Layer) -> str:
    """Return a layer's receptive field in words: `51x51 every 8`, or `whole image`."""
    field = layer.receptive_field
    if field is None:
        return "whole image"
    gates = ", gates ignored" if field.gates_ignored else ""
    return f"{field.size[0]}x{field.size[1]} every {field.stride[0]}{gates}"


def capture(
    model: nn.Module,
    example: Tensor | tuple[int, int, int],
    preprocessing: Preprocessing | None = None,
) -> Network:
    """Return the model as a Network; the model itself is left exactly as it was.

    Args:
        model: A PyTorch model that takes one batch of images. Training mode is no obstacle: what is captured
            is its inference mode.
        example: An input (n, c, h, w) or (c, h, w), or just its size (c, h, w). The values do not matter.
        preprocessing: How pictures become inputs, if pictures or paths are to be given later.

    Returns:
        A Network that shares the model's weights.

    Raises:
        CaptureError: torch.export cannot take the model; the message names the line of its forward.
        BadInputError: The example is no image batch.

    Example:
        >>> import torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 224, 224))
        >>> net.layer("features.3.cat").shape
        (128, 55, 55)
    """
    parameter = next(model.parameters(), torch.zeros(0))
    if isinstance(example, Tensor):
        batch = example[None] if example.dim() == 3 else example
        batch = batch[:1].to(parameter.device)
    else:
        batch = torch.zeros(1, *example, device=parameter.device, dtype=parameter.dtype)
    if batch.dim() != 4:
        raise BadInputError(
            f"an example is (n, c, h, w) or (c, h, w), but came {tuple(example)}; give one image"
        )
    shape = tuple(batch.shape[1:])
    return Network(export_graph(model, batch), type(model).__name__, shape, preprocessing)


def _closest(name: str, names: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(names), 1)), None)
