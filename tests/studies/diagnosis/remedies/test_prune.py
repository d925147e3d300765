"""Deleted maps leave exactly the network in which they are zero, merged ones that in which they are multiples."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import backlight
from backlight.errors import BadInputError, RemedyError
from backlight.studies.diagnosis.remedies import Twin, delete_all, delete_maps, merge_maps
from studies.diagnosis.remedies.cut_zoo import (
    SIDE,
    Baked,
    Fire,
    Gated,
    Residual,
    Shuffled,
    captured,
    chain,
    channels_last,
    depthwise,
    flattened,
    grouped,
    made,
)

X = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def _with_zeroed(model: nn.Module, path: str, channels: list[int], x: Tensor) -> Tensor:
    """Return what a model gives where a module's maps are zero: by a hook, and without anything of the package."""

    def zeroed(_: nn.Module, __: object, out: Tensor) -> Tensor:
        return out.index_fill(1, torch.tensor(channels), 0)

    model = copy.deepcopy(model)
    model.get_submodule(path).register_forward_hook(zeroed)
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize(
    ("make", "path", "channels", "widths"),
    [
        # the widths are those of all convolutions and linear maps afterwards, (in, out)
        (chain, "2", [1, 4], [(3, 4), (4, 8), (8, 4)]),
        (chain, "6", [0], [(3, 6), (6, 7), (7, 4)]),
        (Fire, "relu1", [3], [(3, 3), (3, 5), (3, 6), (11, 3)]),
        (Fire, "relu2", [0, 4], [(3, 4), (4, 3), (4, 6), (9, 3)]),
        (Fire, "relu3", [2], [(3, 4), (4, 5), (4, 5), (10, 3)]),
        # a depthwise convolution loses the map below it too, and the maps that it makes of it
        (depthwise, "5", [2], [(3, 5), (5, 5), (5, 8), (8, 16), (16, 2)]),
        (depthwise, "11", [6, 7], [(3, 6), (6, 6), (6, 7), (7, 14), (14, 2)]),
        (flattened, "2", [1, 3], [(3, 3), (48, 7), (7, 3)]),
        (flattened, "7", [6], [(3, 5), (80, 6), (6, 3)]),
        (grouped, "3", [1, 6], [(3, 8), (8, 6), (6, 2)]),
    ],
)
def test_a_copy_without_maps_is_the_network_in_which_they_are_zero(
    make: Callable[[], nn.Module], path: str, channels: list[int], widths: list[tuple[int, int]]
) -> None:
    model, net = captured(make)
    found = delete_maps(model, net, path, channels, X)
    torch.testing.assert_close(found.model(X), _with_zeroed(model, path, channels, X), rtol=1e-4, atol=1e-5)
    kinds = (nn.Conv2d, nn.Linear)
    sizes = [
        (own.in_channels, own.out_channels)
        if isinstance(own, nn.Conv2d)
        else (own.in_features, own.out_features)
        for own in found.model.modules()
        if isinstance(own, kinds)
    ]
    assert sizes == widths
    assert type(found.model) is type(model)


def test_norms_and_slopes_of_each_map_lose_theirs() -> None:
    model, net = captured(flattened)
    new = delete_maps(model, net, "2", [0]).model
    norm, slopes = new[1], new[2]
    assert (norm.num_features, len(norm.running_mean), len(norm.running_var), len(norm.bias)) == (4, 4, 4, 4)
    assert (slopes.num_parameters, len(slopes.weight)) == (4, 4)
    assert torch.equal(norm.running_mean, model[1].running_mean[1:])
    # 4 x 4 columns for each map, in the order of the maps
    assert torch.equal(new[6].weight, model[6].weight[:, 16:])


