"""Projection: one activation, all others zero, run back to the pixels.

*Source*: Zeiler & Fergus (2013), section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.network import Images, Layer, Network
from backlight.network.fold import fold_batch_norms
from backlight.operators.adjoint import Record
from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.projection.backward import Backward
from backlight.projection.controls import Control
from backlight.projection.crops import Crops, paying_crops
from backlight.projection.rewrite import apply_rules
from backlight.projection.units import Unit, check_unit, strongest_units

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
        out = signal.new_zeros(len(signal), box.height, box.width)
        shared = Box(top, left, top + signal.shape[1], left + signal.shape[2]).intersection(box)
        if shared.area:
            out[:, *shared.slices(box.top, box.left)] = signal[:, *shared.slices(top, left)]
        return out


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
        self.layers, self.crops, self._n_images = tuple(layers), crops, n_images
        self._backward = Backward(fold_batch_norms(apply_rules(net, layers, rules)))
        self._control = control or Control()
        self._home = net.device, net.dtype
        self._image_area = net.input_shape[1] * net.input_shape[2]

    @property
    def batch_size(self) -> int:
        """How many images, or units on crops, are worth running at once."""
        if self.crops is None:
            return self._n_images
        return min(self._n_images * self._image_area // self.crops.area, MOST_UNITS)

    def __call__(
        self,
        images: Sequence[Float[Tensor, "c h w"]] | Tensor,
        units: Sequence[Unit],
        image_of: Sequence[int] | None = None,
        seeds: Tensor | None = None,
    ) -> Projections:
        """Return the activation and the projection of each unit.

        Args:
            images: Inputs (c, h, w), on any device; only what is run is moved to the network's.
            units: Units of the layers.
            image_of: The place of each unit's image among the images; None if each has its own, in their order.
            seeds: (n,) what to send back from each unit; None for what the control says, else its own activation.
        """
        with torch.inference_mode(False):  # the caller may have turned it on, and adjoints need autograd
            return self._project(images, units, image_of, seeds)

    def _project(
        self,
        images: Sequence[Tensor] | Tensor,
        units: Sequence[Unit],
        image_of: Sequence[int] | None,
        seeds: Tensor | None,
    ) -> Projections:
        found: dict[int, tuple[Tensor, Tensor, tuple[int, int]]] = {}
        for batch in self._batches(images, units, image_of):
            record = self._backward.forward(torch.stack(batch.inputs).to(*self._home))
            self._control.alter(record)
            for head, layer in enumerate(self.layers):
                members = [i for i in batch.members if units[i].layer == layer.name]
                if members:
                    own = self._control.seed if seeds is None else seeds[members]
                    found |= self._descend((record, head, own), units, members, batch)
        values, signals, corners = zip(*(found[i] for i in range(len(units))), strict=True)
        return Projections(torch.stack(values), signals, corners)

    def _batches(
        self, images: Sequence[Tensor] | Tensor, units: Sequence[Unit], image_of: Sequence[int] | None
    ) -> Iterator[_Batch]:
        """Yield batches: images with all of their units, or one input for each unit of one layer."""
        own = list(range(len(units)) if image_of is None else image_of)
        if self.crops is None and self._backward.shares:
            used = sorted(set(own))
            for start in range(0, len(used), self.batch_size):
                ids = used[start : start + self.batch_size]
                place = {image: at for at, image in enumerate(ids)}
                members = [i for i, image in enumerate(own) if image in place]
                yield _Batch([images[i] for i in ids], members, {i: place[own[i]] for i in members}, {})
            return
        for layer in self.layers:  # one by one: every unit needs an input of its own
            mine = [i for i, unit in enumerate(units) if unit.layer == layer.name]
            for start in range(0, len(mine), self.batch_size):
                members = mine[start : start + self.batch_size]
                corners = {i: self._corner(units[i]) for i in members}
                yield _Batch([self._cut(images[own[i]], corners[i]) for i in members], members, None, corners)

    def _descend(
        self,
        source: tuple[Record, int, Tensor | float | None],
        units: Sequence[Unit],
        members: list[int],
        batch: _Batch,
    ) -> dict[int, tuple[Tensor, Tensor, tuple[int, int]]]:
        """Return the activation, the signal and its corner of units of one layer.

        Args:
            source: The forward pass, the place of the layer among the projector's, and the seeds of the units.
            units: The units of all layers.
            members: Which of them to project.
            batch: What was run for them.
        """
        record, head, seeds = source
        places = [self._place(units[i]) for i in members]
        owners = None if batch.owners is None else torch.tensor([batch.owners[i] for i in members])
        found = {}
        for at, values, windows in self._backward.descend(record, head, places, owners, seeds):
            # Windows hold (n, c, h, w) with (n,) first rows and columns; a crop's corner is added to get image pixels.
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


Seed = int | float | Tensor | Literal["activation"]
"""What is sent back from a unit: its own activation, a number, or (n,) a number for each unit."""


@overload
def project(
    net: Network,
    images: Images,
    units: Unit | Sequence[Unit],
    rules: RuleSet = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: Literal[False] = False,
) -> Float[Tensor, "n c h w"]: ...


@overload
def project(
    net: Network,
    images: Images,
    units: Unit | Sequence[Unit],
    rules: RuleSet = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: Literal[True],
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]: ...


def project(
    net: Network,
    images: Images,
    units: Unit | Sequence[Unit],
    rules: RuleSet = DECONVNET,
    batch_size: int = 32,
    *,
    seed: Seed = "activation",
    return_activations: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the projection of one unit in each image: its activation, all others zero, run back to the pixels.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or pictures as `Network.prepare` takes them. One image serves all units.
        units: One unit an image; or a single `Unit`, which is projected in every image.
        rules: How a signal is passed back; DECONVNET, GUIDED, GRADIENT or your own.
        batch_size: How many units are projected at once.
        seed: What is sent back from each unit: `"activation"`, its own in its image; a number; or (n,) numbers.
        return_activations: Whether to return the units' activations as well.

    Returns:
        (n, c, h, w) in the scale of the network's input: signed, zero where nothing arrives. With
        `return_activations` a tuple of that and the activations, (n,).

    Raises:
        BadInputError: An unknown layer, a unit out of range, numbers of images and units that differ, a
            batch_size below 1, a seed that is no finite number or not one for each unit.
        UnsupportedOperatorError: No rule for an operator between the units and the pixels.

    *Convention*: the mean and standard deviation of the preprocessing are not undone: the projection is a
    pattern, not a picture, and its zero is grey.

    *Convention*: a negative activation is sent back with its sign, so that the picture shows what lowers the unit;
    `seed=1` shows what raises it, whatever its activation. Without a seed, the picture of a unit at zero is empty.

    Example:
        >>> import torch, torchvision, backlight
        >>> net = backlight.capture(torchvision.models.squeezenet1_1(), (3, 64, 64))
        >>> images = torch.rand(2, 3, 64, 64)
        >>> units = backlight.strongest(net, images, "features.3.cat", channel=5)
        >>> backlight.project(net, images, units).shape
        torch.Size([2, 3, 64, 64])
        >>> one = backlight.Unit("features.3.cat", 5, 2, 3)
        >>> pictures, values = backlight.project(net, images, one, seed=1, return_activations=True)
        >>> values.shape
        torch.Size([2])
    """
    if batch_size < 1:
        raise BadInputError(f"batch_size is a number of images, at least 1, got {batch_size}")
    batch = net.prepare(images)
    units = [units] * len(batch) if isinstance(units, Unit) else list(units)
    is_one = len(batch) == 1 and len(units) > 1
    if len(batch) != len(units) and not is_one:
        raise BadInputError(
            f"one unit is projected in each image, got {len(batch)} images and {len(units)} units; "
            "give as many of both, one image, or a single Unit"
        )
    layers = [net.layer(unit.layer) for unit in units]
    for layer, unit in zip(layers, units, strict=True):
        check_unit(layer, unit)
    units = [replace(unit, layer=layer.name) for layer, unit in zip(layers, units, strict=True)]
    seeds = _seeds(seed, len(units))
    result = torch.zeros(len(units), *net.input_shape, device=net.device, dtype=net.dtype)
    values = torch.zeros(len(units), device=net.device, dtype=net.dtype)
    box = Box(0, 0, *net.input_shape[1:])
    for layer in dict.fromkeys(layers):
        members = [i for i, own in enumerate(layers) if own == layer]
        n_images = 1 if is_one else len(members)
        projector = Projector(net, [layer], rules, paying_crops(net, layer, rules, len(members), n_images))
        for start in range(0, len(members), batch_size):
            chosen = members[start : start + batch_size]
            owners = [0 if is_one else i for i in chosen]
            own = None if seeds is None else seeds[chosen]
            found = projector(batch, [units[i] for i in chosen], owners, own)
            values[chosen] = found.values.to(values)
            for at, i in enumerate(chosen):
                result[i] = found.on(at, box)
    return (result, values) if return_activations else result


