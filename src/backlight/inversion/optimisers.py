"""Optimisers: from an image, its cost and its gradient to the next image to evaluate.

They know nothing of networks and priors. Every image of a batch is a problem of its own: its result does not depend on
the others. One call is one evaluation, so numbers of steps compare between optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from backlight.inversion.mixing import Mixing, mixed

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images, (n,) costs, gradients) -> the next images; each call gets the images that the last one returned."""


@runtime_checkable
class Optimiser(Protocol):
    """How to descend, without state."""

    def start(self, n_steps: int) -> Step:
        """Return a new descent of at most n_steps steps."""


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with momentum: m ← decay·m - rate·g, x ← x + m.

    *Source*: Mahendran & Vedaldi (2014), section 3.

    Attributes:
        rate: Length of a step for a gradient of length 1.
        decay: Factor of the last step.
    """

    rate: float
    decay: float = 0.9

    def start(self, n_steps: int) -> Step:
        """Return a new descent."""
        speed: Tensor | None = None

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal speed
            speed = (
                gradient * -self.rate
                if speed is None
                else speed.mul_(self.decay).sub_(gradient, alpha=self.rate)
            )
            return x + speed  # a new tensor: the descent may have kept x as its best

        return step


@dataclass(frozen=True)
class LeakyAdaGrad:
    """AdaGrad that forgets, with momentum: G ← leak·G + g², m ← decay·m - g / (1/rate + √G), x ← x + m.

    *Source*: Mahendran & Vedaldi (2016), section 3, and its program.

    Attributes:
        rate: Length of a step for small gradients; for large ones it is about 1 / √10.
        leak: Factor of the past squares.
        decay: Factor of the last step.
    """

    rate: float
    leak: float = 0.9
    decay: float = 0.9

    def start(self, n_steps: int) -> Step:
        """Return a new descent."""
        squares: Tensor | None = None
        speed: Tensor | None = None

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal squares, speed
            if squares is None or speed is None:
                squares, speed = torch.zeros_like(x), torch.zeros_like(x)
            squares.mul_(self.leak).addcmul_(gradient, gradient)
            # 1/rate bounds the step where gradients have been small; √G normalises each value of the image by itself
            speed.mul_(self.decay).addcdiv_(gradient, squares.sqrt().add_(1 / self.rate), value=-1)
            return x + speed

        return step


@dataclass(frozen=True)
class Adam:
    """Adam with a rate that falls linearly to 0, on values z of which the image is a smoothed version.

    With `smoothness` s the image is x = C z, where C multiplies the frequency f by f^-s, and Adam steps in z: so
    coarse structures, which vary most in photographs and which noise hides at first, move further than fine ones.

    *Source*: Kingma & Ba (2015), algorithm 1; for descending in whitened frequencies Olah, Mordvintsev &
    Schubert (2017), "Feature visualization", who take s = 1.

    Attributes:
        rate: Length of the first steps of each value of z, in units of the image.
        betas: Decay of the means of gradients and of their squares.
        smoothness: s; 0 for plain Adam.
    """

    rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    smoothness: float = 0.0

    def start(self, n_steps: int) -> Step:
        """Return a new descent of at most n_steps steps."""
        first, second = self.betas
        mean: Tensor | None = None
        squares: Tensor | None = None
        gains: Tensor | None = None
        done = 0

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal mean, squares, gains, done
            if mean is None or squares is None:
                mean, squares = torch.zeros_like(x), torch.zeros_like(x)
                gains = frequency_gains(x, self.smoothness) if self.smoothness else None
            # Adam in z: the gradient in z is C' times that in x, and C' = C; a step in z moves x by C times the step.
            rate = self.rate * max(1 - done / n_steps, 0.0)
            done += 1
            gradient = _filtered(gradient, gains)
            mean.lerp_(gradient, 1 - first)
            squares.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            scale = (squares / (1 - second**done)).sqrt_().add_(1e-12)
            # The means start at 0; the divisions by 1 - beta^done correct their bias.
            return x.add(_filtered(mean / scale, gains), alpha=-rate / (1 - first**done))

        return step


@dataclass(frozen=True)
class Mixed:
    """A descent in other coordinates of the colours: the image is x = M z at each pixel, and the optimiser steps in z.

    Greys, which vary most in photographs, so move further than colours, which noise can hide in.

    Attributes:
        optimiser: How to descend in z.
        mixing: M, for three channels; images with other numbers of channels stay as they are.
    """

    optimiser: Optimiser
    mixing: Mixing

    def start(self, n_steps: int) -> Step:
        """Return a new descent of at most n_steps steps."""
        inner = self.optimiser.start(n_steps)

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            if x.shape[1] != 3:
                return inner(x, value, gradient)
            matrix = x.new_tensor(self.mixing)
            # the gradient in z is M' times that in x
            z = inner(mixed(x, torch.linalg.inv(matrix)), value, mixed(gradient, matrix.T))
            return mixed(z, matrix)

        return step


_COARSEST = 1 / 64
"""Frequencies below this, in cycles per pixel, count as this."""


def frequency_gains(images: Tensor, smoothness: float) -> Tensor:
    """Return the factors (h, w // 2 + 1) of C for the frequencies of `rfft2`: f^-s, scaled to a mean square of 1.

    Example:
        >>> gains = frequency_gains(torch.zeros(1, 3, 64, 64), 1.0)
        >>> float(gains[0, 4] / gains[0, 8])
        2.0
    """
    height, width = images.shape[-2:]
    # cycles per pixel along each axis; rfft2 leaves out the negative ones along columns, which mirror the others
    rows = torch.fft.fftfreq(height, dtype=images.dtype, device=images.device)[:, None]
    cols = torch.fft.rfftfreq(width, dtype=images.dtype, device=images.device)
    frequencies: Tensor = (rows.square() + cols.square()).sqrt()
    # (h, 1) and (w // 2 + 1,) have become (h, w // 2 + 1); the clamp keeps the mean colour, frequency 0, finite
    gains = frequencies.clamp_min(_COARSEST).pow(-smoothness)
    # mean square 1: the noise of the start keeps its strength, and rates compare between smoothnesses
    scaled: Tensor = gains / gains.square().mean().sqrt()
    return scaled


def _filtered(images: Tensor, gains: Tensor | None) -> Tensor:
    """Return C times images (n, c, h, w): their frequencies multiplied. C is its own adjoint."""
    if gains is None:
        return images
    # rfft2 of (n, c, h, w) is (n, c, h, w // 2 + 1); the gains (h, w // 2 + 1) are real and even, so that images stay
    # real
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * gains, s=images.shape[-2:])
    return filtered
