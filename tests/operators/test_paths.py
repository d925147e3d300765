"""Operator classes: what each operator is, and which operand of a gate carries the signal."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backlight.network import OperatorClass, capture
from backlight.network.capture import export_graph
from backlight.operators.paths import PathAnalysis
from backlight.operators.reading import operator_name
from backlight.operators.ruleset import RuleSet
from backlight.projection.rewrite import apply_rules
from replicas.compare import same

LINEAR, SELECTOR, GATE = OperatorClass.LINEAR, OperatorClass.SELECTOR, OperatorClass.GATE
RECTIFIER, UNKNOWN = OperatorClass.RECTIFIER, OperatorClass.UNKNOWN
C = 4
SHAPE = (C, 6, 6)
torch.manual_seed(0)
CONV, OTHER, THIRD = (nn.Conv2d(C, C, 3, padding=1).double() for _ in range(3))
DOWN, UP, SPATIAL = (
    nn.Conv2d(C, 2, 1).double(),
    nn.Conv2d(2, C, 1).double(),
    nn.Conv2d(2, 1, 3, padding=1).double(),
)
BRANCHES, ACROSS = nn.Conv2d(2, 2 * C, 1).double(), nn.Conv1d(1, 1, 3, padding=1).double()
HEADS = nn.Conv2d(2, 2, 1).double()
WEIGHT = torch.rand(C, 1, 1).double() + 0.5
USED = nn.ModuleList([CONV, OTHER, THIRD, DOWN, UP, SPATIAL, BRANCHES, ACROSS, HEADS])


def pooled(h):
    return h.mean((2, 3), keepdim=True)


def tokens(h):
    return h.flatten(2).transpose(1, 2)


def weights(x):
    return (tokens(OTHER(x)) @ tokens(THIRD(x)).mT).softmax(-1)


def channel_attention(x):
    """ECA: a convolution across the channels, then expanded to the size of the maps."""
    h = CONV(x)
    across = ACROSS(pooled(h).flatten(2).mT).mT[..., None]
    return h, across.sigmoid().expand_as(h)


def block_attention(x):
    """CBAM: the sum of two branches, under one sigmoid."""
    h = CONV(x)
    return h, torch.sigmoid(UP(F.relu(DOWN(pooled(h)))) + UP(F.relu(DOWN(h.amax((2, 3), keepdim=True)))))


def spatial_attention(x):
    h = CONV(x)
    return h, torch.sigmoid(SPATIAL(torch.cat([h.amax(1, keepdim=True), h.mean(1, keepdim=True)], 1)))


def coordinate_attention(x):
    """Two gates multiplied first: the product of factors is a factor."""
    h = CONV(x)
    return h, torch.sigmoid(OTHER(h).mean(3, keepdim=True)) * torch.sigmoid(OTHER(h).mean(2, keepdim=True))


def response_norm(x):
    """GRN of ConvNeXt V2: each map's norm over the mean norm."""
    h = F.gelu(CONV(x))
    norm = h.norm(p=2, dim=(2, 3), keepdim=True)
    return h, norm / (norm.mean(1, keepdim=True) + 1e-6)


def selective_kernels(x):
    """SK: a softmax over two branches."""
    both = torch.stack([F.relu(CONV(x)), F.relu(OTHER(x))], 1)
    return both, BRANCHES(F.relu(DOWN(pooled(both.sum(1))))).view(-1, 2, C, 1, 1).softmax(1)


def split_attention(x):
    """ResNeSt: a softmax over two branches, reached through views."""
    both = F.relu(torch.cat([CONV(x), OTHER(x)], 1)).view(-1, 2, C, 6, 6)
    logits = BRANCHES(F.relu(DOWN(pooled(both.sum(1))))).view(-1, 1, 2, C).transpose(1, 2)
    return both, logits.softmax(1).reshape(-1, 2 * C).view(-1, 2 * C, 1, 1).view(-1, 2, C, 1, 1)


def gated_block(x):
    """MambaOut: the gate went through a GELU, the other half partly through a convolution."""
    gate, half = CONV(x).split(2, 1)
    return torch.cat([half[:, :1], OTHER(torch.cat([half, half], 1))[:, :1]], 1), F.gelu(gate)


