import io
import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from backlight.errors import BadInputError, ImageError
from backlight.images import ImageSource, ParquetSource, open_images
from images.archives import png
from images.pictures import names

pa = pytest.importorskip("pyarrow", reason="needs pip install 'backlight[datasets]'")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pip install 'backlight[datasets]'")


def write(path, cells, labels=None, group=3, column="image"):
    """Write a Parquet file of images as structs, or as plain bytes; a few rows to a group."""
    columns = {"text": ["x"] * len(cells), column: cells}
    if labels is not None:
        columns["label"] = labels
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def struct(level, path=None):
    return {"bytes": png(level), "path": path}


def noisy(level):
    """Return an encoded picture that does not shrink."""
    return png(level) + np.random.default_rng(level).bytes(1500)


@pytest.fixture
def place(tmp_path):
    write(tmp_path / "set" / "a.parquet", [struct(i, f"{i}.png") for i in range(7)], list("abcdefg"))
    write(tmp_path / "set" / "b.parquet", [], [])
    write(tmp_path / "set" / "c.parquet", [struct(i) for i in range(7, 9)], [3, None])
    return tmp_path


def test_rows_in_order_with_names_and_labels(place):
    source = open_images(place / "set")
    assert type(source) is ParquetSource
    assert isinstance(source, ImageSource)
    assert names(source) == [*(f"a.parquet/{i}.png" for i in range(7)), "c.parquet/row 0", "c.parquet/row 1"]
    assert [record.label for record in source.records] == [*"abcdefg", "3", None]
    assert [source.load(i).getpixel((0, 0))[0] for i in (8, 0, 6, 3, 7)] == [8, 0, 6, 3, 7]
    assert source.name == str(place / "set")
    with pytest.raises(BadInputError, match="image id 9 is out of range"):
        source.load(9)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("set/c.parquet", ["c.parquet/row 0", "c.parquet/row 1"]),
        ("set/{c,b}.parquet", ["c.parquet/row 0", "c.parquet/row 1"]),
        ("s*/[bc].parquet", ["set/c.parquet/row 0", "set/c.parquet/row 1"]),
    ],
)
def test_what_may_name_it(place, spec, expected):
    # of a pattern too, paths are relative to the folder that the files share
    assert names(open_images(place / spec)) == [own.removeprefix("set/") for own in expected]


def test_plain_bytes_and_rows_without_an_image(tmp_path):
    path = write(tmp_path / "a.parquet", [png(1), None, b"junk", b""], column="content")
    source = open_images(path)
    assert source.load(0).getpixel((0, 0)) == (1, 1, 1)
    for i, reason in (
        (1, r"^the row has no image$"),
        (2, r"^not an image in a format that Pillow reads$"),
        (3, r"^the file is empty$"),
    ):
        with pytest.raises(ImageError, match=reason):
            source.load(i)


def test_structs_without_an_image(tmp_path):
    source = open_images(write(tmp_path / "a.parquet", [struct(1), {"bytes": None, "path": "x.png"}, None]))
    assert names(source) == ["a.parquet/row 0", "a.parquet/x.png", "a.parquet/row 2"]
    for i in (1, 2):
        with pytest.raises(ImageError, match=r"^the row has no image$"):
            source.load(i)


def test_the_fingerprint_is_of_names_and_sizes_of_the_files(place, tmp_path):
    before = open_images(place / "set").fingerprint()
    (place / "set").rename(tmp_path / "moved")
    assert open_images(tmp_path / "moved").fingerprint() == before
    (tmp_path / "moved" / "c.parquet").rename(tmp_path / "moved" / "d.parquet")
    assert open_images(tmp_path / "moved").fingerprint() != before


def test_threads_and_copies(tmp_path):
    for file in range(3):
        write(tmp_path / f"{file}.parquet", [struct(i) for i in range(file * 20, file * 20 + 20)])
    source = pickle.loads(pickle.dumps(open_images(tmp_path)))
    ids = list(range(60)) * 3
    random.Random(0).shuffle(ids)
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda i: source.load(i).getpixel((0, 0))[0], ids)) == ids


def test_a_file_that_is_damaged_after_it_was_opened(tmp_path):
    path = write(tmp_path / "a.parquet", [struct(i) for i in range(9)])
    source = open_images(path)
    data = bytearray(path.read_bytes())
    end = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    data[4:end] = bytes(end - 4)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"^the Parquet file (cannot be read: |is damaged: )") as caught:
        source.load(0)
    assert "\n" not in str(caught.value)
    assert source.load(8).getpixel((0, 0)) == (8, 8, 8), "another row group is whole"
    path.unlink()
    with pytest.raises(ImageError, match=r"^the Parquet file cannot be read: "):
        source.load(4)


