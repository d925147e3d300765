"""Sanity checks: what random weights and other switches leave of a projection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import backlight
from backlight.errors import BadInputError
from backlight.images import SequenceSource
from backlight.network.weights import random_weights, weighted_below, with_weights
from backlight.studies import faithfulness, sanity
from backlight.studies.sanity import SWITCHES, Sanity, SanityConfig
from backlight.studies.sanity.similarity import METRICS, similarities
from conftest import SmallNet

PREPROCESSING = backlight.Preprocessing(None, (48, 48), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def _source(count: int) -> SequenceSource:
    generator = np.random.default_rng(7)
    return SequenceSource(
        [Image.fromarray(generator.integers(0, 256, (48, 48, 3), np.uint8)) for _ in range(count)]
    )


def _atlas(
    model: nn.Module, layer: str, path: Path, source: SequenceSource
) -> tuple[backlight.Atlas, backlight.Network]:
    net = backlight.capture(model, (3, 48, 48), PREPROCESSING)
    return backlight.build(net, source, path, [layer], top=2), net


# --- similarity -----------------------------------------------------------------------------------------------


def test_a_map_is_like_itself_whatever_its_scale_and_unlike_its_negative() -> None:
    one = np.random.default_rng(0).normal(size=(3, 64, 64))
    np.testing.assert_allclose(similarities(one, 3 * one), 1.0)
    negative = dict(zip(METRICS, similarities(one, -one), strict=True))
    assert negative["spearman"] == pytest.approx(-1)
    assert negative["spearman of magnitudes"] == pytest.approx(1)


def test_independent_maps_are_not_alike() -> None:
    generator = np.random.default_rng(1)
    found = np.array([similarities(*generator.normal(size=(2, 3, 96, 96))) for _ in range(20)]).mean(0)
    by_name = dict(zip(METRICS, found, strict=True))
    assert abs(by_name["spearman"]) < 0.005
    assert abs(by_name["spearman of magnitudes"]) < 0.005
    assert abs(by_name["ssim"]) < 0.03
    assert abs(by_name["hog"]) < 0.08


def test_a_zero_map_has_no_similarity_and_a_small_one_no_windows() -> None:
    one = np.random.default_rng(0).normal(size=(3, 4, 4))
    assert np.isnan(similarities(one, np.zeros_like(one))).all()
    assert np.isnan(similarities(one, one)[2:]).all()
    np.testing.assert_allclose(similarities(one, one)[:2], 1)


# --- other weights --------------------------------------------------------------------------------------------


def test_other_weights_are_a_network_of_their_own(small_net: SmallNet) -> None:
    net = backlight.capture(small_net, (3, 48, 48))
    image = torch.rand(1, 3, 48, 48)
    before = net(image)
    first, second, last = weighted_below(net, net.layer("fc"))
    assert [w.name for w in (first, second, last)] == ["conv1", "conv2", "fc"]
    other = with_weights(net, random_weights(net, second, np.random.default_rng(0)))
    assert not torch.allclose(other(image), before)
    assert torch.equal(net(image), before)
    own, drawn = (n.module.get_buffer(second.weight) for n in (net, other))
    assert drawn.std() == pytest.approx(float(own.std()), rel=0.1)
    assert abs(float(torch.corrcoef(torch.stack([own.flatten(), drawn.flatten()]))[0, 1])) < 0.1
    assert not other.module.get_buffer(second.bias).any()
    assert torch.equal(other.module.get_buffer(first.weight), net.module.get_buffer(first.weight))
    assert [layer.name for layer in other.layers] == [layer.name for layer in net.layers]


def test_weights_above_the_layer_are_not_among_those_below(small_net: SmallNet) -> None:
    net = backlight.capture(small_net, (3, 48, 48))
    assert [w.name for w in weighted_below(net, net.layer("relu1"))] == ["conv1"]


# --- the study ------------------------------------------------------------------------------------------------


def test_a_filter_is_all_that_a_first_layer_shows(tmp_path: Path, small_net: SmallNet) -> None:
    source = _source(6)
    atlas, net = _atlas(small_net, "relu1", tmp_path / "a.atlas", source)
    result = sanity.run(atlas, net, source, "relu1", SanityConfig(maps=8, hits=2))
    assert result.weights == ("conv1",)
    assert np.abs(np.nanmean(result.top_down[:, 0, :, 0], 1)).max() < 0.25  # 16 hits of 27 pixels
    np.testing.assert_array_equal(result.top_down, result.one_by_one)
    assert np.isnan(result.switches).all()  # no max pool below


def test_weights_and_switches_change_what_is_shown(tmp_path: Path, small_net: SmallNet) -> None:
    source = _source(6)
    atlas, net = _atlas(small_net, "relu2", tmp_path / "a.atlas", source)
    calls: list[tuple[str, int, int]] = []
    result = sanity.run(
        atlas, net, source, None, SanityConfig(maps=6), progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == ("sanity", 7, 7)
    assert result.weights == ("conv1", "conv2")
    assert result.top_down.shape == (3, 2, 6, len(METRICS))
    assert result.switches.shape == (3, len(SWITCHES), 6, len(METRICS))
    deconvnet = result.rules.index("deconvnet")
    all_random, top_random = np.nanmean(result.top_down[deconvnet, :, :, 0], 1)
    assert all_random < 0.5
    assert all_random < top_random < 0.999
    assert np.nanmax(np.nanmean(result.switches[deconvnet, :, :, 0], 1)) < 0.9
    np.testing.assert_array_equal(result.top_down[:, -1], result.one_by_one[:, -1])


def test_the_switches_of_the_same_image_change_nothing(tmp_path: Path, small_net: SmallNet) -> None:
    picture = _source(1).load(0)
    source = SequenceSource([picture] * 3)
    atlas, net = _atlas(small_net, "relu2", tmp_path / "a.atlas", source)
    result = sanity.run(atlas, net, source, config=SanityConfig(maps=4))
    lent = result.switches[0, SWITCHES.index("other image"), :, 0]
    np.testing.assert_allclose(lent, 1.0)


def test_it_comes_again_with_its_seed_and_from_its_files(tmp_path: Path, small_net: SmallNet) -> None:
    source = _source(4)
    atlas, net = _atlas(small_net, "relu2", tmp_path / "a.atlas", source)
    first, again, other = (
        sanity.run(atlas, net, source, config=SanityConfig(3, 1, seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.switches, again.switches)
    np.testing.assert_array_equal(first.top_down, again.top_down)
    assert not np.array_equal(first.top_down, other.top_down)
    first.save(tmp_path / "r")
    back = Sanity.load(tmp_path / "r")
    np.testing.assert_array_equal(back.one_by_one, first.one_by_one)
    assert back.summary() == first.summary()
    assert first._repr_png_().startswith(b"\x89PNG")
    # the longest names of SqueezeNet's layers have room
    named = replace(first, weights=("features.10.squeeze", "features.10.expand3x3"))
    names = [label.get_text() for axes in named.plot().axes for label in axes.get_xticklabels()]
    assert {*named.weights} <= {*names}


class Squashed(nn.Module):
    """A sigmoid on the path, which the deconvnet refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 5, stride=2), nn.Conv2d(6, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.sigmoid(self.first(x)) - 0.5))


