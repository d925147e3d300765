"""Factors: through which of two multiplied signals the signal goes, and which is recorded and held fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from backlight.operators.operator import Origin, Paths
from backlight.operators.reading import aten, carries_signal, operands, packet, shape_of

_EXPANSIONS = {aten.expand, aten.expand_as, aten.broadcast_to}
_ENTRIES = frozenset({Origin.ENTRIES})
_LINEAR = frozenset({Origin.ENTRIES, Origin.MIXTURES})


def signal_factors(node: fx.Node, paths: Paths, first: int = 0) -> list[fx.Node]:
    """Return the signals that a product multiplies, each as often as it is a factor; not what it adds."""
    return [n for n in operands(node.args[first : first + 2]) if n in paths.dependent]


def _held(node: fx.Node, paths: Paths, first: int = 0) -> tuple[fx.Node, ...]:
    factors = signal_factors(node, paths, first)
    if len(set(factors)) < 2:  # x * x: the rewrite holds the second one fixed
        return ()
    # An operand may hold several tensors, as in einsum(equation, [a, b, c]): the outer two decide.
    kept = _signals_of_product(factors[0], factors[-1], paths)
    return tuple(n for n in factors if n not in kept)


def holds_a_factor(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    """Return the factor through which the signal does not go, of two signals."""
    return _held(node, paths)


def holds_second_factor(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    """Return what is held fixed of the two factors behind a first operand that is added."""
    return _held(node, paths, first=1)


def holds_weights(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    """Return weights that are made from the image: the signal goes through what they are applied to."""
    factors = signal_factors(node, paths)
    return tuple(n for n in factors if n is not factors[0]) if len(set(factors)) > 1 else ()


def _signals_of_product(left: fx.Node, right: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    """Choose through which of two factors the signal goes; the others are held fixed.

    *Convention*: held fixed is a mask or an index (`carries_signal`); else what came out of a sigmoid, a
    softmax, a comparison or the like; else a linear map of that (talking heads); else what is broadcast over the
    other; else what was computed from the other; else what came out of a rectifier. Where none of these tells
    the two apart, the signal goes to both, each with the other held fixed.
    """
    # From the surest sign of a factor to the weakest: the first that is true of one of the two alone decides.
    tests: tuple[Callable[[fx.Node, fx.Node], bool], ...] = (
        lambda a, _: not carries_signal(a),
        lambda a, _: paths.comes_from(a, Origin.FACTORS, _ENTRIES),
        lambda a, _: paths.comes_from(a, Origin.FACTORS, _LINEAR),
        _is_broadcast_over,
        lambda a, b: b in paths.ancestors(a),
        lambda a, _: paths.comes_from(a, Origin.RECTIFIED, _ENTRIES),
    )
    for is_factor in tests:
        verdict = is_factor(left, right), is_factor(right, left)
        if verdict[0] != verdict[1]:  # true of both, or of neither: the next test decides
            return (right,) if verdict[0] else (left,)
    return left, right


def _is_broadcast_over(node: fx.Node, other: fx.Node) -> bool:
    """Return whether node has size 1, or nothing, where other has a real extent; `expand` hides no size 1."""
    mine, theirs = (shape_of(_before_expansion(n)) for n in (node, other))
    if mine is None or theirs is None:
        return False
    # (c, 1, 1) against (n, c, h, w) is (1, c, 1, 1): dimensions that are missing are broadcast too.
    mine = (1,) * (len(theirs) - len(mine)) + mine
    return any(_is_one(a) and not _is_one(b) for a, b in zip(mine[::-1], theirs[::-1], strict=False))


def _before_expansion(node: fx.Node) -> fx.Node:
    while node.op == "call_function" and packet(node) in _EXPANSIONS:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1
