"""The table of all operators: what walks a graph looks up here what an operator is."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import fx

from backlight.operators import (
    attention,
    averages,
    carry,
    choosing,
    convolution,
    division,
    elementwise,
    joins,
    norms,
    padding,
    pooling,
    powers,
    products,
    rectifiers,
    resizing,
    slicing,
    spectral,
    squashes,
    views,
)
from backlight.operators.fields import cell_by_cell
from backlight.operators.operator import Operator
from backlight.operators.reading import aten, carries_signal, operands, packet, sizes_of

FAMILIES: tuple[ModuleType, ...] = (
    *(convolution, pooling, averages, rectifiers, squashes, norms, powers, division, products, attention),
    *(elementwise, views, slicing, joins, padding, resizing, choosing, spectral, carry),
)
"""The files of the families, each with its entries as OPERATORS."""


def collect(families: Iterable[ModuleType]) -> Mapping[Any, Operator]:
    """Return each operator's entry by its overload packet or function; a name that this torch lacks is left out.

    Raises:
        ValueError: An operator has two entries.
    """
    found: dict[Any, Operator] = {}
    for family in families:
        for entry in family.OPERATORS:
            for name in entry.names:
                target = getattr(aten, name, None) if isinstance(name, str) else name
                if target in found:
                    raise ValueError(f"{name} has two entries")
                if target is not None:
                    found[target] = entry
    return MappingProxyType(found)


TABLE = collect(FAMILIES)
"""The entry of each operator, by its ATen packet or by the function that a rewritten graph calls."""

_CHANNEL_BY_CHANNEL = (pooling, averages, rectifiers, squashes, norms, powers, division, elementwise, padding)
"""Families whose operators give in each channel what they make of the same channel, where the channels stay as many."""

_UNREGISTERED = Operator(())
_UNREGISTERED_POINTWISE = Operator((), field=cell_by_cell)


def operator_of(node: fx.Node) -> Operator:
    """Return the entry of a node's operator.

    *Convention*: an operator that has none is of unknown class; it is followed cell by cell if torch says that it works
    so, and else sees the whole image.
    """
    entry = TABLE.get(packet(node))
    if entry is not None:
        return entry
    is_pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
    return _UNREGISTERED_POINTWISE if is_pointwise else _UNREGISTERED


def is_convolution(node: fx.Node) -> bool:
    """Return whether a node is a convolution of any rank, transposed or not."""
    return operator_of(node) in convolution.OPERATORS


def is_attention(node: fx.Node) -> bool:
    """Return whether a node is attention in one operator."""
    return operator_of(node) in attention.OPERATORS


def is_batch_norm(node: fx.Node) -> bool:
    """Return whether a node is the batch norm of a trained network, by recorded statistics."""
    return packet(node) is aten._native_batch_norm_legit_no_training


def keeps_channels(node: fx.Node) -> bool:
    """Return whether each channel of what a node gives is made of the same channel of its one signal.

    *Convention*: a norm over channels and a softmax count too: they scale each channel by what they see in all.
    """
    below = node.args[0] if node.args else None
    if not isinstance(below, fx.Node) or sizes_of(below)[1:2] != sizes_of(node)[1:2]:
        return False
    if packet(node) is operator.getitem:  # a norm gives its statistics besides, a pool its switches
        return bool(node.args[1] == 0) and keeps_channels(below)
    entry = operator_of(node)
    return entry.field is cell_by_cell or any(entry in own.OPERATORS for own in _CHANNEL_BY_CHANNEL)


def operands_read(node: fx.Node) -> list[fx.Node]:
    """Return every node whose values this node reads, positional arguments first.

    What only lends its shape or type (`zeros_like`), or is overwritten (`copy`), is not read.
    """
    return operator_of(node).reads(node)


def operands_passed(node: fx.Node) -> list[fx.Node]:
    """Return the operands through which a node of a rewritten graph passes a signal, each once.

    Not among them: what only lends its shape, what is held fixed, and masks and indices, which carry none.
    """
    if node.op != "call_function" or not carries_signal(node):
        return []
    entry = operator_of(node)
    found = entry.reads(node) if entry.passes is None else operands(node.args[entry.passes])
    return [n for n in dict.fromkeys(found) if carries_signal(n)]
