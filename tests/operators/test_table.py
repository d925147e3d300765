"""Every entry of the table agrees with its operator on its examples: class, rule, adjoint, field, locality."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, fx, nn

from backlight import DECONVNET, GRADIENT, GUIDED, Network, RuleSet, capture
from backlight.network.class_output import output_values
from backlight.network.fast import FastNetwork
from backlight.operators.operator import Example, Operator, OperatorClass
from backlight.operators.reading import packet, sizes_of
from backlight.operators.table import FAMILIES, TABLE, operator_of
from backlight.projection.backward import Backward
from backlight.projection.crops import crops_of
from backlight.projection.rewrite import rewrite

PASSING = RuleSet("deconvnet", squash="gradient")
ADDING: set[str] = set()
WITHOUT_EXAMPLE: set[str] = set()


class _Net(nn.Module):
    def __init__(self, example: Example) -> None:
        super().__init__()
        self.example = example

    def forward(self, x: Tensor) -> Tensor:
        return self.example.function(x)


def _examples() -> Iterator[tuple[str, Operator, int]]:
    for family in FAMILIES:
        for entry in family.OPERATORS:
            name = next((n if isinstance(n, str) else n.__name__ for n in entry.names), "")
            for i in range(len(entry.examples)):
                yield f"{name}-{i}", entry, i


EXAMPLES = {name: (entry, i) for name, entry, i in _examples()}


@cache
def captured(name: str) -> Network:
    entry, i = EXAMPLES[name]
    example = entry.examples[i]
    return capture(_Net(example).double(), torch.zeros(example.shape).double())


def head(net: Network) -> fx.Node:
    found = output_values(net.module.graph)[0]
    assert isinstance(found, fx.Node)
    return found


def images(net: Network, n: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *net.input_shape, generator=generator).double()


def strongest(out: Tensor) -> tuple[int, ...]:
    """Return the strongest unit, whose rectifiers and pools have something to say."""
    place = out[0].abs().argmax()
    return tuple(int(i) for i in torch.unravel_index(place, out.shape[1:]))


def projected(net: Network, image: Tensor, rules: RuleSet, unit: tuple[int, ...]) -> Tensor:
    """Return the projection (c, h, w) of a unit of the head, by the walk on windows."""
    walk = Backward(rewrite(net, [(head(net), None)], rules))
    owners = torch.zeros(1, dtype=torch.long) if walk.shares else None
    ((_, _, signal),) = walk.descend(walk.forward(image), 0, [unit], owners)
    return signal.whole((1, *net.input_shape)).data[0]


def by_autograd(module: fx.GraphModule, image: Tensor, unit: tuple[int, ...]) -> Tensor:
    """Return the gradient (c, h, w) of a unit, times its activation."""
    x = image.clone().requires_grad_()
    value = module(x)[0][0][unit]
    (found,) = torch.autograd.grad(value, x, value.detach(), allow_unused=True)
    return torch.zeros_like(image[0]) if found is None else found[0]


def carriers(net: Network, entry: Operator) -> list[fx.Node]:
    return [n for n in net.module.graph.nodes if n.op == "call_function" and operator_of(n) is entry]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_holds_its_operator(name: str) -> None:
    entry, _ = EXAMPLES[name]
    assert carriers(captured(name), entry), [n.target for n in captured(name).module.graph.nodes]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_adjoint_is_the_gradient(name: str) -> None:
    net = captured(name)
    image = images(net)
    unit = strongest(net.module(image)[0])
    for rules in (
        GRADIENT,
        DECONVNET,
        GUIDED,
        RuleSet("largest", unpool="assign-largest", average_pool="transpose"),
    ):
        rules = RuleSet(**{**rules.to_dict(), "squash": "gradient"})  # type: ignore[arg-type]
        expected = by_autograd(rewrite(net, [(head(net), None)], rules), image, unit)
        torch.testing.assert_close(projected(net, image, rules, unit), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_field_holds_the_gradient(name: str) -> None:
    net = captured(name)
    spread, module = net.spreads[head(net)], rewrite(net, [(head(net), None)], PASSING)
    assert len(spread.roles) == len(sizes_of(head(net)))
    for seed in range(3):
        image = images(net, seed=seed)
        unit = strongest(net.module(image)[0])
        support = by_autograd(module, image, unit).abs().sum(0)
        for letter, axis, other in (("h", spread.rows, 1), ("w", spread.cols, 0)):
            if axis is not None:
                first, end = axis.span((0, *unit)[spread.roles.index(letter)])
                seen = support.sum(other).nonzero().flatten().tolist()
                assert all(first <= place < end for place in seen), (letter, axis, unit, seen)


def is_of_kind(name: str, kind: OperatorClass) -> bool:
    entry, _ = EXAMPLES[name]
    net = captured(name)
    nodes = [n for n in net.analysis.path([head(net)]) if n.op == "call_function"]
    kinds = {net.analysis.classify(n) for n in nodes}
    return kind in {net.analysis.classify(n) for n in carriers(net, entry)} and kinds <= {
        kind,
        OperatorClass.LINEAR,
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_linear_has_its_derivative_as_its_rule(name: str) -> None:
    """And an average that fills passes each value to as many places as it averaged."""
    if not is_of_kind(name, OperatorClass.LINEAR) or is_of_kind(name, OperatorClass.GATE):
        pytest.skip("not linear")
    net, rules = captured(name), RuleSet("transposed", average_pool="transpose")
    image = images(net)
    unit = strongest(net.module(image)[0])
    x = image.clone().requires_grad_()
    value = net.module(x)[0][0][unit]
    (expected,) = torch.autograd.grad(value, x, value.detach())
    torch.testing.assert_close(projected(net, image, rules, unit), expected[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_gate_is_a_product_with_a_recorded_factor(name: str) -> None:
    """With its factor held fixed a gate without an offset is linear: its projection on the image is a² again."""
    if not is_of_kind(name, OperatorClass.GATE) or name in ADDING:
        pytest.skip("no gate, or one that adds a constant")
    net = captured(name)
    image = images(net)
    out = net.module(image)[0]
    unit = strongest(out)
    projection = projected(net, image, RuleSet("transposed", average_pool="transpose", lrn="frozen"), unit)
    torch.testing.assert_close((projection * image[0]).sum(), out[0][unit] ** 2, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_crop_gives_what_the_image_gives(name: str) -> None:
    entry, i = EXAMPLES[name]
    if entry.is_local is None:
        pytest.skip("run on whole images")
    channels = entry.examples[i].shape[0]
    model = nn.Sequential(nn.Conv2d(3, channels, 3), _Net(entry.examples[i])).double()
    torch.manual_seed(0)
    nn.init.normal_(model[0].weight)  # type: ignore[arg-type]
    net = capture(model, torch.zeros(3, 46, 46).double())
    layer = next((own for own in net.layers if net.node(own) is head(net)), None)
    crops = crops_of(net, layer) if layer is not None and layer.is_spatial else None
    if crops is None:
        pytest.skip("this example is not run on crops")
    whole, cut = FastNetwork(net, [layer]), FastNetwork(net, [layer], any_size=True)
    image = images(net)
    out = whole(image)[0][0]
    for row, col in ((0, 0), (3, 2), (out.shape[1] - 1, out.shape[2] // 2)):
        top, left = crops.rows.start(row), crops.cols.start(col)
        crop = image[..., top : top + crops.rows.size, left : left + crops.cols.size]
        assert crop.shape[-2:] != image.shape[-2:]
        found = cut(crop)[0][0][:, crops.rows.inside(row), crops.cols.inside(col)]
        torch.testing.assert_close(found, out[:, row, col], rtol=1e-9, atol=1e-11)


def test_local_entries_have_an_example_that_is_run_on_crops() -> None:
    """Else the test above would show nothing."""


def test_every_operator_has_an_example() -> None:
    """But for other spellings, which share an entry with one that has, and what torch.export writes otherwise."""
    seen = {packet(n) for name in EXAMPLES for n in captured(name).module.graph.nodes}
    lacking = {
        str(getattr(target, "__name__", target)).rpartition(".")[2]
        for target, entry in TABLE.items()
        if target not in seen and entry.kind is not OperatorClass.UNKNOWN
    }
    assert lacking == WITHOUT_EXAMPLE


def test_an_operator_without_an_entry_sees_the_whole_image_and_has_no_rule() -> None:
    """It is unknown, and never makes a layer disappear."""

    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.cumprod(2) * 1.0)

    net = capture(Unknown(), torch.zeros(3, 8, 8))
    assert [e.operator for e in net.coverage().unsupported] == ["cumprod"]
    assert net.layer("relu").shape == (3, 8, 8)
