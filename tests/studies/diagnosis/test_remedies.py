"""Remedies on whole networks: of the zoo's families, saved and loaded, and without a trace in the user's model."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import backlight
from backlight.errors import RemedyError, WeightsError
from backlight.studies.diagnosis.remedies import (
    Twin,
    clip_filters,
    delete_maps,
    even_input,
    load_changed,
    low_pass,
    merge_maps,
    renormalise_maps,
)
from small_zoo import SMALL_ZOO
from studies.diagnosis.remedies.cut_zoo import SIDE, chain, depthwise, flattened, made


def _all_zeroed(net: backlight.Network, layer: str, channels: list[int], x: Tensor) -> Tensor:
    """Return the outputs of a network in which maps are zero, by running its graph node by node."""
    target, order = net.node(layer), net.layer(layer).order

    class Zeroing(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            value = super().run_node(n)
            return value.index_fill(order[1], torch.tensor(channels), 0) if n is target else value

    with torch.no_grad():
        return Zeroing(net.module).run(x)[0]


def _holds_for_every_layer(model: nn.Module, side: int, least: int) -> None:
    """Delete maps of each layer of a network, and hold the copy against the network in which they are zero."""
    net = backlight.capture(model, (3, side, side))
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    n_deleted = 0
    for layer in net.default_layers:
        channels = [0, layer.n_maps - 1]
        try:
            new = delete_maps(model, net, layer.name, channels, x).model
        except RemedyError as error:
            assert "cannot be deleted: " in str(error)
            continue
        n_deleted += 1
        wanted = _all_zeroed(net, layer.name, channels, x)
        with torch.no_grad():
            torch.testing.assert_close(new(x), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
        assert sum(p.numel() for p in new.parameters()) < sum(p.numel() for p in model.parameters())
    assert n_deleted >= least


@pytest.mark.parametrize(
    ("name", "least"),
    [("resnet", 5), ("densenet", 6), ("mobilenet_v2", 5), ("mobilenet_v3", 3), ("regnet", 1)],
)
def test_small_networks_of_the_zoos_families_lose_maps_exactly(name: str, least: int) -> None:
    _holds_for_every_layer(made(SMALL_ZOO[name]), 32, least)


@pytest.mark.parametrize(
    ("name", "side", "least"),
    [
        pytest.param("squeezenet1_1", 48, 25),
        pytest.param("resnet18", 48, 8, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 32, 25, marks=pytest.mark.slow),
        pytest.param("vgg11", 32, 8, marks=pytest.mark.slow),
        pytest.param("densenet121", 32, 40, marks=pytest.mark.slow),
    ],
)
def test_networks_of_the_zoo_lose_maps_exactly(name: str, side: int, least: int) -> None:
    _holds_for_every_layer(made(lambda: getattr(models, name)(num_classes=10)), side, least)


def test_networks_of_timm_lose_maps_exactly() -> None:
    timm = pytest.importorskip("timm")
    _holds_for_every_layer(made(lambda: timm.create_model("resnet10t", num_classes=10)), 32, 4)


# --- what comes out is an ordinary module ---------------------------------------------------------------------

REMEDIES: dict[str, Callable[[nn.Module, backlight.Network], nn.Module]] = {
    "delete": lambda model, net: delete_maps(model, net, "2", [1]).model,
    "merge": lambda model, net: merge_maps(model, net, "2", [Twin(0, of=1)]).model,
    "renormalise": lambda model, net: renormalise_maps(model, net, "2", [1]).model,
    "clip": lambda model, _: clip_filters(model).model,
    "low-pass": lambda model, net: low_pass(model, net).model,
}


@pytest.fixture
def model() -> nn.Module:
    return made(chain)


@pytest.mark.parametrize("remedy", REMEDIES)
def test_the_users_model_stays_bit_by_bit(model: nn.Module, remedy: str) -> None:
    model.train()  # whatever mode it is in
    before, parts = copy.deepcopy(model.state_dict()), list(model.modules())
    REMEDIES[remedy](model, backlight.capture(model, (3, SIDE, SIDE)))
    assert all(torch.equal(own, before[name]) for name, own in model.state_dict().items())
    assert list(model.modules()) == parts
    assert model.training
    assert (model[0].out_channels, model[3].stride) == (6, 2)


@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_new_model_shares_nothing_is_captured_and_trains_on(model: nn.Module, remedy: str) -> None:
    new = REMEDIES[remedy](model, backlight.capture(model, (3, SIDE, SIDE)))
    theirs = {own.data_ptr() for own in (*model.parameters(), *model.buffers())}
    assert not theirs & {own.data_ptr() for own in (*new.parameters(), *new.buffers())}
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(backlight.capture(new, (3, SIDE, SIDE))(x), new(x).detach())
    new.train()
    new(x).sum().backward()
    assert all(own.grad is not None and own.grad.shape == own.shape for own in new.parameters())


@pytest.mark.parametrize(
    ("make", "layer", "channels"),
    [(chain, "2", [1, 5]), (depthwise, "5", [0]), (depthwise, "2", [2]), (flattened, "2", [4])],
)
def test_weights_are_saved_and_loaded_into_the_models_own_class(
    make: Callable[[], nn.Module], layer: str, channels: list[int]
) -> None:
    model = made(make)
    if (make, layer) == (depthwise, "2"):
        # dead, this map makes a constant, so its reader gets a bias that the class does not give it
        model = nn.Sequential(*list(model)[:7])
    new = delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), layer, channels).model
    file = io.BytesIO()
    torch.save(new.state_dict(), file)
    file.seek(0)
    other = made(make, seed=1)
    other = nn.Sequential(*list(other)[: len(model)])
    loaded = load_changed(other, torch.load(file, weights_only=True))
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(x), new(x))
    assert type(loaded) is type(model)
    assert other[0].out_channels == made(make)[0].out_channels


def test_a_whole_model_is_saved_too(model: nn.Module) -> None:
    new = low_pass(model, backlight.capture(model, (3, SIDE, SIDE))).model
    file = io.BytesIO()
    torch.save(new, file)
    file.seek(0)
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.load(file, weights_only=False)(x), new(x))


def test_weights_of_another_model_are_refused(model: nn.Module) -> None:
    with pytest.raises(
        WeightsError, match=r"^these are not weights of a changed Sequential \(.*; give a model of the"
    ):
        load_changed(model, made(flattened).state_dict())


def test_wrapped_models_are_unwrapped() -> None:
    model = nn.DataParallel(made(chain))
    found = delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "2", [1])
    assert type(found.model) is nn.Sequential


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    model = made(chain)
    model.file = io.TextIOWrapper(io.BytesIO())
    with pytest.raises(RemedyError, match=r"Sequential cannot be copied \(.*TextIOWrapper"):
        delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "2", [1])


def test_an_input_made_even_is_captured() -> None:
    model = made(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()))
    new = even_input(model, backlight.capture(model, (3, SIDE, SIDE))).model
    assert backlight.capture(new, (3, SIDE, SIDE)).layer("model.1").shape == (4, 5, 5)