def test_errors(tmp_path):
    with pytest.raises(BadInputError, match=r"^no row in the Parquet files of '.*a\.parquet'$"):
        open_images(write(tmp_path / "a.parquet", [], []))
    (tmp_path / "junk.parquet").write_bytes(b"junk" * 9)
    with pytest.raises(
        BadInputError, match=r"^cannot read Parquet file '.*junk\.parquet': .*; write it again$"
    ):
        open_images(tmp_path / "junk.parquet")
    with pytest.raises(
        BadInputError, match=r"^cannot read Parquet file '.*n\.parquet': No such file or directory"
    ):
        ParquetSource("", [tmp_path / "n.parquet"])


def test_without_the_package(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        BadInputError, match=r"a\.parquet' is Parquet, .*pip install 'backlight\[datasets\]'$"
    ):
        open_images(tmp_path / "a.parquet")


@pytest.fixture
def remote(store, tmp_path):
    """Put three files of twenty rows on a store, and return the same set on this machine."""
    for file in range(3):
        cells = [{"bytes": noisy(i), "path": f"{i}.png"} for i in range(file * 20, file * 20 + 20)]
        path = write(tmp_path / "set" / f"{file}.parquet", cells, list(range(20)), group=8)
        store.pipe(f"/d/{file}.parquet", path.read_bytes())
    return open_images(tmp_path / "set")


@pytest.mark.parametrize("spec", ["lying://d", "lying://d/{0..2}.parquet", "lying://d/*.parquet"])
def test_a_set_is_the_same_here_and_there(remote, store, spec):
    store.share = 0.3
    there = pickle.loads(pickle.dumps(open_images(spec)))
    assert there.records == remote.records
    assert there.fingerprint() == remote.fingerprint()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(there.load, range(60))) == [remote.load(i) for i in range(60)]


def test_a_row_group_is_one_request_and_opening_reads_no_image(store, tmp_path):
    path = write(
        tmp_path / "large.parquet",
        [{"bytes": png(i) + np.random.default_rng(i).bytes(40_000), "path": f"{i}.png"} for i in range(20)],
        list(range(20)),
        group=8,
    )
    store.pipe("/large.parquet", path.read_bytes())
    there = open_images("lying://large.parquet")
    parts = [own for own in store.requests if own[1] != "info"]
    assert len(parts) == 4, "the footer, and the names and labels of three row groups"
    assert sum(end - start for _, start, end in parts) < store.size("/large.parquet") / 5
    store.requests.clear()
    assert [there.load(i).getpixel((0, 0))[0] for i in range(20)] == list(range(20))
    assert len(store.requests) == 3


def test_what_a_store_withholds_is_skipped_and_asked_for_again(remote, store):
    there = open_images("lying://d")
    store.faults["/d/1.parquet"] = ["late"] * 6
    assert there.load(0) == remote.load(0)
    with pytest.raises(
        ImageError,
        match=r"^the Parquet file cannot be read: the store did not answer in time \(6 attempts\)$",
    ):
        there.load(20)
    assert there.load(20) == remote.load(20)


def test_a_store_that_withholds_a_footer(remote, store):
    store.faults["/d/1.parquet"] = ["always error"]
    with pytest.raises(
        BadInputError,
        match=r"^cannot read Parquet file 'lying:///d/1\.parquet': 503 Slow Down \(6 attempts\)$",
    ):
        open_images("lying://d")


def test_a_file_in_memory_is_what_hugging_face_writes(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs pip install 'backlight[datasets]'")
    features = datasets.Features(
        {
            "thumbnail": datasets.Value("binary"),
            "photo": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
        }
    )
    columns = {
        "thumbnail": [b"x"] * 3,
        "photo": [struct(1, "one.png"), struct(2), struct(3)],
        "kind": [1, 0, None],
    }
    stream = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(stream)
    (tmp_path / "a.parquet").write_bytes(stream.getvalue())
    source = open_images(tmp_path / "a.parquet")
    assert [(own.path, own.label) for own in source.records] == [
        ("a.parquet/one.png", "dog"),
        ("a.parquet/row 1", "cat"),
        ("a.parquet/row 2", None),
    ]
    assert [source.load(i).getpixel((0, 0))[0] for i in range(3)] == [1, 2, 3]
