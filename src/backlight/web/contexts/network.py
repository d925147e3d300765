"""The first page: the layers as a diagram."""

from __future__ import annotations

from dataclasses import dataclass

from backlight.web.contexts.parts import Card, LayerView, SiteView


@dataclass(frozen=True)
class Wire:
    """A line of the diagram of layers, within one row.

    Attributes:
        start: The lane that it begins in, from 0.
        end: The lane that it ends in.
        part: `into` from the top of the row to its layer, `out` from there to the bottom, `past` from top to bottom.
    """

    start: int
    end: int
    part: str


@dataclass(frozen=True)
class Lanes:
    """What the diagram of layers shows in one row.

    Attributes:
        lane: Where the layer stands; None in a row without one.
        wires: The lines.
    """

    lane: int | None
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class Block:
    """Layers that follow each other and have a part of their names in common; or a single one.

    Attributes:
        name: That part.
        first: Place of the first layer among all.
        n_layers: Number of layers.
        passing: What runs past its heading when it is unfolded.
        folded: What the diagram shows when it is folded.
    """

    name: str
    first: int
    n_layers: int
    passing: Lanes
    folded: Lanes


@dataclass(frozen=True)
class Run:
    """Blocks that follow each other and are alike: the same operators, shapes and connections; or a single block.

    Attributes:
        blocks: The blocks.
        passing: What runs past its heading when it is unfolded.
        folded: What the diagram shows when it is folded.
    """

    blocks: tuple[Block, ...]
    passing: Lanes
    folded: Lanes


@dataclass(frozen=True)
class NetworkPage:
    """The first page.

    Attributes:
        site: What every page says.
        layers: The layers, in the order of the graph.
        rows: The diagram's rows: the image's, then one for each layer.
        n_lanes: Number of lanes that are told apart.
        runs: How the layers are folded.
        is_open: Whether they are unfolded at first.
        example: The map that stands for the network.
        example_layer: Its layer.
    """

    site: SiteView
    layers: tuple[LayerView, ...]
    rows: tuple[Lanes, ...]
    n_lanes: int
    runs: tuple[Run, ...]
    is_open: bool
    example: Card | None
    example_layer: LayerView | None