def focal_level(x):
    """A level of focal modulation: one map for all channels scales its context."""
    _, context, level = torch.cat([CONV(x), OTHER(x), SPATIAL(CONV(x)[:, :2])], 1).split((C, C, 1), 1)
    return F.gelu(context), level


def global_query(x):
    """SwiftFormer: one query, expanded over all positions."""
    query, key = tokens(CONV(x)), tokens(OTHER(x))
    return key, query.sum(1, keepdim=True).expand(-1, key.shape[1], -1)


def normalised_by_hand(x):
    h = CONV(x)
    centred = h - h.mean(1, keepdim=True)
    return centred, torch.rsqrt(h.var(1, keepdim=True) + 1e-5)


ELEMENTWISE = {  # (signal, factor) of an elementwise product
    "squeeze-excite": lambda x: (h := CONV(x), UP(F.relu(DOWN(pooled(h)))).sigmoid()),
    "squeeze-excite, hardsigmoid": lambda x: (h := CONV(x), F.hardsigmoid(UP(F.relu(DOWN(pooled(h)))))),
    "squeeze-excite, no squash": lambda x: (h := CONV(x), (UP(DOWN(pooled(h))) + 3).clamp(0, 6) / 6),
    "squeeze-excite of the input": lambda x: (CONV(x), UP(DOWN(pooled(x)))),
    "ECA": channel_attention,
    "CBAM, channels": block_attention,
    "CBAM, positions": spatial_attention,
    "coordinate attention": coordinate_attention,
    "GRN": response_norm,
    "SK": selective_kernels,
    "ResNeSt": split_attention,
    "a steeper swish by hand": lambda x: (h := CONV(x), torch.sigmoid(1.702 * h)),
    "a steeper gelu by hand": lambda x: (h := CONV(x), 1 + torch.tanh(0.8 * h)),
    "a wider hardswish by hand": lambda x: (h := CONV(x), F.relu6(h + 2) / 6),
    "gated linear unit": lambda x: (CONV(x), torch.sigmoid(OTHER(x))),
    "gate of a net that squashes everywhere": lambda x: (
        CONV(torch.tanh(x)),
        torch.sigmoid(OTHER(torch.tanh(x))),
    ),
    "swiglu": lambda x: (CONV(x), F.silu(OTHER(x))),
    "gated block": gated_block,
    "star": lambda x: (CONV(x), F.relu6(OTHER(x))),
    "star, hardtanh": lambda x: (CONV(x), F.hardtanh(OTHER(x), 0, 4)),
    "focal level": focal_level,
    "large-kernel attention": lambda x: (h := F.gelu(CONV(x)), OTHER(h)),
    "global query": global_query,
    "mask": lambda x: (CONV(x), (OTHER(x) > 0).double()),
    "sign": lambda x: (CONV(x), OTHER(x).sign()),
    "by its norm": normalised_by_hand,
    "by a reciprocal": lambda x: (CONV(x), (1 + OTHER(x) ** 2).reciprocal()),
    "mixed softmaxes": lambda x: (CONV(x), 0.3 * OTHER(x).softmax(1) + 0.7 * THIRD(x).softmax(1)),
    "renormalised softmax": lambda x: (CONV(x), (a := OTHER(x).softmax(1)) / a.sum(2, keepdim=True)),
}


def talking_heads(x):
    heads = torch.stack([weights(x), weights(x)], 1)
    value = torch.stack([tokens(CONV(x)), tokens(CONV(x))], 1)
    return HEADS(heads), value


def linear_attention(x):
    """Without a softmax: the keys are rectified."""
    return F.relu(tokens(OTHER(x))).mT, tokens(CONV(x))


def both_orders(left, right):
    """Return the product both ways, each with its signal (right) and its factor (left)."""
    flipped, signal = left.mT, right.mT
    return [(left @ right, right, left), (signal @ flipped, signal, flipped)]


