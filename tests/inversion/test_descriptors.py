"""HOG and dense SIFT: each stage equals plain loops written from the paper; HOG equals scikit-image's where both agree.

Both HOGs take central differences, sum lengths of gradients by direction over cells, and normalise 2 x 2 cells. They
differ in five places, of which the comparison takes away what it has to and leaves the rest of our network as it is:

* scikit-image has directions of half a turn only; compared are our sums of opposite directions.
* Its bin k begins at k·π/orientations where ours has its middle. Either pairs of its bins of half the width are
  compared, or our two derivative filters are turned by half a bin.
* It sums over cells with hard edges: our tents are replaced by boxes.
* At the border it has no derivative across, where ours sees mid-grey outside: compared are cells off the border.
* Its scale is 1/32 of ours (whole differences, means over 8 x 8 pixels) and its norm is √(squares + 1e-10) where ours
  is at least 1e-6, neither of which is seen once an image that is not flat is normalised. Its clamp is followed by a
  second normalisation ("L2-Hys"), so its "L2" is clamped here. It sums in single precision.

What follows, the half sum over the blocks of a cell, and bilinear binning, it does not have.
"""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.feature import hog
from torch import Tensor, nn

import backlight
from backlight.errors import BadInputError, CaptureError
from backlight.inversion.descriptors import HOG, DenseSIFT, descriptor
from inversion.staged import close_to_replica, noise_picture, stages_of

NO, CELL = 9, 8


@pytest.mark.parametrize("model", [HOG(), HOG(binning="hard"), DenseSIFT()])
def test_the_stages_in_turn_are_the_network(model: nn.Module) -> None:
    x = noise_picture(40, 48, n=2).float()
    torch.testing.assert_close(model(x), list(stages_of(model, x).values())[-1], rtol=0, atol=0)


def test_making_a_descriptor_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    HOG(), DenseSIFT()
    assert torch.equal(before, torch.get_rng_state())


def test_outside_of_the_image_hog_sees_mid_grey_and_dense_sift_nothing() -> None:
    grey = torch.full((1, 1, 48, 48), 40.0)
    codes = HOG()(grey)[0]
    assert (codes[:, 2:-2, 2:-2] == 0).all()
    assert (codes[:, 0].amax(0) > 0).all()
    assert (HOG()(0 * grey) == 0).all()
    assert (DenseSIFT()(grey) == 0).all()


# --- scikit-image -------------------------------------------------------------------------------------------


