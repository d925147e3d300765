"""Tiles: what is kept of a patch and a projection can be read back, within the stated error."""

from __future__ import annotations

import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from backlight.geometry import Axis, Box, ReceptiveField
from backlight.storage.tiles import (
    decode_activation,
    decode_picture,
    decode_projection,
    encode_activation,
    encode_patch,
    encode_projection,
    tile_box,
    webp_size,
)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 7), st.sampled_from([1, 3])),
           elements=st.floats(-1e3, 1e3, width=32))
)  # fmt: skip
def test_a_projection_comes_back_within_half_a_code(values: np.ndarray) -> None:
    data, scale = encode_projection(values)
    back = decode_projection(data, scale, values.shape[2])
    assert back.shape == values.shape
    assert scale == np.abs(values).max()
    exact, largest = values.astype(np.float64), float(scale)
    bound = largest / 127 * (np.sqrt(np.abs(exact) / (largest or 1.0)) + 1 / 508)
    assert (np.abs(back - exact) <= bound * (1 + 1e-5) + np.finfo(np.float32).smallest_subnormal).all()


def test_zero_sign_and_the_largest_value_come_back_exactly() -> None:
    values = np.array([[[0.0, -3.5, 3.5]]], np.float32)
    np.testing.assert_array_equal(decode_projection(*encode_projection(values)), values)


def test_small_values_keep_more_relative_precision_than_a_linear_code_would() -> None:
    values = np.array([[[1.0, 0.01, -0.01]]], np.float32)
    back = decode_projection(*encode_projection(values))
    assert abs(back[0, 0, 1] - 0.01) < 0.001  # a linear 8-bit code could be 0.004 off


def test_a_patch_keeps_its_colours() -> None:
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:, 16:] = (200, 40, 90)
    back = np.asarray(decode_picture(encode_patch(pixels)), int)
    assert back.shape == pixels.shape
    assert abs(back[12, 28] - (200, 40, 90)).max() < 12
    assert decode_picture(encode_patch(np.full((5, 6), 77, np.uint8))).size == (6, 5)


def test_tiles_are_opened_as_webp_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: asked.append(k["formats"]) or opened(*a, **k))
    decode_picture(encode_patch(np.zeros((5, 7, 3), np.uint8)))
    assert asked == [["WEBP"]]


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (300, 2), (64, 513)])
def test_the_size_of_a_tile_is_read_from_its_header(size: tuple[int, int]) -> None:
    assert webp_size(encode_patch(np.zeros((*size, 3), np.uint8))) == size
    assert webp_size(encode_projection(np.ones((*size, 3), np.float32))[0]) == size


FIELD = ReceptiveField(Axis(3, Fraction(2), -1), Axis(5, Fraction(2), -2))


def test_the_box_of_a_tile_may_reach_outside_the_image() -> None:
    assert tile_box(FIELD, 0, 4, (8, 12)) == Box(-1, 6, 2, 11)


@pytest.mark.parametrize(("field", "row", "col"), [(None, 1, 2), (FIELD, None, None)])
def test_without_a_field_or_a_place_a_tile_is_the_whole_image(
    field: ReceptiveField | None, row: int | None, col: int | None
) -> None:
    assert tile_box(field, row, col, (8, 12)) == Box(0, 0, 8, 12)


def test_a_tile_of_another_size_than_expected_is_refused() -> None:
    data = encode_patch(np.zeros((5, 7), np.uint8))
    assert decode_picture(data, (5, 7)).size == (7, 5)
    with pytest.raises(ValueError, match="a tile of 7 x 5 pixels is expected, got 5 x 7"):
        decode_picture(data, (7, 5))


def test_a_tile_that_is_cut_off_is_refused() -> None:
    data = encode_patch(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    with pytest.raises(OSError, match=r"decode|truncated"):
        decode_picture(data[: len(data) // 2])


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_map_of_activations_comes_back_as_it_was(height: int, width: int, random: object) -> None:
    codes = np.frombuffer(random.randbytes(height * width), np.uint8).reshape(height, width)  # type: ignore[attr-defined]
    data = encode_activation(codes)
    np.testing.assert_array_equal(decode_activation(data, (height, width)), codes)
    for size in ((height + 1, width), (height, width + 1)):
        with pytest.raises(ValueError, match="activations is expected, got another number"):
            decode_activation(data, size)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "another number"),
        (b"RIFF", "packed by zlib, got something else"),
        (zlib.compress(bytes(2**24)), "another number"),
        (zlib.compress(bytes(6)) + b"more", "another number"),
        (zlib.compress(bytes(6))[:-2], "another number"),
    ],
)
def test_what_is_no_map_of_activations_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_activation(data, (2, 3))
