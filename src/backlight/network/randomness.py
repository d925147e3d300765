"""Randomness in a model's inference: dropout that was left on is switched off, other random draws are reported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from backlight.network.names import TORCH_FOLDER

_SWITCHES = ("train", "training")


def switch_off_dropout(module: nn.Module) -> list[str]:
    """Switch off every dropout in an exported program's graphs that is left on in inference.

    This covers every operator with an argument `train`, `training` or `dropout_p`: dropout of elements and of whole
    maps, alpha dropout, RReLU, attention, recurrent layers. It does not cover batch norm, whose argument chooses
    between statistics.

    Returns:
        One line for each call that would have dropped or drawn something.
    """
    remarks = []
    for part in module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            schema = getattr(node.target, "_schema", None)
            if schema is None or "batch_norm" in schema.name:
                continue
            # The argument that holds the probability is called differently from operator to operator.
            given = {a.name: _argument(node, i, a) for i, a in enumerate(schema.arguments)}
            probability = given.get("dropout_p", given.get("p", given.get("dropout", 1.0)))
            is_on = [name for name in _SWITCHES if given.get(name) is True]
            if given.get("dropout_p"):
                is_on.append("dropout_p")
            for name in is_on:
                _set_argument(node, name, 0.0 if name == "dropout_p" else False)
            if is_on and probability != 0:
                called = schema.name.partition("::")[2].rstrip("_")
                remarks.append(
                    f"{called} is left on in inference at {place_of(node)}; Backlight switches it off; "
                    "pass training=self.training there"
                )
    return remarks


def remarks_on_random_numbers(graph: fx.Graph) -> list[str]:
    """Return one line for each place where a graph of inference draws random numbers."""
    places = {
        place_of(node): None
        for node in graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        and not _has_switch(node)
        and node.users
    }
    return [
        f"the model draws random numbers in inference at {place}, so its answers and pictures vary "
        "from run to run; draw them in training only"
        for place in places
    ]


def place_of(node: fx.Node) -> str:
    """Return file, line and text of the model's own code that created a node: model.py:12 (`x = f(x)`)."""
    frames = re.findall(
        r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)', node.meta.get("stack_trace") or ""
    )
    own = [frame for frame in frames if not frame[0].startswith((TORCH_FOLDER, "<"))]
    if not own:
        return f"an unknown line ({node.name})"
    file, line, text = own[-1]
    return f"{Path(file).name}:{line} (`{text.strip()}`)"


def _argument(node: fx.Node, index: int, argument: Any) -> Any:
    if index < len(node.args):
        return node.args[index]
    return node.kwargs.get(argument.name, argument.default_value if argument.has_default_value() else None)


def _has_switch(node: fx.Node) -> bool:
    names = {argument.name for argument in node.target._schema.arguments}  # type: ignore[union-attr]
    return bool(names & {*_SWITCHES, "dropout_p"})


def _set_argument(node: fx.Node, name: str, value: Any) -> None:
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    if names.index(name) < len(node.args):
        node.update_arg(names.index(name), value)
    else:
        node.update_kwarg(name, value)