def _with_boxes(model: HOG) -> HOG:
    """Return HOG in double precision whose cells are sums over their pixels alone."""
    box = torch.zeros(2 * CELL, 2 * CELL, dtype=torch.float64)
    box[CELL // 2 : -CELL // 2, CELL // 2 : -CELL // 2] = 1
    model = model.double()
    model.cells.weight.copy_(box.expand_as(model.cells.weight))
    return model


def _turned(model: HOG, angle: float) -> HOG:
    """Return HOG that sees every gradient turned by an angle."""
    across, down = model.gradient.weight.clone()
    model.gradient.weight[0] = cos(angle) * across - sin(angle) * down
    model.gradient.weight[1] = sin(angle) * across + cos(angle) * down
    return model


def _inner(cells: Tensor) -> Tensor:
    """Return (orientations, rows, cols) the sums of opposite directions of the cells off the border."""
    return (cells[0, :NO] + cells[0, NO:])[:, 1:-1, 1:-1]


@pytest.mark.parametrize("size", [(40, 48), (45, 53)])
def test_histograms_of_cells_are_scikit_images_of_half_the_width(size: tuple[int, int]) -> None:
    x = noise_picture(*size)
    ours = _inner(stages_of(_with_boxes(HOG(binning="hard")), x)["cells"])
    n_cells = size[0] // CELL, size[1] // CELL
    options = {"pixels_per_cell": (CELL, CELL), "cells_per_block": n_cells, "block_norm": "L2"}
    (theirs,) = hog(x[0, 0].numpy(), 2 * NO, feature_vector=False, **options)[0]
    halves = np.roll(theirs, 1, 2).reshape(*n_cells, NO, 2).sum(3)[1:-1, 1:-1]  # bins 2k - 1 and 2k
    close_to_replica(ours / ours.norm(), np.moveaxis(halves, 2, 0) / np.linalg.norm(halves))


def test_normalised_blocks_are_scikit_images() -> None:
    x = noise_picture(40, 48, seed=1)
    model = _turned(_with_boxes(HOG(binning="hard")), -pi / (2 * NO))
    ours = stages_of(model, x)["normalise"][0].unflatten(0, (2, 2, 3 * NO))[:, :, 2 * NO :]
    options = {"pixels_per_cell": (CELL, CELL), "cells_per_block": (2, 2), "block_norm": "L2"}
    theirs = np.minimum(hog(x[0, 0].numpy(), NO, feature_vector=False, **options), 0.2)
    inner = np.ascontiguousarray(np.moveaxis(theirs[1:-1, 1:-1], (0, 1), (3, 4)))
    assert (inner == 0.2).any()
    assert (inner < 0.2).any()
    close_to_replica(ours[..., 1:-1, 1:-1].contiguous(), inner)


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (HOG(9, 4), (9, 13)),
        (HOG(9, 4, "hard"), (9, 13)),
        (HOG(2, 2), (6, 5)),
        (DenseSIFT(4, 2), (12, 13)),
        (DenseSIFT(3, 1), (10, 8)),
    ],
)
def test_gradients_are_those_of_small_changes(model: nn.Module, size: tuple[int, int]) -> None:
    x = noise_picture(*size, n=2).requires_grad_()
    assert torch.autograd.gradcheck(model.double(), (x,), eps=1e-5, atol=1e-6)


def _even_and_aligned() -> dict[str, Tensor]:
    rows, cols = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    point = torch.zeros(48, 48)
    point[20, 23] = 100.0
    noise = torch.randn(48, 48, generator=torch.Generator().manual_seed(0))
    pictures = {f"flat at {level}": torch.full((48, 48), float(level)) for level in (-128, 0, 33, 127)}
    pictures |= {"along columns": 2 * cols - 48, "along rows": 40 - rows, "diagonal": rows + cols}
    pictures |= {
        "half": torch.where(cols < 24, -50.0, 50.0),
        "checks": 100 * ((rows + cols) % 2),
        "point": point,
    }
    return pictures | {f"noise of {scale}": scale * noise for scale in (1e-4, 1e-9, 1e-12, 1e-30)}


@pytest.mark.parametrize("picture", _even_and_aligned().values(), ids=_even_and_aligned())
@pytest.mark.parametrize("model", [HOG(), HOG(binning="hard"), HOG(2, 4), DenseSIFT()])
def test_codes_and_gradients_are_finite_where_there_is_no_angle(model: nn.Module, picture: Tensor) -> None:
    x = picture[None, None].clone().requires_grad_()
    codes = model.float()(x)
    (gradient,) = torch.autograd.grad((codes * torch.rand_like(codes)).sum(), x)
    assert codes.isfinite().all()
    assert gradient.isfinite().all()
    assert (codes >= 0).all()


# --- translation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binning", ["bilinear", "hard"])
def test_hog_of_an_image_moved_by_cells_is_moved_by_cells(binning: str) -> None:
    wide, model = noise_picture(72, 80), HOG(binning=binning).double()
    codes, moved = model(wide[..., :64, :64]), model(wide[..., 8:72, 16:80])
    torch.testing.assert_close(codes[..., 3:6, 4:6], moved[..., 2:5, 2:4])
    assert not torch.allclose(codes[..., 1:, 2:], moved[..., :-1, :-2])  # at the border they differ


def test_dense_sift_of_an_image_moved_by_three_bins_is_moved_by_one() -> None:
    wide, model = noise_picture(72, 87), DenseSIFT().double()
    codes, moved = model(wide[..., :57, :57]), model(wide[..., 15:72, 30:87])
    torch.testing.assert_close(codes[..., 1:, 2:], moved[..., :-1, :-2])


