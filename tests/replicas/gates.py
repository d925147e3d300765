"""Gates as their authors write them, each beside its replica: a map affine in z, its factor made from x alone."""

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (4, 5, 6)
torch.manual_seed(0)
CONV, OTHER = (nn.Conv2d(4, 4, 3, padding=1).double() for _ in range(2))
DOWN, UP = nn.Conv2d(4, 2, 1).double(), nn.Conv2d(2, 4, 1).double()
DOWN.bias.data.fill_(1.0)  # so that the rectifier inside squeeze-excite is open
SPATIAL = nn.Conv2d(2, 1, 3, padding=1).double()
HEADS = nn.MultiheadAttention(4, 2, batch_first=True).double()
HEADS.in_proj_bias.data.normal_()
HEADS.out_proj.bias.data.normal_()
WEIGHT, BIAS = torch.randn(2, 4).double()
ROWS = torch.randn(6).double()
MIX = torch.randn(30, 30).double()


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def squeeze_excite(x):
    return torch.sigmoid(UP(F.relu(DOWN(x.mean((2, 3), keepdim=True)))))


def spatial_attention(x):
    return torch.sigmoid(SPATIAL(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)))


def attention(x):
    return (tokens(CONV(x)) @ tokens(OTHER(x)).transpose(1, 2) / 2).softmax(-1)


def attention_of_heads(x, z):
    """Multi-head self-attention whose weights come from x and whose values come from z."""
    query, key, _ = F.linear(tokens(x), HEADS.in_proj_weight, HEADS.in_proj_bias).chunk(3, -1)
    value = F.linear(tokens(z), HEADS.in_proj_weight, HEADS.in_proj_bias).chunk(3, -1)[2]
    mixed = [
        (q @ k.transpose(1, 2) / 2**0.5).softmax(-1) @ v
        for q, k, v in zip(query.split(2, -1), key.split(2, -1), value.split(2, -1), strict=True)
    ]
    return F.linear(torch.cat(mixed, -1), HEADS.out_proj.weight, HEADS.out_proj.bias)


def scaled_dot_product(x, z):
    return attention(x) @ tokens(z)


def standardised(x, z, dims, eps=1e-5, groups=None):
    """Subtract z's own mean and divide by the standard deviation of x over the same entries."""
    if groups:
        x, z = (v.reshape(len(v), groups, -1) for v in (x, z))
        dims = (-1,)
    std = (x.var(dims, correction=0, keepdim=True) + eps).sqrt()
    return (z - z.mean(dims, keepdim=True)) / std


def grouped(x, z, groups, weight, bias, eps=1e-5):
    flat = standardised(x, z, (-1,), eps, groups).reshape(z.shape)
    return flat * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def rms(x, eps):
    return (x.square().mean(-1, keepdim=True) + eps).sqrt()


def second_order(x):
    maps = x.flatten(2)
    return maps @ maps.transpose(1, 2)


def one_row_over_all(x):
    row = CONV(x[:, :, :1])
    return row * OTHER(row).repeat(1, 1, 5, 1)


def rectified_twice(x):
    h = F.relu(x)
    return h * F.relu(CONV(h))


def tanh_gate(x):
    return 1 + torch.tanh(0.9 * (x + 0.044715 * x**3))  # 0.798 would make it GELU itself


def running_products(x):
    return torch.sigmoid(torch.cumprod(x.sort(1).values, 2).median(3, keepdim=True).values)


