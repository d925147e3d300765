"""Network: a captured model, its layers, and what its operators are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.utils._pytree import TreeSpec, tree_unflatten

from backlight.errors import BadInputError, CaptureError, CaptureWarning, UnknownLayerError, tell
from backlight.images import ImageSource, Items, OneImage, Preprocessing, listed_images, preprocessing_of
from backlight.network.capture import export_graph
from backlight.network.class_output import (
    ClassOutput,
    Output,
    Wanted,
    class_output,
    describe_outputs,
    list_outputs,
    output_values,
)
from backlight.network.coverage import Coverage, CoverageEntry
from backlight.network.cut import ancestors, cut
from backlight.network.describing import LayerTable, fingerprint_of, table_of_layers
from backlight.network.inputs import input_of
from backlight.network.layers import Layer, Layers, find_layers, layer_names
from backlight.network.left_out import find_left_out, why_not
from backlight.network.names import module_outputs, name_nodes, under_other_paths
from backlight.network.outputs import output_names
from backlight.network.parts import part_that_can_be_captured
from backlight.network.receptive import trace_spreads
from backlight.network.sending import NetworkData, as_data, as_graph
from backlight.network.wrappers import unwrap
from backlight.operators.operator import OperatorClass
from backlight.operators.paths import PathAnalysis
from backlight.operators.reading import operator_name
from backlight.text import closest, counted

Images = Tensor | OneImage | Items | ImageSource


class Network:
    """A model captured as a functional graph that shares the model's weights.

    Made by `capture`. Weights changed in place afterwards (`load_state_dict`) are seen by the network.

    Attributes:
        name: The class of the model.
        module: The graph; takes (n, c, h, w) and returns the model's outputs as one flat tuple.
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
        self.module, self.name = module, name
        self.input_shape, self.preprocessing = input_shape, preprocessing
        self.analysis = PathAnalysis(module.graph)
        self.spreads = trace_spreads(module.graph, self.analysis)
        # In the nodes' meta too, which copies of the graph keep: a rewritten graph's walk asks for them.
        for node, spread in self.spreads.items():
            node.meta["spread"] = spread
        self._nodes = name_nodes(module.graph)
        self._modules = module_outputs(module.graph)
        self._path = set(self.analysis.path(module.graph.find_nodes(op="output"), past_steps=True))

    def __call__(self, x: Float[Tensor, "n c h w"]) -> Any:
        """Return what the model returns for a batch of inputs: a tensor, or its tuple, dict or other container."""
        with torch.no_grad():
            return tree_unflatten(self.module(x), self.out_spec)

    @property
    def out_spec(self) -> TreeSpec:
        """How the graph's flat tuple of outputs makes what the model returns (torch's `tree_unflatten`)."""
        (returned,) = self.module.graph.find_nodes(op="output")
        spec: TreeSpec = returned.meta["out_spec"]
        return spec

    @property
    def output_names(self) -> tuple[str, ...]:
        """A name for each of the graph's flat outputs: `logits`, `aux.0`; `output` where the model returns one."""
        return output_names(self.out_spec)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every nameable layer, in the order of the graph."""
        return LayerTable(find_layers(self._nodes, self.analysis, self.spreads, self._path))

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The tensors that the model returns, each with its name and the shape that it has for one image."""
        return list_outputs(self.module.graph, self.output_names)

    def class_output(self, wanted: Wanted = None, n_labels: int = 0) -> ClassOutput:
        """Return the output that gives the class; `network.class_output` has the rule.

        Args:
            wanted: The output's name or place; None follows the rule.
            n_labels: How many names of classes are given; 0 for none.

        Raises:
            BadInputError: There is no such output, or it is not one number for each of several classes.
        """
        return class_output(self.name, self.outputs, wanted, n_labels)

    @property
    def output(self) -> Layer:
        """The layer of the class scores: what the class is read from (`class_output`), or the only output.

        Its units are the classes: `Unit(net.output.name, 281)`, or `strongest(net, images, net.output)`.

        Raises:
            BadInputError: There are several outputs of which none gives the class, or it has no layer's form.
        """
        chosen = self.class_output().output or (self.outputs[0] if len(self.outputs) == 1 else None)
        value = None if chosen is None else output_values(self.module.graph)[chosen.index]
        found = next((layer for layer in self.layers if self.node(layer) is value), None)
        if found is None:
            raise BadInputError(
                f"{self.name} has no layer that is its output: it returns {describe_outputs(self.outputs)}; "
                "choose a layer by its name, net.layers lists them"
            )
        return found

    def leading_to(self, output: Output | None) -> tuple[Layer, ...]:
        """Return the layers that an output is computed from, itself included; all for None or the only output."""
        if output is None or len(self.outputs) < 2:
            return self.layers
        value = output_values(self.module.graph)[output.index]
        needed = ancestors([value]) if isinstance(value, fx.Node) else set()
        return tuple(layer for layer in self.layers if self.node(layer) in needed)

    @property
    def default_layers(self) -> tuple[Layer, ...]:
        """The layers that an atlas shows by default: rectified feature maps, else convolution outputs."""
        return LayerTable(layer for layer in self.layers if layer.is_default)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        layers = {layer.name: layer for layer in self.layers}
        by_node = {self._nodes[layer.name]: layer for layer in self.layers}
        known = {path: by_node[node] for path, node in self._modules.items() if node in by_node} | layers
        other = under_other_paths(known, self.module.meta.get("other_paths", {}))
        return {name: known[same] for name, same in other.items()} | known

    def layer(self, name: str | Layer) -> Layer:
        """Return the layer of that name; a module's path names what the module gave back.

        Raises:
            UnknownLayerError: The network has no such layer, or what has that name gives no feature maps.
        """
        key = name.name if isinstance(name, Layer) else name
        if key not in self._by_name:
            known = self._nodes.get(key) or self._modules.get(key)
            if known is not None:
                raise UnknownLayerError(
                    f"{key!r} of {self.name} cannot be shown: {why_not(known, self.analysis, self.spreads)}",
                    python="net.layers lists what can",
                    command="`backlight layers MODEL --all` lists what can",
                )
            close = closest(key, self._by_name)
            raise UnknownLayerError(
                f"{self.name} has no layer {key!r}{f'; did you mean {close!r}?' if close else ''}",
                python="net.layers lists them",
                command="`backlight layers MODEL --all` lists them",
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

    def features(self, layers: Layers) -> fx.GraphModule:
        """Return a module of the layers' activations, each (n, c, h, w) or (n, c), as a tuple; cut at the last."""
        chosen = [self.layer(name) for name in layer_names(layers)]
        return cut(self.module, [(self.node(layer), layer.order) for layer in chosen])

    def coverage(self) -> Coverage:
        """Return each operator on the way from the default layers to the pixels, its class, where it stands.

        And what is left out: what makes features on the way to the output, but no feature maps (tokens, volumes).
        """
        heads = [self.node(layer) for layer in self.default_layers]
        heads = heads or [n for n in self.module.graph.nodes if n.op == "output"]
        found: dict[tuple[str, OperatorClass], list[str]] = {}
        for node in self.analysis.path(heads):
            if node.op == "call_function" and operator_name(node) != "getitem":
                found.setdefault((operator_name(node), self.analysis.classify(node)), []).append(
                    self.where(node)
                )
        entries = tuple(CoverageEntry(op, kind, tuple(at)) for (op, kind), at in found.items())
        return Coverage(entries, find_left_out(self._path, self.analysis, self.spreads, self.where))

    def takes_as_inputs(self, images: object) -> TypeGuard[Tensor]:
        """Return whether images are inputs already: a tensor, but for one of whole numbers where pictures are taken."""
        return isinstance(images, Tensor) and (images.is_floating_point() or self.preprocessing is None)

    def prepare(self, images: Images) -> Float[Tensor, "n c h w"]:
        """Return images as a batch of inputs on the network's device.

        Args:
            images: A batch of inputs (n, c, h, w) or one (c, h, w), already normalised, as a tensor of floats; or
                pictures, which need the network's preprocessing: whatever `open_images` takes in memory (a tensor of
                uint8, or a list of tensors, is pictures too), or a path.

        Raises:
            BadInputError: The shape does not fit, or pictures are given to a network without preprocessing.
        """
        if self.takes_as_inputs(images):
            batch = images[None] if images.dim() == 3 else images
        elif self.preprocessing is None:
            raise BadInputError(
                f"{self.name} was captured without preprocessing and takes tensors only; "
                "pass capture(model, example, preprocessing=Preprocessing(...))"
            )
        else:
            batch = self.preprocessing.batch(listed_images(images))
        if batch.dim() != 4 or tuple(batch.shape[1:]) != self.input_shape:
            raise BadInputError(
                f"{self.name} was captured for inputs of {'x'.join(map(str, self.input_shape))}, "
                f"got {'x'.join(map(str, batch.shape))}; resize the images or capture it at that size"
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

    def to(self, device: torch.device | str) -> Network:
        """Return the network on a device; the model stays where it is. On its own device, weights are shared."""
        return _from_data(as_data(self.module, self.name, self.input_shape, self.preprocessing).on(device))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its weights, by value."""
        return _from_data, (as_data(self.module, self.name, self.input_shape, self.preprocessing),)

    def fingerprint(self) -> str:
        """Return a hash of the graph and of every weight: equal for equal networks, on any device."""
        return fingerprint_of(self.module)

    def __repr__(self) -> str:
        """Return the name, the input's size and how many layers there are."""
        size = "x".join(map(str, self.input_shape))
        maps = sum(layer.n_maps for layer in self.default_layers)
        layers, shown = counted(len(self.default_layers), "layer"), counted(maps, "feature map")
        return f"Network({self.name}, input {size}, {layers}, {shown})"

    def _repr_html_(self) -> str:
        return table_of_layers(repr(self), self.default_layers)


def _from_data(data: NetworkData) -> Network:
    return Network(as_graph(data), data.name, data.input_shape, data.preprocessing)


def capture(
    model: nn.Module,
    example: Tensor | tuple[int, int, int] | Preprocessing | None = None,
    preprocessing: Preprocessing | Callable[[Any], Any] | None = None,
) -> Network:
    """Return the model as a Network; the model itself is left exactly as it was.

    Args:
        model: A PyTorch model that takes one batch of images. Training mode is no obstacle: what is captured
            is its inference mode. Of DataParallel, torch.compile and other wrappers it is the model inside.
        example: An input (n, c, h, w) or (c, h, w), or just its size (c, h, w). The values do not matter; its
            numbers get the floating type of the model's weights. None takes the size of the preprocessing, or what
            the model says itself: models of timm (whose preprocessing is then taken too) and of transformers do. A
            `Preprocessing` in its place is the preprocessing.
        preprocessing: How pictures become inputs, if pictures or paths are to be given later: a `Preprocessing`; the
            transforms of torchvision's weights; an image processor of transformers; or any function from a Pillow
            image to a tensor (c, h, w), as `FunctionPreprocessing` has it.

    Returns:
        A Network that shares the model's weights.

    Raises:
        CaptureError: torch.export cannot take the model; the message names the line of its forward.
        BadInputError: The example is no image batch, nothing says the size of the input, or the preprocessing cannot
            be one.

    Warns:
        CaptureWarning: The model's inference draws random numbers, or dropout was left on and is switched off; or the
            preprocessing is taken from the model.

    Example:
        >>> import torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 224, 224))
        >>> net.layer("features.3.cat").shape
        (128, 55, 55)
    """
    if isinstance(example, Preprocessing):
        if preprocessing is not None:
            raise BadInputError(
                "two preprocessings were given; capture(model, example, preprocessing) takes one"
            )
        example, preprocessing = None, example
    known = None if preprocessing is None else preprocessing_of(preprocessing)
    if example is None:
        example, known = input_of(model, known)
    batch = _example_batch(model, example)
    _check_sizes(known, tuple(batch.shape[1:]))
    model = unwrap(model, batch)
    try:
        graph = export_graph(model, batch)
    except CaptureError as error:
        part = part_that_can_be_captured(model, batch)
        if part is None:
            raise
        raise CaptureError(
            str(error),
            python=f"its part {part!r} can be captured: capture(model.{part}, ...)",
            command=f"its part {part!r} can be captured: MODEL#{part}",
        ) from None
    for remark in graph.meta["remarks"]:
        tell(CaptureWarning(f"{type(model).__name__}: {remark}"))
    return Network(graph, type(model).__name__, tuple(batch.shape[1:]), known)


def _check_sizes(preprocessing: Preprocessing | None, size: tuple[int, ...]) -> None:
    """Raise BadInputError where a preprocessing does not give inputs of the size that a network is captured for."""
    if preprocessing is None or (preprocessing.channels, *preprocessing.crop) == size:
        return
    given = "x".join(map(str, (preprocessing.channels, *preprocessing.crop)))
    is_other_size = preprocessing.channels == size[0] and len(size) == 3
    hint = f"; preprocessing.with_size(({size[1]}, {size[2]})) gives that size" if is_other_size else ""
    raise BadInputError(
        f"the preprocessing gives inputs of {given}, and the network is captured for {'x'.join(map(str, size))}{hint}"
    )


def _example_batch(model: nn.Module, example: Tensor | tuple[int, int, int]) -> Float[Tensor, "1 c h w"]:
    """Return one image of the model's device and floating type."""
    if isinstance(example, int):
        raise BadInputError(
            f"the size of an input is (channels, height, width), got {example}; give (3, {example}, {example}), or "
            f"(1, {example}, {example}) for grey pictures"
        )
    if not isinstance(example, Tensor | Sequence) or isinstance(example, str):
        raise BadInputError(
            f"an example is an input, its size (c, h, w) or a Preprocessing, got {type(example).__name__}; "
            "give what else makes pictures inputs by its name, capture(model, preprocessing=...)"
        )
    weights = [*model.parameters(), *model.buffers()]
    device = weights[0].device if weights else torch.device("cpu")
    dtype = next((w.dtype for w in weights if w.is_floating_point()), None)
    if isinstance(example, Tensor):
        batch = example[None] if example.dim() == 3 else example
        own = batch.dtype if batch.is_floating_point() else torch.float32
        batch = batch[:1].to(device, dtype or own)
    else:
        batch = torch.zeros(1, *example, device=device, dtype=dtype)
    if batch.dim() != 4:
        given = tuple(example.shape) if isinstance(example, Tensor) else tuple(example)
        raise BadInputError(f"an example is (n, c, h, w) or (c, h, w), got {given}; give one image")
    return batch
