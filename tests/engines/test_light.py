"""Lighting up whole images: pictures as the network sees them, and maps of activations as codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from atlas.files import make_network
from backlight import plan_build
from backlight.engines.local import LocalEngine
from backlight.engines.plan import Plan
from backlight.engines.work import FinishedLight, LightGroup, PendingHit
from backlight.storage.tiles import decode_activation, decode_picture
from engines.plans import light_group


@pytest.fixture
def plan(picture_folder: Path) -> Plan:
    return plan_build(make_network(), picture_folder, ["relu1", "conv2", "fc"], top=3)


def hits(plan: Plan, *wanted: tuple[int, int, int]) -> tuple[PendingHit, ...]:
    """Return hits of layer, channel and image."""
    return tuple(
        PendingHit(layer, channel, i, image, 0, 0) for i, (layer, channel, image) in enumerate(wanted)
    )


def codes_of(plan: Plan, found: FinishedLight) -> list[np.ndarray]:
    return [
        decode_activation(data, plan.layers[hit.layer_index].shape[1:]) for hit, data in found.activations
    ]


def test_codes_are_those_of_plain_loops(plan: Plan) -> None:
    group = LightGroup((3, 5, 9), hits(plan, (0, 2, 3), (1, 0, 3), (1, 7, 5), (1, 0, 9), (0, 2, 9)))
    found = light_group(plan, group)
    assert {hit for hit, _ in found.activations} == set(group.hits)
    pictures = [plan.preprocessing.picture(plan.images.load(i)) for i in group.image_ids]
    inputs = plan.preprocessing.normalise(pictures)
    maps = plan.net.features(plan.layers[:2])(inputs)
    for (hit, _), codes in zip(found.activations, codes_of(plan, found), strict=True):
        own = maps[hit.layer_index][group.image_ids.index(hit.image_id), hit.channel].detach().numpy()
        most = max(own.max(), 0)
        for row in range(own.shape[0]):
            for col in range(own.shape[1]):
                expected = 255 * max(own[row, col], 0) / most if most else 0
                assert abs(codes[row, col] - expected) <= 0.5 + 1e-3
        assert codes.max() == (255 if most else 0)
    assert (maps[1] < 0).any()  # an unrectified layer


def test_pictures_are_what_the_network_sees(plan: Plan) -> None:
    found = light_group(plan, LightGroup((1, 4), ()))
    assert list(found.pictures) == [1, 4]
    assert found.activations == ()
    for image_id, data in found.pictures.items():
        expected = np.asarray(plan.preprocessing.picture(plan.images.load(image_id)), int)
        assert np.abs(np.asarray(decode_picture(data, (32, 32)), int) - expected).mean() < 12


def test_a_map_without_activation_is_all_zero(plan: Plan) -> None:
    maps = plan.net.features([plan.layers[0]])(
        plan.preprocessing.normalise([plan.preprocessing.picture(plan.images.load(i)) for i in range(10)])
    )[0]
    image, channel = (int(i) for i in torch.nonzero(maps.amax((2, 3)) <= 0)[0])
    found = light_group(plan, LightGroup((image,), hits(plan, (0, channel, image))))
    assert not codes_of(plan, found)[0].any()


def test_groups_do_not_show_in_what_is_kept_of_an_image(plan: Plan) -> None:
    wanted = hits(plan, *((0, i % 8, i) for i in range(10)), *((1, i, i) for i in range(10)))
    together = light_group(plan, LightGroup(tuple(range(10)), wanted))
    parts = [
        LightGroup(own, tuple(hit for hit in wanted if hit.image_id in own))
        for own in ((7, 8, 9), (0, 1), (2, 3, 4, 5, 6))
    ]
    found = list(LocalEngine().light(plan, parts))
    assert [tuple(own.pictures) for own in found] == [own.image_ids for own in parts]
    assert {k: v for own in found for k, v in own.pictures.items()} == together.pictures
    assert {pair for own in found for pair in own.activations} == set(together.activations)
