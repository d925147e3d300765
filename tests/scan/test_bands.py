"""Bands: one image of each bin, the same one in any split, order and batch of the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backlight.scan import HISTOGRAM_EDGES, N_BINS, Bands, LayerScan, Scan, make_scanner
from backlight.scan.mixing import mixed
from backlight.scan.statistics import bins_of
from conftest import captured_small_net

# Few values, so that bins are shared: 1 and 1.1 lie in different bins, 1.1 and 1.11 in one.
VALUES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.1, 1.11, 5000.0])


def added(values: NDArray[np.float32], ids: NDArray[np.int64], start: Bands) -> Bands:
    """Return the bands with (n, c) values of images added in one batch; places tell image and map."""
    values = np.asarray(values, np.float32)
    places = np.stack([np.broadcast_to(ids[:, None], values.shape), values], 2).astype(np.int32)
    return start.add(values, bins_of(values), ids, places)


def by_plain_loops(values: NDArray[np.float32]) -> list[list[tuple[int, float, int]]]:
    """Return for each map bin, value and image of each of its examples."""
    found = []
    for column in np.asarray(values, np.float32).T.tolist():
        kept: dict[int, tuple[int, float, int]] = {}
        for image_id, value in enumerate(column):
            bin = sum(value > edge for edge in HISTOGRAM_EDGES)
            candidate = (int(mixed(np.array([image_id]))[0]), value, image_id)
            if bin and (bin not in kept or candidate < kept[bin]):
                kept[bin] = candidate
        found.append([(bin, value, image_id) for bin, (_, value, image_id) in sorted(kept.items())])
    return found


def listed(bands: Bands) -> list[list[tuple[int, float, int]]]:
    return [[own[:3] for own in bands.of(channel)] for channel in range(len(bands.values))]


def check_same(one: Bands, other: Bands) -> None:
    for name, array in vars(other).items():
        np.testing.assert_array_equal(getattr(one, name), array, err_msg=name)


@given(
    st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=40), st.randoms(use_true_random=False), st.data()
)
def test_any_batches_shards_and_order_keep_the_same_images(
    images: list[tuple[float, float]], random: object, data: st.DataObject
) -> None:
    values, ids = np.array(images, np.float32), np.arange(len(images))
    whole = added(values, ids, Bands.empty(2))
    assert listed(whole) == by_plain_loops(values)
    random.shuffle(ids)  # type: ignore[attr-defined]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(images)), max_size=4)))
    found = Bands.empty(2)
    for start, stop in zip([0, *cuts], [*cuts, len(images)], strict=True):
        part = found.after() if data.draw(st.booleans()) else Bands.empty(2)
        size = data.draw(st.integers(1, 9))
        for i in range(start, stop, size):
            own = ids[i : min(i + size, stop)]
            part = added(values[own], own, part)
        found = part.merge(found) if data.draw(st.booleans()) else found.merge(part)
    check_same(found, whole)


def test_parts_that_know_of_each_other_merge_in_any_grouping() -> None:
    values = np.random.default_rng(0).choice([0.0, 1.0, 1.1, 2.0], (60, 5)).astype(np.float32)
    ids = np.arange(60)
    first = added(values[:20], ids[:20], Bands.empty(5))
    second, third = (added(values[own], ids[own], first.after()) for own in (slice(20, 40), slice(40, 60)))
    whole = added(values, ids, Bands.empty(5))
    for found in (
        first.merge(second.merge(third)),
        second.merge(third).merge(first),
        third.merge(first).merge(second),
    ):
        check_same(found, whole)


def test_a_part_leaves_out_what_another_keeps_a_better_image_of() -> None:
    best, worse = np.argsort(mixed(np.arange(2)))
    first = added(np.ones((1, 1)), np.array([best]), Bands.empty(1))
    assert listed(added(np.ones((1, 1)), np.array([worse]), first.after())) == [[]]
    other_way = added(np.ones((1, 1)), np.array([worse]), Bands.empty(1))
    assert listed(added(np.ones((1, 1)), np.array([best]), other_way.after()))[0][0][2] == best


def test_what_is_not_active_has_no_example_and_what_is_beyond_the_edges_has() -> None:
    values = np.array([[0.0, -3.0, 1e-9, 1e9]])
    found = added(values, np.array([4]), Bands.empty(4))
    assert listed(found)[:2] == [[], []]
    assert [own[0][0] for own in listed(found)[2:]] == [1, N_BINS - 1]


def test_examples_survive_a_round_trip_through_arrays_that_hold_no_empty_place() -> None:
    values = np.random.default_rng(1).exponential(size=(30, 6)).astype(np.float32)
    found = added(values, np.arange(30), Bands.empty(6))
    arrays = found.to_arrays()
    assert {len(array) for array in arrays.values()} == {sum(map(len, listed(found)))}
    again = Bands.from_arrays(arrays, 6)
    assert again is not None
    check_same(again, found)
    assert Bands.from_arrays({}, 6) is None


# --- in a scan ------------------------------------------------------------------------------------------------


def scanned(images: torch.Tensor, batch_size: int) -> Scan:
    net = captured_small_net()
    layers = [net.layer("relu2"), net.layer("fc")]
    scanner, state = make_scanner(net, layers, compiled=False, falls_back=True), Scan.empty(layers, 3)
    for i in range(0, len(images), batch_size):
        ids = range(i, min(i + batch_size, len(images)))
        scanner.add(state, images[i : i + batch_size], ids, ["an image"] * len(ids))
    return state


@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_bin_of_the_histogram_that_has_an_image_has_an_example_in_it(batch_size: int) -> None:
    images = torch.randn(21, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found, other = scanned(images, 21).layers, scanned(images, batch_size).layers
    (maps,) = captured_small_net().features(["relu2"])(images)
    for name, result in found.items():
        assert result.bands is not None
        check_same(other[name].bands or Bands.empty(0), result.bands)
        np.testing.assert_array_equal(result.bands.values[:, 1:] > 0, result.statistics.histogram[:, 1:] > 0)
        for channel in range(len(result.bands.values)):
            for bin, value, image_id, row, col in result.bands.of(channel):
                assert HISTOGRAM_EDGES[bin - 1] < value <= (*HISTOGRAM_EDGES, np.inf)[bin]
                if name == "fc":
                    assert (row, col) == (-1, -1)
                else:
                    assert value == pytest.approx(maps[image_id, channel].max().item(), rel=1e-5)
                    assert value == pytest.approx(maps[image_id, channel, row, col].item(), rel=1e-5)


def test_a_scan_of_an_earlier_version_goes_on_without_examples() -> None:
    values, ids = np.ones((3, 2), np.float32), np.arange(3)
    places = np.zeros((3, 2, 2), np.int32)
    fresh = LayerScan.empty(2, 1).add(values, values, ids, places)
    earlier = LayerScan(fresh.halves, fresh.statistics)
    parts = (
        earlier.merge(fresh),
        fresh.merge(earlier),
        earlier.after(),
        earlier.add(values, values, ids + 3, places),
    )
    assert [own.bands for own in parts] == [None] * 4
    arrays = {name: array for name, array in Scan({"x": fresh}).to_arrays().items() if "band" not in name}
    assert Scan.from_arrays(["x"], arrays).layers["x"].bands is None
    again = Scan.from_arrays(["x"], Scan({"x": fresh}).to_arrays()).layers["x"].bands
    assert again is not None
    check_same(again, fresh.bands or Bands.empty(0))
