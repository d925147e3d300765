"""Inference: the sparse codes of images, layer by layer, by shrinkage (ISTA) and pooling, then refitted.

*Source*: Zeiler, Taylor & Fergus (2011), section 2.2.

*Differs*: shrinkage makes every value too small, so `refit` then chooses the values again, by least squares, and leaves
it at which of them are not zero and where. The layers above see only switches, so their codes do not change by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backlight.adaptive.operators import Reconstruction
from backlight.adaptive.pooling import Block, MapBatch, SwitchMode, Unpooling, pool
from backlight.errors import BadInputError

CodeValues = Literal["refitted", "shrunk"]
"""The values of a code: fitted by least squares where they are not zero, or as shrinkage leaves them (published)."""

CODE_VALUES: tuple[CodeValues, ...] = get_args(CodeValues)

REFIT_STEPS = 5
"""Conjugate-gradient steps of a refit: more win little, and values that cancel each other grow (docs/adaptive.md)."""


def check_values(values: str) -> None:
    """Refuse unknown values of codes.

    Raises:
        BadInputError: They are not among `CODE_VALUES`.
    """
    if values not in CODE_VALUES:
        raise BadInputError(f"unknown values of codes {values!r}; known are {', '.join(CODE_VALUES)}")


@dataclass(frozen=True, eq=False)
class LayerCode:
    """The code of one layer: at most one non-zero value in each block of its feature maps.

    Attributes:
        pooled: (n, groups, rows, cols) the value of each block, signed; 0 where there is none.
        switches: (n, groups, rows, cols) its place in the block, uint8.
        block: The block of the pooling.
        shape: (k, h, w) of the feature maps.
    """

    pooled: Tensor
    switches: Tensor
    block: Block
    shape: tuple[int, int, int]

    def unpooling(self, mode: SwitchMode = "full") -> Unpooling:
        """Return the map from pooled values to feature maps."""
        return Unpooling(self.switches, self.block, self.shape, mode)

    @property
    def maps(self) -> MapBatch:
        """(n, k, h, w) the feature maps: the pooled values at their places, zero elsewhere."""
        return self.unpooling()(self.pooled)

    @property
    def active_share(self) -> Float[Tensor, " n"]:
        """(n,) the share of the feature maps' values that are not zero."""
        # of all k·h·w values, although only one in a block can be active
        count = self.shape[0] * self.shape[1] * self.shape[2]
        return self.pooled.flatten(1).count_nonzero(1) / count


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of images in all layers up to one.

    Attributes:
        layers: From layer 1 up.
    """

    layers: tuple[LayerCode, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.layers[0].pooled) if self.layers else 0

    def then(self, code: LayerCode) -> Codes:
        """Return these codes with that of the next layer."""
        return Codes((*self.layers, code))

    def __getitem__(self, layer: int) -> LayerCode:
        """Return the code of a layer, counted from 1 as in the paper.

        Raises:
            BadInputError: There are no codes of this layer.
        """
        if not 1 <= layer <= len(self.layers):
            raise BadInputError(f"layer {layer} is out of range for codes of layers 1 to {len(self.layers)}")
        return self.layers[layer - 1]

    def of(self, image: int) -> Codes:
        """Return the codes of one image, as of a batch of one.

        Raises:
            BadInputError: There is no such image.
        """
        if not 0 <= image < len(self):
            raise BadInputError(f"image {image} is out of range for the codes of {len(self)} images")
        return self.at([image])

    def at(self, images: Sequence[int]) -> Codes:
        """Return the codes of some images, in any order, with repeats."""
        rows = list(images)
        # a list of indices copies those images' (groups, rows, cols); block and shape are the same for all
        parts = [LayerCode(c.pooled[rows], c.switches[rows], c.block, c.shape) for c in self.layers]
        return Codes(tuple(parts))

    def below(self, layer: int, mode: SwitchMode = "full") -> tuple[Unpooling, ...]:
        """Return the unpooling of each layer below one, counted from 1."""
        return tuple(code.unpooling(mode) for code in self.layers[: layer - 1])

    @staticmethod
    def joined(parts: Sequence[Codes]) -> Codes:
        """Return the codes of several batches as those of one."""
        # by layer: the codes that the batches have of it
        layers = zip(*(part.layers for part in parts), strict=True)
        return Codes(
            tuple(
                LayerCode(
                    torch.cat([c.pooled for c in codes]),
                    torch.cat([c.switches for c in codes]),
                    codes[0].block,
                    codes[0].shape,
                )
                for codes in layers
            )
        )


@dataclass(frozen=True)
class Steps:
    """How the codes of a layer move in a step.

    Attributes:
        length: λβ, the factor of the gradient.
        shrinkage: β, how much every value then shrinks towards 0.
        block: The block of the pooling.
    """

    length: float
    shrinkage: float
    block: Block


def step(images: MapBatch, z: MapBatch | None, whole: Reconstruction, how: Steps) -> LayerCode:
    """Return the code after one step: along the gradient, shrink, pool.

    Args:
        images: (n, c, h, w) y, the images to reconstruct.
        z: (n, k, h, w) the feature maps so far; None for all zero.
        whole: R of the layer.
        how: The lengths of the step.
    """
    # The cost is λ/2 ‖R z - y‖² + ‖z‖₁; its first part has the gradient λ R'(R z - y), shaped like z: (n, k, h, w).
    # A step of β along it is λβ R'(R z - y), and of z = 0 nothing is left but R'y.
    if z is None:
        moved = whole.adjoint(images).mul_(how.length)
    else:
        uphill = whole.adjoint(whole(z).sub_(images))
        # in place: the maps are what fills the memory
        moved = torch.sub(z, uphill, alpha=how.length, out=uphill)
    # Pooling before shrinking gives the same, since shrinking keeps the order of magnitudes, and shrinks fewer values:
    # (n, groups, rows, cols) instead of (n, k, h, w).
    pooled, switches = pool(moved, how.block)
    pooled = F.softshrink(pooled, how.shrinkage)
    switches.mul_(pooled != 0)  # where nothing is left the switch is 0, the first place of the block
    return LayerCode(pooled, switches, how.block, tuple(moved.shape[1:]))  # type: ignore[arg-type]


def settle(images: MapBatch, whole: Reconstruction, how: Steps, n_steps: int) -> LayerCode:
    """Return the code of a layer after n_steps steps from zero."""
    # The first step from z = 0 needs R' only; each one after it pools z again, so that switches may move.
    code = step(images, None, whole, how)
    for _ in range(n_steps - 1):
        code = step(images, code.maps, whole, how)
    return code


def refit(images: MapBatch, code: LayerCode, whole: Reconstruction, n_steps: int = REFIT_STEPS) -> LayerCode:
    """Return a code with the values that reconstruct the images best, approximately; zeros and switches stay.

    It takes conjugate-gradient steps from the values given towards the least squares ‖R z - y‖² over all z that are
    zero where the code is. No step raises the error of any image, and images do not depend on each other.

    Args:
        images: (n, c, h, w) y, the images to reconstruct.
        code: Of these images.
        whole: R of the layer.
        n_steps: Number of steps; few leave the values smoother, many solve the least squares.

    *Convention*: values keep no sign: one that shrinkage left positive may become negative.
    """
    unpool, is_held = code.unpooling(), code.pooled != 0
    values = code.pooled
    rest = images - whole(unpool(values))  # (n, c, h, w)
    direction = torch.zeros_like(values)
    last = least = _squares(direction)
    for i in range(n_steps):
        # (n, groups, rows, cols): how the error falls with each value; those that are zero stay so
        pull = unpool.adjoint(whole.adjoint(rest)) * is_held
        strength = _squares(pull)
        if i == 0:
            least = torch.finfo(pull.dtype).eps ** 2 * strength
        # conjugate to all directions before: their reconstructions are orthogonal
        direction = pull + torch.where(last > 0, strength / last, 0) * direction
        painted = whole(unpool(direction))
        curvature = _squares(painted)
        # An image whose values are solved, up to rounding, or that has none, stays as it is.
        is_open = (strength > least) & (curvature > 0)
        length = torch.where(is_open, strength / curvature, 0)  # where the error is least along the direction
        values = values + length * direction
        rest = rest - length * painted
        last = strength
    return replace(code, pooled=values)


def _squares(batch: MapBatch) -> Tensor:
    """Return (n, 1, 1, 1) the sum of squares of each of n."""
    return batch.square().sum((1, 2, 3), keepdim=True)


def energy(images: MapBatch, z: MapBatch, whole: Reconstruction, weight: float) -> Float[Tensor, " n"]:
    """Return (n,) the cost λ/2 ‖R z - y‖² + ‖z‖₁ of each image, where λ is the weight."""
    # one number for each image: over pixels for the first part, over all values of z for the second
    squares = (whole(z) - images).flatten(1).square().sum(1)
    return weight / 2 * squares + z.flatten(1).abs().sum(1)