def test_rule_sets_that_do_not_cover_all_operators_are_left_out(tmp_path: Path) -> None:
    source = _source(4)
    net = backlight.capture(Squashed(), (3, 48, 48), PREPROCESSING)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu"], top=2, rules=backlight.GRADIENT)
    assert sanity.run(atlas, net, source, config=SanityConfig(4)).rules == ("gradient",)
    found = faithfulness.run(
        atlas, net, source, config=faithfulness.FaithfulnessConfig(shares=(0.2,), fills=("mean",))
    )
    missing = np.isnan(found.falls).all((0, 2, 3))
    assert [name for name, gone in zip(found.methods, missing, strict=True) if gone] == [
        "deconvnet",
        "guided",
    ]
    assert found.advised_rules("relu") == "gradient"
    assert found.verdict("relu").falls["deconvnet"] is None
    assert found._repr_png_().startswith(b"\x89PNG")


def test_a_layer_without_weights_and_a_negative_seed_are_refused(tmp_path: Path) -> None:
    source = _source(3)
    net = backlight.capture(nn.Sequential(nn.MaxPool2d(4), nn.ReLU()), (3, 48, 48), PREPROCESSING)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["1"], top=2)
    with pytest.raises(
        BadInputError, match="layer '1' has no weights below it to replace; choose a later one"
    ):
        sanity.run(atlas, net, source, config=SanityConfig(3))
    for config in (SanityConfig, faithfulness.FaithfulnessConfig):
        with pytest.raises(BadInputError, match="seed must be at least 0, got -1"):
            config(seed=-1)


def test_too_few_hits_are_refused(tmp_path: Path, small_net: SmallNet) -> None:
    with pytest.raises(BadInputError, match="at least two hits are needed, got 1 map of 1 hit"):
        SanityConfig(maps=1)
    source = _source(1)
    net = backlight.capture(small_net, (3, 48, 48), PREPROCESSING)
    atlas = backlight.build(net, source, tmp_path / "a.atlas", ["relu2"], maps=1)
    with pytest.raises(BadInputError, match="has fewer than two hits to study"):
        sanity.run(atlas, net, source)
