"""Where maps go in a captured network: the weights that read them, and what each weight loses with them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from torch import fx

from backlight.errors import RemedyError
from backlight.network import Network
from backlight.studies.diagnosis.remedies.carried import Part

Cuts = dict[str, dict[int, tuple[int, ...]]]
"""By a weight's name in the model and its dimension, the indices that are lost."""


@dataclass(frozen=True)
class Read:
    """A place where weights read the maps that are followed.

    Attributes:
        node: The convolution, linear map or norm.
        below: What it reads.
        weight: Its weight's name in the model.
        dim: The weight's dimension that runs over what it reads.
        indices: The followed indices along it.
    """

    node: fx.Node
    below: fx.Node
    weight: str
    dim: int
    indices: tuple[int, ...]


@dataclass
class Flow:
    """Where followed maps go.

    Attributes:
        parts: The part of each node's value that they fill; of several outputs the first's.
        reads: The weights that mix them with others.
        passed: The operators that they pass in between, which have no weights for each map or scale by them, with the
            parts of their operands.
        several: Of an operator with several outputs, the part of each.
    """

    parts: dict[fx.Node, Part] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    passed: list[tuple[fx.Node, dict[fx.Node, Part]]] = field(default_factory=list)
    several: dict[fx.Node, list[Part | None]] = field(default_factory=dict)
    _uses: dict[str, dict[fx.Node, dict[int, tuple[int, ...]]]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def lose(self, weight: fx.Node, user: fx.Node, dim: int, indices: tuple[int, ...]) -> None:
        """Note that an operator can do without some of a weight."""
        self._uses[str(weight.meta["parameter"])].setdefault(user, {})[dim] = indices

    def cuts(self, net: Network) -> Cuts:
        """Return what each weight loses.

        Raises:
            RemedyError: A weight is used at several places that lose different things.
        """
        users: dict[str, set[fx.Node]] = defaultdict(set)
        for node in net.module.graph.find_nodes(op="get_attr"):
            users[str(node.meta["parameter"])] |= set(node.users)
        for name, uses in self._uses.items():
            lost = list(uses.values())
            if set(uses) != users[name] or any(own != lost[0] for own in lost):
                raise RemedyError(
                    f"the weights {name!r} are used at several places, not all of which lose the maps"
                )
        return {name: next(iter(uses.values())) for name, uses in self._uses.items()}
