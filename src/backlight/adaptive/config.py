"""The layers of an adaptive deconvolutional network and how to learn them: plain values, with those of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf
from typing import Literal, get_args

from backlight.adaptive.contrast import ContrastNormalisation
from backlight.adaptive.pooling import Block
from backlight.errors import BadInputError
from backlight.geometry import Axis, ReceptiveField

Normalised = Literal["filter", "plane"]


@dataclass(frozen=True)
class LayerConfig:
    """One layer.

    Attributes:
        maps: Number of feature maps, and of filters.
        filter: Side of a filter.
        block: Block that is pooled to one value; Block() for no pooling.
        weight: λ, the weight of the reconstruction against the 1-norm of the code: the larger, the less sparse.
        step: The paper's β: the code moves by λβ times the gradient, then shrinks by β. None sets it to 1 / (λ‖R‖²),
            with ‖R‖ estimated by power iteration over pooled codes.

    Raises:
        BadInputError: A number that is not positive or not finite.
    """

    maps: int
    filter: int = 7
    block: Block = field(default_factory=lambda: Block(3, 3, 2))
    weight: float = 1.0
    step: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if min(self.maps, self.filter) < 1 or not 0 < self.weight < inf:
            raise BadInputError(
                f"a layer needs at least 1 map, a filter of at least 1 pixel and a positive weight, "
                f"got {self.maps}, {self.filter} and {self.weight}"
            )
        if self.step is not None and not 0 < self.step < inf:
            raise BadInputError(f"a step must be positive, got {self.step}; None chooses one")


@dataclass(frozen=True)
class AdaptiveConfig:
    """A whole network.

    Attributes:
        layers: From the pixels up.
        channels: Channels of the images: 1 for gray, 3 for colour.
        size: (h, w) of the images; pictures are resized to fit.
        contrast: How pictures are normalised; None for not at all.
        steps: ISTA steps of inference for each layer.
        unit: What is scaled to length 1: a whole "filter", or each "plane" of it, which paints into one map below (as
            in the program of 2010; the paper does not say).

    Raises:
        BadInputError: No layer, channels other than 1 or 3, images smaller than a filter.
    """

    layers: tuple[LayerConfig, ...]
    channels: int = 1
    size: tuple[int, int] = (150, 150)
    contrast: ContrastNormalisation | None = field(default_factory=ContrastNormalisation)
    steps: int = 10
    unit: Normalised = "filter"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.layers or self.channels not in (1, 3) or self.steps < 1:
            raise BadInputError(
                f"an adaptive network needs at least 1 layer, 1 or 3 channels and at least 1 step of inference, "
                f"got {len(self.layers)}, {self.channels} and {self.steps}"
            )
        if self.unit not in get_args(Normalised):
            raise BadInputError(f"`unit` must be 'filter' or 'plane', got {self.unit!r}")
        check_size(self, self.size)

    def shapes(self, size: tuple[int, int] | None = None) -> list[tuple[int, int, int]]:
        """Return the (k, h, w) of each layer's feature maps for images of a size; None for the configured size.

        Example:
            >>> PRESETS["paper"].shapes()
            [(15, 156, 156), (50, 58, 58), (100, 26, 26), (150, 15, 15)]
        """
        height, width = size or self.size
        found = []
        for layer in self.layers:
            # every position at which a filter touches the maps below, so maps grow by side - 1; then pooling
            height, width = height + layer.filter - 1, width + layer.filter - 1
            found.append((layer.maps, height, width))
            _, height, width = layer.block.pooled(layer.maps, height, width)
        return found

    def pooled_shapes(self, size: tuple[int, int] | None = None) -> list[tuple[int, int, int]]:
        """Return the (groups, rows, cols) of each layer's pooled maps."""
        return [own.block.pooled(*shape) for own, shape in zip(self.layers, self.shapes(size), strict=True)]

    def check_layer(self, layer: int) -> int:
        """Return a layer's number, from 1.

        Raises:
            BadInputError: There is no such layer.
        """
        if not 1 <= layer <= len(self.layers):
            raise BadInputError(
                f"layer {layer} is out of range for a network of {len(self.layers)} layers, from 1"
            )
        return layer

    def inputs(self, layer: int) -> int:
        """Return the number of maps below a layer, from 1: its filters paint into them."""
        if layer == 1:
            return self.channels
        below = self.layers[layer - 2]
        return below.block.pooled(below.maps, 1, 1)[0]  # groups do not depend on rows and columns

    def receptive_field(self, layer: int) -> ReceptiveField:
        """Return the pixels that an activation of a layer, from 1, paints on.

        Example:
            >>> [PRESETS["paper"].receptive_field(layer).size[0] for layer in (1, 2, 3, 4)]
            [7, 27, 87, 267]
        """
        return ReceptiveField(self._axis(layer, "rows"), self._axis(layer, "cols"))

    def _axis(self, layer: int, side: Literal["rows", "cols"]) -> Axis:
        # From the layer down to the pixels: a filter of side s adds s - 1 before the first position, and pooling makes
        # each position a block of them.
        size, stride, offset = 1, 1, 0
        for index in range(layer - 1, -1, -1):
            reach = self.layers[index].filter - 1
            size, offset = size + reach, offset - reach
            if index:
                pooled: int = getattr(self.layers[index - 1].block, side)
                size, stride, offset = size * pooled, stride * pooled, offset * pooled
        return Axis(size, Fraction(stride), offset)


