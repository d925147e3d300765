"""Precision: TF32 is off in the block, and afterwards everything is as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from backlight.network.precision import full_float32

cudnn = torch.backends.cudnn


@pytest.fixture(autouse=True)
def _as_pytorch_has_it() -> Iterator[None]:
    yield
    cudnn.allow_tf32 = True


def by_default() -> None:
    """Leave TF32 on."""


def by_its_old_name() -> None:
    cudnn.allow_tf32 = False


def by_its_new_name() -> None:
    cudnn.conv.fp32_precision = "ieee"


@pytest.mark.parametrize(
    "choose", [by_default, by_its_old_name, by_its_new_name], ids=lambda own: own.__name__
)
def test_convolutions_are_full_float32_in_the_block_only(choose: Callable[[], None]) -> None:
    choose()
    before = cudnn.conv.fp32_precision
    with full_float32():
        assert cudnn.conv.fp32_precision != "tf32"
    assert cudnn.conv.fp32_precision == before


def test_an_error_in_the_block_leaves_the_setting_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError, match="zero"), full_float32():
        _ = 1 / 0
    assert cudnn.conv.fp32_precision == "tf32"
    assert cudnn.allow_tf32
