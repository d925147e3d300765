"""A plan says all that will be done, before any of it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from atlas.files import GATES_DIFFERENTIATED, gated_network, make_network
from backlight import DECONVNET, GUIDED, Preprocessing, capture, plan_build
from backlight.engines.plan import Settings, Shard
from backlight.errors import BadInputError, UnknownLayerError
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


@pytest.mark.parametrize(
    ("n_images", "batch_size", "longest"),
    [(960, 32, 64), (40, 32, 32), (40, 1, 3), (3, 8, 3), (100_000, 32, 256), (100_000, 96, 288)],
)
def test_a_scan_is_kept_in_at_least_sixteen_steps_of_whole_batches(
    n_images: int, batch_size: int, longest: int
) -> None:
    images = [np.zeros((8, 8, 3), np.uint8)] * n_images
    plan = plan_build(make_network(), images, ["relu1"], maps=1, batch_size=batch_size)
    shards = plan.shards()
    assert len(shards[0]) == longest == max(map(len, shards))
    assert [own.start for own in shards] == [0, *(own.stop for own in shards[:-1])]
    assert shards[-1].stop == n_images
    assert all(own.start % batch_size == 0 for own in shards)


def test_a_plan_bounds_each_layer_by_its_own_rules(tmp_path: Path) -> None:
    source = open_images(make_pictures(tmp_path / "pictures", 2))
    by_layer = {"act": GATES_DIFFERENTIATED}
    conv, act = plan_build(gated_network(), source, ["conv", "act"], rules=by_layer).layers
    assert (conv.receptive_field.size, act.receptive_field) == ((3, 3), None)
    plan = plan_build(gated_network(), source, ["act"])
    assert plan.tile_area(plan.layers[0]) == 9


class Nothing:
    """A set of no images."""

    name, records = "nothing", ()

    def __len__(self) -> int:
        return 0

    def load(self, image_id: int) -> object:
        raise AssertionError(image_id)

    def fingerprint(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 0}, "top and batch size must be at least 1, got 0 and 32"),
        ({"batch_size": 0}, "top and batch size must be at least 1, got 9 and 0"),
        ({"maps": 0}, "the number of feature maps must be at least 1, got 0"),
        ({"maps": [2, 8]}, r"channel 8 is out of range for layer 'relu1' \(8 feature maps\)"),
        ({"layers": []}, "has no feature maps to show by default"),
        ({"images": Nothing()}, "'nothing' holds no image; name a folder that does"),
    ],
)
def test_what_cannot_be_built_is_refused(
    picture_folder: Path, change: dict[str, object], message: str
) -> None:
    asked = {"images": picture_folder, "layers": ["relu1"]} | change
    with pytest.raises(BadInputError, match=message):
        plan_build(make_network(), **asked)


def test_unknown_layers_are_refused_wherever_they_are_named(picture_folder: Path) -> None:
    for options in ({"layers": ["conv9"]}, {"rules": {"conv9": GUIDED}}):
        with pytest.raises(UnknownLayerError, match="conv9"):
            plan_build(make_network(), picture_folder, **options)


def test_layers_and_maps_stand_in_their_own_order_each_once(picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["fc", "relu1", "fc"], maps=[4, 1, 4])
    assert [layer.name for layer in plan.layers] == ["relu1", "fc"]
    assert plan.channels == ((1, 4), (1, 4))
    assert (plan.n_maps, plan.n_hits, plan.n_projections) == (4, (18, 18), 36)


def test_a_sample_of_maps_depends_on_the_seed_and_the_layers_name(picture_folder: Path) -> None:
    net = make_network()
    drawn = [
        plan_build(net, picture_folder, ["relu1", "relu2"], maps=4, seed=seed).channels for seed in (0, 0, 1)
    ]
    alone = plan_build(net, picture_folder, ["relu2"], maps=4).channels
    assert drawn[0] == drawn[1] != drawn[2]
    assert alone == drawn[0][1:]
    assert all(list(own) == sorted({*own}) and len(own) == 4 for own in drawn[0])
    assert plan_build(net, picture_folder, ["relu1"], maps=100).channels == (tuple(range(8)),)


def test_maps_may_differ_by_layer(picture_folder: Path) -> None:
    net, layers = make_network(), ["relu1", "relu2"]
    chosen = plan_build(net, picture_folder, layers, maps={"relu1": [5, 2]}).channels
    assert chosen == ((2, 5), tuple(range(net.layer("relu2").n_maps)))
    sampled = plan_build(net, picture_folder, layers, maps={"relu1": 3, "relu2": None}).channels[0]
    assert sampled == plan_build(net, picture_folder, layers, maps=3).channels[0]
    with pytest.raises(UnknownLayerError):
        plan_build(net, picture_folder, layers, maps={"gone": 3})


def test_layers_that_are_not_named_keep_the_deconvnet(picture_folder: Path) -> None:
    plan = plan_build(make_network(), picture_folder, ["relu1", "relu2"], rules={"relu2": GUIDED})
    assert plan.rules == (DECONVNET, GUIDED)
    assert plan.rules_name == "deconvnet and guided"
    assert plan.by_layer
    everywhere = plan_build(make_network(), picture_folder, ["relu1", "relu2"], rules=GUIDED)
    assert everywhere.rules == (GUIDED, GUIDED)
    assert everywhere.rules_name == "guided"
    assert everywhere.identity.rules.everywhere == GUIDED


def test_rules_and_maps_may_be_given_in_the_words_of_the_command_line(picture_folder: Path) -> None:
    net, by_layer = make_network(), {"relu1": "guided", "relu2": GUIDED}
    for rules in ("guided", by_layer):
        plan = plan_build(net, picture_folder, ["relu1", "relu2"], rules=rules, maps="all")
        expected = plan_build(
            net,
            picture_folder,
            ["relu1", "relu2"],
            rules=GUIDED if rules == "guided" else dict.fromkeys(by_layer, GUIDED),
        )
        assert plan.identity == expected.identity
        assert plan.channels == expected.channels


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("maps", ["most", "16", [1.5], {"relu1": "most"}])
def test_maps_that_are_no_numbers_are_refused_with_what_they_are(picture_folder: Path, maps: object) -> None:
    with pytest.raises(BadInputError, match=r"^maps is a number, a list of channels, or None for all, got "):
        plan_build(make_network(), picture_folder, ["relu1"], maps=maps)


def test_a_network_that_shows_nothing_by_default_is_refused_with_advice(picture_folder: Path) -> None:
    torch.manual_seed(0)
    net = capture(nn.Sequential(nn.Flatten()), (3, 8, 8), Preprocessing.default(3, 8))
    with pytest.raises(
        BadInputError, match=r"no feature maps to show by default.*name some: layers="
    ) as raised:
        plan_build(net, picture_folder)
    assert raised.value.for_command_line.endswith("; name some with --layers")


@pytest.mark.parametrize(
    ("compile", "compiled", "falls_back"), [("on", True, False), ("off", False, True), ("auto", False, True)]
)
def test_compiling_is_decided_by_the_plan(
    picture_folder: Path, compile: str, compiled: bool, falls_back: bool
) -> None:
    settings = plan_build(make_network(), picture_folder, ["relu1"], compile=compile).settings
    assert (settings.compiled, settings.falls_back) == (compiled, falls_back)


def test_hits_fall_on_images_as_if_at_random(tmp_path: Path) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 12), ["relu1"], maps=2, top=4)
    # Of twelve images, eight hits miss one with a probability of (11 / 12) ** 8, half.
    assert (plan.n_projections, plan.n_hit_images) == (8, 6)


def test_tiles_that_are_packed_better_make_a_smaller_file(tmp_path: Path) -> None:
    plan = plan_build(make_network(), make_pictures(tmp_path / "p", 3), ["relu1", "relu2"], maps=2)
    assert plan.file_bytes_of({}) == plan.file_bytes
    assert plan.file_bytes_of({0: 0.5, 1: 1.0}) < plan.file_bytes < plan.file_bytes_of({1: 2.0})
    area = plan.tile_area(plan.layers[1])
    grown = plan.file_bytes_of({0: 1.0, 1: 2.0}) - plan.file_bytes
    assert grown == pytest.approx(plan.n_hits[1] * area)


def test_a_plan_counts_examples_of_bands_and_whole_images(tmp_path: Path) -> None:
    source = open_images(make_pictures(tmp_path / "p", 3))
    net, layers = make_network(), ["relu1", "relu2"]
    plan = plan_build(net, source, layers, maps=4, bands=True)
    assert str(plan) == (
        "3 images, 2 layers, 8 feature maps, 24 projections by deconvnet, and examples of the maps' bands"
    )
    assert (plan.n_bands, plan.n_hit_images) == (24, 3)
    plain = plan_build(net, source, layers, maps=4, wholes=False)
    assert plain.n_bands == 0
    assert plain.file_bytes < plan.file_bytes
    assert plain.identity == plan.identity  # so that either can be added to an atlas of the other
