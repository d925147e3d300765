"""An operator's entry: everything that Backlight knows of an ATen operator, side by side in one record.

Each family of operators has a file, and each operator one entry in it. What walks a graph (classification, fields,
rewriting, the backward pass, crops) looks entries up in `table.py` and knows no operator by name. An operator without
an entry has no rule under deconvnet and guided, sees the whole image, is differentiated on whole maps, and is run on
whole images.

*Source*: the table of docs/rules.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

import torch
from torch import Tensor, fx

from backlight.operators.adjoint import ON_WHOLE_MAPS, Adjoint
from backlight.operators.reading import every_operand
from backlight.operators.ruleset import RuleSet
from backlight.operators.spread import Spread, Spreads


class OperatorClass(StrEnum):
    """What an operator does with a signal in the backward pass."""

    LINEAR = "linear"
    SELECTOR = "selector"
    GATE = "gate"
    RECTIFIER = "rectifier"
    CONSTANT = "constant"
    UNKNOWN = "unknown"


class Origin(Enum):
    """What an operator's values are to those of its inputs; tells a product which of its factors is the signal."""

    OTHER = "other"
    ENTRIES = "entries"
    """The entries of its inputs, scaled, added or moved: elementwise linear operators and views."""
    MIXTURES = "mixtures"
    """Linear mixtures of the entries of its inputs: convolutions, matrix products, sums."""
    FACTORS = "factors"
    """Numbers made to scale or to choose something: sigmoids, softmaxes, comparisons."""
    RECTIFIED = "rectified"
    """What a rectifier gives."""