def of_addcmul(x):
    base, h, factor = CONV(x), OTHER(x), torch.sigmoid(THIRD(x))
    return [
        (torch.addcmul(base, h, factor), (base, h), factor),
        (torch.addcmul(base, factor, h), (base, h), factor),
        (torch.addcmul(h, h, factor), h, factor),
        (torch.addcmul(factor, h, factor), (factor, h), factor),
    ]


def of_baddbmm(x):
    attention, value, skip = weights(x), tokens(CONV(x)), tokens(x)
    flipped, signal, turned = attention.mT, value.mT, skip.mT
    return [
        (torch.baddbmm(skip, attention, value), (skip, value), attention),
        (torch.baddbmm(turned, signal, flipped), (turned, signal), flipped),
    ]


def of_einsum(x):
    attention, value = weights(x), tokens(CONV(x))
    return [
        (torch.einsum("nij,njc->nic", attention, value), value, attention),
        (torch.einsum("njc,nij->nic", value, attention), value, attention),
    ]


def of_fused_attention(x):
    query, key, value = (tokens(m(x)) for m in (OTHER, THIRD, CONV))
    return [(F.scaled_dot_product_attention(query, key, value), value, (query, key))]


def of_filters(x):
    """Filters that the image makes: the weight is the factor, whatever it came from."""
    h, filters = CONV(x), OTHER(x).mean((0, 2, 3)).view(1, C, 1, 1)
    rows = THIRD(x).mean((0, 1))
    return [(F.conv2d(h, filters), h, filters), (F.linear(h, rows), h, rows)]


def of_choices(x):
    h, other, mask = CONV(x), OTHER(x), THIRD(x) > 0
    grid = torch.tanh(THIRD(x)[:, :2]).permute(0, 2, 3, 1)
    places = THIRD(x).argmax(1, keepdim=True)
    return [
        (torch.where(mask, h, other), (h, other), mask),
        (h.masked_fill(mask, 0.0), h, mask),
        (h.index_put((mask,), WEIGHT[0, 0, 0]), h, mask),
        (F.grid_sample(h, grid, align_corners=False), h, grid),
        (h.gather(1, places), h, places),
    ]


def of_quotients(x):
    h, other = CONV(x), OTHER(x)
    return [(h / other, h, other), (torch.divide(other, h), other, h)]


def of_both(x):
    """What no test tells apart: the signal goes to both."""
    query, context = torch.cat([CONV(x), OTHER(x)], 1).split((C, C), 1)
    modulator = CONV(context)
    u, v = CONV(x), OTHER(x)
    return [(query * modulator, (query, modulator), None), (u * v, (u, v), None), (u * u, u, None)]


OTHERS = {  # (product, its signals, what is held fixed); None: not looked at, or nothing
    "attention": lambda x: both_orders(weights(x), tokens(CONV(x))),
    "talking heads": lambda x: both_orders(*talking_heads(x)),
    "linear attention": lambda x: both_orders(*linear_attention(x)),
    "addcmul": of_addcmul,
    "baddbmm": of_baddbmm,
    "einsum": of_einsum,
    "fused attention": of_fused_attention,
    "filters from the image": of_filters,
    "choices": of_choices,
    "quotients": of_quotients,
    "both": of_both,
}


def elementwise_both_orders(idiom):
    def gates(x):
        signal, factor = idiom(x)
        return [(signal * factor, signal, factor), (factor * signal, signal, factor)]

    return gates


IDIOMS = {name: elementwise_both_orders(idiom) for name, idiom in ELEMENTWISE.items()} | OTHERS


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.used = function, USED

    def forward(self, x):
        return self.function(x)


def analysed(function):
    """Return the analysis of the graph of a function, and the nodes that the function gives back."""
    graph = export_graph(Model(function), torch.zeros(1, *SHAPE).double()).graph
    (output,) = (node for node in graph.nodes if node.op == "output")
    return PathAnalysis(graph), list(output.args[0])


