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
    """

    operator: str
    shape: tuple[int, ...]
    rectified: bool
    receptive_field: ReceptiveField | None

    def to_json(self) -> str:
        """Return the description as `from_dict` reads it."""
        field = self.receptive_field
        return json.dumps(
            {
                "operator": self.operator,
                "shape": self.shape,
                "rectified": self.rectified,
                "receptive_field": None if field is None or field.is_whole else _field_to_dict(field),
            }
        )

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
        return cls(values["operator"], tuple(values["shape"]), values["rectified"], field)


def _field_to_dict(field: ReceptiveField) -> dict[str, Any]:
    axes = {"rows": field.rows, "cols": field.cols}
    found = {name: [axis.size, str(axis.stride), axis.offset] for name, axis in axes.items()}
    return {**found, "gates_ignored": field.gates_ignored}
