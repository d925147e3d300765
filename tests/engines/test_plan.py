"""A plan says all that will be done, before any of it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atlas.files import GATES_DIFFERENTIATED, gated_network, make_network
from backlight import plan_build
from backlight.engines.plan import Settings, Shard
from backlight.images import open_images
from conftest import make_pictures
from engines.plans import some_plan


def test_a_plan_says_what_it_would_do(tmp_path: Path) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 3), ["relu1", "relu2"], top=9, maps=4)
    assert str(plan) == "3 images, 2 layers, 8 feature maps, 24 projections by deconvnet"
    assert plan.n_hits == (12, 12)
    assert plan.settings == Settings(32, 1, False)
    assert plan.identity.selection.channels == dict(zip(["relu1", "relu2"], plan.channels, strict=True))
    assert 24 * 700 < plan.file_bytes < 1e6
    assert list(tmp_path.iterdir()) == [tmp_path / "p"]


@pytest.mark.usefixtures("small_steps")
def test_shards_have_whole_batches_and_all_images_once(picture_folder: Path) -> None:
    plan = some_plan(make_network(), picture_folder)
    assert plan.shards() == [Shard(0, 16), Shard(16, 32), Shard(32, 40)]
    assert plan.shards(32) == [Shard(32, 40)]
    assert plan.shards(40) == []
    by_five = plan.with_settings(replace(plan.settings, batch_size=5))
    assert [len(shard) for shard in by_five.shards()] == [20, 20]


def test_a_plan_bounds_each_layer_by_its_own_rules(tmp_path: Path) -> None:
    source = open_images(make_pictures(tmp_path / "pictures", 2))
    by_layer = {"act": GATES_DIFFERENTIATED}
    conv, act = plan_build(gated_network(), source, ["conv", "act"], rules=by_layer).layers
    assert (conv.receptive_field.size, act.receptive_field) == ((3, 3), None)
    plan = plan_build(gated_network(), source, ["act"])
    assert plan.tile_area(plan.layers[0]) == 9