@pytest.mark.parametrize("name", IDIOMS)
def test_the_signal_of_a_gate(name):
    counts = []

    def in_a_row(x):
        """Return each product, its signals and its factors, without the Nones that an export refuses."""
        gates = [(p, _group(signals), _group(held)) for p, signals, held in IDIOMS[name](x)]
        counts[:] = [(len(signals), len(held)) for _, signals, held in gates]
        return tuple(t for product, signals, held in gates for t in (product, *signals, *held))

    analysis, nodes = analysed(in_a_row)
    rest = iter(nodes)
    for n_signals, n_held in counts:
        product = next(rest)
        signals, held = [next(rest) for _ in range(n_signals)], [next(rest) for _ in range(n_held)]
        assert analysis.classify(product) is GATE
        assert list(analysis.signal_inputs(product)) == signals
        assert set(analysis.held_fixed(product)) == set(held)


def _group(operands):
    return operands if isinstance(operands, tuple) else () if operands is None else (operands,)


def assigned_to_slice(x):
    y = 1 * x
    y[:, 1:3] = x[:, :2]
    return y


ZEROS, ONES = torch.zeros(C).double(), torch.ones(C).double()
MATRIX = torch.rand(6, 6).double()
CLASSES = {  # by the operator that gives the result
    LINEAR: {
        "convolution": lambda x: CONV(x),
        "convolution, padding by name": lambda x: F.conv2d(x, CONV.weight, padding="same"),
        "convolution by a filter from the image": lambda x: F.conv2d(WEIGHT[None], x[:1, :, :1, :1]),
        "batch norm": lambda x: F.batch_norm(x, ZEROS, ONES),
        "instance norm by running statistics": lambda x: F.instance_norm(
            x, ZEROS, ONES, use_input_stats=False
        ),
        "scale": lambda x: WEIGHT * x,
        "scale, by another name": lambda x: torch.multiply(x, 2.0),
        "quotient": lambda x: x / WEIGHT,
        "negative": torch.negative,
        "from a constant": lambda x: 1 - x,
        "difference": lambda x: torch.subtract(x, x.flip(2)),
        "addcmul of constants": lambda x: torch.addcmul(WEIGHT, WEIGHT, x),
        "matrix product": lambda x: x @ MATRIX,
        "matrix product, constant first": lambda x: MATRIX @ x,
        "einsum": lambda x: torch.einsum("nchw,wv->nchv", x, MATRIX),
        "concatenation": lambda x: torch.concatenate([x, 2 * x], 1),
        "assignment to a slice": assigned_to_slice,
        "assignment to places": lambda x: x.index_put((torch.tensor([0]),), 2 * x[:1]),
        "constant condition": lambda x: torch.where(WEIGHT > 1, x, 2 * x),
        "indexing": lambda x: x[:, torch.tensor([2, 0])],
        "roll": lambda x: x.roll(1, 2),
        "upsampling": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        "upsampling by size": lambda x: F.interpolate(x, size=(12, 12)),
        "average pool": lambda x: F.avg_pool2d(x, 2),
        "adaptive average pool": lambda x: F.adaptive_avg_pool2d(x, 2),
        "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
        "type": lambda x: x.to(torch.float32),
        "diagonal": lambda x: x.diagonal(dim1=2, dim2=3),
    },
    SELECTOR: {
        "max pool": lambda x: F.max_pool2d(x, 2),
        "amax": lambda x: x.amax(1),
        "maximum of two signals": lambda x: torch.maximum(x, x.flip(1)),
        "absolute value": lambda x: x.abs(),
        "upper bound": lambda x: x.clamp(max=1),
        "minimum with a constant": lambda x: torch.minimum(x, WEIGHT),
    },
    GATE: {
        "layer norm": lambda x: F.layer_norm(x, (6,)),
        "group norm": lambda x: F.group_norm(x, 2),
        "instance norm": lambda x: F.instance_norm(x),
        "rms norm": lambda x: F.rms_norm(x, (6,)),
        "gated linear unit": lambda x: F.glu(x, 1),
        "square": lambda x: x.square(),
        "power": lambda x: x**3,
        "power that was learnt": lambda x: x.clamp(min=1e-6) ** LEARNT.sharpness,
        "root": lambda x: x.clamp(min=1e-6) ** (1 / 3),
        "square root": lambda x: x.clamp(min=1e-6).sqrt(),
    },
    RECTIFIER: {
        "relu": F.relu,
        "relu6": F.relu6,
        "hardtanh from zero": lambda x: F.hardtanh(x, 0, 2),
        "clamp from zero": lambda x: x.clamp(0, 1),
        "clamp without an upper bound": lambda x: x.clamp(min=0.3),
        "clip": lambda x: torch.clip(x, min=0),
        "maximum with a constant": lambda x: torch.maximum(WEIGHT, x),
        "prelu": lambda x: F.prelu(x, ONES),
        "gelu": F.gelu,
        "hardswish": F.hardswish,
    },
    UNKNOWN: {
        "sigmoid": torch.sigmoid,
        "softmax": lambda x: x.softmax(1),
        "hardtanh": F.hardtanh,
        "clamp on both sides": lambda x: x.clamp(0.5, 1),
        "sine": torch.sin,
        "running product": lambda x: x.cumprod(1),
        "constant over a signal": lambda x: WEIGHT / x,
        "rounded quotient": lambda x: torch.div(x, 2, rounding_mode="floor"),
        "inverse power": lambda x: x**-1.5,
        "power of a constant": lambda x: 2**x,
        "power by a signal": lambda x: x**x,
        "slope from the image": lambda x: F.prelu(x, x[0, :, 0, 0]),
        "comparison": lambda x: x > 0,
        "choice between constants": lambda x: torch.where(x > 0, WEIGHT, 2 * WEIGHT),
        "attention to constants": lambda x: F.scaled_dot_product_attention(x, x, MATRIX.expand(1, C, 6, 6)),
    },
    OperatorClass.CONSTANT: {
        "weights alone": lambda x: (WEIGHT * 2).sigmoid(),
        "zeros like a signal": lambda x: torch.zeros_like(x).cos(),
    },
}
CASES = [(kind, name) for kind, functions in CLASSES.items() for name in functions]


