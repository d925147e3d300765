"""The errors of what is seen: of 8-bit pictures, not of the float images that the search ends with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backlight import Network, Preprocessing, capture
from backlight.inversion import Inversion, InversionConfig, caricature, invert, spread_of
from backlight.inversion.codes import Coder
from backlight.inversion.colours import Colours
from conftest import captured_small_net

SIZE = 32


@pytest.fixture
def net() -> Network:
    """Return a small network with the preprocessing of a zoo."""
    preprocessing = Preprocessing(None, (SIZE, SIZE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return captured_small_net(preprocessing)


def stark() -> Image.Image:
    """Return a picture of black and white squares, which a search overshoots."""
    values = np.random.default_rng(0).integers(0, 2, (8, 8, 3)).repeat(4, 0).repeat(4, 1) * 255
    return Image.fromarray(values.astype(np.uint8))


def code(net: Network, layer: str, inputs: Tensor) -> Tensor:
    return Coder(net, layer).of_inputs(inputs).double()


def test_the_error_shown_is_that_of_the_saved_picture_read_back(net: Network, tmp_path: Path) -> None:
    wanted = stark()
    found = invert(net, wanted, "relu1", InversionConfig(restarts=2, strength=1e5))
    target = code(net, "relu1", net.prepare(wanted))
    errors = []
    for i, picture in enumerate(found.pictures):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        read = net.prepare(tmp_path / f"{i}.png")
        errors.append(float((code(net, "relu1", read) - target).norm() / target.norm()))
    np.testing.assert_allclose(found.shown.relative_errors, errors, rtol=1e-4)
    assert np.abs(found.relative_errors / np.array(errors) - 1).max() > 1e-3  # the float image's is another
    summary = found.summary()
    assert summary["picture_relative_error"] == found.shown.relative_errors.tolist()
    assert summary["relative_error"] == found.relative_errors.tolist()


def test_normalised_errors_of_pictures_are_in_the_same_units(net: Network) -> None:
    others = torch.rand(4, 3, SIZE, SIZE)
    spread = spread_of(net, others, "relu1")
    found = invert(net, stark(), "relu1", photographs=spread)
    for name in ("relative_errors", "normalised_errors"):
        ratio = getattr(found.shown, name) / getattr(found, name)
        np.testing.assert_allclose(ratio, np.sqrt(found.picture_goals / found.goals))
    np.testing.assert_allclose(
        found.shown.squared_errors / found.squared_errors,  # type: ignore[operator]
        found.picture_goals / found.goals,
    )


def test_other_goals_have_the_product_of_the_picture(net: Network) -> None:
    found = caricature(net, stark(), "relu2")
    wanted = code(net, "relu2", net.prepare(stark())).clamp_min(0)
    read = code(net, "relu2", net.prepare(found.picture))
    product = float((read * wanted).sum() / wanted.square().sum())
    assert found.summary()["picture_inner_product"] == pytest.approx([product], rel=1e-4)


def test_results_saved_before_it_was_measured_show_the_errors_that_they_have(
    net: Network, tmp_path: Path
) -> None:
    found = invert(net, stark(), "relu1")
    found.save(tmp_path / "new")
    assert Inversion.load(tmp_path / "new").picture_goals.tolist() == found.picture_goals.tolist()
    old = Inversion(**{name: value for name, value in vars(found).items() if name != "picture_goals"})
    assert old.shown.relative_errors.tolist() == found.relative_errors.tolist()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_what_is_shown_holds_whole_grey_levels_of_every_channel(channels: int) -> None:
    net = capture(nn.Conv2d(channels, 2, 3), (channels, 6, 6))
    colours = Colours.of(net)
    levels = torch.randn(2, channels, 6, 6) * 150
    shown = colours.to_shown(levels) + colours.mean
    expected = [min(max(round(float(v) + 127.5), 0), 255) for v in levels.flatten()]
    assert shown.flatten().tolist() == expected
    if channels == 3:
        pixels = torch.from_numpy(colours.to_pixels(levels)).permute(0, 3, 1, 2)
        assert pixels.flatten().tolist() == expected
