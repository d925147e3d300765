"""The place of a layer in its network: what a recipe chooses its strengths by.

*Differs*: the papers choose a strength for each layer of their networks by hand. Here it depends on how much of the
image a unit sees, so that it is defined for other networks too: the limits are halfway between the receptive fields
of the layers between which the paper of 2014 changes its strength on its own network (conv2 and pool2 see 51 and 67
pixels of 227, conv4 and conv5 131 and 163).
"""

from __future__ import annotations

from dataclasses import dataclass

from backlight.inversion.colours import LEVELS, Colours
from backlight.network import Layer, Network

_SMALL_FIELD, _MIDDLE_FIELD = 59 / 227, 147 / 227


@dataclass(frozen=True)
class Place:
    """What a recipe has to know about a layer.

    Attributes:
        shape: (c, h, w) of the network's input.
        field: Share of the image's longer side that a unit sees, 0 to 1.
        is_vector: Whether the layer has no rows and columns.
        stride: Pixels from one unit to the next; for a vector, that of the last layer before it with rows and columns.
        mean: (c,) the mean colour, which black and white are measured from, in grey levels; None for mid-grey.
    """

    shape: tuple[int, int, int]
    field: float
    is_vector: bool
    stride: float
    mean: tuple[float, ...] | None = None

    @classmethod
    def of(cls, net: Network, layer: Layer) -> Place:
        """Return what a recipe has to know about a layer of a network."""
        known = net.layers[: net.layers.index(layer) + 1]
        # fields of the layers up to this one; the last of them that is not the whole image gives the stride
        fields = [
            own.receptive_field
            for own in known
            if own.receptive_field is not None and not own.receptive_field.is_whole
        ]
        field = layer.receptive_field
        n_colours, height, width = net.input_shape
        side = max(height, width)
        return cls(
            shape=(n_colours, height, width),
            field=1.0 if field is None else min(max(field.size) / side, 1.0),
            is_vector=all(size == 1 for size in layer.shape[1:]),
            stride=float(max(fields[-1].stride)) if fields else 1.0,
            mean=tuple(Colours.of(net).mean.flatten().tolist()),
        )

    @property
    def range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Black and white without the mean, each (c,), in grey levels."""
        mean = self.mean or (LEVELS / 2,) * self.shape[0]
        return tuple(-own for own in mean), tuple(LEVELS - own for own in mean)

    @property
    def jitter(self) -> int:
        """Number of positions of the jitter along each axis: a quarter of the layer's stride (2016), at least 1."""
        return max(round(self.stride / 4), 1)

    @property
    def canvas(self) -> int:
        """Number of pixels of the canvas that jitter crops from."""
        edge = self.jitter - 1
        return (self.shape[1] + edge) * (self.shape[2] + edge)

    @property
    def band(self) -> int:
        """0, 1 or 2: the units see little, some or most of the image."""
        return 0 if self.field <= _SMALL_FIELD else 1 if self.field <= _MIDDLE_FIELD else 2
