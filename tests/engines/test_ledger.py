"""The ledger: files of shards of any size, whole or not there, merged in any order to the same."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from atlas.files import make_network
from backlight import GUIDED, Plan, plan_build
from backlight.engines.ledger import Ledger, ledger_of
from backlight.engines.plan import Shard
from backlight.engines.work import Partial, merge
from backlight.errors import BacklightWarning, StorageError
from backlight.storage import replacing
from engines.plans import scan_shard, some_plan


@pytest.fixture
def plan(picture_folder: Path) -> Plan:
    (picture_folder / "a" / "002.png").write_bytes(b"no picture")
    return some_plan(make_network(), picture_folder)


@pytest.fixture
def ledger(plan: Plan, tmp_path: Path) -> Ledger:
    return ledger_of(plan, tmp_path / "ledger")


def assert_same(one: Partial, other: Partial) -> None:
    assert (one.shard, one.sizes, one.is_compiled) == (other.shard, other.sizes, other.is_compiled)
    assert one.scan.skipped == other.scan.skipped
    arrays, others = one.scan.to_arrays(), other.scan.to_arrays()
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def test_what_is_written_is_read_as_it_was(plan: Plan, ledger: Ledger) -> None:
    partial = scan_shard(plan, Shard(0, 8))
    ledger.write(partial)
    read = pickle.loads(pickle.dumps(ledger)).read(Shard(0, 8))
    assert [own.path for own in read.scan.skipped] == ["a/002.png"]
    assert_same(read, partial)


def test_files_are_merged_to_what_one_scan_finds(plan: Plan, ledger: Ledger) -> None:
    whole = scan_shard(plan, Shard(0, 40))
    bounds = [0, 8, 24, 32, 40]
    shards = [Shard(*own) for own in pairwise(bounds)]
    for shard in reversed(shards):
        ledger.write(scan_shard(plan, shard))
    assert ledger.merge(shards[2:]) == Shard(24, 40)
    assert ledger.shards() == [Shard(0, 8), Shard(8, 24), Shard(24, 40)]
    assert ledger.merge(ledger.shards()) == Shard(0, 40)
    assert ledger.shards() == [Shard(0, 40)]
    found = ledger.read(Shard(0, 40))
    assert found is not None
    assert_same(found, whole)
    assert_same(reduce(merge, [scan_shard(plan, own) for own in shards]), whole)


def pieces(ledger: Ledger, wanted: Shard, step: int) -> str:
    return " ".join(
        f"{own.start}-{own.stop}{'' if is_there else '?'}" for own, is_there in ledger.row(wanted, step)
    )


def test_what_is_missing_lies_between_files_of_any_size(plan: Plan, ledger: Ledger) -> None:
    assert pieces(ledger, Shard(0, 40), 16) == "0-16? 16-32? 32-40?"
    empty = scan_shard(plan, Shard(0, 8))
    for start, stop in ((8, 16), (8, 24), (20, 28), (32, 36), (36, 40)):
        ledger.write(replace(empty, shard=Shard(start, stop)))
    # Of two files that start alike the longer one counts, and one that begins inside another not at all.
    assert pieces(ledger, Shard(0, 40), 100) == "0-8? 8-24 24-32? 32-36 36-40"
    assert pieces(ledger, Shard(0, 40), 5) == "0-5? 5-8? 8-24 24-29? 29-32? 32-36 36-40"
    # One that reaches over the end of what is wanted is of no use.
    assert pieces(ledger, Shard(8, 38), 100) == "8-24 24-32? 32-36 36-38?"


def test_a_ledger_holds_many_scans(plan: Plan, ledger: Ledger, tmp_path: Path, picture_folder: Path) -> None:
    net = make_network()
    other_rules = plan_build(net, picture_folder, list(ledger.layers), 4, GUIDED, maps=2, batch_size=16)
    assert ledger_of(other_rules, tmp_path / "ledger").key == ledger.key
    keys = {ledger.key}
    keys.add(ledger_of(plan_build(net, picture_folder, list(ledger.layers), 5), tmp_path / "ledger").key)
    keys.add(ledger_of(plan_build(net, picture_folder, ["relu1", "relu2"], 4), tmp_path / "ledger").key)
    keys.add(ledger_of(some_plan(net, picture_folder / "a"), tmp_path / "ledger").key)
    assert len(keys) == 4
    ledger.write(scan_shard(plan, Shard(0, 8)))
    other = ledger_of(some_plan(net, picture_folder / "a"), tmp_path / "ledger")
    assert other.shards() == []
    other.write(scan_shard(some_plan(net, picture_folder / "a"), Shard(0, 8)))
    ledger.clear()
    assert (ledger.shards(), other.shards()) == ([], [Shard(0, 8)])
    with (
        pytest.raises(KeyboardInterrupt),
        replacing(tmp_path / "ledger" / other._name(Shard(8, 16))) as (part,),
    ):
        shutil.copy(part, tmp_path / "part")
        name = part.name
        raise KeyboardInterrupt
    (tmp_path / "part").rename(tmp_path / "ledger" / name)  # as a killed process leaves it
    ledger.clear()
    assert len(list((tmp_path / "ledger").iterdir())) == 2
    other.clear()
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another scan", "other images"])
def test_a_damaged_file_is_removed_and_said(plan: Plan, ledger: Ledger, damage: str) -> None:
    ledger.write(scan_shard(plan, Shard(0, 8)))
    folder = ledger.folder.path
    assert folder is not None
    (file,) = folder.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 3] ^= 255
    elif damage == "empty":
        data = bytearray()
    elif damage == "another scan":
        other = replace(ledger, key=ledger.key[:16] + "0" * 48)
        other.write(scan_shard(plan, Shard(0, 8)))
        data = bytearray(file.read_bytes())
    else:
        ledger.write(scan_shard(plan, Shard(8, 16)))
        data = bytearray((folder / file.name.replace("0-0000000008", "8-0000000016")).read_bytes())
    file.write_bytes(bytes(data))
    with pytest.warns(
        BacklightWarning, match=r"was damaged \(.*\) and is removed; its images are scanned again"
    ):
        assert ledger.read(Shard(0, 8)) is None
    assert not file.exists()


def test_merging_damaged_files_merges_nothing(plan: Plan, ledger: Ledger) -> None:
    shards = [Shard(0, 8), Shard(8, 16)]
    for shard in shards:
        ledger.write(scan_shard(plan, shard))
    folder = ledger.folder.path
    assert folder is not None
    sorted(folder.iterdir())[1].write_bytes(b"PK")
    with pytest.warns(BacklightWarning, match="was damaged"):
        assert ledger.merge(shards) is None
    assert ledger.shards() == shards[:1]


def test_a_file_that_is_gone_is_said(ledger: Ledger) -> None:
    with pytest.raises(StorageError, match=r"is gone from the ledger .*; run the same again"):
        ledger.read(Shard(0, 8))
