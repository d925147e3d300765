import json

import numpy as np
import pytest

from backlight.errors import BadInputError
from backlight.images.byte_files import LocalFile
from backlight.images.parquet_table import read_table

pa = pytest.importorskip("pyarrow", reason="needs pip install 'backlight[datasets]'")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pip install 'backlight[datasets]'")


def read(path, columns, says=None, group=2):
    table = pa.table(columns)
    if says is not None:
        table = table.replace_schema_metadata({"huggingface": says})
    pq.write_table(table, path, row_group_size=group)
    return read_table(LocalFile(path))


def features(**kinds):
    return json.dumps({"info": {"features": kinds}})


IMAGES = [{"bytes": b"a", "path": "a.png"}, {"bytes": b"b", "path": None}, {"bytes": b"c", "path": "c.png"}]


def test_what_is_known_of_a_file(tmp_path):
    table, rows = read(tmp_path / "a.parquet", {"image": IMAGES, "label": [0, 1, None]})
    assert (table.column, table.starts) == ("image.bytes", [0, 2, 3])
    assert table.n_bytes == (tmp_path / "a.parquet").stat().st_size
    assert rows == [("a.png", "0"), (None, "1"), ("c.png", None)]


@pytest.mark.parametrize(
    ("columns", "says", "column"),
    [
        ({"text": ["x"], "one": [b"1"], "two": [b"2"]}, None, "one"),
        ({"one": [b"1"], "image": IMAGES[:1]}, None, "one"),
        ({"one": [b"1"], "image": IMAGES[:1]}, features(image={"_type": "Image"}), "image.bytes"),
        ({"one": [b"1"], "two": [b"2"]}, features(two={"_type": "Image"}), "two"),
        ({"text": ["x"], "two": [b"2"]}, features(text={"_type": "Image"}), "two"),
        ({"other": [{"bytes": b"1"}], "two": [b"2"]}, None, "two"),
        ({"other": [{"bytes": "x", "path": "y"}], "two": [b"2"]}, None, "two"),
    ],
)
def test_which_column_holds_the_images(tmp_path, columns, says, column):
    assert read(tmp_path / "a.parquet", columns, says)[0].column == column


@pytest.mark.parametrize(
    ("columns", "says", "labels"),
    [
        ({"label": ["x", "y", None]}, None, ["x", "y", None]),
        ({"kind": [1, 0, 1]}, None, [None] * 3),
        (
            {"label": [5, 6, 7], "kind": [1, 0, None]},
            features(kind={"_type": "ClassLabel", "names": ["c", "d"]}),
            ["d", "c", None],
        ),
        (
            {"label": [1, 2, -1]},
            features(label={"_type": "ClassLabel", "names": ["c", "d"]}),
            ["d", None, None],
        ),
        ({"label": [1, 2, 3]}, features(label={"_type": "ClassLabel", "names": 7}), ["1", "2", "3"]),
        ({"label": [1, 2, 3]}, "[" * 5000, ["1", "2", "3"]),
        ({"label": [1, 2, 3]}, '{"info": 3}', ["1", "2", "3"]),
    ],
)
def test_which_column_holds_the_labels(tmp_path, columns, says, labels):
    _, rows = read(tmp_path / "a.parquet", {"image": [b"1", b"2", b"3"], **columns}, says)
    assert [label for _, label in rows] == labels


def test_no_column_of_images(tmp_path):
    with pytest.raises(
        BadInputError,
        match=r"^no images in Parquet file '.*a\.parquet', whose columns are text, number; the images",
    ):
        read(tmp_path / "a.parquet", {"text": ["x"], "number": [1]})


def test_damage_is_refused_in_one_line(tmp_path):
    read(tmp_path / "a.parquet", {"image": IMAGES, "label": [0, 1, 2]}, features(image={"_type": "Image"}))
    whole = (tmp_path / "a.parquet").read_bytes()
    rng, n_refused = np.random.default_rng(0), 0
    for _ in range(150):
        broken = bytearray(whole)
        for at in rng.integers(len(broken), size=3):
            broken[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.parquet").write_bytes(
            broken[: int(rng.integers(1, len(broken)))] if rng.random() < 0.2 else broken
        )
        try:
            read_table(LocalFile(tmp_path / "b.parquet"))
        except BadInputError as error:
            assert "\n" not in str(error)
            assert f"'{tmp_path / 'b.parquet'}'" in str(error)
            n_refused += 1
    assert n_refused > 20