def check_size(config: AdaptiveConfig, size: tuple[int, int]) -> None:
    """Refuse images smaller than a filter of the network.

    Raises:
        BadInputError: An image, or the maps that a layer's filters paint into, are smaller than the filters.
    """
    height, width = size
    for number, layer in enumerate(config.layers, start=1):
        if min(height, width) < layer.filter:
            inside = "" if number == 1 else f", which give maps of {height}x{width} below layer {number},"
            raise BadInputError(
                f"images of {size[0]}x{size[1]}{inside} are smaller than its filters of "
                f"{layer.filter}x{layer.filter}; give larger images or fewer layers"
            )
        height, width = height + layer.filter - 1, width + layer.filter - 1
        _, height, width = layer.block.pooled(layer.maps, height, width)


@dataclass(frozen=True)
class Learning:
    """How to learn filters, layer by layer.

    Attributes:
        epochs: Epochs of each layer; one moves every code a step and updates the filters.
        cg_steps: Conjugate-gradient steps of an update.
        batch: Images at a time; the result does not depend on it, up to rounding.
        seed: Random seed of the start filters.
        first_share: In the first epoch λ is so small that about this share of the blocks holds a value, and it grows to
            the layer's own by the last: filters of a few strong activations become edges, while those of dense codes
            hardly change. 1 for the layer's λ throughout, as in the paper.
        sample: Number of images that estimate ‖R‖, which sets the steps of the codes, and the first λ.
        memory_bytes: Memory for the images and codes of the whole set; beyond it they go to files.

    Raises:
        BadInputError: A count below 1, a seed or memory below 0, a share that is not above 0 and at most 1.
    """

    epochs: int = 10
    cg_steps: int = 2
    batch: int = 16
    seed: int = 0
    first_share: float = 0.02
    sample: int = 8
    memory_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.first_share <= 1:
            raise BadInputError(
                f"the first share of blocks must be above 0 and at most 1, got {self.first_share}"
            )
        counts = (self.epochs, self.cg_steps, self.batch, self.sample)
        if min(counts) < 1 or min(self.seed, self.memory_bytes) < 0:
            raise BadInputError(
                f"epochs, CG steps, batch and sample must be at least 1, the seed and bytes of memory at least 0, "
                f"got {', '.join(map(str, counts))}, {self.seed} and {self.memory_bytes}"
            )

    @property
    def essence(self) -> Learning:
        """What the filters depend on, up to rounding: a training may resume with another batch size and memory."""
        return replace(self, batch=1, memory_bytes=0)


_WIDE = Block(3, 3, 2)
_PAPER = (
    LayerConfig(15, block=Block(3, 3, 3), weight=3.0),
    LayerConfig(50, block=_WIDE, weight=1.0),
    LayerConfig(100, block=_WIDE, weight=0.3),
    LayerConfig(150, block=_WIDE, weight=0.1),
)
_SMALL = (
    LayerConfig(9, filter=5, block=Block(2, 2, 3), weight=5.0),
    LayerConfig(24, filter=5, block=Block(2, 2, 2), weight=1.0),
)
PRESETS: dict[str, AdaptiveConfig] = {
    "paper": AdaptiveConfig(_PAPER),
    "two-layers": AdaptiveConfig(_PAPER[:2]),
    "small": AdaptiveConfig(_SMALL, size=(64, 64)),
}
"""Known networks. "paper" is the one of 2011: 15, 50, 100 and 150 maps over 150x150 pixels.

*Differs*: the weights λ are ours, chosen so that on photographs each layer is active, and less so than the one below.
The paper's, as far as they are known (2, 0.1, 0.005, 0.001), leave the upper layers silent here.
"""
