import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backlight.errors import ImageError
from backlight.images.blocks import BLOCK_BYTES, Blocks, RemoteFile
from backlight.images.byte_files import ByteFile
from backlight.images.stores import Store

DATA = np.random.default_rng(0).bytes(1000)


@pytest.fixture
def own(store):
    store.pipe("/a.bin", DATA)
    return Store.of("lying://a.bin")[0]


def file(own, block_bytes=100, most_bytes=300):
    return RemoteFile(own, "/a.bin", len(DATA), Blocks(own, block_bytes, most_bytes))


def test_neighbours_come_with_one_request(own, store):
    remote = file(own)
    assert isinstance(remote, ByteFile)
    assert b"".join(remote.read(at, 10) for at in range(0, 1000, 10)) == DATA
    assert sorted(store.requests) == [("/a.bin", at, at + 100) for at in range(0, 1000, 100)]


def test_what_crosses_the_edge_of_a_block_is_put_together(own, store):
    remote = file(own)
    assert [remote.read(90, 20), remote.read(95, 60), remote.read(950, 500)] == [
        DATA[90:110],
        DATA[95:155],
        DATA[950:],
    ]


def test_what_stands_alone_or_is_large_comes_by_itself(own, store):
    remote = file(own)
    assert remote.read(500, 20) == DATA[500:520]
    assert remote.read(850, 20) == DATA[850:870]
    assert remote.read(870, 10) == DATA[870:880], "and its neighbour with the block"
    assert remote.read(300, 250) == DATA[300:550]
    assert store.requests == [
        ("/a.bin", 500, 520),
        ("/a.bin", 850, 870),
        ("/a.bin", 800, 900),
        ("/a.bin", 300, 550),
    ]


def test_blocks_are_kept_within_the_limit(own, store):
    remote = file(own, most_bytes=200)
    for at in (0, 90, 150, 240, 160, 80):
        remote.read(at, 10)
    assert [start for _, start, _ in store.requests] == [0, 100, 200, 0]


def test_the_next_block_is_fetched_while_one_is_used(own, store, monkeypatch):
    remote, asked, fetched = file(own, 100, 1000), threading.Event(), store.cat_file

    def tell(path, start, end):
        if start == 100:
            asked.set()
        return fetched(path, start, end)

    monkeypatch.setattr(store, "cat_file", tell)
    for at in range(0, 70, 10):
        remote.read(at, 10)
    assert not asked.is_set(), "seven neighbours may be chance"
    remote.read(70, 10)
    assert asked.wait(20), "nobody has read from the second block"
    assert remote.read(100, 10) == DATA[100:110]
    assert [own for own in store.requests if own[1] == 100] == [("/a.bin", 100, 200)]


def test_a_second_pass_is_fetched_ahead_as_the_first_was(own, store):
    remote = file(own, 100, 200)
    for _ in range(2):
        assert b"".join(remote.read(at, 10) for at in range(0, 1000, 10)) == DATA
    # the first image of the second pass comes by itself: it does not follow the last of the first
    assert sorted(store.requests) == sorted(
        [*(("/a.bin", at, at + 100) for at in range(0, 1000, 100)), ("/a.bin", 0, 10)]
        + [("/a.bin", at, at + 100) for at in range(0, 1000, 100)]
    )


def test_what_does_not_follow_is_not_fetched_ahead(own, store):
    remote = file(own)
    for at in (0, 500, 10, 510, 20, 520, 30, 530, 40, 540, 50, 550):
        remote.read(at, 5)
    assert {end - start for _, start, end in store.requests} == {5, 100}
    assert sorted(store.requests)[0] == ("/a.bin", 0, 100)
    assert len([own for own in store.requests if own[2] - own[1] == 100]) == 1


def test_two_threads_do_not_fetch_the_same_block(own, store):
    remote = file(own, 250, 1000)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda at: remote.read(at, 5), range(0, 1000, 5)))
    assert b"".join(parts) == DATA
    blocks = [own for own in store.requests if own[2] - own[1] == 250]
    assert len(blocks) == len(set(blocks)) <= 4


def test_a_block_that_cannot_be_had_does_not_hide_what_can(own, store):
    remote = file(own)
    store.faults["/a.bin"] = ["error"] * 6
    assert remote.read(0, 10) == DATA[:10]
    assert remote.read(10, 10) == DATA[10:20]
    assert store.requests == [("/a.bin", 0, 100)] * 6 + [("/a.bin", 0, 10), ("/a.bin", 10, 20)]
    store.faults["/a.bin"] = ["always late"]
    with pytest.raises(ImageError, match=r"^the store did not answer in time \(6 attempts\)$"):
        remote.read(20, 10)


def test_a_stream_moves_as_a_file_does(own):
    with file(own).open() as stream, io.BytesIO(DATA) as same:
        for seek in [(5, 0), (10, 1), (-3, 1), (-20, 2), (2000, 0)]:
            assert stream.seek(*seek) == same.seek(*seek)
            assert stream.read(7) == same.read(7)
            assert stream.tell() == same.tell()
        stream.seek(990)
        assert stream.read() == DATA[990:]
        assert stream.read(5) == b""


def test_a_copy_starts_with_no_block(own, store):
    remote = file(own)
    remote.read(0, 10)
    copy = pickle.loads(pickle.dumps(remote))
    assert copy.read(10, 10) == DATA[10:20]
    assert store.requests == [("/a.bin", 0, 100)] * 2


def test_without_blocks_each_part_is_one_request(own, store):
    remote = RemoteFile(own, "/a.bin", len(DATA))
    assert remote.read(3, 4) + remote.read(7, 4) == DATA[3:11]
    assert store.requests == [("/a.bin", 3, 7), ("/a.bin", 7, 11)]
    assert (remote.name, remote.size()) == ("lying:///a.bin", 1000)


def test_a_block_holds_some_forty_photographs():
    assert BLOCK_BYTES == 4 * 2**20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 400)), max_size=12),
    block_bytes=st.integers(1, 300),
    most_bytes=st.integers(0, 700),
    share=st.sampled_from([0.0, 0.3]),
)
def test_any_order_of_any_parts_gives_the_bytes_of_the_file(
    own, store, spans, block_bytes, most_bytes, share
):
    store.start_over()
    store.share = share
    remote = file(own, block_bytes, most_bytes)
    for start, n in spans:
        try:
            assert remote.read(start, n) == DATA[start : start + n]
        except ImageError:  # six wrong answers in a row, and six for the part alone
            assert share
