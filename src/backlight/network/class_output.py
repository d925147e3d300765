"""A model's outputs, and which of them gives the class.

Models return more than class scores: an embedding beside them, an auxiliary head, a mask. The rule is in one place, so
that every study reads the class of a network from the same output.
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
"""Which output gives the class: its name, its place from 0, or None for the rule of `class_output`."""

_NAMES = ("logits", "out")
_SCORES = "one number for each of several classes"


@dataclass(frozen=True)
class Output:
    """One tensor of what a model returns.

    Attributes:
        index: Its place, from 0, among all that the model returns: nested tuples and dicts from left to right.
        name: As `network.outputs.output_names` gives it: `logits`, `1`, `heads.0`.
        shape: Of one image.
        is_scores: Whether it is one number for each of at least two classes: (n, classes), floating.
        is_feature: Whether another output of such scores is computed from it, as the logits are from an embedding.
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
        output: The output; None where the network does not classify.
        rule: Why this one, in words: `by its name`; why none, where there is none.
        outputs: All of the network's.
    """

    output: Output | None
    rule: str
    outputs: tuple[Output, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 where the network does not classify."""
        return self.output.shape[0] if self.output is not None else 0

    @property
    def name(self) -> str | None:
        """The output's name; None where there is one output or no class, so that nothing was chosen."""
        return self.output.name if self.output is not None and len(self.outputs) > 1 else None

    def note(self, network: str) -> str | None:
        """Return one line that says which of several outputs was taken, or that there is no class; None for neither.

        Example:
            >>> outputs = Output(0, "0", (8,), True), Output(1, "logits", (4,), True)
            >>> class_output("Net", outputs).note("Net")
            "Net returns '0' (8) and 'logits' (4); the class is read from 'logits', by its name"
        """
        if self.output is None:
            return f"{network} returns {in_words(self.outputs)}, {self.rule}; no class is followed"
        if len(self.outputs) < 2:
            return None
        taken = repr(self.output.name)
        return f"{network} returns {in_words(self.outputs)}; the class is read from {taken}, {self.rule}"


def list_outputs(graph: fx.Graph, names: Sequence[str]) -> tuple[Output, ...]:
    """Return the tensors that a captured graph gives back, in its order; numbers and None are left out.

    Args:
        graph: The graph of a captured network.
        names: Of each thing that the model returns, its name; as many as the graph gives back.
    """
    (pixels,) = graph.find_nodes(op="placeholder")
    any_number = not is_concrete_int(pixels.meta["val"].shape[0])
    found = []
    for index, (node, name) in enumerate(zip(output_values(graph), names, strict=True)):
        value = node.meta.get("val") if isinstance(node, fx.Node) else None
        if isinstance(value, torch.Tensor):
            is_per_image = value.dim() > 0 and not (any_number and is_concrete_int(value.shape[0]))
            shape = tuple(int(size) for size in value.shape[is_per_image:])
            is_scores = is_per_image and len(shape) == 1 and shape[0] > 1 and value.is_floating_point()
            found.append(Output(index, name, shape, is_scores))
    return _with_features(graph, found)


def _with_features(graph: fx.Graph, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Return outputs, of which those that other scores are computed from are said to be features."""
    nodes = output_values(graph)
    below: set[object] = set()
    for own in outputs:
        node = nodes[own.index]
        if own.is_scores and isinstance(node, fx.Node):
            below |= ancestors([node]) - {node}
    return tuple(replace(own, is_feature=own.is_scores and nodes[own.index] in below) for own in outputs)


def output_values(graph: fx.Graph) -> tuple[object, ...]:
    """Return what a captured graph gives back, flat: nodes, and constants as they are."""
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
        wanted: The name of the output or its place; None follows the rule.
        n_labels: How many names of classes are given; 0 for none.

    Raises:
        BadInputError: There is no such output, or it is not one number for each of several classes.

    *Convention*: the output named `logits` or `out` (the last part of its name, in any case; logits before out); else,
    of those that are (n, classes), the last whose width is the number of labels; else the widest of those from which no
    other such output is computed (logits are computed from an embedding), of equally wide ones the last. If the named
    one is of another form (the map of a segmentation) the network does not classify.

    Example:
        >>> outputs = Output(0, "0", (512,), True), Output(1, "1", (10,), True)
        >>> class_output("Net", outputs).output.name, class_output("Net", outputs, n_labels=10).output.name
        ('0', '1')
    """
    every = tuple(outputs)
    if wanted is not None:
        return ClassOutput(_asked(network, every, wanted), "as asked", every)
    named = [own for name in _NAMES for own in every[::-1] if own.name.split(".")[-1].lower() == name]
    if named:
        if not named[0].is_scores:
            return ClassOutput(None, f"and {named[0].name!r} is not {_SCORES}", every)
        return ClassOutput(named[0], "by its name", every)
    scores = [own for own in every if own.is_scores]
    if not scores:
        return ClassOutput(
            None, f"{'none of which is' if len(every) > 1 else 'which is not'} {_SCORES}", every
        )
    fitting = [own for own in scores if own.shape[0] == n_labels]
    if fitting:
        return ClassOutput(
            fitting[-1], f"the {'last' if len(fitting) > 1 else 'one'} of {n_labels} classes", every
        )
    last = [own for own in scores if not own.is_feature]
    rule = "the widest" if len(last) > 1 else "computed from the others"
    if len(scores) == 1:
        rule = f"the only one with {_SCORES}"
    return ClassOutput(max(reversed(last), key=lambda own: own.shape[0]), rule, every)


def in_words(outputs: Sequence[Output]) -> str:
    """Return outputs as a list in words.

    Example:
        >>> in_words([Output(0, "output", (10,), True)]), in_words([])
        ('one output (10)', 'no tensor')
    """
    if len(outputs) == 1:
        return f"one output {str(outputs[0]).partition(' ')[2]}"
    *others, last = [str(own) for own in outputs] or ["no tensor"]
    return f"{', '.join(others)} and {last}" if others else last


def _asked(network: str, outputs: tuple[Output, ...], wanted: str | int) -> Output:
    """Return the output of that name, else at that place, which may be counted from the end."""
    by_name = {own.name: own for own in outputs}
    by_place = {own.index: own for own in outputs}
    place = _whole(wanted)
    if place is not None and place < 0 and outputs:
        place += outputs[-1].index + 1
    found = by_name.get(str(wanted)) or (by_place.get(place) if place is not None else None)
    if found is None:
        raise BadInputError(
            f"{network} has no output {wanted!r}: it returns {in_words(outputs)}; choose one by its name or place"
        )
    if not found.is_scores:
        raise BadInputError(
            f"output {wanted!r} of {network} gives no class: it is not {_SCORES}, and the network returns "
            f"{in_words(outputs)}; choose another"
        )
    return found


def _whole(wanted: str | int) -> int | None:
    try:
        return int(wanted)
    except ValueError:
        return None