class Paths(ABC):
    """What entries may ask about the graph around a node; `PathAnalysis` is the implementation."""

    dependent: set[fx.Node]
    """The nodes whose values change with the pixels."""

    @abstractmethod
    def signals(self, node: fx.Node) -> list[fx.Node]:
        """Return the operands that a node reads and that change with the pixels, in order, with repeats."""

    @abstractmethod
    def first_only(self, node: fx.Node) -> bool:
        """Return whether the first operand alone changes with the pixels."""

    @abstractmethod
    def signal_inputs(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the inputs through which a signal is passed back; a gate's factors are not among them."""

    @abstractmethod
    def held_fixed(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Return the operands whose values are recorded and held fixed."""

    @abstractmethod
    def classify(self, node: fx.Node) -> OperatorClass:
        """Return the class of a node."""

    @abstractmethod
    def comes_from(self, node: fx.Node, made: Origin, through: frozenset[Origin]) -> bool:
        """Return whether all that a node carries was made so, seen through operators whose outputs are `through`."""

    @abstractmethod
    def ancestors(self, node: fx.Node) -> frozenset[fx.Node]:
        """Return all nodes that a node is made from."""


@dataclass(frozen=True)
class Seen:
    """What is known where an operator's field is asked for.

    Attributes:
        node: The operator.
        signals: The spreads of the operands that it passes a signal to.
        operands: The spreads of all of its operands that depend on the pixels: a gate's factors too.
    """

    node: fx.Node
    signals: Mapping[fx.Node, Spread]
    operands: Mapping[fx.Node, Spread]


@dataclass(frozen=True)
class Rewriting:
    """One operator that is being given its rule, in the graph that is being built.

    Attributes:
        graph: The graph that is being built.
        node: The operator in the captured graph.
        args: Its arguments in the new graph.
        kwargs: Its keyword arguments in the new graph.
        rules: The rule set.
        paths: The analysis of the captured graph.
        in_branch: Whether it stands in the branch that makes a gate's factor, which `gates=vjp` differentiates.
    """

    graph: fx.Graph
    node: fx.Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rules: RuleSet
    paths: Paths
    in_branch: bool = False

    @property
    def kind(self) -> OperatorClass:
        """The operator's class here."""
        return self.paths.classify(self.node)

    @property
    def holds_factors(self) -> bool:
        """Whether it is a gate whose factors the rules hold fixed; else it keeps its derivative."""
        return self.kind is OperatorClass.GATE and self.rules.gates != "vjp"

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Put a call into the new graph."""
        return self.graph.call_function(function, args, kwargs)

    def frozen(self, value: Any) -> fx.Node:
        """Put in a node whose values no signal passes."""
        return self.call(torch.detach, value)

    def value(self) -> fx.Node:
        """Put in the operator itself, over a first operand that no signal passes."""
        target: Any = self.node.target
        return self.call(target, self.frozen(self.args[0]), *self.args[1:], **self.kwargs)

    def factors(self) -> frozenset[fx.Node]:
        """Return the new graph's nodes that the operator records and holds fixed."""
        # A rule may have replaced an operand by another node, so the old and the new arguments are gone through side by
        # side: fx visits the nodes of equal structures in the same order.
        held, found = self.paths.held_fixed(self.node), set[fx.Node]()
        for old, new in ((self.node.args, self.args), (self.node.kwargs, self.kwargs)):
            pairs = zip(_in_fx_order(old), _in_fx_order(new), strict=True)
            found |= {n for o, n in pairs if o in held}
        return frozenset(found)


def _in_fx_order(value: Any) -> list[fx.Node]:
    found: list[fx.Node] = []

    def note(node: fx.Node) -> fx.Node:
        found.append(node)
        return node

    fx.map_arg(value, note)
    return found


def holds_nothing(node: fx.Node, paths: Paths) -> tuple[fx.Node, ...]:
    """Return no operand: nothing is recorded."""
    return ()


Kind = OperatorClass | Callable[[fx.Node, Paths], OperatorClass]
Field = Callable[[Seen], Spreads]
Rule = Callable[[Rewriting], fx.Node | None]
Locality = Callable[[fx.Node, tuple[str, ...], Sequence[fx.Node]], bool]


@dataclass(frozen=True)
class Example:
    """A small network in which an operator stands, for the tests of its entry.

    Attributes:
        function: From images (n, c, h, w), and constants, to what a unit is taken from.
        shape: (c, h, w) of the images.
        constants: The shapes of the constants, whose values are fixed numbers of either sign.
    """

    function: Callable[..., Tensor]
    shape: tuple[int, int, int] = (3, 12, 12)
    constants: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Operator:
    """What an operator is.

    Attributes:
        names: The operators of this entry: ATen's names, or the functions that rules put into a graph.
        kind: Its class, or how the class follows from a node and its surroundings.
        reads: Which operands' values it reads: not those that only lend their shape or are overwritten.
        holds: Which operands it records and holds fixed.
        adds_first: Whether its first operand is added to a product of the others, and so passes a signal by itself.
        origin: What its values are to those of its inputs.
        field: Which pixels its values see, from what its operands see; None is the whole image.
        gives_maps: Whether by definition it takes and gives maps (n, c, h, w), whatever is known of its input.
        maps_channels: Whether it is a linear map of the channels, which stand last.
        rule: What stands in its place under deconvnet and guided; None is its derivative.
        squashes: Whether it is refused on the path unless the option `squash` says what to do.
        option: Which option of a rule set decides whether its factors are differentiated through.
        stands_for: What stands in its place under every rule set, the plain gradient too.
        passes: In rewritten graphs, which of its operands a signal is passed to; None for all that it reads.
        adjoint: How it passes a signal back on windows.
        is_local: Whether on a crop it gives what it gives on the image, away from the crop's edges; None if never.
        examples: Small networks in which it stands.
    """

    names: tuple[str | Callable[..., Any], ...]
    kind: Kind = OperatorClass.UNKNOWN
    reads: Callable[[fx.Node], list[fx.Node]] = every_operand
    holds: Callable[[fx.Node, Paths], tuple[fx.Node, ...]] = holds_nothing
    adds_first: bool = False
    origin: Origin = Origin.OTHER
    field: Field | None = None
    gives_maps: bool = False
    maps_channels: bool = False
    rule: Rule | None = None
    squashes: bool = False
    option: Callable[[fx.Node], str] = lambda node: "gates"
    stands_for: Rule | None = None
    passes: slice | None = None
    adjoint: Adjoint = ON_WHOLE_MAPS
    is_local: Locality | None = None
    examples: tuple[Example, ...] = ()

    def classify(self, node: fx.Node, paths: Paths) -> OperatorClass:
        """Return the class of a node of this operator."""
        return self.kind if isinstance(self.kind, OperatorClass) else self.kind(node, paths)


def examples_of(*functions: Example | Callable[..., Tensor]) -> tuple[Example, ...]:
    """Return examples, some of which are given by their function alone."""
    return tuple(own if isinstance(own, Example) else Example(own) for own in functions)


def named(text: str) -> tuple[str, ...]:
    """Return the names in a text, for the entries of many operators."""
    return tuple(text.split())