def test_what_turns_and_splits_maps_is_followed() -> None:
    model = made(Shuffled)
    net = backlight.capture(model, (3, SIDE, SIDE))
    # turned around, map 0 of six is the last one of the right part
    new = delete_maps(model, net, "relu", [0], X).model
    assert (new.left.in_channels, new.right.in_channels, len(new.scale)) == (4, 1, 5)
    with torch.no_grad():
        model.conv.weight[0], model.conv.bias[0] = 0, 0
    torch.testing.assert_close(new(X), model(X))
    # and map 3 is in the left part, which takes four in any case
    with pytest.raises(
        RemedyError, match=r"^map 3 of 'relu' cannot be deleted: the model does not run without them"
    ):
        delete_maps(model, net, "relu", [3], X)


def test_maps_in_the_last_dimension_are_followed() -> None:
    model, net = captured(channels_last)
    new = delete_maps(model, net, "relu", [1, 2], X).model
    assert (new.conv.out_channels, new.one.in_features, new.two.in_features) == (3, 3, 6)
    new = delete_maps(model, net, "gelu", [5], X).model
    assert (new.one.out_features, new.two.in_features) == (5, 5)


def test_a_gate_loses_its_factor_with_the_map() -> None:
    model, net = captured(Gated)
    found = delete_maps(model, net, "relu", [4], X)
    new = found.model
    assert (new.conv.out_channels, new.down.in_features, new.up.out_features, new.head.in_channels) == (
        5,
        5,
        5,
        5,
    )
    assert found.notes == ("the maps that join them at 'mul' are deleted too",)


@pytest.mark.parametrize("layer", ["relu", "relu_2"])
def test_a_sum_keeps_a_map_that_is_alive_on_one_side(layer: str) -> None:
    model, net = captured(Residual)
    reason = r"joined with maps that are not zero.*one side alone|reads what they are made from too"
    with pytest.raises(RemedyError, match=rf"^map 1 of '{layer}' cannot be deleted: .*({reason})"):
        delete_maps(model, net, layer, [1], X)


def test_a_sum_loses_a_map_that_is_zero_on_all_sides() -> None:
    model = made(Residual)
    with torch.no_grad():
        for conv in (model.stem, model.outside):
            conv.weight[1], conv.bias[1] = 0, -1
    found = delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "relu_2", [1], X)
    new = found.model
    assert [own.out_channels for own in (new.stem, new.inside, new.outside, new.head)] == [3, 5, 3, 2]
    torch.testing.assert_close(new(X), model(X))


def test_a_map_inside_a_branch_of_a_sum_goes() -> None:
    model, net = captured(Residual)
    new = delete_maps(model, net, "relu_1", [1, 3], X).model
    assert (new.inside.out_channels, new.outside.in_channels) == (3, 3)


def test_a_constant_behind_a_dead_map_becomes_a_bias() -> None:
    # zero, the map makes a constant of the norm behind the depthwise convolution, which the 1x1 convolution reads
    model = made(lambda: nn.Sequential(*list(depthwise())[:7]))
    new = delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "2", [2], X).model
    assert model[6].bias is None
    assert new[6].bias.shape == (8,)
    torch.testing.assert_close(new(X), _with_zeroed(model, "2", [2], X), rtol=1e-4, atol=1e-5)


def test_a_bias_that_is_new_loses_maps_that_go_too() -> None:
    model = made(lambda: nn.Sequential(*list(depthwise())[:9], nn.Conv2d(8, 2, 1)))
    net = backlight.capture(model, (3, SIDE, SIDE))
    alive = int(model[4](torch.zeros(1, 6, 1, 1)).argmax())  # of which the norm makes a constant above zero
    found = delete_all(model, net, {"2": [alive], "8": [1, 5]}, X)
    assert (found.notes, found.model[6].bias.shape, found.model[9].in_channels) == ((), (6,), 6)
    one = delete_maps(model, net, "2", [alive], X).model
    two = delete_maps(one, backlight.capture(one, (3, SIDE, SIDE)), "8", [1, 5], X).model
    torch.testing.assert_close(found.model(X), two(X), rtol=1e-4, atol=1e-5)


