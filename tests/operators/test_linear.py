"""Every linear operator goes down by its exact adjoint: <Ax, y> = <x, A'y>, with offsets dropped."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.network import capture
from backlight.operators.ruleset import RuleSet
from backlight.projection.rewrite import apply_rules
from replicas.compare import inner

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
SHAPE = (4, 6, 7)
RULES = [
    RuleSet("deconvnet", average_pool="transpose"),
    RuleSet("guided", rectifier="guided", average_pool="transpose", unpool="assign-largest"),
]


@cache
def constant(*shape, seed=0):
    """Return a constant tensor, made before the capture so that it is none of the network's operators."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


GRID = torch.rand(1, 3, 5, 2, generator=torch.Generator().manual_seed(4)).double() * 2 - 1


def norm(module, *shape):
    """Return a norm with running statistics and weights of both signs that are all different."""
    module.running_mean.copy_(constant(*shape))
    module.running_var.copy_(constant(*shape, seed=1) ** 2 + 0.1)
    module.weight.data.copy_(constant(*shape, seed=2))
    module.bias.data.copy_(constant(*shape, seed=3))
    return module


def written_in_place(x):
    y = x.clone()
    y[:, 1] = 2 * x[:, 0]
    y[:, :, 2:4] = 1.0
    return y


def with_stopped_gradient(x):
    return x.detach() * 2 + x.flip(2)


def other(x):
    return x.flip(1) * 0.5


LAYERS = {
    "conv2d": nn.Conv2d(4, 3, (2, 3)),
    "conv2d strided": nn.Conv2d(4, 3, 3, stride=(2, 3)),
    "conv2d padded": nn.Conv2d(4, 3, 3, padding=(2, 1)),
    "conv2d dilated": nn.Conv2d(4, 3, 2, dilation=(3, 2)),
    "conv2d grouped": nn.Conv2d(4, 6, 3, groups=2),
    "conv2d depthwise": nn.Conv2d(4, 8, 3, groups=4, padding=1),
    "conv2d same": nn.Conv2d(4, 3, 4, padding="same"),
    "conv2d reflect": nn.Conv2d(4, 3, 3, padding=2, padding_mode="reflect"),
    "conv2d replicate": nn.Conv2d(4, 3, 3, padding=2, padding_mode="replicate"),
    "conv2d circular": nn.Conv2d(4, 3, 3, padding=2, padding_mode="circular"),
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 3, 5, stride=3, padding=2)),
    "conv3d": nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv3d(2, 3, (1, 3, 2), stride=2)),
    "conv_transpose1d": nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1)),
    "conv_transpose2d": nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, dilation=2, groups=2),
    "conv_transpose3d": nn.Sequential(nn.Unflatten(1, (2, 2)), nn.ConvTranspose3d(2, 3, 2, stride=2)),
    "linear": nn.Linear(7, 5),
    "batch_norm": norm(nn.BatchNorm2d(4), 4),
    "batch_norm of a vector": nn.Sequential(nn.Flatten(), norm(nn.BatchNorm1d(168), 168)),
    "instance_norm with running statistics": norm(
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True), 4
    ),
    "dropout": nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)),
    "unfold and fold": nn.Sequential(
        nn.Unfold(3, stride=2, padding=1), nn.Fold((6, 8), (3, 3), stride=(2, 2), padding=1)
    ),
}

