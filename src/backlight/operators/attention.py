"""Attention: a gate whose weights, of query and key, are recorded and held fixed; the signal goes to the value."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx

from backlight.operators.fields import cannot_be_told, gated
from backlight.operators.kinds import gate
from backlight.operators.operator import Example, Operator, Paths, Rewriting, Seen, named
from backlight.operators.products import contracted_product, with_factors_frozen
from backlight.operators.reading import sizes_of
from backlight.operators.spread import Spreads, stretched


def _holds_all_but_value(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    return tuple(n for n in paths.signals(node) if n is not node.args[2])


def _freeze_weights(at: Rewriting) -> fx.Node | None:
    """Hold the attention weights fixed; the signal goes to the value."""
    if not at.holds_factors:
        return None
    args, kwargs = with_factors_frozen(at)
    # In self-attention query and key can be the value itself, which is no factor: freeze these two anyway.
    weights = [at.frozen(a) for a in args[:2]]
    return at.call(at.node.target, *weights, *args[2:], **kwargs)  # type: ignore[arg-type]


def _attend(seen: Seen) -> Spreads:
    """The whole image along the positions: every output is a mixture of all values, weighted by all keys."""
    # Query (..., t, d), key (..., s, d), value (..., s, v); the weights softmax(query @ key') are (..., t, s) and the
    # output weights @ value is (..., t, v): t is where the query stood, v the channels of the value, s is summed over.
    node = seen.node
    query, key, value = list[Any](node.args)[:3]
    target = sizes_of(node)
    ranks = [len(target), len(sizes_of(query)), len(sizes_of(value))]
    # A mask may be a signal too, or a key whose values are constants: what those reach cannot be told.
    if min(ranks) < 2 or not seen.signals.keys() <= {query, value}:
        return cannot_be_told(node, seen.signals.values())
    held = []  # what only makes the weights
    if query in seen.operands:
        held.append(contracted_product(seen, query, value, -1))
    kept = [contracted_product(seen, value, query, -2)] if value in seen.operands else []
    if value not in seen.signals:  # key and value are constants: each output sees what its query sees
        kept, held = held, []
    if key in seen.operands:
        # All keys weigh on every output: neither s nor d is left, and only batch and heads keep their places.
        keys = seen.operands[key]
        keys = keys.with_roles((*keys.roles[:-2], "", ""))
        held.append(stretched(keys, (*sizes_of(key)[:-2], *target[-2:]), target))
    return gated(kept, held)


def _attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


OPERATORS = (
    Operator(
        named("scaled_dot_product_attention"),
        kind=gate,
        holds=_holds_all_but_value,
        field=_attend,
        rule=_freeze_weights,
        examples=(Example(_attention, (3, 6, 6)),),
    ),
)
