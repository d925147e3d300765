"""Layers: the nameable feature maps of a captured network, and which of them an atlas shows by default."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from backlight.geometry import WHOLE_IMAGE, ReceptiveField
from backlight.network.receptive import Spread, receptive_field
from backlight.operators.operator import OperatorClass
from backlight.operators.paths import PathAnalysis
from backlight.operators.reading import operator_name, shape_of
from backlight.operators.table import is_convolution
from backlight.text import counted


@dataclass(frozen=True)
class Layer:
    """One nameable feature map stack (or vector) of a network.

    Attributes:
        name: torchvision's node name, such as `layer1.0.relu_1`.
        operator: The ATen operator that made it, such as `relu`.
        shape: (c, h, w), or (c,) for a fully connected layer, whose units have no row and column.
        receptive_field: What a unit sees of the input. Behind a mean over all positions it is the whole image
            (`is_whole`); None where it cannot be told and is taken to be the whole image.
        rectified: Whether the operator is a rectifier.
        is_default: Whether an atlas shows the layer unless told otherwise.
        order: Dimensions of the node's tensor in the order (n, c, h, w): an NHWC layer has (0, 3, 1, 2).
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    receptive_field: ReceptiveField | None
    rectified: bool
    is_default: bool
    order: tuple[int, ...]

    @property
    def n_maps(self) -> int:
        """Number of feature maps (channels)."""
        return self.shape[0]

    @property
    def is_spatial(self) -> bool:
        """Whether units have a row and a column."""
        return len(self.shape) == 3

    def __repr__(self) -> str:
        """Return its name, size and field: `Layer('features.3', 128 maps 27x27, sees 19x19 every 4)`."""
        size = counted(self.n_maps, "unit")
        if self.is_spatial:
            size = f"{counted(self.n_maps, 'map')} {'x'.join(map(str, self.shape[1:]))}"
        field = describe_field(self)
        return f"Layer({self.name!r}, {size}, sees {'the ' * field.startswith('whole')}{field})"


def describe_field(layer: Layer) -> str:
    """Return a layer's receptive field in words: `51x51 every 8`, or `whole image`."""
    return WHOLE_IMAGE if layer.receptive_field is None else layer.receptive_field.in_words


Layers = str | Layer | Sequence[str | Layer]
"""Layers as callers give them: one, or several, by name or as they are."""


def layer_names(layers: Layers) -> list[str]:
    """Return the names of layers; one that is given alone is one layer.

    Example:
        >>> layer_names("features.3"), layer_names(["relu1", "relu2"])
        (['features.3'], ['relu1', 'relu2'])
    """
    given = [layers] if isinstance(layers, (str, Layer)) else layers
    return [own.name if isinstance(own, Layer) else own for own in given]


def find_layers(
    names: dict[str, fx.Node],
    analysis: PathAnalysis,
    spreads: dict[fx.Node, Spread],
    output_path: set[fx.Node],
) -> tuple[Layer, ...]:
    """Return the layers among the named nodes: those that depend on the pixels and have channels."""
    # Defaults are chosen by what operators do; the layer is that node, or one behind it that has the module's name.
    named = set(names.values())
    default = {_named(node, named) for node in _default_nodes(analysis, spreads, output_path)}
    (pixels,) = analysis.graph.find_nodes(op="placeholder")
    image = tuple(map(int, (shape_of(pixels) or ())[2:]))
    layers = []
    for name, node in names.items():
        spread = spreads.get(node)
        order = _order(spread) if spread is not None else None
        if spread is None or order is None:  # tokens, volumes and the like; `left_out` says why
            continue
        # (n, h, w, c) has the order (0, 3, 1, 2): sizes are read in the order (c, h, w), behind the batch.
        sizes = shape_of(node) or ()
        shape = tuple(int(sizes[i]) for i in order[1:])
        layers.append(
            Layer(
                name=name,
                operator=operator_name(node),
                shape=shape,
                receptive_field=_field(spread, image) if len(shape) == 3 else None,
                rectified=analysis.classify(node) is OperatorClass.RECTIFIER,
                is_default=node in default,
                order=order,
            )
        )
    return tuple(layers)


