import pickle
import sys

import pytest

from backlight.errors import BadInputError, ImageError
from backlight.images import stores
from backlight.images.stores import Found, Store, check_installed

tenacity = pytest.importorskip("tenacity", reason="needs pip install 'backlight[remote]'")


@pytest.fixture
def asked(store):
    """A store with one file of ten bytes."""
    store.pipe("/d/a.bin", b"0123456789")
    return Store.of("lying://d")[0], store


def test_reading_all_and_parts(asked):
    own, fs = asked
    assert own.read_whole("/d/a.bin") == own.read_whole("/d/a.bin", 10) == b"0123456789"
    assert own.read("/d/a.bin", 2, 5) == b"234"
    n_before = len(fs.requests)
    assert own.read("/d/a.bin", 5, 5) == b""
    assert len(fs.requests) == n_before, "nothing needs no request"
    assert pickle.loads(pickle.dumps(own)) == own


@pytest.mark.parametrize("fault", ["late", "error", "short", "long", "empty"])
def test_a_fault_that_passes_is_asked_again(asked, fault):
    own, fs = asked
    fs.faults["/d/a.bin"] = [fault] * 5
    assert own.read("/d/a.bin", 2, 5) == b"234"
    assert fs.requests == [("/d/a.bin", 2, 5)] * 6


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("late", r"^the store did not answer in time \(6 attempts\)$"),
        ("error", r"^503 Slow Down \(6 attempts\)$"),
        ("short", r"^the store gave 2 bytes instead of 4 \(6 attempts\)$"),
        (
            "long",
            r"^the store gave 5 bytes instead of 4; it may not support reading parts of files \(6 attempts\)$",
        ),
        ("missing", r"^no such file \(2 attempts\)$"),
    ],
)
def test_a_fault_that_stays_is_told_in_one_line(asked, fault, reason):
    own, fs = asked
    fs.faults["/d/a.bin"] = [f"always {fault}"]
    with pytest.raises(ImageError, match=reason):
        own.read("/d/a.bin", 2, 6)
    n_asked = 2 if fault == "missing" else 6
    assert len(fs.requests) == n_asked


def test_an_answer_of_the_wrong_length_is_none_only_where_the_length_is_known(asked):
    own, fs = asked
    fs.faults["/d/a.bin"] = ["short", "short"]
    assert own.read_whole("/d/a.bin") == b"01234"
    assert own.read_whole("/d/a.bin", 10) == b"0123456789"


def test_the_waits_grow_and_differ_by_chance(asked, monkeypatch):
    waits = []
    monkeypatch.setattr(stores, "FIRST_WAIT_S", 0.5)
    monkeypatch.setattr(stores, "LONGEST_WAIT_S", 3.0)
    monkeypatch.setattr(tenacity.nap.time, "sleep", waits.append)
    own, fs = asked
    fs.faults["/d/a.bin"] = ["always late"]
    for _ in range(2):
        with pytest.raises(ImageError, match="in time"):
            own.read("/d/a.bin", 0, 1)
    one, other = waits[:5], waits[5:]
    for wait, least in zip(waits, [0.5, 1, 2, 3, 3] * 2, strict=True):
        assert least <= wait <= least + 0.5
    assert one != other


def test_what_is_at_a_path(asked):
    own, _ = asked
    assert own.find("/d/a.bin") == Found("file", 10)
    assert own.find("/d") == Found("folder", 0)
    assert own.find("/nowhere") is None


def test_a_store_that_does_not_say(asked):
    own, fs = asked
    fs.faults["info"] = "who are you, https://me:secret@host/x?sig=1"
    with pytest.raises(ImageError, match=r"^who are you, https://me@host/x \(4 attempts\)$"):
        own.find("/d")


def test_lists_are_sorted_and_hold_sizes(asked):
    own, fs = asked
    for name in ("/d/b/2.png", "/d/b/10.png", "/d/B.png", "/e/1.png"):
        fs.pipe(name, bytes(len(name)))
    assert own.files_below("/d") == {"B.png": 8, "a.bin": 10, "b/10.png": 11, "b/2.png": 10}
    assert list(own.files_below("/d")) == ["B.png", "a.bin", "b/10.png", "b/2.png"]
    assert own.files_in("/d/b") == {"/d/b/2.png": 10, "/d/b/10.png": 11}
    assert list(own.matching("/d/b/*.png")) == ["/d/b/10.png", "/d/b/2.png"]
    assert own.address("/d/a.bin") == "lying:///d/a.bin"


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
def test_what_is_no_fault_of_the_store_ends_it_at_once(asked, monkeypatch, kind):
    own, fs = asked
    n_asked = []

    def fail(*_, **__):
        n_asked.append(1)
        raise kind

    monkeypatch.setattr(fs, "cat_file", fail)
    with pytest.raises(kind, match=r"^$"):
        own.read_whole("/d/a.bin")
    assert len(n_asked) == 1


def test_without_tenacity(monkeypatch):
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(
        BadInputError, match=r"'s3://b/a' is an address, .* run: pip install 'backlight\[remote\]'$"
    ):
        check_installed("s3://b/a")


def test_without_the_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for address in ("gs://b/a.tar", "simplecache::gs://b/a.tar", "zip://a.png::gs://b/a.tar"):
        with pytest.raises(
            BadInputError, match=r"^cannot open '.*gs://b/a\.tar': Please install gcsfs"
        ) as caught:
            Store.of(address)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInputError, match=r"^cannot open 'nonsense://a': Protocol not known: nonsense$"):
        check_installed("nonsense://a")
