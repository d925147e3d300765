"""Which engine carries out a plan, and how it splits the work, does not show in the atlas."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from atlas.test_build import make_network, rows
from backlight import GUIDED, Network, Plan, Preprocessing, capture, plan_build
from backlight.atlas import execute
from backlight.engines.local import LocalEngine, project_group, scan_shard
from backlight.engines.plan import Settings, Shard
from backlight.engines.work import (
    Engine,
    FinishedTile,
    Group,
    Partial,
    PendingHit,
    groups_of,
    merge,
)
from backlight.progress import Progress
from backlight.projection import MOST_IMAGES, MOST_UNITS, Projector, crops_of, inputs_at_once
from conftest import SmallNet, make_pictures

T = TypeVar("T")


class Elsewhere:
    """Scans shards in pieces and from the last to the first, and groups likewise; all goes through bytes."""

    def __init__(self, piece: int) -> None:
        self.piece, self.n_scanned, self.n_projected = piece, 0, 0

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress) -> Iterator[Partial]:
        found = []
        for shard in reversed(shards):
            starts = range(shard.start, shard.stop, self.piece)
            pieces = [Shard(start, min(start + self.piece, shard.stop)) for start in starts]
            parts = [sent(scan_shard(plan, sent(piece))) for piece in reversed(pieces)]
            self.n_scanned += len(parts)
            found.append(reduce(merge, parts))
        return reversed(found)

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        self.n_projected += len(groups)
        return reversed([sent(project_group(plan, sent(group))) for group in reversed(groups)])


def sent(thing: T) -> T:
    """Return what arrives when something is sent to another machine."""
    arrived: T = pickle.loads(pickle.dumps(thing))
    return arrived


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("backlight.engines.plan"), "SCAN_STEP_IMAGES", 16)


def some_plan(net: Network, folder: Path) -> Plan:
    rules = {"relu2": GUIDED}
    return plan_build(net, folder, ["relu1", "relu2", "fc"], 4, rules, maps=5, batch_size=8)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("piece", [8, 3, 100])
def test_another_engine_makes_the_same_atlas_bit_for_bit(
    tmp_path: Path, picture_folder: Path, piece: int
) -> None:
    (picture_folder / "b" / "bad.png").write_bytes(b"\x89PNG cut off")
    plan, engine = some_plan(make_network(), picture_folder), Elsewhere(piece)
    execute(plan, tmp_path / "local.atlas")
    execute(plan, tmp_path / "elsewhere.atlas", engine)
    assert rows(tmp_path / "elsewhere.atlas") == rows(tmp_path / "local.atlas")
    assert engine.n_scanned >= 3
    assert engine.n_projected >= 3


@pytest.mark.usefixtures("small_steps")
def test_an_engine_resumes_what_another_began(tmp_path: Path, picture_folder: Path) -> None:
    plan, path = some_plan(make_network(), picture_folder), tmp_path / "a.atlas"
    execute(plan, tmp_path / "whole.atlas")
    for phase, n_done in (("scan", 16), ("project", 1)):

        def stop(now: str, done: int, _: int, phase: str = phase, n_done: int = n_done) -> None:
            if now == phase and done >= n_done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            execute(plan, path, progress=stop)
    execute(plan, path, Elsewhere(8))
    assert rows(path) == rows(tmp_path / "whole.atlas")


def test_both_are_engines() -> None:
    assert isinstance(LocalEngine(), Engine)
    assert isinstance(Elsewhere(1), Engine)


@pytest.mark.usefixtures("small_steps")
def test_shards_have_whole_batches_and_all_images_once(picture_folder: Path) -> None:
    plan = some_plan(make_network(), picture_folder)
    assert plan.shards() == [Shard(0, 16), Shard(16, 32), Shard(32, 40)]
    assert plan.shards(32) == [Shard(32, 40)]
    assert plan.shards(40) == []
    by_five = plan.with_settings(replace(plan.settings, batch_size=5))
    assert [len(shard) for shard in by_five.shards()] == [20, 20]


def test_groups_hold_every_hit_once_within_their_bounds(picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu1", "relu2", "fc"], batch_size=4)
    generator = torch.Generator().manual_seed(0)
    pending = [
        [
            PendingHit(i, channel, 0, int(torch.randint(40, (), generator=generator)), *place)
            for channel in range(layer.n_maps)
        ]
        for i, layer in enumerate(plan.layers)
        for place in [(1, 2) if layer.is_spatial else (None, None)]
    ]
    groups = groups_of(plan, pending)
    assert sorted(map(repr, (hit for group in groups for hit in group.hits))) == sorted(
        map(repr, (hit for hits in pending for hit in hits))
    )
    for group in groups:
        most = inputs_at_once(plan.net, group.crops, 4)
        assert len({hit.image_id for hit in group.hits}) <= most
        assert {hit.layer_index for hit in group.hits} <= set(group.layers)
    assert groups == groups_of(plan, pending)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_group_is_what_a_projector_runs_at_once(batch_size: int) -> None:
    net = capture(SmallNet(), (3, 96, 96), Preprocessing.default(3, 96))
    layer = net.layer("relu2")
    for crops in (None, crops_of(net, layer)):
        projector = Projector(net, [layer], crops=crops, n_images=min(batch_size, MOST_IMAGES))
        n_images = min(batch_size, MOST_IMAGES)
        fit = n_images if crops is None else min(n_images * 96 * 96 // crops.area, MOST_UNITS)
        assert inputs_at_once(net, crops, n_images) == projector.batch_size == fit
    assert crops is not None


def test_a_plan_says_what_it_would_do(tmp_path: Path) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 3), ["relu1", "relu2"], top=9, maps=4)
    assert str(plan) == "3 images, 2 layers, 8 feature maps, 24 projections by deconvnet"
    assert plan.n_hits == (12, 12)
    assert plan.settings == Settings(32, 1, False)
    assert plan.identity.selection.channels == dict(zip(["relu1", "relu2"], plan.channels, strict=True))
    assert 24 * 700 < plan.file_bytes < 1e6
    assert list(tmp_path.iterdir()) == [tmp_path / "p"]
