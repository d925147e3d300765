"""Every entry of the table agrees with its operator on its examples: class, rule, adjoint, field, locality."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import prod
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, fx, nn

from backlight import GRADIENT, Network, RuleSet, Unit, capture, operators, project
from backlight.errors import UnsupportedOperatorError
from backlight.network.class_output import output_values
from backlight.network.fast import FastNetwork
from backlight.operators.operator import Example, Operator, OperatorClass
from backlight.operators.reading import packet, sizes_of
from backlight.operators.table import FAMILIES, TABLE, collect, operator_of
from backlight.projection.backward import Backward, Part
from backlight.projection.crops import crops_of
from backlight.projection.rewrite import rewrite

PASSING = RuleSet("passing", squash="gradient")
GUIDED_PASSING = RuleSet("guided", rectifier="guided", squash="gradient")
LARGEST = RuleSet("largest", unpool="assign-largest", leaky="literal", squash="identity")
TRANSPOSED = RuleSet("transposed", average_pool="transpose", lrn="frozen", squash="gradient")
NOT_ON_CROPS = {
    # no maps, or no rows and columns of the image
    *("conv1d-0", "conv3d-0", "conv_transpose1d-0", "conv_transpose3d-0", "max_pool1d-0", "max_pool3d-0"),
    *("max_pool3d_with_indices-0", "avg_pool1d-0", "avg_pool3d-0", "linear-0", "reshape-1"),
    # they see the whole image along an axis, or their stride is a fraction
    *("div-1", "div-2", "mul-1", "add-1", "cat-1", "reshape-2", "conv_transpose2d-0"),
    # a constant with an entry for every position
    "maximum-1",
}
"""Examples of local operators that crops do not serve, for another reason than the operator."""

WITHOUT_EXAMPLE = {
    # torch.export writes them as others: views as reshape, copies and dropout as nothing
    *[
        "_unsafe_view",
        "view",
        "view_as",
        "reshape_as",
        "flatten",
        "unflatten",
        "movedim",
        "narrow",
        "contiguous",
        "dropout",
        "feature_dropout",
    ],
    *[
        "alpha_dropout",
        "feature_alpha_dropout",
        "detach",
        "to",
        "type_as",
        "tile",
        "lift_fresh",
        "lift_fresh_copy",
        "broadcast_to",
    ],
    *[
        "expand_as",
        "chunk",
        "vstack",
        "dstack",
        "column_stack",
        "_fft_c2c",
        "_fft_c2r",
        "_fft_r2c",
        "fft_fftshift",
        "fft_ifftshift",
        "rot90",
    ],
    *["grid_sampler_2d", "tensordot", "outer", "dot"],
    # they mix the images of a batch, or lose the batch
    *["addbmm", "t", "as_strided", "diag_embed", "complex", "view_as_complex", "fft_ifft2", "index_fill"],
}
"""Operators that share the entry of one that has an example."""


class _Net(nn.Module):
    """An example as a model, its constants as weights."""

    def __init__(self, example: Example) -> None:
        super().__init__()
        self.function = example.function
        for i, shape in enumerate(example.constants):
            numbers = (torch.arange(prod(shape)) * 0.7).sin().reshape(shape)
            self.register_buffer(f"constant_{i}", numbers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.buffers())


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
    ((_, _, signal),) = walk.descend(walk.forward(image), [Part(0, [unit])], owners)
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
def test_an_entry_agrees_with_its_operator(name: str) -> None:
    """All of it for one example at a time, which is captured once."""
    entry, _ = EXAMPLES[name]
    net = captured(name)
    assert carriers(net, entry), f"no node has this entry: {[n.target for n in net.module.graph.nodes]}"
    image = images(net)
    unit = strongest(net.module(image)[0])
    check_adjoint(net, image, unit)
    check_field(net)
    kinds = {net.analysis.classify(n) for n in net.analysis.path([head(net)]) if n.op == "call_function"}
    if kinds == {OperatorClass.LINEAR}:
        check_linear(net, image, unit)
    elif kinds <= {OperatorClass.LINEAR, OperatorClass.GATE}:
        check_gate(net, image, unit)


def check_adjoint(net: Network, image: Tensor, unit: tuple[int, ...]) -> None:
    """The walk on windows gives the gradient of the rewritten graph, whatever the rules."""
    for rules in (GRADIENT, PASSING, GUIDED_PASSING, LARGEST):
        module = rewrite(net, [(head(net), None)], rules)
        expected = by_autograd(module, image, unit)
        torch.testing.assert_close(projected(net, image, rules, unit), expected, rtol=1e-9, atol=1e-11)


def check_field(net: Network) -> None:
    """No pixel outside the field has a gradient, for the strongest units of three images."""
    spread, module = net.spreads[head(net)], rewrite(net, [(head(net), None)], PASSING)
    assert len(spread.roles) == len(sizes_of(head(net)))
    for seed in range(3):
        image = images(net, seed=seed)
        unit = strongest(net.module(image)[0])
        support = by_autograd(module, image, unit).abs().sum(0)
        for letter, axis, other in (("h", spread.rows, 1), ("w", spread.cols, 0)):
            if axis is not None and letter in spread.roles:
                first, end = axis.span((0, *unit)[spread.roles.index(letter)])
                seen = support.sum(other).nonzero().flatten().tolist()
                assert all(first <= place < end for place in seen), (letter, axis, unit, seen)


def check_linear(net: Network, image: Tensor, unit: tuple[int, ...]) -> None:
    """What is linear has its derivative as its rule; an average pool that is transposed too."""
    expected = by_autograd(rewrite(net, [(head(net), None)], GRADIENT), image, unit)
    torch.testing.assert_close(projected(net, image, TRANSPOSED, unit), expected, rtol=1e-9, atol=1e-11)


def check_gate(net: Network, image: Tensor, unit: tuple[int, ...]) -> None:
    """With its factor held fixed a gate is linear, without an offset: its projection on the image is a² again."""
    value = net.module(image)[0][0][unit]
    projection = projected(net, image, TRANSPOSED, unit)
    torch.testing.assert_close((projection * image[0]).sum(), value**2, rtol=1e-4, atol=1e-9)


LOCAL = [name for name, (entry, _) in EXAMPLES.items() if entry.is_local is not None]


@pytest.mark.parametrize("name", LOCAL)
def test_a_crop_gives_what_the_image_gives(name: str) -> None:
    entry, i = EXAMPLES[name]
    channels, height, width = entry.examples[i].shape
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, channels, 3), _Net(entry.examples[i])).double()
    net = capture(model, torch.zeros(3, height + 2, width + 2).double())
    layer = next((own for own in net.layers if net.node(own) is head(net)), None)
    crops = crops_of(net, layer) if layer is not None and layer.is_spatial else None
    assert (crops is None) == (name in NOT_ON_CROPS)
    if crops is None or layer is None:
        return
    whole, cut = FastNetwork(net, [layer]), FastNetwork(net, [layer], any_size=True)
    image = images(net)
    out = whole(image)[0][0]
    for row, col in ((0, 0), (3, 2), (out.shape[1] - 1, out.shape[2] // 2)):
        top, left = crops.rows.start(row), crops.cols.start(col)
        crop = image[..., top : top + crops.rows.size, left : left + crops.cols.size]
        assert crop.shape[-2:] != image.shape[-2:]
        found = cut(crop)[0][0][:, crops.rows.inside(row), crops.cols.inside(col)]
        torch.testing.assert_close(found, out[:, row, col], rtol=1e-9, atol=1e-11)


def test_every_operator_has_an_example() -> None:
    """But for other spellings, which share an entry with one that has, and what torch.export writes otherwise."""
    seen = {packet(n) for name in EXAMPLES for n in captured(name).module.graph.nodes}
    lacking = {
        str(getattr(target, "__name__", target)).rpartition(".")[2]
        for target, entry in TABLE.items()
        if target not in seen and entry.kind is not OperatorClass.UNKNOWN
    }
    assert lacking == WITHOUT_EXAMPLE


class _Unheard(nn.Module):
    """An operator that the table does not know, of which torch does not say that it works cell by cell."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.logcumsumexp(self.conv(x), 1)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)


