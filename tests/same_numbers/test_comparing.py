"""The comparison of two versions' numbers finds what was changed, and nothing else; the dump of a network repeats."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from same_numbers.atlases import tables
from same_numbers.comparing import compare, describe_difference
from same_numbers.dumping import Dump, dump_network
from same_numbers.networks import networks, seed_of

NAME = "small/fourier"


@pytest.fixture(scope="module")
def dump() -> Dump:
    return dump_network(networks()[NAME](), seed_of(NAME))


@pytest.fixture(scope="module")
def before(dump: Dump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("before")
    dump.save(folder, NAME)
    return folder


def test_a_network_is_dumped_alike_twice(before: Path, tmp_path: Path) -> None:
    dump_network(networks()[NAME](), seed_of(NAME)).save(tmp_path, NAME)
    (found,) = compare(before, tmp_path)
    assert (found.differences, found.n_refused) == ((), 0)
    assert found.n_numbers > 100_000
    assert found.n_facts > 40


def _add_to_one(own: Dump) -> None:
    own.arrays["projection of relu under guided"][1, 2, 5, 7] += 0.5


def _move_a_field(own: Dump) -> None:
    own.facts["layer relu"]["field"]["offset"] = [-2, -1]


def _take_a_hit(own: Dump) -> None:
    own.arrays["scan of relu: image_ids"][3, 1] += 1


def _rename_a_layer(own: Dump) -> None:
    own.facts["layer relu_9"] = own.facts.pop("layer relu_1")


def _refuse(own: Dump) -> None:
    del own.arrays["projection of relu under deconvnet"]
    own.facts["projection of relu under deconvnet: refused"] = "UnsupportedOperatorError"


@pytest.mark.parametrize(
    ("change", "n_lines", "said"),
    [
        (_add_to_one, 1, "under guided: 1 of 6144 differ, by 0.5 at most, at (1, 2, 5, 7)"),
        (_move_a_field, 1, "layer relu: field: offset: [-1, -1], now [-2, -1]"),
        (_take_a_hit, 1, "scan of relu: image_ids: 1 of 18 differ, first at (3, 1)"),
        (_rename_a_layer, 12, "layer relu_9: operator: '(nothing)', now 'relu'"),
        (_refuse, 2, "under deconvnet: it is there before only"),
    ],
)
def test_every_change_is_found_and_said(
    dump: Dump, before: Path, tmp_path: Path, change: Callable[[Dump], None], n_lines: int, said: str
) -> None:
    other = copy.deepcopy(dump)
    change(other)
    other.save(tmp_path, NAME)
    (found,) = compare(before, tmp_path)
    assert len(found.differences) == n_lines
    assert any(said in line for line in found.differences), found.differences


def test_what_crashed_before_is_not_compared_but_what_crashes_now_differs(
    dump: Dump, before: Path, tmp_path: Path
) -> None:
    crashed = copy.deepcopy(dump)
    for end in ("", ", activations"):
        del crashed.arrays[f"projection of relu under guided{end}"]
    crashed.guarded("projection of relu under guided", lambda: [][0])
    crashed.save(tmp_path, NAME)
    (found,) = compare(tmp_path, before)
    assert (found.n_crashed, found.differences) == (1, ())
    (found,) = compare(before, tmp_path)
    assert found.differences[0] == "projection of relu under guided: crashed: '(nothing)', now 'IndexError'"
    assert len(found.differences) == 3


def test_the_sign_of_a_zero_is_a_difference() -> None:
    said = describe_difference(np.array([0.0, 1.0]), np.array([-0.0, 1.0]))
    assert said.startswith("1 of 2 differ, by 0 at most, at (0)")


def test_a_number_that_became_nan_is_the_largest_difference() -> None:
    said = describe_difference(np.array([0.0, 1.0, 5.0]), np.array([9.0, np.nan, 5.0]))
    assert said.startswith("2 of 3 differ, by inf at most, at (1)")


def test_a_subject_that_one_dump_lacks_or_that_failed_differs(
    dump: Dump, before: Path, tmp_path: Path
) -> None:
    failed = Dump()
    failed.facts["failed"] = "KeyError"
    failed.save(tmp_path, "small/broken")
    both = {own.name: own.differences for own in compare(before, tmp_path)}
    assert "KeyError: nothing was compared" in both["small/broken"]
    assert len(both[NAME]) > len(dump.arrays)


def test_every_value_of_a_table_has_its_place(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.atlas") as connection:
        connection.execute("CREATE TABLE hit (layer_id, channel, rank, image_id, value, patch)")
        connection.execute("INSERT INTO hit VALUES (0, 4, 1, 17, 0.1, x'0102')")
        connection.execute("CREATE TABLE meta (key, value)")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [("phase", '"done"'), ("created", "today")])
        connection.execute("CREATE TABLE checksum (kind, key1)")
    found = dict(tables(tmp_path / "a.atlas"))
    assert found.pop("hit 0 4 1 patch").tolist() == [1, 2]
    assert found == {
        "hit: rows": 1,
        "hit 0 4 1 image_id": 17,
        "hit 0 4 1 value": 0.1,
        "meta: rows": 2,
        "meta phase value": '"done"',
    }
