"""Boxes and receptive fields: exact arithmetic on whole pixels.

*Convention*: row before column; boxes are half-open, (top, left, bottom, right).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor


@dataclass(frozen=True, order=True)
class Box:
    """A half-open rectangle of pixels: rows top..bottom-1, columns left..right-1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    def clip(self, height: int, width: int) -> Box:
        """Return the part of the box that lies inside an image of height x width pixels.

        A box that lies completely outside gives an empty box on the nearest edge.
        """
        top, bottom = (min(max(v, 0), height) for v in (self.top, self.bottom))
        left, right = (min(max(v, 0), width) for v in (self.left, self.right))
        return Box(top, left, bottom, right)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def intersection(self, other: Box) -> Box:
        """Return the pixels that lie in both boxes; an empty box if there are none."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(
            top, left, max(min(self.bottom, other.bottom), top), max(min(self.right, other.right), left)
        )

    def shifted(self, rows: int, cols: int) -> Box:
        """Return the box moved down by rows and right by columns."""
        return Box(self.top + rows, self.left + cols, self.bottom + rows, self.right + cols)

    def slices(self, top: int = 0, left: int = 0) -> tuple[slice, slice]:
        """Return the rows and columns of the box in an array whose first pixel is (top, left)."""
        return slice(self.top - top, self.bottom - top), slice(self.left - left, self.right - left)

    def contains(self, other: Box) -> bool:
        """Return whether every pixel of other is a pixel of this box."""
        return (
            self.top <= other.top
            and self.left <= other.left
            and other.bottom <= self.bottom
            and other.right <= self.right
        )


@dataclass(frozen=True)
class Axis:
    """A receptive field along one axis: index i sees `size` pixels, starting at floor(i * stride) + offset.

    Attributes:
        size: Number of pixels seen, at least 1.
        stride: Pixels from one unit to the next; a fraction below 1 after upsampling, 0 if all units see the same.
        offset: First pixel that unit 0 sees; negative if it lies in the padding.
    """

    size: int
    stride: Fraction
    offset: int

    def span(self, index: int) -> tuple[int, int]:
        """Return the half-open range of pixels that unit `index` sees, padding included."""
        start = floor(index * self.stride) + self.offset
        return start, start + self.size


WHOLE_IMAGE = "whole image"
"""What a unit sees, in words, that has no smaller receptive field."""


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that a unit of a layer can see.

    Attributes:
        rows: The vertical axis.
        cols: The horizontal axis.
        gates_ignored: True if the field is local only as long as data-dependent factors (squeeze-excite gates,
            attention weights, normalisation scales) are held fixed, as the projection does.
    """

    rows: Axis
    cols: Axis
    gates_ignored: bool = False

    @classmethod
    def whole(cls, height: int, width: int) -> ReceptiveField:
        """Return the field of units that all see the whole image.

        Example:
            >>> ReceptiveField.whole(24, 32).box(3, 5)
            Box(top=0, left=0, bottom=24, right=32)
        """
        return cls(Axis(height, Fraction(0), 0), Axis(width, Fraction(0), 0))

    @property
    def is_whole(self) -> bool:
        """Whether every unit sees the whole image."""
        return not any(self.stride)

    @property
    def in_words(self) -> str:
        """What a unit sees, in words: `51x51 every 8`, or `whole image`."""
        if self.is_whole:
            return WHOLE_IMAGE
        gates = ", gates ignored" if self.gates_ignored else ""
        return f"{self.size[0]}x{self.size[1]} every {self.stride[0]}{gates}"

    def box(self, row: int, col: int) -> Box:
        """Return the box of the unit at (row, col); it extends beyond the image if the unit sees padding."""
        top, bottom = self.rows.span(row)
        left, right = self.cols.span(col)
        return Box(top, left, bottom, right)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.size, self.cols.size

    @property
    def stride(self) -> tuple[Fraction, Fraction]:
        """Vertical and horizontal stride in pixels."""
        return self.rows.stride, self.cols.stride