def _named(node: fx.Node, named: set[fx.Node]) -> fx.Node:
    """Return what a node's module gave back, where that has the module's name: a hook may have gone over it since."""
    while node not in named and len(node.users) == 1:
        node = next(iter(node.users))
    return node


def _field(spread: Spread, image: tuple[int, ...]) -> ReceptiveField | None:
    """Return what the units of a map see of an image (h, w); None where that cannot be told."""
    # `None` for want of knowledge and `None` for the whole image are told apart here: a mean surely sees everything.
    found = receptive_field(spread)
    return ReceptiveField.whole(*image) if found is None and spread.sees_all and len(image) == 2 else found


def _order(spread: Spread) -> tuple[int, ...] | None:
    """Return the dimensions in the order (n, c, h, w) or (n, c); None where a layer has no such form.

    Beside images, rows and columns one further dimension is the channels, even if it was made of something else.
    """
    roles = spread.roles
    if len(roles) == 4 and sorted(roles) == ["", "h", "n", "w"]:
        roles = tuple(role or "c" for role in roles)
    for wanted in (("n", "c", "h", "w"), ("n", "c")):
        if sorted(roles) == sorted(wanted):
            return tuple(roles.index(role) for role in wanted)
    return None


def _default_nodes(
    analysis: PathAnalysis, spreads: dict[fx.Node, Spread], output_path: set[fx.Node]
) -> set[fx.Node]:
    """Return the rectified feature maps on the way to the output, and unrectified conv outputs.

    *Convention*: a convolution that no such rectifier follows before the next convolution counts by what its
    normalisation made of it.
    """
    maps = {node for node in output_path if is_feature_map(node, spreads.get(node))}
    rectified = {node for node in maps if analysis.classify(node) is OperatorClass.RECTIFIER}
    convolved = {node for node in maps if is_convolution(node)}
    plain = {node for node in convolved if not _is_rectified_later(node, rectified, analysis, output_path)}
    return rectified | {_end_of_norm(node, analysis) for node in plain}


def is_feature_map(node: fx.Node, spread: Spread | None) -> bool:
    """Return whether a node gives maps of more than one position."""
    order = _order(spread) if spread is not None else None
    if order is None or len(order) != 4:
        return False
    sizes = shape_of(node) or ()
    return any(int(sizes[i]) > 1 for i in order[2:])  # (n, c, 1, 1) counts as a vector


def _is_rectified_later(
    node: fx.Node, rectified: set[fx.Node], analysis: PathAnalysis, output_path: set[fx.Node]
) -> bool:
    """Return whether the node's signal meets one of the rectified maps before the next convolution or linear map.

    A rectifier inside a gate (squeeze-excite, a hand-written activation) or of a vector is not among them.
    """
    seen: set[fx.Node] = set()
    todo = _signal_users(node, analysis, output_path)
    while todo:
        user = todo.pop()
        if user in seen:
            continue
        seen.add(user)
        if user in rectified:
            return True
        # the next layer of weights ends the search: what is rectified behind it is its output
        if not is_convolution(user) and operator_name(user) not in ("linear", "matmul"):
            todo.extend(_signal_users(user, analysis, output_path))
    return False


def _signal_users(node: fx.Node, analysis: PathAnalysis, output_path: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes on the way to the output that the node's signal goes on to, not those that it scales."""
    users = [user for user in node.users if user in output_path and user.op == "call_function"]
    return [user for user in users if node in analysis.signal_inputs(user) or user.target is operator.getitem]


def _end_of_norm(node: fx.Node, analysis: PathAnalysis) -> fx.Node:
    while len(node.users) == 1:
        user = next(iter(node.users))
        # A norm that also gives its statistics is a tuple, whose value a getitem reads.
        if "norm" not in operator_name(user) and operator_name(user) != "getitem":
            break
        node = user
    return node
