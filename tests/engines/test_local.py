"""Which engine carries out a plan, and how it splits the work, does not show in the atlas."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

from atlas.files import make_network, rows
from backlight import DECONVNET, Plan, Preprocessing, Unit, capture, plan_build, project
from backlight.atlas import execute
from backlight.engines.local import LocalEngine
from backlight.engines.plan import Shard
from backlight.engines.work import (
    Engine,
    FinishedLight,
    FinishedTile,
    Group,
    LightGroup,
    Partial,
    PendingHit,
    merge,
)
from backlight.errors import ActivationError
from backlight.progress import Progress
from backlight.scan.certain import Answer, QuestionGroup
from backlight.storage.tiles import decode_picture, decode_projection
from conftest import SmallNet
from engines.plans import answer_group, light_group, project_group, scan_shard, some_plan

T = TypeVar("T")


class Elsewhere:
    """Scans shards in pieces and from the last to the first, and groups likewise; plan and all go through bytes."""

    def __init__(self, piece: int) -> None:
        self.piece, self.n_scanned, self.n_asked, self.n_projected, self.n_lit = piece, 0, 0, 0, 0

    def scan(self, plan: Plan, shards: Sequence[Shard], progress: Progress) -> Iterator[Partial]:
        found = []
        for shard in reversed(shards):
            starts = range(shard.start, shard.stop, self.piece)
            pieces = [Shard(start, min(start + self.piece, shard.stop)) for start in starts]
            parts = [sent(scan_shard(sent(plan), sent(piece))) for piece in reversed(pieces)]
            self.n_scanned += len(parts)
            found.append(reduce(merge, parts))
        return reversed(found)

    def certify(self, plan: Plan, groups: Sequence[QuestionGroup]) -> Iterator[tuple[Answer, ...]]:
        self.n_asked += len(groups)
        return reversed([sent(answer_group(sent(plan), sent(group))) for group in reversed(groups)])

    def project(self, plan: Plan, groups: Sequence[Group]) -> Iterator[Sequence[FinishedTile]]:
        self.n_projected += len(groups)
        return iter([sent(project_group(sent(plan), sent(group))) for group in reversed(groups)])

    def light(self, plan: Plan, groups: Sequence[LightGroup]) -> Iterator[FinishedLight]:
        self.n_lit += len(groups)
        return iter([sent(light_group(sent(plan), sent(group))) for group in reversed(groups)])


def sent(thing: T) -> T:
    """Return what arrives when something is sent to another machine."""
    arrived: T = pickle.loads(pickle.dumps(thing))
    return arrived


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
    assert engine.n_asked >= 2
    assert engine.n_projected >= 3
    assert engine.n_lit >= 1


@pytest.mark.usefixtures("small_steps")
def test_an_engine_resumes_what_another_began(tmp_path: Path, picture_folder: Path) -> None:
    plan, path = some_plan(make_network(), picture_folder), tmp_path / "a.atlas"
    execute(plan, tmp_path / "whole.atlas")
    for phase, n_done in (("scan", 16), ("certify", 1), ("project", 1)):

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


def test_a_shard_gives_its_own_images_only(picture_folder: Path) -> None:
    (picture_folder / "a" / "002.png").write_bytes(b"no picture")
    plan = some_plan(make_network(), picture_folder)
    found = scan_shard(plan, Shard(0, 8))
    assert found.scan.n_images == 7
    assert [skipped.path for skipped in found.scan.skipped] == ["a/002.png"]
    (bad,) = (skipped.id for skipped in found.scan.skipped)
    assert found.sizes == {i: (40, 48) for i in range(8) if i != bad}
    assert not found.is_compiled
    assert set(found.scan.layers["relu1"].hits.image_ids.flat) <= {*range(8), -1}


@pytest.mark.usefixtures("small_steps")
def test_progress_of_a_scan_counts_what_was_done_before_it(picture_folder: Path) -> None:
    plan = some_plan(make_network(), picture_folder)
    steps: list[tuple[str, int, int]] = []
    shards = plan.shards(16)
    found = list(LocalEngine().scan(plan, shards, lambda *step: steps.append(step)))
    assert [partial.scan.n_images for partial in found] == [len(shard) for shard in shards] == [16, 8]
    assert steps == [("scan", n, 40) for n in (24, 32, 40)]


def test_the_tile_of_a_hit_is_the_projection_of_its_unit(picture_folder: Path) -> None:
    net = make_network()
    plan = plan_build(net, picture_folder, ["relu2"], top=1)
    hit = PendingHit(0, 3, 0, 5, 4, 4)
    (tile,) = project_group(plan, Group((0,), DECONVNET, None, (hit,)))
    assert tile.hit == hit
    picture = plan.preprocessing.picture(plan.images.load(5))
    (whole,) = project(net, plan.preprocessing.normalise([picture]), [Unit("relu2", 3, 4, 4)])
    box = plan.layers[0].receptive_field.box(4, 4).clip(32, 32)
    expected = whole.permute(1, 2, 0).numpy()[box.slices()]
    size = (box.height, box.width)
    found = decode_projection(tile.projection, tile.scale, 3, size)
    np.testing.assert_allclose(found, expected, atol=np.abs(expected).max() / 100)
    assert (
        np.abs(np.asarray(decode_picture(tile.patch, size), int) - np.asarray(picture)[box.slices()]).mean()
        < 12
    )


def test_nothing_to_do_gives_nothing(picture_folder: Path) -> None:
    plan = some_plan(make_network(), picture_folder)
    assert list(LocalEngine().scan(plan, [])) == []
    assert list(LocalEngine().project(plan, [])) == []
    assert list(LocalEngine().light(plan, [])) == []


def test_an_activation_that_is_not_finite_names_layer_and_image(picture_folder: Path) -> None:
    torch.manual_seed(0)
    model = SmallNet()
    with torch.no_grad():
        model.conv1.bias[2] = torch.inf
    plan = some_plan(capture(model, (3, 32, 32), Preprocessing.default(3, 32)), picture_folder)
    with pytest.raises(ActivationError, match=r"layer 'relu1' .* \(channel 2\) for image a/000\.png"):
        scan_shard(plan, Shard(0, 8))
