"""Contrast normalisation: equal to its replica in loops, scale and offset do not matter, flat parts stay flat."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from backlight.adaptive import ContrastNormalisation
from backlight.errors import BadInputError
from replicas import adaptive as replica
from replicas.adaptive_nets import noise
from replicas.compare import differ, same


def picture(*shape: int, seed: int = 0) -> Tensor:
    """Return noise of uneven strength around uneven brightness."""
    ramp = torch.linspace(0.1, 2, shape[-1], dtype=torch.float64)
    return 5 + 3 * ramp + ramp * noise(*shape, seed=seed)


@pytest.mark.parametrize("size, sigma", [(5, 1.5), (3, 0.7), (7, 10.0)])
@pytest.mark.parametrize("shape", [(9, 12), (4, 7), (8, 3)])
def test_normalisation_equals_its_replica(size: int, sigma: float, shape: tuple[int, int]) -> None:
    images = picture(2, 3, *shape)
    found = ContrastNormalisation(size, sigma)(images)
    for image, own in zip(images.flatten(0, 1).numpy(), found.flatten(0, 1), strict=True):
        same(own, replica.normalised(image, size, sigma), 1e-9)


def test_the_papers_window_is_the_default_one() -> None:
    assert ContrastNormalisation() == ContrastNormalisation(13, 4.773)
    image = picture(1, 1, 25, 31)
    line = np.exp(-0.5 * (np.arange(-6, 7) / 4.773) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    mean = ndimage.correlate(image[0, 0].numpy(), window, mode="reflect")
    square = ndimage.correlate(image[0, 0].numpy() ** 2, window, mode="reflect")
    deviation = np.sqrt(square - mean**2)
    expected = (image[0, 0].numpy() - mean) / np.maximum(deviation, np.median(deviation))
    same(ContrastNormalisation()(image)[0, 0], expected, 1e-9)


@pytest.mark.parametrize("dtype, relative", [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_scale_and_offset_do_not_matter(dtype: torch.dtype, relative: float) -> None:
    image = picture(1, 1, 20, 20).to(dtype)
    expected = ContrastNormalisation()(image)
    same(ContrastNormalisation()(0.01 * image), expected, relative)
    same(ContrastNormalisation()(image + 40), expected, relative)
    same(ContrastNormalisation()(-image), -expected, relative)


def test_each_image_and_channel_is_normalised_by_itself() -> None:
    images = picture(2, 3, 15, 15) * torch.tensor([1.0, 10, 100]).view(1, 3, 1, 1)
    same(ContrastNormalisation()(images)[1, 2], ContrastNormalisation()(images[1:, 2:])[0, 0])


@pytest.mark.parametrize("level", [0.0, 0.3, 200.0, 1e6])
def test_a_flat_image_becomes_zeros(level: float) -> None:
    assert ContrastNormalisation()(torch.full((1, 1, 20, 20), level)).abs().max() < 1e-6


def test_texture_gets_about_unit_variance() -> None:
    found = ContrastNormalisation()(noise(1, 1, 60, 60) * 37 + 120)
    assert 0.85 < float(found.std()) < 1.15


def test_deviations_are_floored_at_their_median() -> None:
    image = picture(1, 1, 20, 20)
    image[..., :5] = image[..., :5].mean() + 1e-3 * noise(1, 1, 20, 5)
    found = ContrastNormalisation(3, 1.0)(image)
    assert found[..., :3].abs().max() < 0.05  # not blown up: by itself it would be about 1
    differ(ContrastNormalisation(3, 1.0)(image[..., :5])[..., :3], found[..., :3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_a_mostly_flat_image_the_floor_is_the_median_of_what_is_not_flat(dtype: torch.dtype) -> None:
    image = torch.full((1, 1, 24, 24), 7.0, dtype=torch.float64)
    image[0, 0, :6, :6] += noise(6, 6)
    found = ContrastNormalisation(5, 1.5)(image.to(dtype))
    same(
        found[0, 0], replica.normalised(image[0, 0].numpy(), 5, 1.5), 1e-9 if dtype == torch.float64 else 1e-4
    )
    assert found[0, 0, 9:, 9:].abs().max() < 1e-5
    assert found.abs().max() < 10


@pytest.mark.parametrize(
    "size, sigma", [(4, 1.0), (1, 1.0), (-3, 1.0), (5, 0.0), (5, -1.0), (5, float("nan"))]
)
def test_what_is_no_window_is_refused(size: int, sigma: float) -> None:
    with pytest.raises(
        BadInputError, match=f"an odd size of at least 3 and a positive sigma, got {size} and"
    ):
        ContrastNormalisation(size, sigma)


def test_images_that_cannot_be_mirrored_are_refused() -> None:
    with pytest.raises(
        BadInputError, match="an image of 5x20 cannot mirror; use images of at least 6x6 pixels"
    ):
        ContrastNormalisation()(torch.rand(1, 1, 5, 20))
    assert ContrastNormalisation()(torch.rand(1, 1, 6, 20)).isfinite().all()
