"""The example of recognition runs on a tiny set, and counts and pools right; how well it recognises is not tested."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backlight.adaptive import AdaptiveDeconvNet, LayerCode
from backlight.adaptive.decomposition import single, strongest_activations
from backlight.adaptive.operators import Reconstruction

pytest.importorskip("sklearn", reason="the example needs scikit-learn: pip install 'backlight[examples]'")
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])
    import adaptive_recognition

    return adaptive_recognition


@pytest.fixture
def stripes(tmp_path):
    """Folders of pictures with stripes along rows, along columns, and of noise."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 4)):
        for name, axis in (("rows", 0), ("cols", 1), ("noise", None)):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                wave = np.sin(np.arange(32) * generator.uniform(1.0, 1.6) + generator.uniform(0, 6))
                pixels = 110 + generator.normal(0, 25 if axis is None else 3, (32, 32))
                if axis is not None:
                    pixels += 60 * (wave[:, None] if axis == 0 else wave[None])
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                    tmp_path / part / name / f"{i}.png"
                )
    return tmp_path


def test_it_prints_a_table(example, stripes, capsys):
    settings = example.Settings(train=30, test=12, learned_on=6, epochs=1, strongest=2, words=8)
    found = example.recognise(stripes, settings)
    printed = capsys.readouterr().out
    assert "30 training images, 12 counted (test images), 3 classes" in printed
    assert list(found) == ["raw pixels", "HOG", "layer 1", "layer 3, 2 strongest", "both"]
    assert f"| both | 336 | {found['both']:.1%} |" in printed
    assert found["HOG"] > 0.5  # the set can be told apart, so the SVM and the labels are right


def test_to_validate_looks_at_no_test_image(example, stripes, monkeypatch, capsys):
    settings = example.Settings(train=20, learned_on=4, epochs=1, layer=2, strongest=2, words=4)
    read = example.read
    monkeypatch.setattr(
        example, "read", lambda folder, part, *rest: read(folder, {"train": part}[part], *rest)
    )
    example.recognise(stripes, settings, validate=True)
    assert "4 counted (the last fifth of the training images)" in capsys.readouterr().out


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_activations_are_projected_one_by_one(example, layer):
    net = AdaptiveDeconvNet(example.CONFIG)
    codes = net.infer(torch.randn(2, 1, 32, 32))
    settings = example.Settings(layer=layer, strongest=3)
    found = example.project_activations(net, codes, settings)
    assert found.shape == (6, *codes[1].shape)
    below = Reconstruction(net.filters[:1])
    for image in range(2):
        own: LayerCode = codes.of(image)[layer]
        whole = Reconstruction(net.filters[:layer], codes.of(image).below(layer))
        for i, one in enumerate(strongest_activations(own.maps[0], layer, 3)):
            pixels = whole(single([one], own.shape, own.pooled))
            torch.testing.assert_close(below(found[3 * image + i][None]), pixels, rtol=1e-4, atol=1e-5)


def test_a_descriptor_holds_the_quarters_of_its_patch(example):
    settings = example.Settings(patch=4, spacing=2)
    maps = torch.zeros(1, 2, 8, 10)
    maps[0, 1, 3, 6] = -5.0
    values, known = example.describe(maps, settings)
    assert values.shape == (1, 3, 4, 8)
    # The patch at rows 2 to 5 and columns 4 to 7 has it in its upper right quarter, of map 1.
    assert values[0, 1, 2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert known[0].nonzero().tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert not values[~known].any()


def test_a_pyramid_counts_words_in_each_cell(example):
    words = torch.eye(2)
    descriptors = words[torch.tensor([[0, 0, 1, 1]] * 4)][None]  # the left half is of word 0
    known = torch.ones(1, 4, 4, dtype=torch.bool)
    known[0, 0, 0] = False
    (found,) = example.pyramids(descriptors, known, words)
    assert float(found.sum()) == pytest.approx(1)
    one, four = found[:2] * 15 * 4, found[2:10].view(4, 2) * 15 * 4
    assert one.round().tolist() == [7, 8]
    assert four.round().tolist() == [[3, 0], [0, 4], [4, 0], [0, 4]]
    sixteen = found[10:].view(4, 4, 2) * 15 * 2
    assert sixteen[0, 0].tolist() == [0, 0]
    assert sixteen[1].round().tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


def test_the_interval_is_wilsons(example):
    assert example.interval(0.5, 100) == pytest.approx((0.404, 0.596), abs=1e-3)
    assert example.interval(0.0, 10) == pytest.approx((0.0, 0.278), abs=1e-3)


def test_c_is_chosen_without_what_is_counted(example):
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(60, 5)), generator.integers(0, 2, 60)
    others = np.concatenate([labels[:40], 1 - labels[40:]])
    one = example.classify(features, labels, 40, False)
    other = example.classify(features, others, 40, False)
    assert (one[0] + other[0], one[1]) == pytest.approx((1.0, other[1]))


def test_pictures_of_another_size_are_brought_to_the_networks(example, stripes):
    path = stripes / "train" / "rows" / "0.png"
    Image.open(path).resize((50, 40)).save(path)
    data = example.read(stripes, "train", 30, 0)
    assert {own.size for own in data.pictures} == {(32, 32)}
    assert replace(example.CONFIG, layers=example.CONFIG.layers[:1]).size == (32, 32)
