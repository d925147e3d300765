"""Controls: projections in which something is otherwise on purpose, to see what the picture owes to it.

*Source*: Mahendran & Vedaldi (2016), whose controls unpool to the centre of each window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx

from backlight.operators.adjoint import Record
from backlight.operators.reading import options_of

Switches = Literal["centre", "random", "other image"]
"""What stands in the place of the recorded switches: the middle of each window, a place of it drawn at random, or what
the image before it in the batch recorded there."""


SWITCHES: tuple[Switches, ...] = get_args(Switches)


def _as_it_is(record: Record) -> None:
    return None


@dataclass(frozen=True)
class Control:
    """How a control differs from the deconvnet.

    Attributes:
        seed: What is sent back in place of the unit's own activation; None for that. It only scales the deconvnet's
            picture.
        alter: Changes the record of each forward pass before the backward pass.
    """

    seed: float | None = None
    alter: Callable[[Record], None] = _as_it_is


def replaced_switches(kind: Switches, generator: torch.Generator) -> Control:
    """Return the control in which max pools unpool to other places than they recorded, every unit seeded with 1.

    Args:
        kind: To which places.
        generator: Of the places at random, on the CPU.
    """
    return Control(1.0, partial(_replace, kind, generator))


def _replace(kind: Switches, generator: torch.Generator, record: Record) -> None:
    for node, switches in record.switches.items():
        if kind == "other image":
            # (m, c, h', w'): image i gets those of image i - 1, the first those of the last.
            record.switches[node] = switches.roll(1, 0)
        else:
            record.switches[node] = _in_windows(node, record, switches, kind, generator)


def _in_windows(
    node: fx.Node, record: Record, switches: Tensor, kind: Switches, generator: torch.Generator
) -> Tensor:
    """Return for every window of a max pool a place of it: row * width + column."""
    below: Any = node.args[0]
    sizes = record.shapes[below][2:]
    options = options_of(node, node.args, node.kwargs)
    # One axis at a time: the row, then the column, that each window (m, c, h', w') unpools to.
    places = []
    for axis, size in enumerate(sizes):
        kernel, stride, padding, dilation = (
            _along(options.get(name), axis, default)
            for name, default in (("kernel_size", 1), ("stride", None), ("padding", 0), ("dilation", 1))
        )
        # Which of the window's kernel rows (or columns); of an even number the one before the middle.
        if kind == "centre":
            steps = torch.full(switches.shape, (kernel - 1) // 2)
        else:
            steps = torch.randint(kernel, switches.shape, generator=generator)
        # (1, 1, h', 1) or (1, 1, 1, w'): where each window begins, which may be in the padding.
        shape = [-1 if dim == 2 + axis else 1 for dim in range(4)]
        first = torch.arange(switches.shape[2 + axis]).reshape(shape) * (stride or kernel) - padding
        # No signal can go to padding: it goes to the edge beside it.
        places.append((first + steps * dilation).clamp(0, size - 1))
    # (m, c, h', w'), row * width + column, in the memory order of the recorded ones
    found: Tensor = (places[0] * sizes[1] + places[1]).to(switches.device)
    return found.contiguous(memory_format=torch.channels_last)


def _along(value: Any, axis: int, default: int | None) -> Any:
    if value is None or value == []:  # left out; torch writes an omitted stride as []
        return default
    if isinstance(value, int):
        return value
    return value[axis] if len(value) > 1 else value[0]
