"""The projector: projects units, many at a time, on no more of the network than they need.

*Source*: Zeiler & Fergus (2013), section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.network.fold import fold_batch_norms
from backlight.operators.adjoint import Record
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection.backward import Backward, Part
from backlight.projection.controls import Control
from backlight.projection.crops import Crops
from backlight.projection.rewrite import apply_rules
from backlight.projection.units import Unit, Units

MOST_IMAGES = 16
"""How many images are worth running at once."""

MOST_UNITS = 128
"""How many units are worth projecting at once."""


@dataclass(frozen=True, eq=False)
class Projections:
    """Projections of units, each on the window of the input that its signal fills; zero elsewhere.

    Attributes:
        values: (n,) the activations.
        signals: For each unit (c, h, w), its own size, in the scale of the network's input.
        corners: Row and column of each window's first pixel in the input; may lie outside, where the signal is zero.
    """

    values: Tensor
    signals: tuple[Tensor, ...]
    corners: tuple[tuple[int, int], ...]

    def on(self, i: int, box: Box) -> Tensor:
        """Return the projection of unit i on a box of the input, (c, h, w)."""
        signal, (top, left) = self.signals[i], self.corners[i]
        # Both are boxes of the input: their common part is copied, counted from the corner of either.
        out = signal.new_zeros(len(signal), box.height, box.width)
        shared = Box(top, left, top + signal.shape[1], left + signal.shape[2]).intersection(box)
        if shared.area:
            out[:, *shared.slices(box.top, box.left)] = signal[:, *shared.slices(top, left)]
        return out


def inputs_at_once(net: Network, crops: Crops | None, n_images: int) -> int:
    """Return how many images, or crops with the pixels of so many images, are run at once."""
    if crops is None:
        return n_images
    # as many crops as have the pixels of n_images images: the memory of a forward pass goes with its pixels
    return min(n_images * net.input_shape[1] * net.input_shape[2] // crops.area, MOST_UNITS)


class Projector:
    """Projects units, many at a time, on no more of the network than they need.

    Runs either whole images, each once for all of its units, or each unit's crop of its image. Both give the same
    result; which costs less depends on the layer and on how many units an image has (`paying_crops`).

    Args:
        net: The captured network.
        layers: The layers of the units.
        rules: How signals are passed back.
        crops: The crops of the units' one layer; None runs whole images.
        n_images: How many whole images to run at once, or crops for the same memory.
        control: How to differ from the deconvnet; None for not at all.

    Raises:
        UnsupportedOperatorError: No rule for an operator between the layers and the pixels.
    """

    def __init__(
        self,
        net: Network,
        layers: Sequence[Layer],
        rules: RuleSet = DECONVNET,
        crops: Crops | None = None,
        n_images: int = MOST_IMAGES,
        control: Control | None = None,
    ) -> None:
        self.layers, self.crops = tuple(layers), crops
        self._backward = Backward(fold_batch_norms(apply_rules(net, layers, rules)))
        self._control = control or Control()
        self._home = net.device, net.dtype
        self._batch_size = inputs_at_once(net, crops, n_images)

    @property
    def batch_size(self) -> int:
        """How many images, or units on crops, are worth running at once."""
        return self._batch_size

    def __call__(
        self,
        images: Sequence[Float[Tensor, "c h w"]] | Tensor,
        units: Sequence[Unit | Units],
        image_of: Sequence[int] | None = None,
        seeds: Tensor | None = None,
    ) -> Projections:
        """Return the activation and the projection of each unit, or of units together.

        Args:
            images: Inputs (c, h, w), on any device; only what is run is moved to the network's.
            units: Units of the layers; with crops, those that are projected together lie at one place.
            image_of: The place of each unit's image among the images; None if each has its own, in their order.
            seeds: (n,) what to send back from each unit; None for what the control says, else its own activation.
        """
        with torch.inference_mode(False):  # the caller may have turned it on, and adjoints need autograd
            return self._project(images, units, image_of, seeds)

    def _project(
        self,
        images: Sequence[Tensor] | Tensor,
        units: Sequence[Unit | Units],
        image_of: Sequence[int] | None,
        seeds: Tensor | None,
    ) -> Projections:
        # By place among the units: batches, layers and the walk all bring them in orders of their own.
        found: dict[int, tuple[Tensor, Tensor, tuple[int, int]]] = {}
        heads = self._heads(units)
        for batch in self._batches(images, units, image_of):
            # (m, c, h, w); one forward pass serves the units of all layers.
            record = self._backward.forward(torch.stack(batch.inputs).to(*self._home))
            self._control.alter(record)
            for own in sorted({heads[i] for i in batch.members}):
                members = [i for i in batch.members if heads[i] == own]
                chosen = self._control.seed if seeds is None else seeds[members]
                found |= self._descend((record, own, chosen), units, members, batch)
        values, signals, corners = zip(*(found[i] for i in range(len(units))), strict=True)
        return Projections(torch.stack(values), signals, corners)

    def _heads(self, units: Sequence[Unit | Units]) -> list[tuple[int, ...]]:
        """Return the places among the layers of each unit's: what is alike is passed back at once."""
        places = {layer.name: i for i, layer in enumerate(self.layers)}
        return [tuple(places[own.layer] for own in unit.members) for unit in units]

    def _batches(
        self, images: Sequence[Tensor] | Tensor, units: Sequence[Unit | Units], image_of: Sequence[int] | None
    ) -> Iterator[_Batch]:
        """Yield batches: images with all of their units, or one input for each unit of one layer."""
        own = list(range(len(units)) if image_of is None else image_of)
        if self.crops is None and self._backward.shares:
            used = sorted(set(own))  # an image without units is not run
            for start in range(0, len(used), self.batch_size):
                ids = used[start : start + self.batch_size]
                place = {image: at for at, image in enumerate(ids)}
                members = [i for i, image in enumerate(own) if image in place]
                yield _Batch([images[i] for i in ids], members, {i: place[own[i]] for i in members}, {})
            return
        heads = self._heads(units)
        for kind in sorted(set(heads)):  # one by one: every unit needs an input of its own
            mine = [i for i, those in enumerate(heads) if those == kind]
            for start in range(0, len(mine), self.batch_size):
                members = mine[start : start + self.batch_size]
                corners = {i: self._corner(units[i].members[0]) for i in members}
                yield _Batch([self._cut(images[own[i]], corners[i]) for i in members], members, None, corners)

    def _descend(
        self,
        source: tuple[Record, tuple[int, ...], Tensor | float | None],
        units: Sequence[Unit | Units],
        members: list[int],
        batch: _Batch,
    ) -> dict[int, tuple[Tensor, Tensor, tuple[int, int]]]:
        """Return the activation, the signal and its corner of units of one layer, or of units together of the same.

        Args:
            source: The forward pass, the places of the layers among the projector's, and the seeds of the units.
            units: The units of all layers.
            members: Which of them to project.
            batch: What was run for them.
        """
        record, heads, seeds = source
        # (n,) units of one layer, in what was run: (channel, row, col), and the input of each.
        parts = [
            Part(head, [self._place(units[i].members[k]) for i in members]) for k, head in enumerate(heads)
        ]
        owners = None if batch.owners is None else torch.tensor([batch.owners[i] for i in members])
        found = {}
        for at, values, windows in self._backward.descend(record, parts, owners, seeds):
            # Windows hold (n, c, h, w) with (n,) first rows and columns; a crop's corner is added to get image pixels.
            # A signal without windows is the whole input, from its first pixel.
            starts = [s.tolist() for _, s in windows.axes] or [[0] * len(values)] * 2
            for place, value, signal, row, col in zip(at, values, windows.data, *starts, strict=True):
                top, left = batch.corners.get(members[place], (0, 0))
                found[members[place]] = value, signal, (top + row, left + col)
        return found

    def _corner(self, unit: Unit) -> tuple[int, int]:
        """Return the first pixel of a unit's crop."""
        if self.crops is None or unit.row is None or unit.col is None:
            return 0, 0
        return self.crops.rows.start(unit.row), self.crops.cols.start(unit.col)

    def _place(self, unit: Unit) -> tuple[int, ...]:
        """Return a unit's channel, row and column in what is run."""
        if unit.row is None or unit.col is None:
            return (unit.channel,)
        if self.crops is None:
            return unit.channel, unit.row, unit.col
        return unit.channel, self.crops.rows.inside(unit.row), self.crops.cols.inside(unit.col)

    def _cut(self, image: Tensor, corner: tuple[int, int]) -> Tensor:
        if self.crops is None:
            return image
        (top, left), height, width = corner, self.crops.rows.size, self.crops.cols.size
        return image[..., top : top + height, left : left + width]


@dataclass(frozen=True)
class _Batch:
    """What is run at once.

    Attributes:
        inputs: Images or crops.
        members: The units that they serve.
        owners: For each unit the place of its image among the inputs; None if every unit has an input of its own.
        corners: For each unit the first pixel of its crop.
    """

    inputs: list[Tensor]
    members: list[int]
    owners: dict[int, int] | None
    corners: dict[int, tuple[int, int]]