def test_a_head_that_only_training_has_is_said_to_be_left() -> None:
    class Helped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.helper, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            x = F.relu(self.conv(x))
            return (self.head(x), self.helper(x)) if self.training else self.head(x)

    found = delete_maps(*captured(Helped), "relu", [1], X)
    assert found.notes == (
        "'helper.weight' takes no part in inference, and may not fit the network in training any more",
    )


def test_a_constant_that_padding_cuts_off_keeps_its_map() -> None:
    model = made(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, padding=1))
    )
    with pytest.raises(RemedyError, match="the outputs would change by up to"):
        delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "1", [2], X)


@pytest.mark.parametrize(
    ("make", "layer", "channels", "reason"),
    [
        (grouped, "3", [1], "has 2 groups, each of which must lose as many maps as the others"),
        (grouped, "1", [1], "'2', which reads them, has 2 groups of a fixed width"),
        (chain, "7", [1], "they are part of what the model returns"),
        (chain, "2", list(range(6)), "nothing would be left of the layer"),
        (Baked, "relu", [2], "the model does not run without them"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)), "0", [2], "'1' mixes them"),
        (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3)), "0", [2], "the image itself goes into them"),
        (
            lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Conv2d(4, 2, 1)),
            "0", [2], "the weights of '0.*' are computed in each run",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_deleted_has_one_reason(
    make: Callable[[], nn.Module], layer: str, channels: list[int], reason: str
) -> None:
    model, net = captured(make)
    with pytest.raises(
        RemedyError,
        match=rf"^maps? {', '.join(map(str, channels))} of '{layer}' cannot be deleted: .*{reason}",
    ):
        delete_maps(model, net, layer, channels, X)


def test_weights_that_two_places_share_stay() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.twice = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.twice(torch.relu(self.twice(torch.relu(self.conv(x)))))

    model = made(Shared)
    with pytest.raises(RemedyError, match=r"the weights 'twice.weight' are used at several places"):
        delete_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "relu", [1], X)


@pytest.mark.parametrize("channels", [[6], [-1], []])
def test_maps_that_a_layer_does_not_have_are_refused(channels: list[int]) -> None:
    model, net = captured(chain)
    with pytest.raises(BadInputError, match=r"layer '2' \(6 feature maps\)"):
        delete_maps(model, net, "2", channels)


def test_maps_of_several_layers_go_together_and_what_stays_is_said() -> None:
    model, net = captured(chain)
    found = delete_all(model, net, {"2": [0, 1], "6": [7], "7": [0]}, X)
    assert found.done == "2 of 6 maps of '2', 1 of 8 maps of '6' deleted"
    assert found.notes == ("map 0 of '7' cannot be deleted: they are part of what the model returns",)
    assert [own.out_channels for own in found.model if isinstance(own, nn.Conv2d)] == [4, 7, 4]
    one = delete_maps(model, net, "2", [0, 1], X).model
    two = delete_maps(one, backlight.capture(one, (3, SIDE, SIDE)), "6", [7], X).model
    torch.testing.assert_close(found.model(X), two(X))


def test_where_nothing_goes_the_first_reason_is_raised() -> None:
    model, net = captured(grouped)
    with pytest.raises(RemedyError, match=r"^map 1 of '3' cannot be deleted"):
        delete_all(model, net, {"3": [1], "1": [0]}, X)


# --- merging --------------------------------------------------------------------------------------------------


def _with_multiple(model: nn.Module, conv: str, norm: str | None, twin: Twin) -> None:
    """Make a map a multiple of another, by filter, bias and norm."""
    module = model.get_submodule(conv)
    with torch.no_grad():
        module.weight[twin.channel] = module.weight[twin.of] * (twin.times if norm is None else 1)
        if module.bias is not None:
            module.bias[twin.channel] = module.bias[twin.of] * (twin.times if norm is None else 1)
        if norm is not None:
            own = model.get_submodule(norm)
            for each in (own.running_mean, own.running_var):
                each[twin.channel] = each[twin.of]
            for each in (own.weight, own.bias):
                each[twin.channel] = each[twin.of] * twin.times


