"""A model's outputs, and which of them gives the class.

Models return more than class scores: also an embedding, an auxiliary head, a mask. The rule is in one place, so
that every study reads a network's class from the same output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from backlight.errors import BadInputError
from backlight.network.cut import ancestors

Wanted = str | int | None
"""Which output gives the class: its name, its index from 0, or None for the rule of `class_output`."""

_NAMES = ("logits", "out")
_SCORES = "one number for each of several classes"


@dataclass(frozen=True)
class Output:
    """One of the tensors that a model returns.

    Attributes:
        index: Its index among all returned values, with nested tuples and dicts flattened from left to right.
        name: Its name from `network.outputs.output_names`: `logits`, `1`, `heads.0`.
        shape: Its shape for one image.
        is_scores: Whether it is one number for each of at least two classes: (n, classes), floating point.
        is_feature: Whether it is scores from which other scores are computed, like an embedding and its logits.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    is_scores: bool
    is_feature: bool = False

    def __str__(self) -> str:
        """Return the name and the shape: `'logits' (1000)`."""
        return f"{self.name!r} ({'x'.join(map(str, self.shape)) or 'one number'})"


@dataclass(frozen=True)
class ClassOutput:
    """The output that gives the class.

    Attributes:
        output: The output; None if the network does not classify.
        rule: Why this output was chosen, or why none was, in words: `by its name`.
        outputs: All outputs of the network.
    """

    output: Output | None
    rule: str
    outputs: tuple[Output, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 if the network does not classify."""
        return self.output.shape[0] if self.output is not None else 0

    @property
    def name(self) -> str | None:
        """The output's name; None if nothing was chosen, because there is only one output or no class."""
        return self.output.name if self.output is not None and len(self.outputs) > 1 else None

    def note(self, network: str) -> str | None:
        """Return one line that says which of several outputs is used, or that none is; None if there is nothing to say.

        Example:
            >>> outputs = Output(0, "0", (8,), True), Output(1, "logits", (4,), True)
            >>> class_output("Net", outputs).note("Net")
            "Net returns '0' (8) and 'logits' (4); the class is read from 'logits', by its name"
        """
        if self.output is None:
            return f"{network} returns {describe_outputs(self.outputs)}, {self.rule}; no class is followed"
        if len(self.outputs) < 2:
            return None
        returned, used = describe_outputs(self.outputs), repr(self.output.name)
        return f"{network} returns {returned}; the class is read from {used}, {self.rule}"


def list_outputs(graph: fx.Graph, names: Sequence[str]) -> tuple[Output, ...]:
    """Return the tensors that a captured graph returns, in its order; numbers and None are left out.

    Args:
        graph: The graph of a captured network.
        names: The name of each returned value, as many as the graph returns.
    """
    (pixels,) = graph.find_nodes(op="placeholder")
    any_number = not is_concrete_int(pixels.meta["val"].shape[0])  # the number of images is symbolic
    found = []
    for index, (node, name) in enumerate(zip(output_values(graph), names, strict=True)):
        value = node.meta.get("val") if isinstance(node, fx.Node) else None
        if isinstance(value, torch.Tensor):
            # A first size that is a constant, although the number of images is not, is not the batch dimension.
            is_per_image = value.dim() > 0 and not (any_number and is_concrete_int(value.shape[0]))
            shape = tuple(int(size) for size in value.shape[is_per_image:])
            is_scores = is_per_image and len(shape) == 1 and shape[0] > 1 and value.is_floating_point()
            found.append(Output(index, name, shape, is_scores))
    return _features_marked(graph, found)


def _features_marked(graph: fx.Graph, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Return the outputs, with `is_feature` set for scores from which other scores are computed."""
    nodes = output_values(graph)
    below: set[object] = set()
    for own in outputs:
        node = nodes[own.index]
        if own.is_scores and isinstance(node, fx.Node):
            below |= ancestors([node]) - {node}
    return tuple(replace(own, is_feature=own.is_scores and nodes[own.index] in below) for own in outputs)


def output_values(graph: fx.Graph) -> tuple[object, ...]:
    """Return the values that a captured graph returns, flat: nodes, and constants as they are."""
    (output,) = graph.find_nodes(op="output")
    found = output.args[0]
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def class_output(
    network: str, outputs: Sequence[Output], wanted: Wanted = None, n_labels: int = 0
) -> ClassOutput:
    """Return the output that gives the class.

    Args:
        network: The network's name.
        outputs: Its outputs (`Network.outputs`).
        wanted: The name or index of the output; None follows the rule.
        n_labels: The number of class names that are given; 0 for none.

    Raises:
        BadInputError: There is no such output, or it is not one number for each of several classes.

    *Convention*: the output named `logits` or `out` (the last part of its name, in upper or lower case; logits before
    out). Otherwise, among the outputs (n, classes), the last whose width is the number of labels. Otherwise the widest
    from which no other such output is computed (logits are computed from an embedding); the last of equally wide ones.
    If the named output is not (n, classes), like the map of a segmentation, the network does not classify.

    Example:
        >>> outputs = Output(0, "0", (512,), True), Output(1, "1", (10,), True)
        >>> class_output("Net", outputs).output.name, class_output("Net", outputs, n_labels=10).output.name
        ('0', '1')
    """
    every = tuple(outputs)
    if wanted is not None:
        return ClassOutput(_requested(network, every, wanted), "as asked", every)
    named = [own for name in _NAMES for own in every[::-1] if own.name.split(".")[-1].lower() == name]
    if named:
        if not named[0].is_scores:
            return ClassOutput(None, f"and {named[0].name!r} is not {_SCORES}", every)
        return ClassOutput(named[0], "by its name", every)
    scores = [own for own in every if own.is_scores]
    if not scores:
        which = "none of which is" if len(every) > 1 else "which is not"
        return ClassOutput(None, f"{which} {_SCORES}", every)
    fitting = [own for own in scores if own.shape[0] == n_labels]
    if fitting:
        which = "last" if len(fitting) > 1 else "one"
        return ClassOutput(fitting[-1], f"the {which} with {n_labels} classes", every)
    final = [own for own in scores if not own.is_feature]
    rule = "the widest" if len(final) > 1 else "computed from the others"
    if len(scores) == 1:
        rule = f"the only one with {_SCORES}"
    # max() returns the first of equally wide outputs, and here the last one is wanted.
    return ClassOutput(max(reversed(final), key=lambda own: own.shape[0]), rule, every)


def describe_outputs(outputs: Sequence[Output]) -> str:
    """Return a list of outputs in words.

    Example:
        >>> describe_outputs([Output(0, "output", (10,), True)]), describe_outputs([])
        ('one output (10)', 'no tensor')
    """
    if len(outputs) == 1:
        return f"one output {str(outputs[0]).partition(' ')[2]}"
    *others, last = [str(own) for own in outputs] or ["no tensor"]
    return f"{', '.join(others)} and {last}" if others else last


def _requested(network: str, outputs: tuple[Output, ...], wanted: str | int) -> Output:
    """Return the output with that name, or else at that index, which may be negative to count from the end."""
    by_name = {own.name: own for own in outputs}
    by_index = {own.index: own for own in outputs}
    index = _as_index(wanted)
    if index is not None and index < 0 and outputs:
        index += outputs[-1].index + 1
    found = by_name.get(str(wanted)) or (by_index.get(index) if index is not None else None)
    if found is None:
        raise BadInputError(
            f"{network} has no output {wanted!r}: it returns {describe_outputs(outputs)}; choose one by name or index"
        )
    if not found.is_scores:
        raise BadInputError(
            f"output {wanted!r} of {network} gives no class: it is not {_SCORES}, and the network returns "
            f"{describe_outputs(outputs)}; choose another"
        )
    return found


def _as_index(wanted: str | int) -> int | None:
    try:
        return int(wanted)
    except ValueError:
        return None
