"""Loud filters: scaled down without a change of what the network computes, or clipped as in the paper."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import backlight
from backlight.errors import BadInputError, RemedyError
from backlight.studies.diagnosis.remedies import clip_filters, filter_rms, renormalise_maps
from studies.diagnosis.remedies.cut_zoo import (
    SIDE,
    Fire,
    Residual,
    captured,
    chain,
    depthwise,
    flattened,
    made,
)

X = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


class Before(nn.Module):
    """Norms that stand before their convolutions, as in DenseNet: two readers, one of them a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 2, 1)
        self.inside = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(self.norm(torch.cat([self.inside(x), x], 1))))


def _louder(model: nn.Module, path: str, channel: int) -> None:
    with torch.no_grad():
        model.get_submodule(path).weight[channel] *= 10


@pytest.mark.parametrize(
    ("make", "layer", "scaled", "channel"),
    [
        (chain, "2", "1", 3),
        (chain, "6", "5", 0),
        (Fire, "relu1", "squeeze", 2),
        (Fire, "relu3", "three", 5),
        (flattened, "2", "1", 4),
        (flattened, "7", "6", 1),
        (Before, "relu", "stem", 5),
        # the reader is a depthwise convolution, which has weights of its own for the map
        (depthwise, "2", "1", 1),
        (lambda: chain(rectifier=lambda: nn.LeakyReLU(0.1)), "2", "1", 2),
        (
            lambda: nn.Sequential(nn.ConvTranspose2d(3, 5, 2), nn.ReLU(), nn.ConvTranspose2d(5, 2, 2)),
            "1",
            "0",
            2,
        ),
    ],
)
def test_a_loud_filter_gets_the_median_and_the_network_computes_the_same(
    make: Callable[[], nn.Module], layer: str, scaled: str, channel: int
) -> None:
    model = made(make)
    if isinstance(model[0] if isinstance(model, nn.Sequential) else None, nn.ConvTranspose2d):
        with torch.no_grad():
            model[0].weight[:, channel] *= 10
    else:
        _louder(model, scaled, channel)
    net = backlight.capture(model, (3, SIDE, SIDE))
    before = filter_rms(model, net, layer)
    assert int(before.argmax()) == channel
    new = renormalise_maps(model, net, layer, [channel], X).model
    torch.testing.assert_close(new(X), model(X), rtol=1e-4, atol=1e-5)
    after = filter_rms(new, backlight.capture(new, (3, SIDE, SIDE)), layer)
    assert float(after[channel]) == pytest.approx(float(before.median()), rel=1e-5)
    others = [c for c in range(len(before)) if c != channel]
    torch.testing.assert_close(after[others], before[others], rtol=1e-6, atol=0)


def test_the_rms_is_that_of_the_filter_behind_its_norm() -> None:
    model, net = captured(chain)
    conv, norm = model[0], model[1]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    wanted = [(conv.weight[c] * scale[c]).square().mean().sqrt().item() for c in range(6)]
    assert filter_rms(model, net, "2").tolist() == pytest.approx(wanted, rel=1e-5)


def test_several_filters_get_a_size_that_is_given() -> None:
    model, net = captured(chain)
    found = renormalise_maps(model, net, "2", [0, 4], X, rms=0.05)
    after = filter_rms(found.model, backlight.capture(found.model, (3, SIDE, SIDE)), "2")
    assert after[[0, 4]].tolist() == pytest.approx([0.05, 0.05], rel=1e-5)
    torch.testing.assert_close(found.model(X), model(X), rtol=1e-4, atol=1e-5)
    assert "scaled from RMS" in found.done
    assert found.done.endswith("to 0.05, the readers' weights with them")


def test_without_compensation_the_network_is_another() -> None:
    model = made(chain)
    whole = made(chain)
    _louder(model, "1", 3)
    net = backlight.capture(model, (3, SIDE, SIDE))
    rms = float(filter_rms(whole, backlight.capture(whole, (3, SIDE, SIDE)), "2")[3])
    new = renormalise_maps(model, net, "2", [3], X, rms=rms, exactly=False).model
    # scaled back, the weight is what it was; the shift is scaled with it
    torch.testing.assert_close(new[1].weight, whole[1].weight)
    torch.testing.assert_close(new[1].bias[3], whole[1].bias[3] / 10)
    assert torch.equal(new[4].weight, model[4].weight)


@pytest.mark.parametrize(
    ("make", "layer", "reason"),
    [
        # it saturates at 6, which none of the inputs that the copy is checked on reaches
        (depthwise, "5", r"what '5' \(hardtanh\) gives does not scale with them"),
        (lambda: chain(rectifier=nn.SiLU), "2", r"what '2' \(silu\) gives does not scale with them"),
        (lambda: chain(rectifier=nn.GELU), "2", r"what '2' \(gelu\) gives does not scale with them"),
        (Residual, "relu", "'add' joins them with other maps"),
        (chain, "7", "part of what the model returns"),
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Conv2d(4, 2, 1)
            ),
            "2",
            "the batch norm behind them has no weights of its own",
        ),
    ],
)
def test_what_cannot_be_made_up_for_is_refused(
    make: Callable[[], nn.Module], layer: str, reason: str
) -> None:
    with pytest.raises(RemedyError, match=rf"^map 1 of '{layer}' cannot be scaled exactly: .*{reason}"):
        renormalise_maps(*captured(make), layer, [1], X)


def test_an_empty_filter_is_none_to_scale() -> None:
    model = made(chain)
    with torch.no_grad():
        model[0].weight[2] = 0
    net = backlight.capture(model, (3, SIDE, SIDE))
    with pytest.raises(BadInputError, match=r"the filter of map 2 of '2' is empty; delete the map instead"):
        renormalise_maps(model, net, "2", [2])
    with pytest.raises(BadInputError, match=r"^rms must be above 0, got 0.0$"):
        renormalise_maps(model, net, "2", [1], rms=0.0)


def test_maps_of_several_convolutions_have_no_filters_of_one_layer() -> None:
    with pytest.raises(RemedyError, match="the maps of 'cat' are made by several convolutions"):
        filter_rms(*captured(Fire), "cat")


def test_clipping_is_the_papers() -> None:
    model = made(chain)
    wanted = made(chain)
    n_changed = sum(backlight.renormalise_filters_(wanted, 0.15).values())
    found = clip_filters(model, 0.15)
    assert n_changed > 0
    assert found.done == f"{n_changed} filters clipped to RMS 0.15"
    assert all(torch.equal(own, wanted.state_dict()[name]) for name, own in found.model.state_dict().items())
