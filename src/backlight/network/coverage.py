"""Coverage: every operator of a network, the class it belongs to, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.network.operators import OperatorClass


@dataclass(frozen=True)
class CoverageEntry:
    """One operator in one class.

    Attributes:
        operator: The ATen operator's name.
        kind: Its class there.
        places: Names of the nodes, in the order of the graph.
    """

    operator: str
    kind: OperatorClass
    places: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """What the operators between the deepest default layer and the pixels are.

    Attributes:
        entries: Operators on the path of the signal; a gate's factors are held fixed and not among them.
    """

    entries: tuple[CoverageEntry, ...]

    @property
    def unsupported(self) -> tuple[CoverageEntry, ...]:
        """The operators that no rule covers."""
        return tuple(e for e in self.entries if e.kind is OperatorClass.UNKNOWN)

    def __str__(self) -> str:
        """Return a table, one operator a line."""
        rows = [f"{e.kind:<10} {e.operator:<28} {len(e.places):>4}  {e.places[0]}" for e in self.entries]
        return "\n".join(rows)
