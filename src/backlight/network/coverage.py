"""Coverage: every operator of a network, the class it belongs to, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.operators.operator import OperatorClass


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
class LeftOut:
    """A node on the way to the output that makes features, but no feature maps that an atlas could show.

    Attributes:
        name: The node's name; where it has none, its module and operator.
        operator: The ATen operator that made it.
        shape: Its shape, `n` standing for the number of images: `("n", 196, 768)`.
        kind: What its output is instead: `tokens`, `3-D volumes`, `single positions`, `parts of images`.
    """

    name: str
    operator: str
    shape: tuple[int | str, ...]
    kind: str

    @property
    def reason(self) -> str:
        """Why it is left out: `its output is tokens (n, 196, 768), not feature maps`."""
        return f"its output is {self.kind} ({', '.join(map(str, self.shape))}), not feature maps"


@dataclass(frozen=True)
class Coverage:
    """What the operators between the deepest default layer and the pixels are, and what is left out above or beside.

    Attributes:
        entries: Operators on the path of the signal; a gate's factors are held fixed and not among them.
        left_out: What makes features on the way to the output, but no feature maps, in the order of the graph.
    """

    entries: tuple[CoverageEntry, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def unsupported(self) -> tuple[CoverageEntry, ...]:
        """The operators that no rule covers."""
        return tuple(e for e in self.entries if e.kind is OperatorClass.UNKNOWN)

    def left_out_in_words(self) -> list[str]:
        """Return a line for each kind of what is left out: what, where it begins, how much, and why."""
        lines = []
        for kind in dict.fromkeys(own.kind for own in self.left_out):
            first, *more = [own for own in self.left_out if own.kind == kind]
            rest = f", and {len(more)} more of this kind behind it" if more else ""
            lines.append(f"{first.name} ({first.operator}): {first.reason}{rest}")
        return lines

    def __str__(self) -> str:
        """Return a table, one operator a line."""
        rows = [f"{e.kind:<10} {e.operator:<28} {len(e.places):>4}  {e.places[0]}" for e in self.entries]
        return "\n".join(rows)
