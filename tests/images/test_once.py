import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backlight.images.once import OnceCache


def test_a_value_is_made_once_however_many_ask():
    cache, made, begun, go = OnceCache(100, len), [], threading.Event(), threading.Event()

    def make():
        made.append(threading.get_ident())
        begun.set()
        assert go.wait(20)
        return b"abc"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cache.get, "a", make)
        assert begun.wait(20)
        others = [pool.submit(cache.get, "a", make) for _ in range(3)]
        # while it is being made, other values are to be had
        assert cache.get("b", lambda: b"other") == b"other"
        go.set()
        assert [own.result() for own in (first, *others)] == [b"abc"] * 4
    assert len(made) == 1


def test_what_was_used_longest_ago_goes_first_and_the_limit_holds():
    cache, made = OnceCache(10, len), []

    def get(key, n_bytes=4):
        return cache.get(key, lambda: made.append(key) or bytes(n_bytes))

    for key in "abacab":
        get(key)
        assert cache.n_bytes <= 10
    assert made == ["a", "b", "c", "b"]
    get("huge", 50)
    assert (cache.n_bytes, made[-1]) == (50, "huge"), "the latest stays, and nothing beside it"
    get("huge")
    assert made.count("huge") == 1


def test_what_making_raises_is_passed_on_and_tried_again():
    cache = OnceCache(10, len)
    with pytest.raises(KeyError, match="no"):
        cache.get("a", lambda: {}["no"])
    assert cache.get("a", lambda: b"yes") == b"yes"
    assert cache.n_bytes == 3


def test_a_copy_is_empty():
    cache = OnceCache(10, len)
    cache.get("a", lambda: b"one")
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.n_bytes == 0
    assert copy.get("a", lambda: b"two") == b"two"
