"""Convolutions, each written in loops over its connections: projected back, each connection is walked the other way."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from backlight.operators.ruleset import DECONVNET
from replicas.heads import Cases, check_replica
from replicas.linear import RULES, check_adjoint, check_classes

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
torch.manual_seed(0)
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
}
CASES = Cases(LAYERS)
REPLICAS = [
    name for name in LAYERS if name.split()[-1] not in ("same", "reflect", "replicate", "circular")
]  # of other paddings than zeros on both sides, see test_padding.py


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_adjoint(name, rules):
    check_adjoint(CASES, name, RULES[rules])


def test_every_operator_on_the_way_is_of_the_linear_class():
    check_classes(CASES)


def connections(module, wide, narrow):
    """Yield each tap of a filter, its place in the wide map (a convolution's input) and in the narrow one."""
    for place in product(*map(range, narrow)):
        for tap in product(*map(range, module.kernel_size)):
            options = zip(place, tap, module.stride, module.dilation, module.padding, strict=True)
            at = tuple(i * stride + t * dilation - padding for i, t, stride, dilation, padding in options)
            if all(0 <= i < size for i, size in zip(at, wide, strict=True)):
                yield tap, at, place


def walked_back(module, shape, signal):
    """Return the signal (n, out, ...) along all connections of a module, as values (n, in, ...) of that shape."""
    weight, below = module.weight.detach().numpy(), np.zeros(shape)
    n_in, n_out = shape[1] // module.groups, signal.shape[1] // module.groups
    for group in range(module.groups):
        ins = slice(group * n_in, (group + 1) * n_in)
        outs = slice(group * n_out, (group + 1) * n_out)
        if module.transposed:  # weight (in, out / groups, taps): the maps below are the narrow ones
            for tap, above, at in connections(module, signal.shape[2:], shape[2:]):
                below[:, ins, *at] += signal[:, outs, *above] @ weight[ins, :, *tap].T
        else:  # weight (out, in / groups, taps)
            for tap, at, above in connections(module, shape[2:], signal.shape[2:]):
                below[:, ins, *at] += signal[:, outs, *above] @ weight[outs, :, *tap]
    return below


@pytest.mark.parametrize("name", REPLICAS)
def test_replica(name):
    def replica(x, signal):
        module = LAYERS[name]
        if not isinstance(module, nn.Sequential):
            return walked_back(module, x.shape, signal)
        reshaped = module[0](torch.from_numpy(x)).shape
        return walked_back(module[1], reshaped, signal).reshape(x.shape)

    check_replica(CASES, name, replica, DECONVNET)
