"""Outputs: the names of what a model returns, in the order in which its graph returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch.utils._pytree import TreeSpec, tree_unflatten


def output_names(spec: TreeSpec) -> tuple[str, ...]:
    """Return one name for each value that a model returns, in the flat order of `spec`.

    A dict's value is named by its key, a named tuple's or dataclass's by its field, any other by its place:
    `{"logits": a, "aux": (b, c)}` gives `logits`, `aux.0`, `aux.1`. A tensor returned alone is `output`.

    Args:
        spec: How torch took the returned value apart.

    Example:
        >>> from torch.utils._pytree import tree_flatten
        >>> output_names(tree_flatten({"logits": 1, "aux": (2, 3)})[1])
        ('logits', 'aux.0', 'aux.1')
    """
    places = [_Place() for _ in range(spec.num_leaves)]
    found = dict(_walk(tree_unflatten(places, spec), ()))
    return tuple(".".join(found.get(place, (str(i),))) or "output" for i, place in enumerate(places))


class _Place:
    """Stands where one returned value stands."""


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[_Place, tuple[str, ...]]]:
    if isinstance(value, _Place):
        yield value, path
        return
    for name, part in _parts(value):
        yield from _walk(part, (*path, name))


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the parts of a container by name; none of a kind that tells no names."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (list, tuple)):
        return [(str(i), part) for i, part in enumerate(value)]
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return []