class Learnt(nn.Module):
    def __init__(self):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(3.0).double())


LEARNT = Learnt()
USED.append(LEARNT)


@pytest.fixture(scope="module")
def results():
    """Return the analysis of one graph of all cases, and the node of each."""
    analysis, nodes = analysed(lambda x: tuple(CLASSES[kind][name](x) for kind, name in CASES))
    return analysis, dict(zip(CASES, nodes, strict=True))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_classes(results, kind, name):
    analysis, nodes = results
    assert analysis.classify(nodes[kind, name]) is kind


def test_statistics_of_the_batch_are_unknown():
    """By them one image's units would depend on the other images of its batch."""
    analysis, (node,) = analysed(lambda x: (F.batch_norm(x, None, None, training=True),))
    assert analysis.classify(node.args[0]) is UNKNOWN


# --- the way down of the gates that tests/rules does not have --------------------------------------------------


def masked(x, z):
    assigned = 1 * z
    assigned[THIRD(x) > 0] = 0.0
    return assigned


def sampled(x, z):
    return F.grid_sample(z, torch.tanh(THIRD(x)[:, :2]).permute(0, 2, 3, 1), align_corners=False)


WAYS_DOWN = {  # as a map of z that is affine, its factor made of x: with both the same, it is the gate
    "power": lambda x, z: z * x**2,
    "square": lambda x, z: z * x,
    "square root": lambda x, z: z / x.abs().sqrt(),
    "gated linear unit": lambda x, z: z[:, :2] * x[:, 2:].sigmoid(),
    "addcmul": lambda x, z: torch.addcmul(z, THIRD(z), OTHER(x).sigmoid()),
    "addcmul that adds its factor": lambda x, z: OTHER(z).sigmoid() + THIRD(z) * OTHER(x).sigmoid(),
    "addcmul of one map": lambda x, z: z + z * OTHER(x).sigmoid(),
    "baddbmm": lambda x, z: torch.baddbmm(tokens(z), weights(x), tokens(CONV(z))),
    "choice between a map and itself": lambda x, z: torch.where(THIRD(x) > 0, z, z),
    "assignment under a mask": masked,
    "sampling": sampled,
    "layer norm of core ATen": lambda x, z: (
        (z - z.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    ),
    "group norm of core ATen": lambda x, z: (
        (z.view(-1, 2, 72) - z.view(-1, 2, 72).mean(-1, keepdim=True))
        / (x.view(-1, 2, 72).var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    ).view(z.shape),
}
GATES = {
    "power": lambda x: x**3,
    "square": lambda x: x.square(),
    "square root": lambda x: x.abs().sqrt(),
    "gated linear unit": lambda x: F.glu(x, 1),
    "addcmul": lambda x: torch.addcmul(x, THIRD(x), OTHER(x).sigmoid()),
    "addcmul that adds its factor": lambda x: torch.addcmul(g := OTHER(x).sigmoid(), THIRD(x), g),
    "addcmul of one map": lambda x: torch.addcmul(x, x, OTHER(x).sigmoid()),
    "baddbmm": lambda x: torch.baddbmm(tokens(x), weights(x), tokens(CONV(x))),
    "choice between a map and itself": lambda x: torch.where(THIRD(x) > 0, x, x),
    "assignment under a mask": lambda x: masked(x, x),
    "sampling": lambda x: sampled(x, x),
    "layer norm of core ATen": lambda x: torch.native_layer_norm(x, [6], None, None, 1e-5)[0],
    "group norm of core ATen": lambda x: torch.native_group_norm(x, None, None, x.shape[0], C, 36, 2, 1e-5)[
        0
    ],
}


class WithHead(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate, self.used = gate, USED
        self.head = nn.Linear(gate(torch.randn(2, *SHAPE).double()).flatten(1).shape[1], 3).double()

    def forward(self, x):
        return self.head(self.gate(x).flatten(1))


@pytest.mark.parametrize("name", GATES)
def test_the_factor_is_held_fixed(name):
    x = torch.rand(2, *SHAPE).double() + 0.1
    x[:, :, 0] *= -1 if "root" not in name else 1
    seed, model = torch.randn(2, 3).double(), WithHead(GATES[name])
    net = capture(model, x)
    rules = RuleSet("squashes pass", squash="gradient")
    pixels = x.clone().requires_grad_()
    (out,) = apply_rules(net, [net.layer("head")], rules)(pixels)
    same(out, model(x), 1e-14)
    z = x.clone().requires_grad_()
    fixed = model.head(WAYS_DOWN[name](x, z).flatten(1))
    same(fixed, out)
    same(torch.autograd.grad(out, pixels, seed)[0], torch.autograd.grad(fixed, z, seed)[0])


# --- programs that were taken down to core ATen, as a .pt2 file may hold them ----------------------------------


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, C, 3), nn.BatchNorm2d(C), nn.ReLU(), nn.MaxPool2d(2))
        self.block = nn.Sequential(
            nn.GroupNorm(2, C), nn.Conv2d(C, C, 3, padding=1), nn.LeakyReLU(), nn.ReLU6()
        )
        self.norm = nn.LayerNorm(C)

    def forward(self, x):
        x = self.stem(x)
        x = x + F.interpolate(self.block(F.adaptive_avg_pool2d(x, 4)), scale_factor=2)
        return self.norm(x.permute(0, 2, 3, 1))


def test_core_aten_projects_as_the_model_does():
    model = Mixed().double().eval()
    x, seed = torch.randn(2, 3, 18, 18).double(), torch.randn(2, C, 8, 8).double()
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    core = capture(program.run_decompositions().module(check_guards=False), x)
    assert not core.coverage().unsupported
    core_only = {"convolution", "native_group_norm", "native_layer_norm"}
    assert core_only <= {operator_name(node) for node in core.module.graph.nodes}
    ways = []
    for net in (core, capture(model, x)):
        pixels = x.clone().requires_grad_()
        (out,) = apply_rules(net, [net.layer("norm")], RuleSet("deconvnet"))(pixels)
        ways.append(torch.autograd.grad(out, pixels, seed)[0])
    same(*ways)


def test_an_analysis_does_not_outlive_its_network():
    """It caches what it finds, and must not keep the weights of every model that was ever captured."""
    net = capture(WithHead(GATES["square"]), torch.zeros(1, *SHAPE).double())
    net.coverage()
    left = weakref.ref(net.analysis), weakref.ref(net.module)
    del net
    gc.collect()
    assert [reference() for reference in left] == [None, None]
