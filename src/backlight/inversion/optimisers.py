"""Optimisers: from an image, its cost and its gradient to the next image to look at.

They know nothing of networks and priors. Every image of a batch is a problem of its own: what becomes of it does not
depend on the others. One call is one evaluation, so the calls of different optimisers compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images, (n,) costs, gradients) -> the next images; called in turn, the images being what it gave the last time."""


@runtime_checkable
class Optimiser(Protocol):
    """How to go down, without state."""

    def start(self, n_steps: int) -> Step:
        """Return a fresh descent of at most so many steps."""


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with momentum: m ← decay·m - rate·g, x ← x + m.

    *Source*: Mahendran & Vedaldi (2014), section 3.

    Attributes:
        rate: Length of a step for a gradient of length 1.
        decay: What is left of the last step.
    """

    rate: float
    decay: float = 0.9

    def start(self, n_steps: int) -> Step:
        """Return a fresh descent."""
        speed: Tensor | None = None

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal speed
            speed = (
                gradient * -self.rate
                if speed is None
                else speed.mul_(self.decay).sub_(gradient, alpha=self.rate)
            )
            return x + speed

        return step


@dataclass(frozen=True)
class LeakyAdaGrad:
    """AdaGrad that forgets, with momentum: G ← leak·G + g², m ← decay·m - g / (1/rate + √G), x ← x + m.

    *Source*: Mahendran & Vedaldi (2016), section 3, and its program.

    Attributes:
        rate: Length of a step where gradients are small; where they are large a step has a length of about 1 / √10.
        leak: What is left of the past squares.
        decay: What is left of the last step.
    """

    rate: float
    leak: float = 0.9
    decay: float = 0.9

    def start(self, n_steps: int) -> Step:
        """Return a fresh descent."""
        squares: Tensor | None = None
        speed: Tensor | None = None

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal squares, speed
            if squares is None or speed is None:
                squares, speed = torch.zeros_like(x), torch.zeros_like(x)
            squares.mul_(self.leak).addcmul_(gradient, gradient)
            speed.mul_(self.decay).addcdiv_(gradient, squares.sqrt().add_(1 / self.rate), value=-1)
            return x + speed

        return step


@dataclass(frozen=True)
class Adam:
    """Adam with a rate that falls in a straight line to nothing.

    *Source*: Kingma & Ba (2015), algorithm 1.

    Attributes:
        rate: Length of the first steps of each value, in its units.
        betas: What is left of the means of gradients and of their squares.
    """

    rate: float
    betas: tuple[float, float] = (0.9, 0.99)

    def start(self, n_steps: int) -> Step:
        """Return a fresh descent of at most so many steps."""
        first, second = self.betas
        mean: Tensor | None = None
        squares: Tensor | None = None
        done = 0

        def step(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
            nonlocal mean, squares, done
            if mean is None or squares is None:
                mean, squares = torch.zeros_like(x), torch.zeros_like(x)
            rate = self.rate * max(1 - done / n_steps, 0.0)
            done += 1
            mean.lerp_(gradient, 1 - first)
            squares.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            scale = (squares / (1 - second**done)).sqrt_().add_(1e-12)
            return x.addcdiv(mean, scale, value=-rate / (1 - first**done))

        return step
