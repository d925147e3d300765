"""What a training says of its layers is what the saved network gives when it is loaded and used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from backlight.adaptive import (
    CODE_VALUES,
    AdaptiveConfig,
    AdaptiveDeconvNet,
    Block,
    LayerConfig,
    LayerMeasure,
    Learning,
    Unpooling,
)
from backlight.adaptive.inference import settle
from backlight.adaptive.learning import steps_of
from backlight.adaptive.operators import Reconstruction
from backlight.adaptive.training import Training
from replicas.compare import same_bits

CONFIG = AdaptiveConfig(
    (
        LayerConfig(4, filter=3, block=Block(2, 2, 2), weight=3.0),
        LayerConfig(3, filter=3, block=Block(2, 2), weight=2.0),
    ),
    size=(12, 11),
    contrast=None,
    steps=4,
)
LEARNING = Learning(epochs=3, batch=3, sample=2)
IMAGES = np.random.default_rng(0).standard_normal((7, 1, 12, 11)).astype(np.float32)


@pytest.fixture
def fitted() -> AdaptiveDeconvNet:
    """Return a network that has learned a little."""
    net = AdaptiveDeconvNet(CONFIG, seed=1)
    net.fit(IMAGES, LEARNING)
    return net


def test_the_measures_are_what_the_saved_network_gives(fitted: AdaptiveDeconvNet, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.adn")
    net, images = AdaptiveDeconvNet.load(tmp_path / "m.adn"), torch.from_numpy(IMAGES)
    assert net.measures == fitted.measures
    assert [own.layer for own in net.measures] == [1, 2]
    for values, key in zip(CODE_VALUES, ("error", "shrunk_error"), strict=True):
        codes = net.infer(images, values=values)
        for own in net.measures:
            error = float((net.reconstruct(codes, own.layer) - images).norm() / images.norm())
            assert getattr(own, key) == pytest.approx(error, rel=1e-5)
            assert own.active_share == pytest.approx(float(codes[own.layer].active_share.mean()), rel=1e-5)


def test_the_measures_are_not_those_of_the_last_epoch(fitted: AdaptiveDeconvNet) -> None:
    for own in fitted.measures:
        last = fitted.history[own.layer * LEARNING.epochs - 1]
        assert last.layer == own.layer
        assert own.error < 0.95 * own.shrunk_error
        assert abs(own.shrunk_error - last.error) > 0.01


def test_a_training_keeps_its_measures_over_a_stop(fitted: AdaptiveDeconvNet, tmp_path: Path) -> None:
    net, kept = AdaptiveDeconvNet(CONFIG, seed=1), tmp_path / "m.adn.part"

    def stop(phase: str, done: int, total: int) -> None:
        if phase == "layer 2" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        net.fit(IMAGES, LEARNING, stop, kept)
    assert net.measures == ()
    seen: list[str] = []
    net.fit(IMAGES, LEARNING, lambda phase, *_: seen.append(phase), kept)
    assert "codes 1" not in seen  # layer 1 is not measured again
    assert net.measures == fitted.measures


def test_training_keeps_the_published_values() -> None:
    training = Training(CONFIG, LEARNING, IMAGES)
    training.run()
    some, state = slice(0, LEARNING.batch), training.state
    below = Unpooling(torch.from_numpy(state.switches[0][some]), CONFIG.layers[0].block, CONFIG.shapes()[0])
    how = steps_of(CONFIG.layers[1], state.squared_norms[1])
    whole = Reconstruction(tuple(state.filters), (below,))
    expected = settle(torch.from_numpy(IMAGES[some]), whole, how, CONFIG.steps)
    assert expected.pooled.any()
    same_bits(torch.from_numpy(state.pooled[some]), expected.pooled)
    same_bits(torch.from_numpy(state.switches[1][some]), expected.switches)


def test_a_file_of_an_older_version_has_no_measures(fitted: AdaptiveDeconvNet, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.adn")
    with safe_open(tmp_path / "m.adn", "numpy") as file:
        (key, text), arrays = (
            next(iter(file.metadata().items())),
            {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
        )
    facts = json.loads(text)
    assert facts.pop("measures")
    del facts["checksum"]
    save_file(arrays, tmp_path / "old.adn", {key: json.dumps(facts | {"format": "1"})})
    net = AdaptiveDeconvNet.load(tmp_path / "old.adn")
    assert net.measures == ()
    assert net.history == fitted.history
    assert isinstance(fitted.measures[0], LayerMeasure)