def _seeds(seed: Seed, n_units: int) -> Tensor | None:
    """Return (n,) what is sent back from each unit; None for its own activation.

    Raises:
        BadInputError: The seed is another word, not finite, or not one number for each unit.
    """
    if isinstance(seed, str):
        if seed != "activation":
            raise BadInputError(f"seed is 'activation', a number, or one number for each unit, got {seed!r}")
        return None
    seeds = seed.detach() if isinstance(seed, Tensor) else torch.tensor(seed, dtype=torch.float64)
    if seeds.dim() and tuple(seeds.shape) != (n_units,):
        raise BadInputError(
            f"seed is one number, or a tensor of one for each of the {n_units} units, got shape {tuple(seeds.shape)}"
        )
    if seeds.is_complex() or not seeds.isfinite().all():
        raise BadInputError(f"a seed is a finite real number, got {seed}")
    return seeds.expand(n_units)


def superpose(
    net: Network,
    image: Images,
    layer: str,
    top: int = 3,
    channel: int | None = None,
    rules: RuleSet = DECONVNET,
    *,
    seed: Seed = "activation",
) -> Float[Tensor, "c h w"]:
    """Return the sum of the projections of the strongest units of one image, each projected by itself.

    Args:
        net: The captured network.
        image: One image, as `Network.prepare` takes it.
        layer: The layer's name.
        top: How many units.
        channel: Take the strongest positions of this feature map only; None takes the strongest maps of the
            layer, each by its strongest unit.
        rules: How a signal is passed back.
        seed: What is sent back from each unit, as for `project`; several numbers go to the units strongest first.

    Returns:
        (c, h, w) in the scale of the network's input.

    Raises:
        BadInputError: An unknown layer, a channel out of range, several images, a seed as for `project`.

    *Convention*: projected one by one and then added; the deconvnet is not additive, so projecting the units
    together would give another picture (ReLU is not linear).

    Example:
        >>> import backlight
        >>> net = backlight.capture(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()), (3, 8, 8))
        >>> backlight.superpose(net, torch.rand(3, 8, 8), "1", top=2).shape
        torch.Size([3, 8, 8])
    """
    batch = net.prepare(image)
    if len(batch) != 1:
        raise BadInputError(
            f"units of one image are superposed, got {len(batch)} images; superpose them one by one"
        )
    units = strongest_units(net, batch, layer, top, channel)
    return project(net, batch, units, rules, seed=seed).sum(0)
