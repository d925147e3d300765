"""Receptive fields: published oracles, and the bounding box of the pixels that a unit's gradient reaches."""

import contextlib
from fractions import Fraction
from functools import cache
from itertools import product

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from backlight.errors import CaptureError
from backlight.geometry import Axis, Box, ReceptiveField
from backlight.network.capture import export_graph
from backlight.network.receptive import Spread, receptive_field, trace_spreads
from backlight.operators.paths import PathAnalysis
from backlight.operators.reading import operands, operator_name
from backlight.operators.views import reshaped
from small_zoo import SMALL_ZOO

NCHW = ("n", "c", "h", "w")


class Net(nn.Module):
    """A network from a function and the modules that it uses."""

    def __init__(self, function, *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def trace(model: nn.Module, *shape: int) -> dict[fx.Node, Spread]:
    graph = export_graph(model.eval(), torch.zeros(2, *shape)).graph
    return trace_spreads(graph, PathAnalysis(graph))


def spreads_of(models, *shape: int) -> list[Spread]:
    """The spread of each model's output, from one capture of them all; a plain function is a model too."""
    models = [model if isinstance(model, nn.Module) else Net(model) for model in models]
    together = Net(lambda x, *models: [model(x) for model in models], *models)
    graph = export_graph(together.eval(), torch.zeros(2, *shape)).graph
    outputs = list(operands(next(node for node in graph.nodes if node.op == "output").args))
    assert len(outputs) == len(models)
    spreads = trace_spreads(graph, PathAnalysis(graph))
    return [spreads[node] for node in outputs]


def field_of(model, *shape: int) -> ReceptiveField:
    field = receptive_field(spreads_of([model], *shape)[0])
    assert field is not None, "the whole image"
    return field


def axis(size: int, stride, offset: int) -> Axis:
    return Axis(size, Fraction(stride), offset)


def conv(k, s=1, p=0, d=1, channels=(2, 2), groups=1, **options) -> nn.Conv2d:
    module = nn.Conv2d(*channels, k, s, p, d, groups=groups, bias=False, **options)
    nn.init.ones_(module.weight)
    return module


def seen_box(output: Tensor, image: Tensor, row: int, col: int) -> Box | None:
    """The bounding box of the pixels that reach a unit; None where it sees nothing but padding."""
    (grad,) = torch.autograd.grad(output[:, :, row, col].sum(), image, retain_graph=True)
    rows, cols = (grad.abs().sum(dims).nonzero().flatten() for dims in ((0, 1, 3), (0, 1, 2)))
    if len(rows) == 0:
        return None
    return Box(int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)


def check_units(model: nn.Module, field: ReceptiveField, shape: tuple[int, int, int], exact: bool) -> None:
    """Compare the units of the first and last four rows and columns with their gradients."""
    image = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    output = model.double().eval()(image)
    ends = [sorted({*range(min(4, size)), *range(max(0, size - 4), size)}) for size in output.shape[2:]]
    for row, col in product(*ends):
        predicted, seen = field.box(row, col).clip(*shape[1:]), seen_box(output, image, row, col)
        assert seen is not None or not exact
        if seen is not None:
            assert predicted == seen if exact else predicted.contains(seen), (
                row,
                col,
                predicted,
                seen,
                field,
            )


# --- published oracles --------------------------------------------------------------------------------------


def two_paths(before: int):
    def function(x, direct, first, second):
        return direct(x) + second(first(F.pad(x, (before, 0, before, 0))))

    return function


def test_net1_and_net2_aligned_paths():
    net1 = Net(two_paths(1), conv(1, 4), conv(3, 2), conv(1, 2))
    net2 = Net(two_paths(1), nn.MaxPool2d(1, 4), nn.MaxPool2d(3, 2), nn.MaxPool2d(1, 2))
    for net in (net1, net2):
        assert field_of(net, 2, 32, 32) == ReceptiveField(axis(3, 4, -1), axis(3, 4, -1))


def test_net3_misaligned_paths_give_their_union():
    net = Net(two_paths(0), conv(1, 4), conv(3, 2), conv(1, 2))
    assert field_of(net, 2, 31, 31).rows == axis(3, 4, 0)
    shifted = Net(lambda x, a, b: a(x[:, :, 7:]) + b(x[:, :, :-7]), conv(1, 4), conv(3, 4, 1))
    assert field_of(shifted, 2, 32, 32) == ReceptiveField(axis(9, 4, -1), axis(3, 4, -1))


def test_net5_follows_rows_and_columns_apart():
    field = field_of(nn.Sequential(conv((3, 5), 2), conv((3, 1), 2)), 2, 32, 32)
    assert field == ReceptiveField(axis(7, 4, 0), axis(5, 4, 0))


def test_net8_nested_additions():
    def nested(x, *parts):
        return two_paths_once(two_paths(1)(x, *parts[:3]).relu(), *parts[3:])

    def two_paths_once(x, direct, padded):
        return direct(x) + padded(F.pad(x, (1, 0, 1, 0)))

    net = Net(nested, conv(1, 4), conv(3, 2), conv(1, 2), conv(1, 2), conv(3, 2))
    assert field_of(net, 2, 32, 32).rows == axis(11, 8, -5)


def fields_by_operator(model: nn.Module, *names: str) -> list[tuple[int, int, int]]:
    """(size, stride, offset) along the rows of each operator of these names, in order."""
    return [
        (s.rows.size, int(s.rows.stride), s.rows.offset)
        for n, s in trace(model, 3, 224, 224).items()
        if operator_name(n) in names and s.rows is not None
    ]


def test_alexnet():
    assert fields_by_operator(torchvision.models.alexnet(), "conv2d", "max_pool2d") == [
        (11, 4, -2), (19, 8, -2), (51, 8, -18), (67, 16, -18), (99, 16, -34), (131, 16, -50), (163, 16, -66),
        (195, 32, -66),
    ]  # fmt: skip


def test_vgg16():
    fields = fields_by_operator(torchvision.models.vgg16(init_weights=False), "max_pool2d")
    assert fields == [(6, 2, -2), (16, 4, -6), (44, 8, -18), (100, 16, -42), (212, 32, -90)]


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 435), pytest.param("resnet50", 427, marks=pytest.mark.slow)]
)
def test_resnets(name, size):
    fields = fields_by_operator(getattr(torchvision.models, name)(), "relu")
    assert fields[-1] == (size, 32, -(size // 2))


# --- against the gradient -----------------------------------------------------------------------------------

KERNELS = st.sampled_from(
    [(1, 1, 0, 1), (2, 2, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 2, 0, 1), (5, 1, 1, 1), (3, 1, 0, 2)]
)
LOCAL = st.sampled_from(["shuffle", "nhwc", "gate", "norm", "tokens", "gelu"])


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def as_tokens(x: Tensor, linear: nn.Module) -> Tensor:
    n, c, h, w = x.shape
    return linear(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(n, c, h, w)


def gated(x: Tensor, squeeze: nn.Module) -> Tensor:
    return x * squeeze(x.mean((2, 3), keepdim=True)).sigmoid().detach()


def ones_linear() -> nn.Linear:
    linear = nn.Linear(4, 4, bias=False)
    nn.init.ones_(linear.weight)
    return linear


def local_part(name: str) -> nn.Module:
    match name:
        case "shuffle":
            return Net(shuffled)
        case "nhwc":
            return Net(lambda x, a: a(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), ones_linear())
        case "tokens":
            return Net(as_tokens, ones_linear())
        case "gate":
            return Net(gated, conv(1, channels=(4, 4)))
        case "norm":
            return nn.BatchNorm2d(4)
    return nn.GELU()


def same(k: int, s: int) -> nn.Conv2d:
    return conv(k, s, k // 2, channels=(4, 4))


@st.composite
def exact_nets(draw) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network whose strides leave no rest at the far border, so that every unit sees its whole field."""
    parts, sizes = [], [draw(st.integers(2, 3)), draw(st.integers(2, 3))]
    for _ in range(draw(st.integers(1, 4))):
        match draw(st.sampled_from(["conv", "depthwise", "pool", "add", "concat", "local"])):
            case "add":
                s = draw(st.integers(1, 2))
                parts.append(
                    Net(lambda x, a, b: a(x) + b(x), same(3, s), same(draw(st.sampled_from([1, 5])), s))
                )
                sizes = [(size - 1) * s + 1 for size in sizes]
            case "concat":
                a, b = (nn.Sequential(same(k, 1), conv(1, channels=(4, 2))) for k in (1, 3))
                parts.append(Net(lambda x, a, b: torch.cat([a(x), b(x)], 1), a, b))
            case "local":
                parts.append(local_part(draw(LOCAL)))
            case kind:
                k, s, p, d = draw(KERNELS)
                groups = 4 if kind == "depthwise" else 1
                d = 1 if kind == "pool" else d
                part = nn.AvgPool2d(k, s, p) if kind == "pool" else conv(k, s, p, d, (4, 4), groups)
                parts.append(part)
                sizes = [(size - 1) * s + d * (k - 1) + 1 - 2 * p for size in sizes]
    return nn.Sequential(*reversed(parts)), (4, *sizes)


SLOW = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=30, **SLOW)
@given(exact_nets())
def test_exact_fields_are_the_box_of_the_gradient(net):
    model, shape = net
    check_units(model, field_of(model, *shape), shape, exact=True)


def resized(scale, mode: str) -> nn.Module:
    return Net(lambda x: F.interpolate(x, scale_factor=scale, mode=mode))


def transposed(k: int, s: int, p: int, d: int = 1) -> nn.ConvTranspose2d:
    module = nn.ConvTranspose2d(4, 4, k, s, p, dilation=d, bias=False)
    nn.init.ones_(module.weight)
    return module


def padded(*widths: int, mode: str = "constant") -> nn.Module:
    return Net(lambda x: F.pad(x, widths, mode=mode))


def conv4(k: int, *args, **options) -> nn.Conv2d:
    return conv(k, *args, channels=(4, 4), **options)


HALF, THIRD = Fraction(1, 2), Fraction(1, 3)
STEPS = {  # with the rows that each sees on 8 x 12 pixels: the smallest axis that holds every unit's
    "nearest": (lambda: resized(2, "nearest"), (1, HALF, 0)),
    "nearest by 3": (lambda: resized(3, "nearest-exact"), (1, THIRD, 0)),
    "nearest down": (lambda: resized(0.5, "nearest"), (1, 2, 0)),
    "exact down": (lambda: resized(0.5, "nearest-exact"), (1, 2, 1)),
    "bilinear": (lambda: resized(2, "bilinear"), (3, HALF, -1)),
    "bilinear by 3": (lambda: resized(3, "bilinear"), (3, THIRD, -1)),
    "bilinear down": (lambda: resized(0.5, "bilinear"), (2, 2, 0)),
    "bicubic": (lambda: resized(2, "bicubic"), (5, HALF, -2)),
    "transposed": (lambda: transposed(3, 2, 1), (2, HALF, 0)),
    "transposed wide": (lambda: transposed(2, 3, 0), (1, THIRD, 0)),
    "transposed dilated": (lambda: transposed(3, 1, 2, 2), (5, 1, -2)),
    "dilated": (lambda: conv4(3, 1, 2, 2), (5, 1, -2)),
    "strided": (lambda: conv4(3, 2), (3, 2, 0)),
    "even same": (lambda: conv4(4, 1, "same"), (4, 1, -1)),
    "ceil": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (3, 2, -1)),
    "reflect": (lambda: conv4(3, 2, 1, padding_mode="reflect"), (3, 2, -1)),
    "reflect far": (lambda: nn.Sequential(padded(2, 1, 1, 2, mode="reflect"), conv4(2)), (8, 1, -5)),
    "replicate": (lambda: padded(1, 1, 2, 0, mode="replicate"), (3, 1, -2)),
    "crop": (lambda: padded(-1, 1, 0, -1), (1, 1, 0)),
    "slice": (lambda: Net(lambda x: x[:, :, 1:-1:2]), (1, 2, 1)),
    "slice from the end": (lambda: Net(lambda x: x[:, :, -5:]), (1, 1, 3)),
    "split": (lambda: Net(lambda x: sum(x[:, :, :6].chunk(2, 2))), (4, 1, 0)),
    "blocks": (lambda: Net(lambda x: F.pixel_unshuffle(x[:, :1, :8, :8], 2)), (2, 2, 0)),
    "blocks by views": (lambda: Net(lambda x: blocks(x[:, :1, :8, :8])), (2, 2, 0)),
    "unblocks": (lambda: Net(lambda x: F.pixel_shuffle(x, 2).repeat(1, 4, 1, 1)), (1, HALF, 0)),
    "unblocks by views": (lambda: Net(unblocks), (1, HALF, 0)),
    "copies in place": (lambda: Net(lambda x: x.repeat_interleave(2, 2).repeat_interleave(3, 3)), (1, HALF, 0)),
    "copies by views": (lambda: Net(copied), (1, HALF, 0)),
    "patches": (lambda: Net(lambda x: patched(x, 3, 2)), (3, 2, 0)),
    "patches put together": (lambda: Net(fitted), (1, HALF, 0)),
    "patches and back": (lambda: Net(patched_and_back), (5, 1, -2)),
    "windows slid": (lambda: Net(lambda x: x.unfold(2, 3, 2).sum(-1)), (3, 2, 0)),
    "written below": (lambda: Net(written_below), (1, 1, -1)),
    "written apart": (lambda: Net(written_apart), (1, HALF, 0)),
    "written into itself": (lambda: Net(written_into_itself), (2, 1, -1)),
    "choice with a number": (lambda: Net(lambda x: torch.where(x > 0, x, 0.0)), (1, 1, 0)),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((4, 5)), (2, 2, 0)),
    "adaptive, overlapping": (lambda: nn.AdaptiveAvgPool2d((3, 5)), (4, Fraction(8, 3), 0)),
    "down and up": (lambda: Net(lambda x, a, b: x + b(a(x)), conv4(2, 2), resized(2, "nearest")), (3, 1, -1)),
}  # fmt: skip


def blocks(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def unblocks(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return (
        x.view(n, c // 4, 2, 2, h, w)
        .permute(0, 1, 4, 2, 5, 3)
        .reshape(n, -1, 2 * h, 2 * w)
        .repeat(1, 4, 1, 1)
    )


def copied(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 3).reshape(n, c, 2 * h, 3 * w)


def patched(x: Tensor, k: int, s: int) -> Tensor:
    rows, cols = ((size - k) // s + 1 for size in x.shape[2:])
    return F.unfold(x, k, stride=s).reshape(-1, k * k, 4, rows, cols)[:, 4]


def fitted(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return F.fold(x.flatten(2), (2 * h, 2 * w), 2, stride=2).repeat(1, 4, 1, 1)


def patched_and_back(x: Tensor) -> Tensor:
    return F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1)


def written_below(x: Tensor) -> Tensor:
    place = torch.zeros_like(x)
    place[:, :, 1:] = x[:, :, :-1]
    return place


def written_apart(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    place = x.new_zeros(n, c, 2 * h, 2 * w)
    place[:, :, ::2, ::2] = x
    return place


def written_into_itself(x: Tensor) -> Tensor:
    place = 1 * x
    place[:, :, 1:-1] = x[:, :, :-2] + 1
    return place


@cache
def traced_steps() -> dict[str, Spread]:
    return dict(zip(STEPS, spreads_of([make() for make, _ in STEPS.values()], 4, 8, 12), strict=True))


@pytest.mark.parametrize("name", STEPS)
def test_one_step(name):
    make, expected = STEPS[name]
    field = receptive_field(traced_steps()[name])
    assert field is not None
    assert field.rows == axis(*expected)
    check_units(make(), field, (4, 8, 12), exact=False)


@settings(max_examples=15, **SLOW)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=3), st.sampled_from([8, 9, 12]))
def test_steps_in_a_row_contain_the_box_of_the_gradient(names, width):
    model, shape = nn.Sequential(*(STEPS[name][0]() for name in names)), (4, 12, width)
    with contextlib.suppress(CaptureError):  # a picture too small for its padding or its slice
        (spread,) = spreads_of([model], *shape)
        field = receptive_field(spread)
        assume(field is not None and spread.roles == NCHW)  # no halves of an odd size, no 2 x 2 made channels
        check_units(model, field, shape, exact=False)


# --- dimensions ---------------------------------------------------------------------------------------------


def is_local(spread: Spread) -> tuple[bool, bool]:
    return spread.rows is not None, spread.cols is not None


def heads_and_back(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    tokens = x.flatten(2).transpose(1, 2).reshape(n, h * w, 2, c // 2)
    return tokens.permute(0, 2, 1, 3).reshape(n * 2, h, w, c // 2).reshape(n, 2, h, w, c // 2)


ROLES = [
    (lambda x: x.permute(0, 2, 3, 1), ("n", "h", "w", "c"), (True, True)),
    (lambda x: x.mT, ("n", "c", "w", "h"), (True, True)),
    (shuffled, NCHW, (True, True)),
    (lambda x: x.unflatten(1, (2, 2)), ("n", "c", "c", "h", "w"), (True, True)),
    (lambda x: x[:, :, None], ("n", "c", "", "h", "w"), (True, True)),
    (lambda x: x[:, :, None].squeeze(2), NCHW, (True, True)),
    (lambda x: x.flatten(2), ("n", "c", "hw"), (True, True)),
    (lambda x: x.flatten(2).reshape(x.shape), NCHW, (True, True)),
    (lambda x: x.mT.flatten(2).reshape(x.shape), ("n", "c", "", ""), (False, False)),
    (lambda x: x.flatten(2).unflatten(2, (3, 8)), ("n", "c", "", ""), (False, False)),
    (heads_and_back, ("n", "c", "h", "w", "c"), (True, True)),
    (lambda x: x.reshape(-1, *x.shape[2:]), ("nc", "h", "w"), (True, True)),
    (lambda x: x.flatten(1), ("n", ""), (False, False)),
    (lambda x: x.flatten(1, 2), ("n", "", "w"), (False, True)),
    (lambda x: x.unflatten(2, (2, 2)).flatten(2, 3), NCHW, (True, True)),
    (lambda x: x.mean(1, keepdim=True), NCHW, (True, True)),
    (lambda x: x.mean(2, keepdim=True), NCHW, (False, True)),
    (lambda x: x.amax(3), ("n", "c", "h"), (True, False)),
    (lambda x: x.mean((2, 3)), ("n", "c"), (False, False)),
    (lambda x: x.sum(), (), (False, False)),
    (lambda x: x[:, 0], ("n", "h", "w"), (True, True)),
    (lambda x: x[:, :, 0], ("n", "c", "w"), (False, True)),
    (lambda x: x.unbind(3)[1], ("n", "c", "h"), (True, False)),
    (lambda x: x[:, [2, 0, 1]], NCHW, (True, True)),
    (lambda x: x[:, :, [2, 0, 1]], NCHW, (False, True)),
    (lambda x: x.flip(3), NCHW, (True, False)),
    (lambda x: x.roll(1, 2), NCHW, (False, True)),
    (lambda x: x.cumsum(1).softmax(1), NCHW, (True, True)),
    (lambda x: x.softmax(-1), NCHW, (True, False)),
    (lambda x: torch.cat([x, x], 1), NCHW, (True, True)),
    (lambda x: torch.cat([x, x], 2), NCHW, (False, True)),
    (lambda x: torch.stack([x, x], 1), ("n", "c", "c", "h", "w"), (True, True)),
    (lambda x: torch.stack([x, x], 2).flatten(1, 2), NCHW, (True, True)),
    (lambda x: x.repeat(1, 2, 1, 1), NCHW, (True, True)),
    (lambda x: x.repeat(1, 1, 1, 2), NCHW, (True, False)),
    (lambda x: x + x.mean(2, keepdim=True), NCHW, (False, True)),
    (lambda x: x + torch.ones(1, 4, 1, 6), NCHW, (True, True)),
    (lambda x: x + F.avg_pool2d(x, (4, 1)), NCHW, (False, True)),
    (lambda x: x[:, :, :1].expand(-1, -1, 4, -1), ("n", "c", "", "w"), (False, True)),
    (lambda x: x + F.interpolate(F.avg_pool2d(x, 2), x.shape[2:]), NCHW, (True, True)),
    (lambda x: x[..., :4] + x[..., :4].mT, ("n", "c", "", ""), (False, False)),
    (lambda x: x[:, :, ::2] + x[:, :, :2], NCHW, (False, True)),
    (lambda x: torch.maximum(x, -x).max(1)[0], ("n", "h", "w"), (True, True)),
    (lambda x: x @ torch.ones(6, 5), ("n", "c", "h", "c"), (True, False)),
    (lambda x: torch.ones(5, 4) @ x, ("n", "c", "c", "w"), (False, True)),
    (lambda x: torch.ones(5, 4) @ x.flatten(2), ("n", "c", "hw"), (True, True)),
    (lambda x: F.pad(x, (1, 1, 0, 0), mode="circular"), NCHW, (True, False)),
    (lambda x: F.interpolate(x, size=(6, 12)), NCHW, (False, True)),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), NCHW, (False, False)),
    (lambda x: F.interpolate(x, scale_factor=(2, 2.1)), NCHW, (True, False)),
    (lambda x: F.adaptive_avg_pool2d(x, (1, 6)), NCHW, (False, True)),
    (lambda x: F.conv2d(x.transpose(1, 2), torch.ones(5, 4, 1, 1)), NCHW, (False, True)),
    (lambda x: x.flatten(2).mT @ x.flatten(2).sigmoid(), ("n", "hw", ""), (True, True)),
    (lambda x: x + x.mean(1)[:, :, None], ("n", "", "h", "w"), (False, True)),
    (lambda x: x.mT.flatten(2), ("n", "c", ""), (False, False)),
    (lambda x: torch.fft.rfft2(x).real, ("n", "", "", ""), (False, False)),
]  # fmt: skip


@cache
def traced_roles() -> list[Spread]:
    return spreads_of([function for function, _, _ in ROLES], 4, 4, 6)


@pytest.mark.parametrize("index", range(len(ROLES)))
def test_roles_and_axes(index):
    _, roles, local = ROLES[index]
    spread = traced_roles()[index]
    assert (spread.roles, is_local(spread)) == (roles, local)


def test_a_view_of_rows_and_columns_comes_back_with_its_axes():
    (spread,) = spreads_of([lambda x: F.avg_pool2d(x, (3, 2)).flatten(2).reshape(-1, 4, 2, 4)], 4, 6, 8)
    assert (spread.rows, spread.cols) == (axis(3, 3, 0), axis(2, 2, 0))


def test_a_batch_of_a_fixed_size_is_not_taken_for_channels():
    spread = Spread(NCHW, axis(3, 1, 0), axis(3, 1, 0))
    merged = reshaped(spread, (2, 4, 6, 6), (8, 6, 6))
    assert (merged.roles, is_local(merged)) == (("", "h", "w"), (True, True))


def test_every_dependent_tensor_has_a_spread_and_nothing_else():
    graph = export_graph(
        Net(lambda x: sum(x.split(2, 1)) + torch.ones(2, 1, 1)), torch.zeros(2, 4, 4, 6)
    ).graph
    spreads = trace_spreads(graph, PathAnalysis(graph))
    assert [operator_name(node) if node.op == "call_function" else node.op for node in spreads] == [
        "placeholder", "getitem", "getitem", "add", "add", "add"
    ]  # fmt: skip


# --- gates --------------------------------------------------------------------------------------------------


def attention(x: Tensor, *, over_channels: bool) -> Tensor:
    tokens = x.flatten(2) if over_channels else x.flatten(2).transpose(1, 2)
    weights = (tokens @ tokens.transpose(1, 2)).softmax(-1)
    result = weights @ (tokens * 2)
    return (result if over_channels else result.transpose(1, 2)).reshape(x.shape)


def fused_attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x)


def per_pixel(x: Tensor) -> Tensor:
    pixels = x.permute(0, 2, 3, 1)[..., None]
    weights = x.sigmoid().permute(0, 2, 3, 1)[..., None, :]
    return (pixels @ weights)[..., 0].permute(0, 3, 1, 2)


def dynamic_kernels(x: Tensor) -> Tensor:
    return F.conv2d(
        x, x.mean((0, 2, 3)).sigmoid()[:, None, None, None].expand(4, 1, 3, 3), padding=1, groups=4
    )


def pixels_attend(x: Tensor, key_sees_all: bool) -> Tensor:
    tokens = x.permute(0, 2, 3, 1)[..., None]
    key = tokens + x.mean((2, 3))[:, None, None, :, None] if key_sees_all else tokens
    return F.scaled_dot_product_attention(tokens, key, tokens)[..., 0].permute(0, 3, 1, 2)


GATES = [
    (Net(gated, conv(1, channels=(4, 4))), True, True),
    (Net(lambda x, a: x * a(x).sigmoid(), conv(1, channels=(4, 1))), True, False),
    (Net(lambda x, a: x * a(x).sigmoid(), conv(3, 1, 1, channels=(4, 4))), True, True),
    (Net(lambda x, a: a(x) * x.sigmoid(), conv(3, 1, 1, channels=(4, 4))), True, False),
    (Net(lambda x, a: a(x * x.mean((2, 3), True).sigmoid()), conv(3, channels=(4, 4))), True, True),
    (Net(lambda x: x * x.mean((2, 3), True).sigmoid() + x), True, True),
    (Net(lambda x: x * x.mT.sigmoid()), True, True),
    (Net(lambda x: x / (1 + x.abs())), True, False),
    (nn.GroupNorm(2, 4), False, False),
    (nn.InstanceNorm2d(4), False, False),
    (nn.InstanceNorm2d(4, track_running_stats=True), True, False),
    (nn.RMSNorm((4, 6, 6)), True, True),
    (nn.LayerNorm((4, 6, 6)), False, False),
    (Net(lambda x, a: a(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(4)), True, False),
    (Net(lambda x, a: a(x.flatten(2).mT).mT.reshape(x.shape), nn.LayerNorm(4)), True, False),
    (Net(lambda x, a: a(x.flatten(2)).reshape(x.shape), nn.GroupNorm(2, 4)), False, False),
    (nn.LocalResponseNorm(3), True, False),
    (nn.BatchNorm2d(4), True, False),
    (Net(lambda x: F.normalize(x, dim=1)), True, False),
    (Net(lambda x: attention(x, over_channels=True)), True, True),
    (Net(lambda x: attention(x, over_channels=False)), False, False),
    (Net(lambda x: (x.flatten(2).mT @ x.flatten(2) @ x.flatten(2).mT).mT.reshape(x.shape)), False, False),
    (
        Net(lambda x: (x.flatten(2).mT @ x.mean((2, 3))[:, :, None].softmax(1)).reshape(-1, 1, 6, 6) + x),
        True,
        True,
    ),
    (Net(per_pixel), True, False),
    (Net(lambda x: pixels_attend(x, key_sees_all=False)), True, False),
    (Net(lambda x: pixels_attend(x, key_sees_all=True)), True, True),
    (Net(lambda x: x * (x * x.mean((2, 3), True).sigmoid()).sigmoid()), True, True),
    (Net(dynamic_kernels), True, True),
    (Net(lambda x: fused_attention(x.flatten(2)).reshape(x.shape)), True, True),
    (Net(lambda x: fused_attention(x.flatten(2).mT).mT.reshape(x.shape)), False, False),
]


@cache
def traced_gates() -> list[Spread]:
    return spreads_of([net for net, _, _ in GATES], 4, 6, 6)


@pytest.mark.parametrize("index", range(len(GATES)))
def test_gates(index):
    _, local, ignored = GATES[index]
    spread = traced_gates()[index]
    assert (spread.roles, is_local(spread), spread.gates_ignored) == (NCHW, (local, local), ignored)
    assert (receptive_field(spread) is not None) == local


def test_no_field_where_one_axis_is_the_whole_image():
    assert receptive_field(Spread(NCHW, axis(3, 1, 0), None)) is None
    assert receptive_field(Spread(NCHW, axis(3, 1, 0), axis(1, 1, 0), True)) == ReceptiveField(
        axis(3, 1, 0), axis(1, 1, 0), gates_ignored=True
    )


# --- architectures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "size", "ignored", "last"),
    [
        (SMALL_ZOO["convnext"], 64, False, (184, 16, -84)),
        (SMALL_ZOO["efficientnet"], 64, True, (15, 4, -7)),
        (SMALL_ZOO["mobilenet_v3"], 64, True, (23, 8, -11)),
        (SMALL_ZOO["shufflenet"], 64, False, (175, 32, -87)),
        (SMALL_ZOO["densenet"], 64, False, (135, 16, -61)),
        pytest.param(
            *(lambda: torchvision.models.googlenet(init_weights=False), 224, False, (379, 32, -167)),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(lambda: torchvision.models.inception_v3(init_weights=False), 299, False, (1311, 32, -618)),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["convnext", "efficientnet", "mobilenet_v3", "shufflenet", "densenet", "googlenet", "inception_v3"],
)
def test_feature_maps_of_torchvision_are_local(make, size, ignored, last):
    spreads = trace(make(), 3, size, size)
    maps = [
        s for n, s in spreads.items() if sorted(s.roles) == sorted(NCHW) and 1 not in n.meta["val"].shape[1:]
    ]
    assert all(receptive_field(spread) is not None for spread in maps)
    assert maps[-1].rows == axis(*last)
    assert maps[-1].gates_ignored == ignored
    assert len(maps) > 20
    *_, logits = spreads.values()
    assert (logits.roles, is_local(logits)) == (("n", "c"), (False, False))