def _flat() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize(
    ("make", "layer", "conv", "norm", "twin"),
    [
        (chain, "2", "0", "1", Twin(4, of=1)),
        (chain, "2", "0", "1", Twin(0, of=5, times=2.5)),
        (Fire, "relu2", "one", None, Twin(1, of=3, times=0.5)),
        (Fire, "relu3", "three", None, Twin(5, of=0)),
        (_flat, "1", "0", None, Twin(3, of=2, times=1.5)),
        (channels_last, "relu", "conv", None, Twin(0, of=4, times=3.0)),
        # a leaky rectifier is a multiple of a multiple, of either sign of what it reads
        (lambda: chain(rectifier=lambda: nn.LeakyReLU(0.2)), "6", "4", "5", Twin(2, of=3, times=2.0)),
    ],
)  # fmt: skip
def test_a_multiple_is_merged_exactly(
    make: Callable[[], nn.Module], layer: str, conv: str, norm: str | None, twin: Twin
) -> None:
    model = made(make)
    _with_multiple(model, conv, norm, twin)
    found = merge_maps(model, backlight.capture(model, (3, SIDE, SIDE)), layer, [twin], X)
    torch.testing.assert_close(found.model(X), model(X), rtol=1e-4, atol=1e-5)
    assert found.model.get_submodule(conv).out_channels == model.get_submodule(conv).out_channels - 1


def test_several_maps_become_multiples_of_one() -> None:
    model = made(chain)
    twins = [Twin(0, of=3, times=2.0), Twin(5, of=3, times=0.25)]
    for twin in twins:
        _with_multiple(model, "0", "1", twin)
    new = merge_maps(model, backlight.capture(model, (3, SIDE, SIDE)), "2", twins, X).model
    torch.testing.assert_close(new(X), model(X), rtol=1e-4, atol=1e-5)
    assert new[0].out_channels == 4


def test_what_is_no_multiple_is_merged_into_the_network_in_which_it_is_one() -> None:
    model, net = captured(chain)
    new = merge_maps(model, net, "2", [Twin(1, of=2, times=0.5)], X).model

    def as_if(_: nn.Module, __: object, out: Tensor) -> Tensor:
        out = out.clone()
        out[:, 1] = 0.5 * out[:, 2]
        return out

    wanted = copy.deepcopy(model)
    wanted[2].register_forward_hook(as_if)
    torch.testing.assert_close(new(X), wanted(X), rtol=1e-4, atol=1e-5)
    assert (new(X) - model(X)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("make", "layer", "twin"),
    [
        # a rectifier behind the layer's own does not turn a sign, and a depthwise filter is another for each map
        (chain, "1", Twin(0, of=1, times=-1.0)),
        (depthwise, "2", Twin(0, of=1)),
        (Residual, "relu", Twin(0, of=1)),
        # the maps of a norm are scaled, and a rectifier that saturates follows it
        (lambda: chain(rectifier=nn.ReLU6), "1", Twin(0, of=1, times=2.0)),
    ],
)
def test_multiples_that_do_not_stay_multiples_are_refused(
    make: Callable[[], nn.Module], layer: str, twin: Twin
) -> None:
    model, net = captured(make)
    with pytest.raises(RemedyError, match=rf"^maps 0 \(of 1\) of '{layer}' cannot be merged: "):
        merge_maps(model, net, layer, [twin], X)


def test_a_map_cannot_go_and_stay() -> None:
    model, net = captured(chain)
    with pytest.raises(BadInputError, match=r"^map 1 of '2' cannot both go and stay"):
        merge_maps(model, net, "2", [Twin(1, of=2), Twin(0, of=1)])
