import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from backlight.errors import BadInputError, ImageError
from backlight.images import AddressSource, FileSource, ImageSource, open_images
from backlight.images.stores import Store
from images.archives import png
from images.pictures import names


def test_entries_of_every_kind(store, tmp_path):
    store.pipe("/list/near/a.png", png(1))
    store.pipe("/other/b.png", png(2))
    (tmp_path / "c.png").write_bytes(png(3))
    root = Store.of("lying://list")[0], "/list"
    entries = ["near/a.png", "../other/b.png", "lying://other/b.png", str(tmp_path / "c.png")]
    source = AddressSource("set", root, entries, ["one", None, "three", None])
    assert isinstance(source, ImageSource)
    assert [source.load(i).getpixel((0, 0))[0] for i in range(4)] == [1, 2, 2, 3]
    assert names(source) == entries
    assert [record.label for record in source.records] == ["one", None, "three", None]
    with pytest.raises(BadInputError, match="image id 4 is out of range for 'set'"):
        source.load(4)


def test_a_local_list_may_name_addresses(store, tmp_path):
    store.pipe("/d/a.png", png(1))
    (tmp_path / "b.png").write_bytes(png(2))
    (tmp_path / "list.csv").write_text("path,label\nlying://d/a.png,cat\nb.png,dog\nlying://d/none.png,\n")
    source = open_images(tmp_path / "list.csv")
    assert type(source) is AddressSource
    assert [source.load(i).getpixel((0, 0))[0] for i in range(2)] == [1, 2]
    assert names(source) == ["lying://d/a.png", "b.png", "lying://d/none.png"]
    assert [record.label for record in source.records] == ["cat", "dog", None]
    with pytest.raises(ImageError, match=r"^no such file \(2 attempts\)$"):
        source.load(2)
    before = source.fingerprint()
    store.pipe("/d/a.png", png(1) + b"x")
    assert open_images(tmp_path / "list.csv").fingerprint() != before


def test_names_with_a_scheme_that_nobody_knows_are_files(tmp_path):
    (tmp_path / "photo:").mkdir()
    (tmp_path / "photo:" / "1.png").write_bytes(png(7))
    (tmp_path / "list.txt").write_text("photo://1.png\n./photo://1.png\nC://1.png\n")
    source = open_images(tmp_path / "list.txt")
    assert type(source) is FileSource
    assert [source.load(i).getpixel((0, 0))[0] for i in range(2)] == [7, 7]


@pytest.mark.parametrize("n_files", [3, 40], ids=["asked one by one", "listed"])
def test_the_fingerprint_is_that_of_the_same_list_on_this_machine(store, tmp_path, n_files):
    entries = [f"x/{i}.png" for i in range(n_files)] + ["none.png"]
    (tmp_path / "x").mkdir()
    for entry in entries[:-1]:
        (tmp_path / entry).write_bytes(png(size=(3, len(entry))))
        store.pipe(f"/d/{entry}", png(size=(3, len(entry))))
    here = FileSource("here", tmp_path, entries)
    there = AddressSource("there", (Store.of("lying://d")[0], "/d"), entries)
    assert there.fingerprint() == here.fingerprint()
    assert names(there) == names(here)
    n_asked = sum(own[1] == "info" for own in store.requests)
    assert n_asked <= 3 + 2 * 2, "one list for many files of a folder"


def test_sizes_that_are_known_tell_a_short_answer(store):
    store.pipe("/d/a.png", png(1))
    source = AddressSource("", (Store.of("lying://d")[0], "/d"), ["a.png"])
    source.fingerprint()
    store.faults["/d/a.png"] = ["short", "empty"]
    assert source.load(0).getpixel((0, 0)) == (1, 1, 1)
    store.faults["/d/a.png"] = ["always short"]
    with pytest.raises(ImageError, match=r"^the store gave \d+ bytes instead of \d+ \(6 attempts\)$"):
        source.load(0)


def test_other_bytes_of_the_right_number_are_no_image(store):
    store.pipe("/d/a.png", png(1))
    source = AddressSource("", (Store.of("lying://d")[0], "/d"), ["a.png"], sizes=[len(png(1))])
    store.faults["/d/a.png"] = ["garbage"]
    with pytest.raises(ImageError, match=r"^not an image in a format that Pillow reads$"):
        source.load(0)
    assert source.load(0).getpixel((0, 0)) == (1, 1, 1)


def test_threads_and_copies(store):
    for i in range(30):
        store.pipe(f"/d/{i}.png", png(i))
    source = AddressSource("", (Store.of("lying://d")[0], "/d"), [f"{i}.png" for i in range(30)])
    source.fingerprint()  # from here on a short answer is known for one
    store.share = 0.3
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda i: copy.load(i).getpixel((0, 0))[0], range(30))) == list(range(30))
    assert copy.fingerprint() == source.fingerprint()


@pytest.mark.usefixtures("store")
def test_no_secret_is_kept_in_the_records(tmp_path):
    pytest.importorskip("aiohttp", reason="fsspec reads from the web with it")
    source = AddressSource("", tmp_path, ["https://me:pw@host/a.png?sig=1"])
    assert names(source) == ["https://me@host/a.png"]


@pytest.mark.usefixtures("store")
def test_a_driver_that_is_missing_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(BadInputError, match=r"^cannot open 'gs://b/a\.png': Please install gcsfs"):
        AddressSource("", tmp_path, ["a.png", "gs://b/a.png"])
