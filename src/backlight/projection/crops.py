"""Receptive-field crops: a unit needs only the input inside its receptive field, so only that is run.

The unmodified network, cut at the layer, runs on a crop of the input. The crop starts at a multiple of the total stride
and its length is congruent to the image's, so every layer's grid on it is the image's own; it reaches the image's
border wherever the unit does. The only padding that the unit can see is then the image's own, and its value and its
projection are those on the whole image. All crops of a layer have one shape, so that they stack into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, lcm

from torch import fx

from backlight.geometry import Axis
from backlight.network import Layer, Network
from backlight.network.cut import ancestors
from backlight.operators.ruleset import RuleSet
from backlight.operators.table import operator_of

_COST_OF_SHARING = 1 / 64  # of a forward pass of the image


@dataclass(frozen=True)
class AxisCrop:
    """The crops of a layer along one axis.

    Attributes:
        length: Pixels of the image.
        size: Pixels of a crop.
        grid: A crop starts at a multiple of this.
        jump: Pixels from one unit to the next.
        first: Where the crop of unit 0 would start, a multiple of the grid; may be negative.
    """

    length: int
    size: int
    grid: int
    jump: int
    first: int

    @classmethod
    def of(cls, axis: Axis, grid: int, length: int) -> AxisCrop:
        """Return the crops for units of a receptive field, on a grid that its stride divides."""
        jump = int(axis.stride)
        first = floor(axis.offset / grid) * grid
        # From the crop's start to the field's end for unit 0, and for the last unit before the next grid point, which
        # reaches grid - jump further. The size is congruent to the image's, so that the far edges agree.
        needed = axis.size + axis.offset - first + grid - jump
        size = needed + (length - needed) % grid
        return cls(length, min(size, length), grid, jump, first)

    def start(self, index: int) -> int:
        """Return the first pixel of the crop for the unit at an index."""
        # Clamped to the image: both ends are multiples of the grid, so the start stays one. At the far end that is so
        # because the size is congruent to the length.
        wanted = floor(index * self.jump / self.grid) * self.grid + self.first
        return min(max(wanted, 0), self.length - self.size)

    def inside(self, index: int) -> int:
        """Return the unit's index in its crop."""
        return index - self.start(index) // self.jump  # exact: grid points are whole jumps apart


@dataclass(frozen=True)
class Crops:
    """The crops of a layer: where each unit's lies, and where the unit is in it."""

    rows: AxisCrop
    cols: AxisCrop

    @property
    def area(self) -> int:
        """Pixels of a crop."""
        return self.rows.size * self.cols.size


def crops_of(net: Network, layer: Layer) -> Crops | None:
    """Return the crops of a layer; None where its units need the whole image, or nothing would be saved.

    A gate computed from the whole image (squeeze-excite) has a different value on a crop, so layers behind one run on
    whole images, and so do graphs in which a view mixes rows or columns with anything else.
    """
    field = layer.receptive_field
    if field is None or field.gates_ignored:
        return None
    nodes = [n for n in ancestors([net.node(layer)]) if n in net.analysis.dependent]
    if not all(_keeps_to_the_grid(node, net) for node in nodes):
        return None
    height, width = net.input_shape[1:]
    spreads = [net.spreads[n] for n in nodes if n in net.spreads]
    strides = [
        [axis.stride for s in spreads if (axis := getattr(s, name)) is not None] for name in ("rows", "cols")
    ]
    # Behind an upsampling a stride is a fraction, and no whole number of pixels is a common grid.
    if any(stride.denominator != 1 for own in strides for stride in own):
        return None
    # Every map on the way must keep its grid, so a crop starts at a multiple of all their strides. The layer's own is
    # not enough where an upsampling has brought the stride down again.
    grids = [lcm(*(int(stride) for stride in own)) for own in strides]
    rows = AxisCrop.of(field.rows, grids[0], height)
    cols = AxisCrop.of(field.cols, grids[1], width)
    found = Crops(rows, cols)
    return found if found.area < height * width else None


def paying_crops(net: Network, layer: Layer, rules: RuleSet, n_units: int, n_images: int) -> Crops | None:
    """Return the crops of a layer where running them costs less than running whole images.

    Args:
        net: The captured network.
        layer: The layer.
        rules: How signals are passed back.
        n_units: How many units are to be projected.
        n_images: How many images would have to be run for them that are not run anyway.

    *Convention*: a forward pass costs in proportion to its area, and each unit that shares an image a little more, for
    the shorter batches. Where the last window wins (`assign-last`), a window outside the crop could win a place inside
    it and pass nothing, so such rules run whole images.
    """
    crops = crops_of(net, layer) if rules.unpool != "assign-last" else None
    # In units of one image's forward pass: n_units crops against n_images whole images that all units share.
    share = crops.area / (net.input_shape[1] * net.input_shape[2]) if crops is not None else 1.0
    return crops if n_units * share < n_images + n_units * _COST_OF_SHARING else None


def group_layers(
    net: Network, layers: Sequence[Layer], rules: RuleSet, images_of: Sequence[Sequence[int]]
) -> list[tuple[list[int], Crops | None]]:
    """Return which layers to project together, as places in `layers`, each group with its crops; deepest first.

    A layer runs on crops, by itself, where that costs less. All other layers run together, so that one forward pass
    serves all units of an image in all of them.

    Args:
        net: The captured network.
        layers: The layers, in the order of the graph.
        rules: How signals are passed back.
        images_of: For each layer, the images of its units.
    """
    # From the top: whether a layer's images have to be run is known when the layers above it, whose whole images would
    # serve it too, have been decided.
    groups: list[tuple[list[int], Crops | None]] = []
    together: list[int] = []
    images: set[int] = set()
    for index in reversed(range(len(layers))):
        own = set(images_of[index])
        crops = paying_crops(net, layers[index], rules, len(images_of[index]), len(own - images))
        if crops is None:
            together.insert(0, index)
            images |= own
        else:  # its images are not run whole, so the layers below cannot share them
            groups.append(([index], crops))
    return [*groups, (together, None)] if together else groups


def _keeps_to_the_grid(node: fx.Node, net: Network) -> bool:
    """Return whether an operator gives on a crop what it gives on the image, away from the crop's own edges."""
    if node.op != "call_function":
        return True
    # None: every entry sees the whole axis, as behind a mean over all positions, and would see the crop's.
    spread = net.spreads.get(node)
    if spread is not None and (spread.rows is None or spread.cols is None or spread.gates_ignored):
        return False
    is_local = operator_of(node).is_local
    constants = [n for n in node.all_input_nodes if n not in net.analysis.dependent]
    return is_local is not None and is_local(node, _roles(node, net), constants)


def _roles(node: fx.Node, net: Network) -> tuple[str, ...]:
    """Return the roles of a node's dimensions; of what gives several tensors, those of its input."""
    for n in (node, *node.all_input_nodes):
        if n in net.spreads:
            return net.spreads[n].roles
    return ()
