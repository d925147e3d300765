"""Node names: torchvision's names (from `get_graph_node_names`) for the nodes of a captured graph.

The output of a leaf module (one of torch.nn) is named by the module's path; the output of any other function by the
path of the module that called it and the function's name. A repeated name gets `_1`, `_2` and so on.

*Differs*: torchvision strips a trailing `_1` from a module's own path and counts from there (a module `conv_2` can
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

    A call that became several nodes (a batch norm and its `getitem`) has one name, which belongs to its last node.
    """
    tensors = [
        node
        for node in graph.nodes
        if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor)
    ]
    lines = {_function_id(node): _source_line(node) for node in tensors}
    # A later node of the same call replaces an earlier one, but the call keeps its place in the order.
    calls: dict[tuple[str, ...], fx.Node] = {}
    bases: dict[tuple[str, ...], str] = {}
    for node in tensors:
        call = _call_of(node, lines[_function_id(node)])
        if call is not None:
            key, bases[key] = call
            calls[key] = node
    # Equal names are counted in the order of their calls: relu, relu_1, relu_2.
    names: dict[str, fx.Node] = {}
    taken: dict[str, int] = {}
    for key, node in calls.items():
        base = bases[key]
        count = taken.get(base, 0)
        taken[base] = count + 1
        names[f"{base}_{count}" if count else base] = node
    return names


def module_outputs(graph: fx.Graph) -> dict[str, fx.Node]:
    """Return, for every module path, the last node of the module's first call, which is the module's output."""
    outputs: dict[str, tuple[str, fx.Node]] = {}  # the key of the first call, and its last node so far
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
    """Return, for each further name that something has through shared modules, its actual name.

    Args:
        names: Names of nodes or paths of modules.
        other: The result of `other_paths`.
    """
    found: dict[str, str] = {}
    for name in names:
        # The shared module may be any prefix of the name; the longest is tried first.
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            for path in other.get(".".join(parts[:end]), ()):
                found.setdefault(".".join((path, *parts[end:])), name)
    return found


def _call_of(node: fx.Node, line: str) -> tuple[tuple[str, ...], str] | None:
    """Return a key that is equal for all nodes of one call, and the name of the call before a count is added.

    Args:
        node: A node.
        line: The line of the last node that torch.export attributes to the same function. A node from another line
            was attributed to it by mistake, and is a separate call.
    """
    # The stack runs from the outermost module to the innermost; a leaf module ends it.
    path = ""
    for key, (module_path, kind) in (node.meta.get("nn_module_stack") or {}).items():
        path = module_path
        if is_leaf_module(kind) and path:
            return (key, "module"), path
    function, own_line = node.meta.get("torch_fn"), _source_line(node)
    if function is None:
        return None
    name = _function_name(function[1]) if own_line == line else operator_name(node)
    return (path, *function, own_line), ".".join(filter(None, (path, name)))


def _function_id(node: fx.Node) -> str:
    """Return what distinguishes calls: each kind of function (`F.relu`, `x.relu`) is counted separately."""
    return "/".join(node.meta.get("torch_fn") or ("", ""))


def _source_line(node: fx.Node) -> str:
    """Return file and line of the model's own code that created a node."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    return next(
        (f"{file}:{line}" for file, line in reversed(frames) if not file.startswith(TORCH_FOLDER)), ""
    )


def is_leaf_module(kind: str | type) -> bool:
    """Return whether torch.fx treats modules of this class as a single node: those of torch.nn except containers."""
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return name.startswith(("torch.nn.", "torch.ao.nn.")) and name != "torch.nn.modules.container.Sequential"


def _function_name(qualified: str) -> str:
    """Return the function's name; `x += y` and `x.add_(y)` look the same here, and both are `add`."""
    kind, _, name = qualified.rpartition(".")
    if name == "__get__":  # `x.data`
        return "getattr"
    return name.rstrip("_") if kind == "method_descriptor" else name
