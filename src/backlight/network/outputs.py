"""Outputs: the names of a model's outputs, in the order in which its graph returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch.utils._pytree import TreeSpec, tree_unflatten


def output_names(spec: TreeSpec) -> tuple[str, ...]:
    """Return one name for each value that a model returns, in the flat order of `spec`.

    A value in a dict is named by its key, in a named tuple or dataclass by its field, and otherwise by its position:
    `{"logits": a, "aux": (b, c)}` gives `logits`, `aux.0`, `aux.1`. A tensor returned alone is `output`.

    Args:
        spec: The structure of the returned value, from torch's pytree functions.

    Example:
        >>> from torch.utils._pytree import tree_flatten
        >>> output_names(tree_flatten({"logits": 1, "aux": (2, 3)})[1])
        ('logits', 'aux.0', 'aux.1')
    """
    leaves = [_Leaf() for _ in range(spec.num_leaves)]
    paths = dict(_paths_of_leaves(tree_unflatten(leaves, spec), ()))
    return tuple(".".join(paths.get(leaf, (str(i),))) or "output" for i, leaf in enumerate(leaves))


class _Leaf:
    """Marks the position of one returned value."""


def _paths_of_leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[_Leaf, tuple[str, ...]]]:
    if isinstance(value, _Leaf):
        yield value, path
        return
    for name, item in _named_items(value):
        yield from _paths_of_leaves(item, (*path, name))


def _named_items(value: Any) -> list[tuple[str, Any]]:
    """Return the items of a container with their names; nothing for an unknown kind of container."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (list, tuple)):
        return [(str(i), item) for i, item in enumerate(value)]
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return []
