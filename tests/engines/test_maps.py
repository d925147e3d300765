"""The maps of hits: those of the network, whatever images are run together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.files import make_network
from backlight import plan_build
from backlight.engines.maps import HitMaps
from backlight.engines.plan import Plan
from backlight.engines.work import PendingHit
from backlight.images import Picture


@pytest.fixture
def plan(picture_folder: Path) -> Plan:
    return plan_build(make_network(), picture_folder, ["relu1", "relu2", "fc"], top=3)


def seen(plan: Plan, *image_ids: int) -> dict[int, Picture]:
    return {i: plan.preprocessing.picture(plan.images.load(i)) for i in image_ids}


def hit(layer_index: int, channel: int, image_id: int) -> PendingHit:
    return PendingHit(layer_index, channel, 0, image_id, 0, 0)


def test_each_hit_gets_its_map(plan: Plan) -> None:
    pictures = seen(plan, 2, 3, 5, 8, 9)
    wanted = [hit(1, 7, 9), hit(0, 2, 3), hit(0, 5, 3), hit(1, 7, 2), hit(0, 1, 8)]
    found = [pair for own, maps in HitMaps(plan).of(pictures, wanted) for pair in zip(own, maps, strict=True)]
    assert sorted(own.image_id for own, _ in found) == [2, 3, 3, 8, 9]
    for own, got in found:
        (inputs,) = plan.preprocessing.normalise([pictures[own.image_id]])
        right = plan.net.features([plan.layers[own.layer_index]])(inputs[None])[0][0, own.channel].detach()
        torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)


def test_which_images_are_run_together_does_not_show(plan: Plan) -> None:
    maps, wanted = HitMaps(plan), [hit(1, 4, i) for i in range(6)]
    together = {own[0].image_id: got for own, got in _one_by_one(maps, seen(plan, *range(6)), wanted)}
    for i in range(6):
        ((_, alone),) = maps.of(seen(plan, i), wanted)
        assert np.array_equal(alone[0], together[i])


def _one_by_one(maps: HitMaps, pictures: dict[int, Picture], wanted: list[PendingHit]):  # type: ignore[no-untyped-def]
    for own, found in maps.of(pictures, wanted):
        for i, each in enumerate(own):
            yield [each], found[i]


def test_without_images_nothing_is_run(plan: Plan) -> None:
    maps = HitMaps(plan)
    assert list(maps.of({}, [hit(0, 1, 8)])) == []
    assert maps._network is None