# --- captured networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("hog", 64, (27, 8, 8)),
        ("hog", (16, 23), (27, 2, 2)),
        ("hogb", (67, 50), (27, 8, 6)),
        ("dsift", 64, (128, 3, 3)),
        ("dsift", (67, 50), (128, 3, 2)),
        ("dsift", 27, (128, 1, 1)),
    ],
)
def test_a_descriptor_is_a_network(name: str, size: int | tuple[int, int], shape: tuple[int, ...]) -> None:
    net = descriptor(name, size)
    assert net.layers[-1].shape == shape
    assert net.input_shape == (1, size, size) if isinstance(size, int) else net.input_shape == (1, *size)
    x = noise_picture(*net.input_shape[1:], n=3).float()
    model = {"hog": HOG(binning="hard"), "hogb": HOG(), "dsift": DenseSIFT()}[name]
    torch.testing.assert_close(net(x), model(x), rtol=1e-5, atol=1e-6)
    (pixels,) = torch.autograd.grad(net.module(x.requires_grad_())[0].sum(), x)
    assert pixels.isfinite().all()
    assert pixels.abs().sum() > 0


def test_each_stage_is_a_layer_with_its_receptive_field() -> None:
    hogb, dsift = backlight.capture(HOG(), (1, 64, 80)), backlight.capture(DenseSIFT(), (1, 64, 80))
    assert [layer.name for layer in hogb.default_layers] == ["gradient", "cells", "blocks", "deblock"]
    for net, fields in (
        (hogb, {"gradient": 3, "binning": 3, "cells": 18, "blocks": 26, "normalise": 26, "deblock": 34}),
        (dsift, {"gradient": 3, "binning": 3, "cells": 12, "blocks": 27, "normalise": 27}),
    ):
        assert {name: net.layer(name).receptive_field.size[0] for name in fields} == fields
    assert hogb.layer("binning").shape == (18, 64, 80)
    assert hogb.layers[-1].receptive_field.stride == (8, 8)
    assert dsift.layers[-1].receptive_field.stride == (15, 15)


def test_a_picture_becomes_grey_levels_less_128() -> None:
    net = descriptor("hog", (32, 24))
    ready = net.prepare(Image.new("RGB", (100, 50), (200, 200, 200)))
    torch.testing.assert_close(ready, torch.full((1, 1, 32, 24), 72.0), rtol=0, atol=1e-4)


# --- bad arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: HOG(0), "at least 2 orientations, got 0"),
        (lambda: HOG(cell=7), "even number of pixels, at least 2, got 7"),
        (lambda: HOG(cell=0), "even number of pixels, at least 2, got 0"),
        (lambda: HOG(binning="soft"), "unknown binning 'soft'; known are bilinear, hard"),
        (lambda: DenseSIFT(1), "at least 2 orientations, got 1"),
        (lambda: DenseSIFT(bin_size=0), "at least 1 pixel, got 0"),
        (
            lambda: HOG()(torch.zeros(1, 1, 40, 15)),
            "HOG takes images of at least 16 x 16 pixels, got 40 x 15",
        ),
        (lambda: descriptor("sift", 64), "unknown descriptor 'sift'; known are hog, hogb, dsift"),
        (lambda: descriptor("hogb", 0), "HOG takes images of at least 16 x 16 pixels, got 0 x 0"),
        (
            lambda: descriptor("dsift", (26, 64)),
            "DenseSIFT takes images of at least 27 x 27 pixels, got 26 x 64",
        ),
    ],
)
def test_bad_arguments_are_told_in_one_line(make: object, match: str) -> None:
    with pytest.raises(BadInputError, match=match) as caught:
        make()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_capture_that_is_too_small_tells_the_size() -> None:
    with pytest.raises(CaptureError, match="at least 16 x 16 pixels, got 8 x 8"):
        backlight.capture(HOG(), (1, 8, 8))
