"""Comparisons that raise by themselves, and the pull of any signal through a captured network."""

import numpy as np
import torch

from backlight.projection.rewrite import apply_rules


def same(got, expected, relative=1e-12):
    """Raise unless two arrays are equal to `relative` of the largest expected magnitude, which must not be zero."""
    got, expected = (np.asarray(torch.as_tensor(a).detach()) for a in (got, expected))
    assert got.shape == expected.shape, f"{got.shape} is not {expected.shape}"
    scale = np.abs(expected).max()
    assert scale > 0, "nothing to compare: all expected values are zero"
    error = np.abs(got - expected).max() / scale
    assert error <= relative, f"largest error {error:.2g} of the largest value {scale:.3g}"


def differ(got, expected, relative=1e-3):
    """Raise unless two arrays differ by more than `relative` of the largest expected magnitude."""
    got, expected = (np.asarray(torch.as_tensor(a).detach()) for a in (got, expected))
    scale = np.abs(expected).max()
    error = np.abs(got - expected).max() / scale
    assert error > relative, f"largest difference is only {error:.2g} of the largest value {scale:.3g}"


def same_bits(got, expected):
    """Raise unless two tensors are equal bit for bit, type included."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert torch.equal(got, expected), f"largest difference {(got - expected).abs().max()}"


def pull(net, layer, x, signal, rules):
    """Return the activations of a layer and what an arbitrary signal put in there becomes at the pixels."""
    x = x.detach().requires_grad_()
    (out,) = apply_rules(net, [net.layer(layer)], rules)(x)
    return out.detach(), torch.autograd.grad(out, x, signal)[0]


def inner(a, b):
    return float((a * b).sum())


def every_place(shape):
    return [tuple(int(i) for i in place) for place in np.ndindex(*shape)]
