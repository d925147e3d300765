"""Calls as people write them: one layer by its name, one map by its number, studies without a second import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import backlight
from backlight.network import Network
from backlight.scan import choose_layers, scan
from conftest import SmallNet, make_pictures

PLAIN = backlight.Preprocessing(None, (32, 32), (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def net() -> Network:
    torch.manual_seed(0)
    return backlight.capture(SmallNet(), (3, 32, 32), PLAIN)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("few") / "pictures", 4)


@pytest.fixture(scope="module")
def atlas(net: Network, pictures: Path) -> backlight.Atlas:
    return backlight.build(net, pictures, pictures.parent / "a.atlas", "relu1", top=2, maps=[1, 5])


def test_one_layer_is_given_by_its_name(net: Network, pictures: Path, atlas: backlight.Atlas) -> None:
    assert list(atlas) == ["relu1"]
    batch = torch.rand(2, 3, 32, 32)
    assert choose_layers(net, "relu1") == choose_layers(net, ["relu1"]) == (net.layer("relu1"),)
    assert list(scan(net, batch, "relu1", top=1).layers) == ["relu1"]
    assert torch.equal(net.features("relu1")(batch)[0], net.features([net.layer("relu1")])(batch)[0])
    few = backlight.studies.invariance.InvarianceConfig(translation=(2,), scale=(1.0,), rotation=(0.0,))
    assert backlight.studies.invariance.run(net, batch, "relu1", config=few).layers == ("relu1",)
    config = backlight.studies.faithfulness.FaithfulnessConfig(maps=1, hits=1, shares=(0.2,), fills=("mean",))
    found = backlight.studies.faithfulness.run(atlas, net, pictures, "relu1", config)
    assert found.layers == ("relu1",)
    assert backlight.studies.homogeneity.run(atlas, "relu1").layers == ("relu1",)


def test_one_map_of_a_figure_is_given_by_its_number(atlas: backlight.Atlas) -> None:
    for draw in (atlas.figure, atlas.superposed):
        assert np.array_equal(np.asarray(draw("relu1", 5)), np.asarray(draw("relu1", [5])))


def test_a_map_that_was_not_projected_is_a_card(atlas: backlight.Atlas) -> None:
    shown, other = atlas["relu1"][1], atlas["relu1"][0]
    assert "Map 1" in str(shown._repr_html_())
    assert "No picture" not in str(shown._repr_html_())
    assert shown._repr_png_()
    assert other._repr_png_() is None
    card = other._repr_html_()
    assert card is not None
    assert "relu1, feature map 0: mean activation" in card
    assert "it was not projected; extend(net, images, path, layer, maps=[channel]) adds it" in card


def test_hits_that_wait_for_their_projections_are_cards(net: Network, pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "begun.atlas"

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "project" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backlight.build(net, pictures, path, top=1, maps=[1], batch_size=1, progress=stop)
    feature_map = backlight.open_atlas(path)["relu1"][1]
    for thing in (feature_map, feature_map.hits[0]):
        assert thing._repr_png_() is None
        assert "is not projected yet; call build again as before to resume it" in str(thing._repr_html_())
    layer = backlight.open_atlas(path)["relu1"]
    assert "is not projected yet; call build again as before to resume it" in str(layer._repr_html_())


def test_parts_of_the_package_are_there_after_import() -> None:
    assert {"adaptive", "studies", "build"} <= set(dir(backlight))
    assert {"faithfulness", "sanity"} <= set(dir(backlight.studies))
    assert backlight.adaptive.AdaptiveConfig is not backlight.studies.sanity.SanityConfig
    with pytest.raises(AttributeError, match=r"^No backlight attribute adaptivee$"):
        backlight.adaptivee  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'backlight.studies' has no attribute 'sanityy'"):
        backlight.studies.sanityy  # noqa: B018
