"""Descriptions: what an atlas keeps of each layer, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from backlight.geometry import Axis, ReceptiveField


@dataclass(frozen=True)
class LayerDescription:
    """What is known of a layer without its network.

    Attributes:
        operator: The ATen operator that made it.
        shape: (c, h, w), or (c,) for a fully connected layer.
        rectified: Whether the operator is a rectifier.
        receptive_field: What a unit sees; None for the whole image.
        sources: The layers of the atlas whose activations it reads with no other layer of the atlas between; an empty
            name is the image. None in an atlas of an earlier version, which kept none.
    """

    operator: str
    shape: tuple[int, ...]
    rectified: bool
    receptive_field: ReceptiveField | None
    sources: tuple[str, ...] | None = None

    def to_json(self) -> str:
        """Return the description as `from_dict` reads it."""
        field = self.receptive_field
        values = {
            "operator": self.operator,
            "shape": self.shape,
            "rectified": self.rectified,
            "receptive_field": None if field is None or field.is_whole else _field_to_dict(field),
        }
        return json.dumps(values if self.sources is None else {**values, "sources": self.sources})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LayerDescription:
        """Return the description from the object in its JSON."""
        field = values["receptive_field"]
        if field is not None:
            rows, cols = (
                Axis(size, Fraction(stride), offset)
                for size, stride, offset in (field["rows"], field["cols"])
            )
            field = ReceptiveField(rows, cols, field["gates_ignored"])
        sources = values.get("sources")
        return cls(
            operator=values["operator"],
            shape=tuple(values["shape"]),
            rectified=values["rectified"],
            receptive_field=field,
            sources=None if sources is None else tuple(sources),
        )


def _field_to_dict(field: ReceptiveField) -> dict[str, Any]:
    axes = {"rows": field.rows, "cols": field.cols}
    found = {name: [axis.size, str(axis.stride), axis.offset] for name, axis in axes.items()}
    return {**found, "gates_ignored": field.gates_ignored}


def field_row(layer_id: int, field: ReceptiveField | None, size: tuple[int, int]) -> tuple[int, ...]:
    """Return a layer's row of the table `field`, for programs that read boxes in SQL.

    Args:
        layer_id: The layer.
        field: What its units see; None for the whole image.
        size: Height and width of the preprocessed image.

    Example:
        >>> field_row(3, ReceptiveField(Axis(5, Fraction(3, 2), -1), Axis(4, Fraction(2), 0)), (32, 32))
        (3, 5, 3, 2, -1, 4, 2, 1, 0)
    """
    own = ReceptiveField.whole(*size) if field is None or field.is_whole else field
    axes = (own.rows, own.cols)
    numbers = ((axis.size, axis.stride.numerator, axis.stride.denominator, axis.offset) for axis in axes)
    return layer_id, *(number for axis in numbers for number in axis)