CASES = {
    "squeeze-excite": (lambda x: x * squeeze_excite(x), lambda x, z: z * squeeze_excite(x)),
    "squeeze-excite, factor first": (lambda x: squeeze_excite(x) * x, lambda x, z: z * squeeze_excite(x)),
    "squeeze-excite, expand_as": (
        lambda x: x * F.hardsigmoid(x.mean((2, 3), keepdim=True)).expand_as(x),
        lambda x, z: z * F.hardsigmoid(x.mean((2, 3), keepdim=True)),
    ),
    "spatial attention": (lambda x: x * spatial_attention(x), lambda x, z: z * spatial_attention(x)),
    "a steeper swish by hand": (
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x, z: z * torch.sigmoid(1.702 * x),
    ),
    "a steeper mish by hand": (
        lambda x: x * F.softplus(1.3 * x).tanh(),
        lambda x, z: z * F.softplus(1.3 * x).tanh(),
    ),
    "a steeper gelu by hand": (lambda x: 0.5 * x * tanh_gate(x), lambda x, z: 0.5 * z * tanh_gate(x)),
    "gated linear unit": (
        lambda x: CONV(x) * torch.sigmoid(OTHER(x)),
        lambda x, z: CONV(z) * torch.sigmoid(OTHER(x)),
    ),
    "a square": (lambda x: x * x, lambda x, z: z * x),
    "a power": (lambda x: x**3, lambda x, z: z * x**2),
    "a power by name": (lambda x: x.square(), lambda x, z: z * x),
    "a root": (
        lambda x: (x.flip(2) ** 4 + 1).sqrt(),
        lambda x, z: (z * x**3 + 1).flip(2) / (x.flip(2) ** 4 + 1).sqrt(),
    ),
    "a gated linear unit by name": (
        lambda x: F.glu(CONV(x), 1),
        lambda x, z: CONV(z)[:, :2] * torch.sigmoid(CONV(x)[:, 2:]),
    ),
    "a mask": (lambda x: x.flip(1) * (x > 0), lambda x, z: z.flip(1) * (x > 0)),
    "a second-order einsum": (
        lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
        lambda x, z: torch.einsum("nchw,ndhw->ncd", z, x),
    ),
    "a second-order pooling": (second_order, lambda x, z: z.flatten(2) @ tokens(x)),
    "an unknown operator in the factor": (
        lambda x: x * running_products(x),
        lambda x, z: z * running_products(x),
    ),
    "a quotient": (lambda x: x / (1 + x.abs()), lambda x, z: z / (1 + x.abs())),
    "a unit vector": (
        lambda x: F.normalize(x, dim=1),
        lambda x, z: z / x.norm(dim=1, keepdim=True).clamp_min(1e-12),
    ),
    "a condition": (
        lambda x: torch.where(x.flip(2) > 0, x, 2 * x.flip(1)),
        lambda x, z: torch.where(x.flip(2) > 0, z, 2 * z.flip(1)),
    ),
    "sampling at places that the pixels choose": (
        lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False),
        lambda x, z: F.grid_sample(z, x[:, :2].permute(0, 2, 3, 1), align_corners=False),
    ),
    "gathering what the pixels choose": (
        lambda x: x.gather(3, x.argsort(2).clamp(max=5)),
        lambda x, z: z.gather(3, x.argsort(2).clamp(max=5)),
    ),
    "masked_fill": (
        lambda x: x.masked_fill(x.flip(2) > 0, 3.0),
        lambda x, z: z.masked_fill(x.flip(2) > 0, 3.0),
    ),
    "attention by hand": (lambda x: attention(x) @ tokens(x), scaled_dot_product),
    "attention whose heads are mixed after the softmax": (
        lambda x: torch.tanh(ROWS[:1]) * (MIX @ attention(x)) @ tokens(x),
        lambda x, z: torch.tanh(ROWS[:1]) * (MIX @ attention(x)) @ tokens(z),
    ),
    "attention": (
        lambda x: F.scaled_dot_product_attention(tokens(CONV(x)), tokens(OTHER(x)), tokens(x)),
        scaled_dot_product,
    ),
    "attention of one tensor to itself": (
        lambda x: F.scaled_dot_product_attention(tokens(x), tokens(x), tokens(x)),
        lambda x, z: (tokens(x) @ x.flatten(2) / 2).softmax(-1) @ tokens(z),
    ),
    "attention, the very same tensor": (
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x, z: (x @ x.transpose(2, 3) / 6**0.5).softmax(-1) @ z,
    ),
    "multi-head attention": (
        lambda x: tokens(x) + HEADS(tokens(x), tokens(x), tokens(x))[0],
        lambda x, z: tokens(z) + attention_of_heads(x, z),
    ),
    "multi-head attention without its weights": (
        lambda x: tokens(x) + HEADS(tokens(x), tokens(x), tokens(x), need_weights=False)[0],
        lambda x, z: tokens(z) + attention_of_heads(x, z),
    ),
    "layer norm": (
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), WEIGHT, BIAS, 1e-2),
        lambda x, z: standardised(x, z, 1, 1e-2).permute(0, 2, 3, 1) * WEIGHT + BIAS,
    ),
    "layer norm over two dimensions": (
        lambda x: F.layer_norm(x, (5, 6)),
        lambda x, z: standardised(x, z, (2, 3)),
    ),
    "layer norm by hand": (
        lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt(),
        lambda x, z: standardised(x, z, 1),
    ),
    "group norm": (
        lambda x: F.group_norm(x, 2, WEIGHT, BIAS, 1e-2),
        lambda x, z: grouped(x, z, 2, WEIGHT, BIAS, 1e-2),
    ),
    "group norm without weights": (
        lambda x: F.group_norm(x, 1),
        lambda x, z: grouped(x, z, 1, torch.ones(4), torch.zeros(4)),
    ),
    "instance norm": (
        lambda x: F.instance_norm(x, weight=WEIGHT, bias=BIAS, eps=1e-2),
        lambda x, z: grouped(x, z, 4, WEIGHT, BIAS, 1e-2),
    ),
    "rms norm": (
        lambda x: F.rms_norm(x, (6,), ROWS, 1e-2),
        lambda x, z: z / rms(x, 1e-2) * ROWS,
    ),
    "rms norm without weights": (
        lambda x: F.rms_norm(x, (6,)),
        lambda x, z: z / rms(x, torch.finfo(torch.float64).eps),
    ),
    # *Convention*: which of two factors is held fixed, one test before the other
    "what came out of a squash before what is broadcast": (
        lambda x: CONV(x).mean((2, 3), keepdim=True) * torch.tanh(OTHER(x)),
        lambda x, z: CONV(z).mean((2, 3), keepdim=True) * torch.tanh(OTHER(x)),
    ),
    "what is broadcast over the other, before what it was computed from": (
        one_row_over_all,
        lambda x, z: CONV(x[:, :, :1]) * OTHER(CONV(z[:, :, :1])).repeat(1, 1, 5, 1),
    ),
    "what was computed from the other, before what was rectified": (
        rectified_twice,
        None,
    ),
    "what came out of a rectifier": (
        lambda x: CONV(x) * F.relu(OTHER(x)),
        lambda x, z: CONV(z) * F.relu(OTHER(x)),
    ),
    "the signal goes to both": (
        lambda x: CONV(x) * OTHER(x),
        lambda x, z: CONV(z) * OTHER(x) + CONV(x) * OTHER(z),
    ),
}