FUNCTIONS = {
    "cat": lambda x: torch.cat([x, other(x), x], 2),
    "stack": lambda x: torch.stack([x, other(x)], 1),
    "hstack": lambda x: torch.hstack([x, other(x)]),
    "add and sub": lambda x: x + 3 - other(x) + constant(7),
    "rsub, neg, scale": lambda x: (1 - x) * constant(4, 1, 1) - x / constant(6, 1) + -x * 2.5,
    "slice": lambda x: x[:, 1:, ::2, -3:],
    "select": lambda x: x[:, 2] + x[:, 0, :, :1],
    "narrow, split, chunk, unbind": lambda x: torch.cat(
        [*x.split([1, 3], 1), x.narrow(1, 1, 2), *x.chunk(2, 1), x.unbind(1)[0][:, None]], 1
    ),
    "index": lambda x: x[:, [0, 2, 2]][:, :, torch.tensor([5, 0])],
    "index_select": lambda x: x.index_select(3, torch.tensor([1, 1, 6])),
    "gather": lambda x: x.gather(3, torch.tensor([0, 3, 3]).expand(x.shape[0], 4, 6, 3)),
    "view and reshape": lambda x: x.view(-1, 4, 42).reshape(-1, 8, 21),
    "flatten and unflatten": lambda x: x.flatten(1).unflatten(1, (7, 24)),
    "permute, transpose, movedim": lambda x: x.permute(0, 2, 3, 1).transpose(1, 3).movedim(1, 2),
    "squeeze, unsqueeze, expand": lambda x: x.unsqueeze(2).expand(-1, -1, 3, -1, -1)[:, :1].squeeze(1),
    "repeat, tile, repeat_interleave": lambda x: x.repeat(1, 2, 1, 1).tile(2).repeat_interleave(2, 2),
    "pad constant": lambda x: F.pad(x, (1, 2, 0, 3, 1, 0), value=1.5),
    "pad reflect": lambda x: F.pad(x, (3, 2, 1, 3), mode="reflect"),
    "pad replicate": lambda x: F.pad(x, (3, 2, 1, 3), mode="replicate"),
    "pad circular": lambda x: F.pad(x, (3, 2, 1, 3), mode="circular"),
    "crop by a negative pad": lambda x: F.pad(x, (-1, 2, -2, -1)),
    "upsample nearest": lambda x: F.interpolate(x, size=(11, 9)),
    "upsample nearest-exact": lambda x: F.interpolate(x, size=(11, 9), mode="nearest-exact"),
    "upsample bilinear": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "upsample bilinear, corners": lambda x: F.interpolate(
        x, size=(9, 11), mode="bilinear", align_corners=True
    ),
    "upsample bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "downsample, antialias": lambda x: F.interpolate(x, size=(4, 3), mode="bilinear", antialias=True),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[..., :6], 3),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "roll, flip, rot90": lambda x: x.roll((1, -2), (2, 3)).flip(1).rot90(1, (2, 3)),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True, count_include_pad=False),
    "avg_pool2d, divisor": lambda x: F.avg_pool2d(x, (2, 3), 1, divisor_override=5),
    "avg_pool1d and 3d": lambda x: F.avg_pool3d(
        F.avg_pool1d(x.flatten(2), 3, padding=1).unflatten(2, (2, 7)), 2, 1
    ),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x.flatten(2), 5),
    "mean of the maps": lambda x: x.mean((2, 3)),
    "mean over channels": lambda x: x - x.mean(1, keepdim=True),
    "sum and cumsum": lambda x: x.sum((1, 3)) + x.cumsum(2).sum(1)[..., 0],
    "tensor.unfold": lambda x: x.unfold(2, 3, 2).unfold(3, 2, 1),
    "einsum": lambda x: torch.einsum("nchw,kc,wv->nkvh", x, constant(5, 4), constant(7, 3)),
    "matmul": lambda x: x @ constant(7, 5) + constant(6, 6) @ x[..., :5],
    "bmm and baddbmm": lambda x: torch.baddbmm(constant(5), x[:, 0], constant(7, 5).expand(x.shape[0], 7, 5)),
    "addmm of two signals": lambda x: torch.addmm(other(x).flatten(1)[:, :5], x.flatten(1), constant(168, 5)),
    "mm and mv": lambda x: x.flatten(1).mm(constant(168, 5)) + (x @ constant(7)).sum(1)[:, :5],
    "grid_sample": lambda x: F.grid_sample(x, GRID.expand(x.shape[0], -1, -1, -1), align_corners=False),
    "index_put": lambda x: x.index_put((torch.tensor([0, 1]), torch.tensor([2, 0])), constant(6, 7)),
    "where": lambda x: torch.where(constant(6, 7) > 0, x, other(x)),
    "masked_fill": lambda x: x.masked_fill(constant(6, 7) > 0, 2.5),
    "index_add and index_copy": lambda x: x.index_add(1, torch.tensor([0, 2]), x[:, 2:]).index_copy(
        2, torch.tensor([5, 1]), x[:, :, :2]
    ),
    "index_fill and masked_scatter": lambda x: x.index_fill(1, torch.tensor([1]), 0.5).masked_scatter(
        (constant(6, 7) > 0).expand_as(x), other(x)
    ),
    "scatter and scatter_add": lambda x: (
        torch.zeros_like(x)
        .scatter(3, torch.arange(6, -1, -1).expand_as(x), x)
        .scatter_add(1, torch.tensor([1, 1, 0, 3]).view(1, 4, 1, 1).expand_as(x), x)
    ),
    "lerp": lambda x: torch.lerp(x, other(x), 0.3) + torch.lerp(x, x.flip(3), constant(7)),
    "diag_embed": lambda x: torch.diag_embed(x[:, :, 0]),
    "nan_to_num": lambda x: torch.nan_to_num(x),
    "shifted frequencies": lambda x: (
        torch.fft.ifft2(
            torch.fft.ifftshift(torch.fft.fftshift(torch.fft.fft2(x), (2, 3)) * constant(6, 7), (2, 3))
        ).real
    ),
    "fft2": lambda x: torch.view_as_real(torch.fft.fft2(x)),
    "rfft2 and back": lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * constant(6, 4), s=(6, 7)),
    "copies": lambda x: x.contiguous().clone().to(torch.float64).type_as(x),
    "a shortcut padded with zeros": lambda x: torch.cat([x, torch.zeros_like(x)], 1) + x.new_ones(7),
    "written in place": written_in_place,
    "detach": with_stopped_gradient,
}


