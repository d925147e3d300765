"""A copy that is not what it should be is never given: it is found by its answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import backlight
from backlight.errors import RemedyError
from backlight.studies.diagnosis.remedies.checking import applied, check_same, inputs_for, reference
from backlight.studies.diagnosis.remedies.cutting import Change, changed
from studies.diagnosis.remedies.cut_zoo import captured, chain, made


def test_what_changes_an_answer_by_a_millionth_is_found() -> None:
    model, net = captured(chain)
    expected = reference(model, net, inputs_for(net, None), {})
    assert expected.images.dtype == torch.float64
    applied(model, Change(), expected)
    weight = model[0].weight.detach().double()
    with pytest.raises(RemedyError, match=r"^the outputs would change by up to \S+e-\d+ of the largest$"):
        applied(model, Change({"0.weight": weight * (1 + 1e-6)}), expected)


def test_wrong_rows_are_found() -> None:
    model, net = captured(chain)
    node = net.node("2")
    expected = reference(
        model, net, inputs_for(net, None), {node: lambda maps: maps.index_fill(1, torch.tensor([1]), 0)}
    )
    norm = {name: {0: (1,)} for name in ("1.weight", "1.bias", "1.running_mean", "1.running_var")}
    right = {"0.weight": {0: (1,)}, **norm, "4.weight": {1: (1,)}}
    applied(model, Change(cuts=right), expected)
    with pytest.raises(RemedyError, match="the outputs would change by up to"):
        applied(model, Change(cuts=right | {"4.weight": {1: (2,)}}), expected)
    with pytest.raises(RemedyError, match="the model does not run without them"):
        applied(model, Change(cuts=right | {"4.weight": {1: (1, 2)}}), expected)
    with pytest.raises(RemedyError, match=r"^the model would return \(3, 3, 4, 4\), and not \(3, 4, 4, 4\)$"):
        applied(model, Change(cuts={"7.weight": {0: (0,)}, "7.bias": {0: (0,)}}), expected)


def test_not_a_number_is_not_the_same() -> None:
    model, net = captured(chain)
    expected = reference(model, net, inputs_for(net, None), {})
    with pytest.raises(RemedyError, match="the outputs would change by up to nan"):
        applied(model, Change({"7.bias": torch.full((4,), torch.nan)}), expected)


def test_images_are_looked_at_besides_noise() -> None:
    _, net = captured(chain)
    images = torch.ones(2, *net.input_shape)
    given = inputs_for(net, images)
    assert len(given) == 5
    assert torch.equal(given[3:], images.double())
    assert torch.equal(given, inputs_for(net, images))


def test_a_model_that_names_its_types_is_held_in_its_own_precision() -> None:
    class Typed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x.float())

    model = made(Typed)
    net = backlight.capture(model, (3, 8, 8))
    expected = reference(model, net, inputs_for(net, None), {})
    assert expected.images.dtype == torch.float32
    check_same(model, expected)
    with pytest.raises(RemedyError, match="the outputs would change"):
        check_same(changed(model, Change({"conv.bias": torch.ones(2)})), expected)