def test_an_operator_without_an_entry_sees_the_whole_image_and_is_never_dropped() -> None:
    net = capture(_Unheard(), torch.zeros(3, 8, 8))
    layer = net.layer("logcumsumexp")
    assert layer.shape == (4, 6, 6)
    assert layer.receptive_field is None
    (node,) = [n for n in net.module.graph.nodes if "logcumsumexp" in str(n.target)]
    assert packet(node) not in TABLE
    assert net.analysis.classify(node) is OperatorClass.UNKNOWN
    with pytest.raises(UnsupportedOperatorError, match=r"no deconvnet rule for logcumsumexp at logcumsumexp"):
        project(net, torch.zeros(3, 8, 8), [Unit("logcumsumexp", 0, 0, 0)])


def test_every_file_of_operators_has_a_test_file_of_its_name() -> None:
    """docs/architecture.md promises it: an operator's replica stands in tests/operators/test_FAMILY.py."""
    modules = {path.stem for path in Path(operators.__path__[0]).glob("*.py")} - {"__init__"}
    families = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert families < modules
    assert tested == modules


def test_two_entries_of_one_operator_are_refused() -> None:
    family = ModuleType("twice")
    family.OPERATORS = (Operator(("relu",)), Operator(("relu",)))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="relu has two entries"):
        collect([family])
