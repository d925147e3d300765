"""Node names: what torchvision's `get_graph_node_names` calls each node of a captured graph.

A leaf module (one of torch.nn) names its output by its path, any other function by the path of the module that
called it and its own name; a name that comes again gets `_1`, `_2`.

*Differs*: torchvision strips a trailing `_1` from a module's own path and counts anew (a module `conv_2` can
become `conv_1`); here a module keeps the path that its author gave it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import fx, nn

from backlight.operators.reading import operator_name

TORCH_FOLDER = str(Path(torch.__file__).parent) + os.sep


def name_nodes(graph: fx.Graph) -> dict[str, fx.Node]:
    """Return the nameable nodes of an exported graph by name, in the order of the graph.

    A call that became several nodes (a batch norm and its `getitem`) is named once, by its last node.
    """
    tensors = [
        node
        for node in graph.nodes
        if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor)
    ]
    lines = {_function_id(node): _users_line(node) for node in tensors}
    calls: dict[tuple[str, ...], fx.Node] = {}
    bases: dict[tuple[str, ...], str] = {}
    for node in tensors:
        call = _call_of(node, lines[_function_id(node)])
        if call is not None:
            key, bases[key] = call
            calls[key] = node
    names: dict[str, fx.Node] = {}
    taken: dict[str, int] = {}
    for key, node in calls.items():
        base = bases[key]
        count = taken.get(base, 0)
        taken[base] = count + 1
        names[f"{base}_{count}" if count else base] = node
    return names


def module_outputs(graph: fx.Graph) -> dict[str, fx.Node]:
    """Return, for every module path, the last node of the module's first call: what the module gave back."""
    outputs: dict[str, tuple[str, fx.Node]] = {}
    for node in graph.nodes:
        if isinstance(node.meta.get("val"), torch.Tensor):
            for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
                if path and outputs.get(path, (key,))[0] == key:
                    outputs[path] = key, node
    return {path: node for path, (_, node) in outputs.items()}


def other_paths(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return, for every path of a module that is registered more than once, its further paths."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if path:
            paths.setdefault(module, []).append(path)
    shared = [same for same in paths.values() if len(same) > 1]
    return {path: tuple(p for p in same if p != path) for same in shared for path in same}


def under_other_paths(names: Iterable[str], other: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return, by each further name that shared modules give to something, the name that it has.

    Args:
        names: Names of nodes or paths of modules.
        other: What `other_paths` found.
    """
    found: dict[str, str] = {}
    for name in names:
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            for path in other.get(".".join(parts[:end]), ()):
                found.setdefault(".".join((path, *parts[end:])), name)
    return found


def _call_of(node: fx.Node, line: str) -> tuple[tuple[str, ...], str] | None:
    """Return a key that is equal for all nodes of one call, and the name of the call before counting.

    Args:
        node: A node.
        line: The line of the last node that the export books under the same function: a node of another line
            was booked there by mistake, and is a call of its own.
    """
    path = ""
    for key, (module_path, kind) in (node.meta.get("nn_module_stack") or {}).items():
        path = module_path
        if is_leaf_module(kind) and path:
            return (key, "module"), path
    function, own_line = node.meta.get("torch_fn"), _users_line(node)
    if function is None:
        return None
    name = _function_name(function[1]) if own_line == line else operator_name(node)
    return (path, *function, own_line), ".".join(filter(None, (path, name)))


def _function_id(node: fx.Node) -> str:
    """Return what tells one call from another: each kind of function (`F.relu`, `x.relu`) is counted by itself."""
    return "/".join(node.meta.get("torch_fn") or ("", ""))


def _users_line(node: fx.Node) -> str:
    """Return file and line of the model's own code that made a node."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    return next(
        (f"{file}:{line}" for file, line in reversed(frames) if not file.startswith(TORCH_FOLDER)), ""
    )


def is_leaf_module(kind: str | type) -> bool:
    """Return whether torch.fx takes a module of this class as one node: one of torch.nn, but no container."""
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return name.startswith(("torch.nn.", "torch.ao.nn.")) and name != "torch.nn.modules.container.Sequential"


def _function_name(qualified: str) -> str:
    """Return the function's name; `x += y` and `x.add_(y)` cannot be told apart and are both `add`."""
    kind, _, name = qualified.rpartition(".")
    if name == "__get__":  # `x.data`
        return "getattr"
    return name.rstrip("_") if kind == "method_descriptor" else name
