"""Descriptions of layers come back from the JSON that an atlas keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlight.atlas.descriptions import LayerDescription
from backlight.geometry import Axis, ReceptiveField

HALVED = ReceptiveField(Axis(3, Fraction(2), -1), Axis(5, Fraction(1, 2), 0), gates_ignored=True)
RELU = LayerDescription("relu", (4, 8, 16), True, HALVED)
# As all formats so far hold it.
STORED = {
    "operator": "relu",
    "shape": [4, 8, 16],
    "rectified": True,
    "receptive_field": {"rows": [3, "2", -1], "cols": [5, "1/2", 0], "gates_ignored": True},
}

AXES = st.builds(
    Axis,
    st.integers(1, 300),
    st.fractions(Fraction(1, 32), 32, max_denominator=32),
    st.integers(-300, 300),
)
SHAPES = st.lists(st.integers(1, 512), min_size=1, max_size=3).map(tuple)


def test_it_is_written_as_it_always_was() -> None:
    assert json.loads(RELU.to_json()) == STORED
    assert LayerDescription.from_dict(STORED) == RELU


@pytest.mark.parametrize("sources", [(), ("",), ("", "relu1")])
def test_sources_come_back_and_an_older_description_knows_none(sources: tuple[str, ...]) -> None:
    own = replace(RELU, sources=sources)
    assert json.loads(own.to_json()) == {**STORED, "sources": list(sources)}
    assert LayerDescription.from_dict(json.loads(own.to_json())) == own
    assert RELU.sources is None


@given(st.text(max_size=9), SHAPES, st.booleans(), st.none() | st.builds(ReceptiveField, AXES, AXES))
def test_any_description_comes_back(
    operator: str, shape: tuple[int, ...], rectified: bool, field: ReceptiveField | None
) -> None:
    own = LayerDescription(operator, shape, rectified, field)
    assert LayerDescription.from_dict(json.loads(own.to_json())) == own


def test_a_field_of_the_whole_image_is_kept_as_none() -> None:
    own = replace(RELU, receptive_field=ReceptiveField.whole(24, 32))
    assert LayerDescription.from_dict(json.loads(own.to_json())) == replace(own, receptive_field=None)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="rectified"):
        LayerDescription.from_dict({key: value for key, value in STORED.items() if key != "rectified"})
