"""Units of work: groups hold every hit once, within the bounds of what runs at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atlas.files import make_network
from backlight import GUIDED, Preprocessing, capture, plan_build
from backlight.engines.plan import Shard
from backlight.engines.work import Partial, PendingHit, groups_of, light_groups, merge, projected_together
from backlight.projection import MOST_IMAGES, MOST_UNITS, Projector, crops_of, inputs_at_once
from backlight.scan import Scan
from conftest import SmallNet


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


def test_hits_on_whole_images_are_grouped_image_by_image(picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu1", "fc"], batch_size=2)
    places = ((1, 2), (None, None))
    pending = [[PendingHit(i, channel, 0, channel % 4, *places[i]) for channel in range(5)] for i in range(2)]
    groups = groups_of(plan, pending)
    assert all(group.crops is None for group in groups)
    assert [sorted({hit.image_id for hit in group.hits}) for group in groups] == [[0, 1], [2, 3]]
    first = groups[0].hits
    assert [hit.image_id for hit in first] == [0] * 4 + [1] * 2
    assert [(hit.layer_index, hit.channel) for hit in first[:4]] == [(0, 0), (0, 4), (1, 0), (1, 4)]


def test_layers_of_different_rules_are_not_projected_together(picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu1", "relu2", "fc"], rules={"relu2": GUIDED})
    together = [(rules.name, layers) for rules, layers, _ in projected_together(plan, [[0]] * 3)]
    assert sorted(together) == [("deconvnet", [0, 2]), ("guided", [1])]


def test_what_is_known_of_two_shards_merges_in_either_order(picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu1"], top=2)
    one, other = (
        Partial(Shard(i, i + 5), Scan.empty(plan.layers, 2), {i: (40, 48)}, is_compiled)
        for i, is_compiled in ((0, True), (5, False))
    )
    for merged in (merge(one, other), merge(other, one)):
        assert merged.sizes == {0: (40, 48), 5: (40, 48)}
        assert not merged.is_compiled
        assert merged.shard == Shard(0, 10)
    for apart in (one, Partial(Shard(6, 7), other.scan, {}, True)):
        with pytest.raises(ValueError, match="do not follow each other"):
            merge(one, apart)


def test_images_are_lit_up_in_groups_of_a_fixed_size_those_of_hits_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backlight.engines.work.LIGHT_IMAGES", 3)
    places = ((1, 2), (1, 2), (1, 2), (None, None), (1, 2))
    hits = [PendingHit(0, i, 0, image, *places[i]) for i, image in enumerate((9, 2, 9, 4, 7))]
    groups = light_groups(hits, [1, 2, 30, 4])
    assert [group.image_ids for group in groups] == [(2, 4, 7), (9,), (1, 30)]
    # The fully connected hit keeps its image, but has no map.
    assert [[hit.channel for hit in group.hits] for group in groups] == [[1, 4], [0, 2], []]
    assert light_groups(hits, []) == groups[:2]
    assert light_groups([], []) == []
