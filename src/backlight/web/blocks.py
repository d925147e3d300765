"""Blocks: how the layers of a network are folded, by their names, and which blocks are alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from backlight.web.contexts import Block, Lanes, LayerView, Run
from backlight.web.lanes import folded, passing

_FEW = 24
"""Layers that are shown unfolded."""


def is_open(layers: Sequence[LayerView]) -> bool:
    """Return whether so few layers are unfolded at first."""
    return len(layers) <= _FEW


def runs(layers: Sequence[LayerView], rows: Sequence[Lanes]) -> tuple[Run, ...]:
    """Return how layers are folded.

    Args:
        layers: The layers.
        rows: The diagram's row of each.
    """
    blocks, first = [], 0
    for name, n in block_names([layer.name for layer in layers]):
        own = rows[first : first + n]
        blocks.append(Block(name, first, n, passing(own[0]), folded(own)))
        first += n
    # single layers are never folded, however alike: each is a run of its own
    keys = [
        _structure(layers[own.first : own.first + own.n_layers]) if own.n_layers > 1 else own.name
        for own in blocks
    ]
    found = []
    for _, places in groupby(range(len(blocks)), key=lambda i: keys[i]):
        alike = [blocks[i] for i in places]
        own = rows[alike[0].first : alike[-1].first + alike[-1].n_layers]
        found.append(Run(tuple(alike), passing(own[0]), folded(own)))
    return tuple(found)


def block_names(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the blocks that layers belong to, in order, each with its number of layers.

    *Convention*: a block is what comes before the last dot. A layer that would be alone in it joins its neighbours if
    the names are the same up to the last dot but one: `conv.0.2` and `conv.1.2` of a block.

    Example:
        >>> block_names(["features.0", "features.3.squeeze", "features.3.cat"])
        [('features.0', 1), ('features.3', 2)]
        >>> block_names(["relu", "b.conv.0.2", "b.conv.1.2", "b.left.relu", "b.cat"])
        [('relu', 1), ('b.conv', 2), ('b', 2)]
    """
    parents = [name.rpartition(".")[0] or name for name in names]
    possible: list[set[str]] = []
    for parent, own in groupby(parents):
        n = len(list(own))
        wider = parent.rpartition(".")[0]
        possible += [{parent, wider} - {""} if n == 1 else {parent}] * n
    found: list[tuple[str, int]] = []
    first = 0
    while first < len(names):
        keys, stop = possible[first], first + 1
        while stop < len(names) and keys & possible[stop]:
            keys, stop = keys & possible[stop], stop + 1
        found.append((max(keys, key=len) if stop - first > 1 else names[first], stop - first))
        first = stop
    return found


def _structure(layers: Sequence[LayerView]) -> tuple[object, ...]:
    """Return what is equal for blocks that are alike: of each layer its operator, its shape and what it reads."""
    places = {layer.name: i for i, layer in enumerate(layers)}
    return tuple(
        (
            layer.operator,
            layer.shape,
            layer.sources and sorted(places.get(name, -1) for name in layer.sources),
        )
        for layer in layers
    )
