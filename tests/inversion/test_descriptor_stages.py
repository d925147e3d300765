"""The stages of HOG and dense SIFT: each equals plain loops written from the paper."""

from __future__ import annotations

from itertools import product
from math import acos, cos, exp, pi, sin, sqrt

import numpy as np
import pytest
import torch

from backlight.inversion.descriptors import HOG, DenseSIFT
from inversion.staged import close_to_replica, noise_picture, stages_of

# --- replicas: one image, plain loops -----------------------------------------------------------------------


def _replica_gradient(image: np.ndarray, padding: int) -> np.ndarray:
    padded = np.pad(image, padding)
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2
    out = np.zeros((2, rows, cols))
    for i, j in product(range(rows), range(cols)):
        out[0, i, j] = (padded[i + 1, j + 2] - padded[i + 1, j]) / 2
        out[1, i, j] = (padded[i + 2, j + 1] - padded[i, j + 1]) / 2
    return out


def _replica_binning(gradient: np.ndarray, orientations: int, binning: str) -> np.ndarray:
    """Project on each direction; the length is that of all projections by √orientations; arg-max or acos."""
    n = 2 * orientations
    out = np.zeros((n, *gradient.shape[1:]))
    for i, j in product(*map(range, gradient.shape[1:])):
        across, down = gradient[:, i, j]
        projections = [
            cos(pi * k / orientations) * across + sin(pi * k / orientations) * down for k in range(n)
        ]
        length = sqrt(sum(p * p for p in projections) / orientations)
        if binning == "hard":
            out[projections.index(max(projections)), i, j] = length
            continue
        for k, projection in enumerate(projections):
            angle = acos(min(max(projection / length, -1.0), 1.0))
            out[k, i, j] = max(0.0, 1 - n / (2 * pi) * angle) * length
    return out


