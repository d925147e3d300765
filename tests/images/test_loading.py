import math
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images import Preprocessing, SequenceSource, Skipped, folder_source, load_batches

PLAIN = Preprocessing.default(3, (8, 6))


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of different sizes, of which 2, 4 and 5 cannot be read."""
    rng = np.random.default_rng(0)
    for i in range(10):
        pixels = rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"")
    for i in (4, 5):
        (tmp_path / f"{i}.png").write_text("no picture")
    return folder_source(tmp_path)


class Counting:
    """A source that counts what is asked of it, dawdles from an image on, and may fail otherwise than by ImageError."""

    name = "counting"

    def __init__(self, n, slow_from=math.inf, fail_at=None):
        inner = SequenceSource([Image.new("RGB", (9, 9))] * n)
        self.records, self._load = inner.records, inner.load
        self.asked, self.slow_from, self.fail_at = [], slow_from, fail_at

    def __len__(self):
        return len(self.records)

    def load(self, image_id):
        self.asked.append(image_id)
        if image_id == self.fail_at:
            raise KeyError("a bug")
        if image_id >= self.slow_from:
            time.sleep(0.2)
        return self._load(image_id)

    def fingerprint(self):
        return ""


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("backlight-decode")]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_batches_are_fixed_slices_whatever_the_workers(folder, workers):
    ids = [9, 0, 2, 4, 5, 1, 3]
    batches = list(load_batches(folder, PLAIN, ids, 2, workers))
    assert [batch.ids for batch in batches] == [(9, 0), (), (1,), (3,)]
    assert [[skip.id for skip in batch.skipped] for batch in batches] == [[], [2, 4], [5], []]
    assert batches[1].skipped == (
        Skipped(2, "2.png", "the file is empty"),
        Skipped(4, "4.png", "not an image in a format that Pillow reads"),
    )
    assert [batch.sizes for batch in batches] == [((29, 30), (20, 30)), (), ((21, 30),), ((23, 30),)]
    for batch in batches:
        assert batch.tensor.shape == (len(batch.ids), 3, 8, 6)
        for image_id, tensor in zip(batch.ids, batch.tensor, strict=True):
            assert torch.equal(tensor, PLAIN.tensor(folder.load(image_id)))
    assert not decoding_threads()


@pytest.mark.usefixtures("untyped")
def test_ids_come_back_as_plain_integers(folder):
    (batch,) = load_batches(folder, PLAIN, np.array([1, 3]), 2)
    assert [type(image_id) for image_id in batch.ids] == [int, int]


def test_no_ids_no_batches(folder):
    assert list(load_batches(folder, PLAIN, [], 4)) == []


def test_a_picture_too_narrow_to_resize_is_skipped():
    source = SequenceSource([Image.new("L", (9000, 1)), Image.new("L", (5, 5))])
    (batch,) = load_batches(source, Preprocessing.default(3, 224), [0, 1], 2)
    assert batch.ids == (1,)
    assert batch.skipped[0].reason.startswith("too narrow: 1 x 9000")


def test_exactly_the_next_batch_is_decoded_while_the_last_is_used():
    source = Counting(100)
    batches = load_batches(source, PLAIN, range(100), 5, workers=4)
    for n_batches in (1, 2, 3):
        next(batches)
        deadline = time.monotonic() + 10
        while len(source.asked) < 5 * (n_batches + 1) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert sorted(source.asked) == list(range(5 * (n_batches + 1)))
    batches.close()


def test_closing_early_ends_the_threads_and_drops_what_is_waiting():
    source = Counting(1000, slow_from=100)
    batches = load_batches(source, PLAIN, range(1000), 100, workers=2)
    next(batches)
    batches.close()
    assert not decoding_threads()
    assert len(source.asked) < 150


def test_other_exceptions_come_through_and_end_the_threads():
    batches = load_batches(Counting(20, fail_at=7), PLAIN, range(20), 2)
    got = []
    with pytest.raises(KeyError, match="a bug"):
        got.extend(batch.ids for batch in batches)
    assert got == [(0, 1), (2, 3), (4, 5)]
    assert not decoding_threads()


def test_an_unknown_id_is_no_bad_image(folder):
    with pytest.raises(BadInputError, match="image id 10 is out of range") as caught:
        list(load_batches(folder, PLAIN, [0, 10], 2))
    assert not isinstance(caught.value, ImageError)


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (1, 0), (-3, 2)])
def test_sizes_are_checked_at_once(folder, batch_size, workers):
    with pytest.raises(BadInputError, match=f"must be at least 1, not {batch_size} and {workers}"):
        load_batches(folder, PLAIN, [0], batch_size, workers)
