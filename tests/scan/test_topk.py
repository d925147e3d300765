"""The top-k equals brute force under any batch size, order and split, also where parts leave out what cannot enter."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backlight.scan import HalvedHits, LayerScan, MapStatistics, TopHits
from backlight.scan.peaks import as_peaks

N_MAPS, TOP = 3, 4


@st.composite
def stacks(draw: st.DrawFn) -> NDArray[np.float32]:
    """Return maps (n, c, h, w) of few different values, so that ties are common."""
    n, h, w = draw(st.integers(1, 12)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    values = draw(st.lists(st.integers(-2, 3), min_size=n * N_MAPS * h * w, max_size=n * N_MAPS * h * w))
    return np.array(values, np.float32).reshape(n, N_MAPS, h, w)


def brute_force(maps: NDArray[np.float32]) -> list[list[tuple[float, int, int, int]]]:
    """Return (value, image, row, col) of the top hits of each map, one an image, by sorting everything."""
    result = []
    for channel in range(maps.shape[1]):
        hits = []
        for image in range(len(maps)):
            places = [
                (-maps[image, channel, row, col], row, col)
                for row in range(maps.shape[2])
                for col in range(maps.shape[3])
            ]
            value, row, col = min(places)
            hits.append((value, image, row, col))
        result.append([(-v, i, r, c) for v, i, r, c in sorted(hits)[:TOP]])
    return result


def add(result: LayerScan, maps: NDArray[np.float32], ids: list[int]) -> LayerScan:
    peaks = as_peaks(
        torch.ops.backlight.spatial_peaks(
            torch.from_numpy(maps[ids]).contiguous(memory_format=torch.channels_last)
        )
    )
    maxima, means = peaks.maxima.flatten(1).numpy(), peaks.sums.numpy() / maps[0, 0].size
    places = np.stack(np.divmod(peaks.places.flatten(1).numpy(), maps.shape[3]), 2).astype(np.int32)
    return LayerScan(
        result.halves.add(maxima, np.array(ids, np.int64), places), result.statistics.add(maxima, means)
    )


def empty() -> LayerScan:
    return LayerScan(HalvedHits.empty(N_MAPS, TOP), MapStatistics.empty(N_MAPS))


def listed(hits: TopHits) -> list[list[tuple[float, int, int, int]]]:
    return [
        [
            (float(v), int(i), int(r), int(c))
            for v, i, (r, c) in zip(hits.values[m], hits.image_ids[m], hits.places[m], strict=True)
            if i >= 0
        ]
        for m in range(N_MAPS)
    ]


@given(stacks(), st.integers(1, 5), st.randoms(use_true_random=False), st.integers(0, 12))
def test_any_batches_order_and_split_give_the_brute_force_hits(maps, batch_size, random, split) -> None:  # type: ignore[no-untyped-def]
    ids = list(range(len(maps)))
    random.shuffle(ids)
    parts = []
    for part in (ids[:split], ids[split:]):
        result = empty()
        for start in range(0, len(part), batch_size):
            result = add(result, maps, part[start : start + batch_size])
        parts.append(result)
    merged = parts[1].merge(parts[0])
    assert listed(merged.hits) == brute_force(maps)
    statistics = merged.statistics
    assert statistics.n_images == len(maps)
    np.testing.assert_array_equal(statistics.maxima, maps.max((0, 2, 3)))
    np.testing.assert_allclose(statistics.means, maps.mean((0, 2, 3)), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(statistics.n_active, (maps.max((2, 3)) > 0).sum(0))
    assert (statistics.histogram.sum(1) == len(maps)).all()


def test_equal_values_are_ordered_by_image_then_row_then_col() -> None:
    maps = np.zeros((6, N_MAPS, 2, 2), np.float32)
    maps[:, :, 0, 1] = maps[:, :, 1, 0] = 1
    result = add(add(empty(), maps, [5, 3, 4]), maps, [2, 0, 1])
    assert listed(result.hits)[0] == [(1.0, i, 0, 1) for i in range(TOP)]


# Few values, so that ties are common: they go by the image id.
VALUES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])


def hits_of(values: np.ndarray, ids: np.ndarray, start: TopHits) -> TopHits:
    places = np.stack([ids[:, None] + np.zeros_like(values), np.zeros_like(values)], 2).astype(np.int32)
    return start.add(values.astype(np.float32), ids, places)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30), st.integers(1, 5), st.data())
def test_parts_after_one_another_merge_to_the_whole(images: list, top: int, data: st.DataObject) -> None:  # type: ignore[type-arg]
    values, ids = np.array(images, np.float32), np.arange(len(images), dtype=np.int64)
    whole = hits_of(values, ids, TopHits.empty(2, top))
    n_cuts = data.draw(st.integers(0, 4))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(images)), min_size=n_cuts, max_size=n_cuts)))
    found = TopHits.empty(2, top)
    for start, stop in zip([0, *cuts], [*cuts, len(images)], strict=True):
        part = hits_of(values[start:stop], ids[start:stop], found.after())
        found = part.merge(found) if data.draw(st.booleans()) else found.merge(part)
    for name in ("values", "image_ids", "places"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_a_part_leaves_out_what_is_weaker_than_the_bar() -> None:
    ids = np.arange(3, dtype=np.int64)
    first = hits_of(np.array([[5.0], [4.0], [3.0]]), ids, TopHits.empty(1, 2))
    part = hits_of(np.array([[1.0], [3.5], [4.0]]), ids + 3, first.after())
    assert part.image_ids.tolist() == [[5, -1]]
    assert part.values.tolist() == [[4.0, 4.0]]
    assert first.merge(part).image_ids.tolist() == [[0, 1]]
