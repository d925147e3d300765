"""What covered pixels show, and which pixels are covered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.studies.covering import check_fills, covered, filled, largest_shares, sliding_squares


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_mean_is_each_channels_own_over_the_image() -> None:
    image = torch.rand(3, 9, 7)
    assert torch.allclose(filled(image, "mean", _rng()), image.mean((1, 2))[:, None, None].expand(3, 9, 7))


def test_noise_has_the_channels_mean_and_deviation_and_comes_again_with_the_seed() -> None:
    image = torch.stack([torch.rand(64, 64), 5 + 3 * torch.rand(64, 64)])
    noise = filled(image, "noise", _rng())
    assert torch.allclose(noise.mean((1, 2)), image.mean((1, 2)), atol=0.1)
    assert torch.allclose(noise.std((1, 2)), image.std((1, 2)), rtol=0.05)
    assert torch.equal(noise, filled(image, "noise", _rng()))


@pytest.mark.parametrize("size", [(40, 40), (7, 9), (1, 1)])
def test_a_blur_keeps_a_plain_image_and_takes_the_detail_of_another(size: tuple[int, int]) -> None:
    plain = torch.full((3, *size), 0.7)
    assert torch.allclose(filled(plain, "blur", _rng()), plain, atol=1e-6)
    image = torch.rand(3, *size)
    assert filled(image, "blur", _rng()).std() <= image.std()


def test_fills_are_checked() -> None:
    with pytest.raises(BadInputError, match="a fill is mean, blur, noise, got 'black'"):
        check_fills(["mean", "black"])
    with pytest.raises(BadInputError, match="got none"):
        check_fills([])


def test_shares_are_nested_and_hold_the_largest_scores() -> None:
    scores = np.random.default_rng(1).random((20, 30))
    masks = largest_shares(scores, [0.05, 0.2, 1.0], _rng())
    assert masks.sum((1, 2)).tolist() == [30, 120, 600]
    assert (masks[0] <= masks[1]).all()
    assert scores[masks[1]].min() > scores[~masks[1]].max()


def test_equal_scores_are_drawn_at_random_not_in_reading_order() -> None:
    (mask,) = largest_shares(np.zeros((30, 30)), [0.5], _rng())
    assert 150 < mask[:15].sum() < 300
    (other,) = largest_shares(np.zeros((30, 30)), [0.5], np.random.default_rng(1))
    assert (mask != other).any()


@pytest.mark.parametrize(("size", "stride"), [(4, 3), (1, 1), (10, 3), (3, 20), (5, 5)])
def test_squares_cover_every_pixel_and_stay_inside(size: int, stride: int) -> None:
    rows, cols = sliding_squares(10, 17, size, stride)
    seen = np.zeros((10, 17), int)
    for row in rows:
        for col in cols:
            assert row + size <= 10
            assert col + size <= 17
            seen[row : row + size, col : col + size] += 1
    assert seen.min() >= 1 or stride > size
    assert rows == sorted(set(rows))
    assert (rows[-1], cols[-1]) == (10 - size, 17 - size)


def test_squares_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadInputError, match="must be 1 to 10 pixels, as the network sees images of 10x17"):
        sliding_squares(10, 17, 11, 1)
    with pytest.raises(BadInputError, match="stride of the square must be at least 1"):
        sliding_squares(10, 17, 4, 0)


def test_covering_changes_the_box_of_each_copy_alone() -> None:
    image, fill = torch.zeros(3, 6, 6), torch.ones(3, 6, 6)
    boxes = [Box(0, 0, 2, 3), Box(4, 4, 6, 6)]
    copies = covered(image, fill, boxes)
    assert [float(c.sum()) for c in copies] == [18, 12]
    assert float(image.sum()) == 0
    assert float(copies[1][:, 4:, 4:].sum()) == 12
