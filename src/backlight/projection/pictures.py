"""Projections as pictures: what `project` returns is a tensor to torch and a picture to a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from backlight.errors import BadInputError
from backlight.images import Preprocessing
from backlight.projection.units import Seed, Together, Unit
from backlight.render import DEFAULT_SCALING, Scaling, draw_input, parse_scaling, scale
from backlight.render.page import LINE, Frame, beside, grid, grid_columns, headed, page
from backlight.render.tiles import fit, is_small, resize

_GAP = 2
_SIDE = 224
_MOST = 12
"""Space in a contact sheet; the longer side of a picture of a figure; pictures of a figure in a notebook."""


@dataclass(frozen=True, eq=False)
class Made:
    """What projections were made of.

    Attributes:
        network: The network's name.
        rules: The rule set's name.
        units: What each of them is the projection of.
        activations: (n,) the activation of each; of units together their sum.
        images: The inputs, one for each or one for all, (n, c, h, w); they are not copied.
        preprocessing: How pictures became inputs; None where that is not known.
        seed: What was sent back from each unit.
    """

    network: str
    rules: str
    units: tuple[Together, ...]
    activations: Tensor
    images: Tensor
    preprocessing: Preprocessing | None
    seed: Seed = "activation"

    def at(self, index: int | slice) -> Made:
        """Return the same of some of the projections."""
        part = slice(index, index + 1 or None) if isinstance(index, int) else index
        images = self.images if len(self.images) < len(self.units) else self.images[part]
        return replace(self, units=self.units[part], activations=self.activations[part], images=images)


class Projection(Tensor):
    """The projections of some units: a tensor to torch, and a picture to a notebook.

    Made by `project` (n, c, h, w) and `superpose` (c, h, w). Whatever is computed from it is a plain tensor; only its
    items and slices along the units are projections again. It is saved and pickled as the plain tensor that it is.

    Attributes:
        made: Of what it was made: the units and their activations, the rules and the images.

    Example:
        >>> import backlight
        >>> net = backlight.capture(torch.nn.Conv2d(3, 4, 3), (3, 8, 8))
        >>> found = backlight.project(net, torch.rand(2, 3, 8, 8), backlight.Unit("conv2d", 1, 2, 2))
        >>> found
        Projection(2 x 3x8x8, conv2d channel 1, row 2, column 2, deconvnet)
        >>> found[0].figure().mode, type(found + 1)
        ('RGB', <class 'torch.Tensor'>)
    """

    made: Made

    # As torch documents it for subclasses that end at the first operation: results are plain tensors.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def of(cls, values: Tensor, made: Made) -> Projection:
        """Return a tensor (n, c, h, w), or (c, h, w) for one picture of all units, as a projection."""
        own: Projection = values.as_subclass(cls)
        own.made = made
        return own

    @property
    def units(self) -> tuple[Together, ...]:
        """What is projected, one entry for each picture; of a sum (c, h, w) the units that were added."""
        return self.made.units

    @property
    def activations(self) -> Tensor:
        """(n,) the activation of each unit; of units that are projected together their sum."""
        return self.made.activations

    def figure(self, scaling: Scaling | str = DEFAULT_SCALING, most: int | None = None) -> Image.Image:
        """Return each projection beside its image, with its unit and activation above, as one picture.

        Args:
            scaling: How values become colours; each projection is scaled by itself.
            most: How many of them to draw, the first ones; None draws all.

        Raises:
            BadInputError: No projection, an unknown scaling, a value that is not finite, `most` below 1.

        *Convention*: an image is shown as the network sees it, with mean and standard deviation of its preprocessing
        undone; of a network without preprocessing its smallest value is black and its largest white.
        """
        if most is not None and most < 1:
            raise BadInputError(f"most is a number of projections to draw, at least 1, got {most}")
        chosen, made = parse_scaling(scaling), self.made
        own = self[None] if self.dim() == 3 else self[:most]
        # of a sum (c, h, w) all units belong to its one picture
        units = [made.units] if self.dim() == 3 else [(one,) for one in made.units[: len(own)]]
        values = made.activations.tolist()
        blocks = []
        for i, (signal, those) in enumerate(zip(own, units, strict=True)):
            image = _photograph(made.images[min(i, len(made.images) - 1)], made.preprocessing)
            body = beside([_shown(image), _shown(picture(signal, chosen))], _GAP)
            blocks.append(headed(body, _named(those), _strength(those, values[i])))
        alone = [value for value, one in zip(values, made.units, strict=True) if isinstance(one, Unit)]
        legend = [
            f"Left: the image. Right: the projection, scaled {chosen.caption}.",
            describe_seed(made.seed, alone),
        ]
        if self.dim() == 4 and len(own) < len(self):
            legend.append(f"The first {len(own)} of {len(self)}.")
        title = f"{made.network} · {made.rules} projection"
        return page(blocks, Frame(title, "", " ".join(filter(None, legend))))

    @overload
    def __getitem__(self, index: int | slice) -> Projection: ...
    @overload
    def __getitem__(self, index: Any) -> Tensor: ...
    def __getitem__(self, index: Any) -> Tensor:
        """Return some of the projections as such; by any other index a plain tensor."""
        found: Tensor = super().__getitem__(index)
        of_units = isinstance(index, slice) or (isinstance(index, int) and not isinstance(index, bool))
        return Projection.of(found, self.made.at(index)) if of_units and self.dim() == 4 else found

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the projections one by one."""
        return (self[i] for i in range(len(self)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Projection:
        """Return a copy with its own values."""
        return Projection.of(self.detach().clone(), self.made)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle it as a plain tensor, which loads anywhere (`torch.load` with `weights_only`)."""
        return self.as_subclass(Tensor).__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Return the sizes, the units and the rules; `.numpy()` has the values."""
        size = "x".join(map(str, self.shape[-3:]))
        count = f"{len(self)} x " if self.dim() == 4 else ""
        return f"Projection({count}{size}, {_named(self.made.units)}, {self.made.rules})"

    def _repr_png_(self) -> bytes | None:
        # A notebook shows the line instead where there is no picture: nothing, values that are not finite.
        if self.dim() not in (3, 4) or not self.numel() or not self.isfinite().all():
            return None
        buffer = io.BytesIO()
        self.figure(most=_MOST).save(buffer, "PNG")
        return buffer.getvalue()


def picture(
    projection: Tensor | NDArray[Any] | Sequence[Any], scaling: Scaling | str = DEFAULT_SCALING
) -> Image.Image:
    """Return signed values as a picture in which grey is zero; several as one contact sheet.

    Args:
        projection: (c, h, w) or (n, c, h, w): what `project` and `superpose` return, or any tensor or array like it.
        scaling: How values become colours, as in figures: a member of `backlight.render.Scaling` or its name. Each
            picture is scaled by itself.

    Returns:
        An RGB picture of h x w pixels for one; for several a grid of them, in reading order.

    Raises:
        BadInputError: Other dimensions, no picture, a value that is not finite, an unknown scaling.

    *Convention*: where the channels are not colours (neither 1 nor 3), their mean is shown.

    Example:
        >>> picture(torch.zeros(3, 4, 6)).size, picture(np.zeros((4, 1, 8, 8)), "symmetric").size
        ((6, 4), (18, 18))
        >>> picture(torch.zeros(3, 4, 6)).getpixel((0, 0))
        (128, 128, 128)
    """
    values = _as_array(projection)
    pictures = [Image.fromarray(scale(_as_colours(own), scaling)) for own in values]
    if len(pictures) == 1:
        return pictures[0]
    columns = grid_columns(len(pictures))
    return grid(pictures, columns, _GAP, (255, 255, 255))


def describe_seed(seed: Seed, values: Sequence[float]) -> str:
    """Return what a reader must know of what was projected back from units of these activations, if it is unusual.

    Example:
        >>> describe_seed("activation", [2.0]), describe_seed(1, [2.0])
        ('', 'Every unit was seeded with 1 instead of its activation.')
    """
    if isinstance(seed, Tensor) and seed.dim():
        return "Every unit was seeded with a number that was given for it instead of its activation."
    if seed != "activation":
        return f"Every unit was seeded with {float(seed):g} instead of its activation."
    said = []
    if any(value < 0 for value in values):
        said.append("A negative unit was seeded with its own value: its picture shows what lowers it.")
    if any(value == 0 for value in values):
        said.append("A unit at zero has an empty picture.")
    return " ".join(said)


def _as_array(projection: Any) -> Float[np.ndarray, "n c h w"]:
    if isinstance(projection, Tensor):
        if projection.is_complex():
            raise BadInputError("a picture is made of real numbers, got complex ones")
        projection = projection.detach().double().cpu().numpy()
    values = np.asarray(projection, np.float64)
    if values.ndim not in (3, 4) or not values.size:
        raise BadInputError(f"a projection is (c, h, w), several are (n, c, h, w), got {values.shape}")
    channels, *_, width = values.shape[-3:]
    if channels not in (1, 3) and width in (1, 3) and channels > width:
        raise BadInputError(f"a projection is (c, h, w), channels first, got {values.shape}")
    return values.reshape(-1, *values.shape[-3:])


def _as_colours(values: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "h w colours"]:
    colours = values if len(values) in (1, 3) else values.mean(0, keepdims=True)
    return np.moveaxis(colours, 0, 2)


def _photograph(image: Tensor, preprocessing: Preprocessing | None) -> Image.Image:
    """Return an input (c, h, w) as the picture that it was made of."""
    normalised = None if preprocessing is None else (preprocessing.mean, preprocessing.std)
    return Image.fromarray(draw_input(image.detach().float().cpu().numpy(), None, normalised))


def _shown(own: Image.Image) -> Image.Image:
    """Return a picture as a figure shows it, with a line around it: small ones with a square for each pixel."""
    height, width = fit(own.height, own.width, max(_SIDE, max(own.size)))
    drawn = resize(np.asarray(own), height, width, is_small(own.height, own.width))
    framed = Image.new("RGB", (width + 2, height + 2), LINE)
    framed.paste(drawn, (1, 1))
    return framed


def _strength(units: Sequence[Together], value: float) -> str:
    """Return what stands beside the name of units: the activation of one."""
    if len(units) > 1:
        return "each projected, then added"
    return f"activation {value:.4g}" if isinstance(units[0], Unit) else f"activations {value:.4g} in all"


def _named(units: Sequence[Together]) -> str:
    """Return units in words: one by itself, of several the layer and how many."""
    if len(set(units)) == 1:
        return str(units[0])
    layers = list(dict.fromkeys(own.layer for unit in units for own in unit.members))
    return f"{len(units)} units of {', '.join(layers[:3])}{', …' if len(layers) > 3 else ''}"