def _replica_cells(maps: np.ndarray, size: int, padding: int) -> np.ndarray:
    """Give each cell a pixel's value by 1 - d / size along both axes, d from pixel to the cell's centre."""
    n, height, width = maps.shape
    rows, cols = ((side + 2 * padding - 2 * size) // size + 1 for side in (height, width))
    out = np.zeros((n, rows, cols))
    for i, j, row, col in product(range(rows), range(cols), range(height), range(width)):
        centre = [k * size - padding + size - 0.5 for k in (i, j)]
        weight = max(0.0, 1 - abs(row - centre[0]) / size) * max(0.0, 1 - abs(col - centre[1]) / size)
        out[:, i, j] += weight * maps[:, row, col]
    return out


def _replica_features(cells: np.ndarray, orientations: int) -> np.ndarray:
    return np.concatenate([cells, cells[:orientations] + cells[orientations:]])


def _replica_normalised(
    cells: np.ndarray, orientations: int, i: int, j: int
) -> dict[tuple[int, int], np.ndarray]:
    """Return the features of each cell of the block that begins at (i, j), normalised and clamped."""
    block = {
        c: _replica_features(cells[:, i + c[0], j + c[1]], orientations) for c in product((0, 1), (0, 1))
    }
    length = sqrt(sum(float((f[2 * orientations :] ** 2).sum()) for f in block.values()))
    return {c: np.minimum(f / max(length, 1e-6), 0.2) for c, f in block.items()}


def _replica_hog_codes(cells: np.ndarray, orientations: int) -> np.ndarray:
    _, rows, cols = cells.shape
    out = np.zeros((3 * orientations, rows, cols))
    for i, j in product(range(rows - 1), range(cols - 1)):
        for (row, col), features in _replica_normalised(cells, orientations, i, j).items():
            out[:, i + row, j + col] += features / 2
    return out


def _replica_sift_codes(cells: np.ndarray) -> np.ndarray:
    n, rows, cols = cells.shape
    codes = np.zeros((16 * n, (rows - 4) // 3 + 1, (cols - 4) // 3 + 1))
    for i, j in product(*map(range, codes.shape[1:])):
        parts = [
            cells[:, 3 * i + a, 3 * j + b] * exp(-((a - 1.5) ** 2 + (b - 1.5) ** 2) / (2 * 1.5**2))
            for a, b in product(range(4), range(4))
        ]
        block = np.concatenate(parts)
        codes[:, i, j] = np.minimum(block / sqrt(float((block**2).sum()) + 1e-6), 0.2)
    return codes


# --- each stage and its replica -----------------------------------------------------------------------------


@pytest.mark.parametrize("binning", ["bilinear", "hard"])
@pytest.mark.parametrize(
    ("orientations", "cell", "size"), [(9, 8, (26, 35)), (4, 4, (13, 18)), (2, 2, (6, 7))]
)
def test_each_stage_of_hog_is_its_replica(
    binning: str, orientations: int, cell: int, size: tuple[int, int]
) -> None:
    found = stages_of(HOG(orientations, cell, binning).double(), noise_picture(*size))
    image, gradient, binned, cells, blocks, normalised, codes = (maps[0].numpy() for maps in found.values())
    close_to_replica(found["gradient"][0], _replica_gradient(image[0], padding=1))
    close_to_replica(found["binning"][0], _replica_binning(gradient, orientations, binning))
    close_to_replica(found["cells"][0], _replica_cells(binned, cell, padding=cell // 2))
    assert codes.shape == (3 * orientations, size[0] // cell, size[1] // cell)
    for i, j in product(*map(range, blocks.shape[1:])):
        corners = [
            _replica_features(cells[:, i + a, j + b], orientations) for a, b in product((0, 1), (0, 1))
        ]
        np.testing.assert_allclose(blocks[:, i, j], np.concatenate(corners), rtol=1e-12)
        parts = _replica_normalised(cells, orientations, i, j)
        np.testing.assert_allclose(normalised[:, i, j], np.concatenate(list(parts.values())), rtol=1e-12)
    close_to_replica(found["deblock"][0], _replica_hog_codes(cells, orientations))


@pytest.mark.parametrize(("orientations", "bin_size", "size"), [(4, 5, (45, 29)), (3, 2, (14, 20))])
def test_each_stage_of_dense_sift_is_its_replica(
    orientations: int, bin_size: int, size: tuple[int, int]
) -> None:
    found = stages_of(DenseSIFT(orientations, bin_size).double(), noise_picture(*size))
    image, gradient, binned, cells, *_ = (maps[0].numpy() for maps in found.values())
    close_to_replica(found["gradient"][0], _replica_gradient(image[0], padding=0))
    close_to_replica(found["binning"][0], _replica_binning(gradient, orientations, "bilinear"))
    close_to_replica(found["cells"][0], _replica_cells(binned, bin_size, padding=0))
    close_to_replica(found["normalise"][0], _replica_sift_codes(cells))


def test_bilinear_binning_gives_away_the_whole_length() -> None:
    found = stages_of(HOG().double(), noise_picture(16, 16))
    torch.testing.assert_close(found["binning"].sum(1), found["gradient"].square().sum(1).sqrt())


# --- conventions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binning", ["bilinear", "hard"])
@pytest.mark.parametrize(("step", "direction"), [((0, 1), 0), ((1, 0), 1), ((0, -1), 2), ((-1, 0), 3)])
def test_directions_begin_along_the_columns_and_turn_towards_the_rows(
    binning: str, step: tuple[int, int], direction: int
) -> None:
    rows, cols = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    found = stages_of(HOG(2, 2, binning), (step[0] * rows + step[1] * cols)[None, None])["binning"]
    wanted = torch.zeros(4)
    wanted[direction] = 1
    torch.testing.assert_close(found[0, :, 3, 3], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("orientations", [9, 11, 13])  # rounding puts the middle to one side or the other
@pytest.mark.parametrize("sign", [1, -1])
def test_the_middle_between_two_directions_goes_to_the_first(
    dtype: torch.dtype, orientations: int, sign: int
) -> None:
    x = (sign * torch.arange(16, dtype=dtype)).view(1, 1, 16, 1).expand(1, 1, 16, 16)
    found = stages_of(HOG(orientations, binning="hard").to(dtype), x)["binning"]
    first = (orientations - 1) // 2 + (0 if sign == 1 else orientations)
    assert found[0, :, 7, 7].nonzero().tolist() == [[first]]


def test_faint_blocks_are_divided_by_a_least_length() -> None:
    faint = 1e-8 * torch.rand(1, 108, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(HOG().normalise(faint), faint / 1e-6)
    faint = 1e-4 * torch.rand(1, 128, 2, 2, dtype=torch.float64)
    length = (faint.square().sum(1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(DenseSIFT().normalise(faint), faint / length)


def test_a_gradient_along_a_direction_keeps_the_derivative_of_its_length() -> None:
    x = torch.arange(16.0).expand(1, 1, 16, 16).clone().requires_grad_()
    binned = stages_of(HOG(), x)["binning"]
    (gradient,) = torch.autograd.grad(binned[0, 0, 8, 8], x)
    assert gradient[0, 0, 8, 7:10].tolist() == [-0.5, 0.0, 0.5]
