"""A search: restarts and images do not depend on each other, frames show the way, a unit weighs by its field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backlight import Network, Unit, capture
from backlight.errors import BadInputError
from backlight.inversion import InversionConfig, caricature, invert, invert_all, maximise
from backlight.inversion.codes import Coder
from backlight.inversion.colours import Colours
from backlight.inversion.search import Task, search, starts
from inversion.refusing import refused


def test_a_restart_does_not_depend_on_the_others(net: Network, picture: Image.Image, quick: None) -> None:
    one, three = (invert(net, picture, "relu2", InversionConfig("quick", restarts=n)) for n in (1, 3))
    np.testing.assert_allclose(three.images[0], one.images[0], atol=1e-4)
    assert abs(three.images[1] - three.images[0]).max() > 0.1
    assert three.best == int(three.goals.argmin())


def test_an_image_does_not_depend_on_its_batch(net: Network, picture: Image.Image, quick: None) -> None:
    other = picture.rotate(90)
    both = invert_all(net, [other, picture], "relu2", InversionConfig("quick", restarts=2))
    alone = invert(net, picture, "relu2", InversionConfig("quick", restarts=2))
    np.testing.assert_allclose(both[1].images, alone.images, atol=1e-4)
    np.testing.assert_array_equal(both[1].original, alone.original)


def test_the_answer_is_compared(net: Network, picture: Image.Image) -> None:
    found = invert(net, picture, "fc")
    assert found.label == int(net(net.prepare(picture)).argmax())
    assert found.same_label is not None
    assert found.same_label[0] == (int(net(torch.tensor(found.images)).argmax()) == found.label)
    assert found.same_label.all()


def test_ctrl_c_while_the_pictures_are_made_keeps_what_was_found(
    net: Network, picture: Image.Image, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, presses = Colours.to_pixels, []

    def pressed(self: Colours, levels: torch.Tensor) -> object:
        presses.append(1)
        if len(presses) <= n_presses:
            raise KeyboardInterrupt
        return plain(self, levels)

    whole = invert(net, picture, "relu2", InversionConfig("quick", frames=3))
    monkeypatch.setattr(Colours, "to_pixels", pressed)
    n_presses = 1
    found = invert(net, picture, "relu2", InversionConfig("quick", frames=3))
    assert (whole.stopped, found.stopped) == ("finished", "interrupted")
    assert np.array_equal(found.images, whole.images)
    assert np.array_equal(found.frames, whole.frames)
    presses, n_presses = [], 2
    with pytest.raises(KeyboardInterrupt):
        invert(net, picture, "relu2", InversionConfig("quick"))


def test_frames_show_the_way(net: Network, picture: Image.Image, quick: None) -> None:
    found = invert(net, picture, "relu2", InversionConfig("quick", restarts=2, frames=6))
    assert found.frames.shape == (len(found.frame_steps), 2, 32, 32, 3)
    assert list(found.frame_steps) == sorted(set(found.frame_steps))
    assert found.frame_steps[-1] == 24
    np.testing.assert_array_equal(found.frames[-1], found.pictures)
    assert (found.frames[0] != found.frames[-1]).any()


@pytest.mark.parametrize(
    ("recipe", "strength", "weight"),
    [
        ("default", None, 10_000 / 9),
        ("cvpr2015", None, 10_000 / 9),
        ("cvpr2015", 3.0, 10_000 / 9),
        ("ijcv2016", 3.0, 3.0),
    ],
)
def test_a_unit_weighs_by_its_field_unless_a_weight_is_given(
    recipe: str, strength: float | None, weight: float, net: Network
) -> None:
    task = Task(Coder(net, "conv1"), "maximise", InversionConfig(recipe, strength))
    assert task.recipe.weight == pytest.approx(weight)


@pytest.mark.parametrize("layer", ["3", "0"])
def test_a_unit_of_a_network_with_fixed_sizes_is_maximised(layer: str) -> None:
    """Jitter makes the canvas larger than what such a network takes."""
    model = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    fixed = capture(model, (3, 32, 32))
    found = maximise(fixed, Unit(layer, 1))
    assert -found.goals[0] > 0
    assert found.images.shape == (1, 3, 32, 32)


def test_a_dead_code(net: Network) -> None:
    refused(
        BadInputError,
        "selected activations of layer 'relu2' are all zero, so there is nothing to match",
        invert,
        net,
        torch.zeros(12, 8, 8),
        "relu2",
    )
    code = torch.zeros(12, 8, 8)
    code[3] = 1
    refused(
        BadInputError,
        "are all zero, so there is nothing to match",
        invert,
        net,
        code,
        "relu2",
        InversionConfig(channels=(1, 2)),
    )


def test_nothing_to_exaggerate() -> None:
    class Below(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -torch.relu(x) - 1

    net = capture(Below(), (3, 8, 8))
    refused(
        BadInputError,
        "no selected activation of layer 'sub' is positive, so there is nothing to exaggerate",
        caricature,
        net,
        torch.rand(3, 8, 8),
        net.layers[-1].name,
    )


def test_every_code_has_the_same_starts_on_a_canvas_with_room_for_the_jitter(
    net: Network, quick: None
) -> None:
    task = Task(Coder(net, "relu2"), "invert", InversionConfig("quick", restarts=2))
    found, edge = starts(task, task.recipe, 3), task.place.jitter - 1
    assert found.shape == (6, 3, 32 + edge, 32 + edge)
    for code in (1, 2):
        assert torch.equal(found[2 * code : 2 * code + 2], found[:2])
    assert not torch.equal(found[0], found[1])
    more = Task(task.coder, "invert", InversionConfig("quick", restarts=3))
    assert torch.equal(starts(more, task.recipe, 1)[:2], found[:2])


def test_noise_is_scaled_to_the_recipes_spread(net: Network) -> None:
    task = Task(Coder(net, "relu2"), "invert", InversionConfig(seed=4))
    normal, uniform = (replace(task.recipe, start=kind, spread=50.0) for kind in ("normal", "uniform"))
    assert float(starts(task, normal, 1).square().mean().sqrt()) == pytest.approx(50, rel=1e-4)
    values = starts(task, uniform, 1).abs().flatten()
    assert float((values < 50).float().mean()) == pytest.approx(0.95, abs=1e-3)


def test_an_output_that_there_is_not_is_refused_before_the_search(net: Network, quick: None) -> None:
    steps: list[int] = []
    task = Task(Coder(net, "relu2"), "invert", InversionConfig("quick", output="logits"))
    with pytest.raises(BadInputError, match="logits"):
        search(task, torch.ones(1, 12, 8, 8), None, ["a"], lambda phase, done, total: steps.append(done))
    assert steps == []