NAMES = [*LAYERS, *FUNCTIONS]


class Branches(nn.Module):
    """Every operator on the same pixels, each with a fully connected head of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(LAYERS.values()).double().eval()
        self.functions = [*self.layers, *FUNCTIONS.values()]
        x = torch.zeros(2, *SHAPE, dtype=torch.float64)
        widths = [f(x).flatten(1).shape[1] for f in self.functions]
        self.heads = nn.ModuleList(nn.Linear(width, 5) for width in widths).double()

    def forward(self, x):
        return torch.cat([h(f(x).flatten(1)) for f, h in zip(self.functions, self.heads, strict=True)], 1)


@pytest.fixture(scope="module")
def net():
    return capture(Branches(), constant(*SHAPE))


@pytest.fixture(scope="module", params=RULES, ids=lambda rules: rules.name)
def outputs(request, net):
    """Return pixels, and what every head gives for them with the rule set's way down."""
    x = constant(2, *SHAPE, seed=7).clone().requires_grad_()
    return x, apply_rules(net, [net.layer(f"heads.{i}") for i in range(len(NAMES))], request.param)(x)


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_adjoint(net, outputs, index):
    """The way down is taken at other pixels than x: it must not depend on them."""
    matrix = net.features([net.layer(f"heads.{index}")])
    x, y = constant(2, *SHAPE, seed=8), constant(2, 5, seed=9)
    pixels, values = outputs
    (below,) = torch.autograd.grad(values[index], pixels, y, retain_graph=True)
    left, right = inner(matrix(x)[0] - matrix(torch.zeros_like(x))[0], y), inner(x, below)
    assert abs(left) > 1e-3
    assert abs(left - right) < 1e-11 * abs(left), f"<Ax, y> = {left}, <x, A'y> = {right}"


def test_every_operator_on_the_way_is_of_the_linear_class(net):
    heads = [net.node(f"heads.{i}") for i in range(len(NAMES))]
    kinds = {str(net.analysis.classify(node)) for node in net.analysis.path(heads)}
    assert kinds == {"linear"}
