"""Prune: delete maps from a trained network, and merge maps that are multiples of others, exactly.

The weights that make a map, and those that read it, are found in the captured network and cut out of a copy of the
model; weights between them that exist for each map (batch norm, PReLU, depthwise convolutions) lose the map too. The
copy is then held against the network with the maps set to zero (or to multiples of others), on noise and on images:
if their answers are not equal to rounding, there is no result but the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, fx, nn

from backlight.errors import BadInputError, RemedyError
from backlight.network import Network
from backlight.studies.diagnosis.remedies.carried import MixedError, Part
from backlight.studies.diagnosis.remedies.checking import Reference, applied, inputs_for, reference
from backlight.studies.diagnosis.remedies.cutting import Change
from backlight.studies.diagnosis.remedies.flow import Flow, Read
from backlight.studies.diagnosis.remedies.following import Follower
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.wiring import Values, index_of, maps_of, unwrapped
from backlight.text import counted

_CONSTANT = 1e-9


@dataclass(frozen=True)
class Twin:
    """A map that is a multiple of another.

    Attributes:
        channel: The map that can go.
        of: The map that stays.
        times: How many times the other it is.
    """

    channel: int
    of: int
    times: float = 1.0


def delete_maps(
    model: nn.Module, net: Network, layer: str, channels: Sequence[int], images: Tensor | None = None
) -> Remedied:
    """Return a copy of a model without some maps, equal to the model in which they are zero.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        layer: The layer that has the maps.
        channels: The maps.
        images: (n, c, h, w) inputs, or one, on which the copy is checked besides noise.

    Raises:
        BadInputError: The network has no such maps.
        RemedyError: The maps cannot be deleted exactly; the text is the reason.

    *Convention*: what is behind the maps sees zeros in their place. Where a norm or a bias makes a constant of that,
    the constant becomes a part of the readers' biases.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> found = delete_maps(model, backlight.capture(model, (3, 8, 8)), "1", [0, 2])
        >>> found.model[0].out_channels, found.model[2].in_channels, found.done
        (2, 2, "2 of 4 maps of '1' deleted")
    """
    part = maps_of(net, layer, channels)
    try:
        new, coupled = _deleted(model, net, {layer: part}, images)
    except RemedyError as error:
        which = "map" if len(part.indices) == 1 else "maps"
        numbers = ", ".join(map(str, part.indices))
        raise RemedyError(f"{which} {numbers} of {layer!r} cannot be deleted: {error}") from error
    return _finished(new, net, {layer: part}, coupled, "deleted")


def delete_all(
    model: nn.Module, net: Network, maps: Mapping[str, Sequence[int]], images: Tensor | None = None
) -> Remedied:
    """Return a copy of a model without maps of several layers; those of layers that cannot lose them stay.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        maps: By layer the maps.
        images: (n, c, h, w) inputs, or one, on which the copy is checked besides noise.

    Returns:
        The copy; its notes say which maps stay, and why.

    Raises:
        BadInputError: The network has no such maps.
        RemedyError: Nothing can be deleted exactly; the text is the reason for the first layer.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> found = delete_all(model, backlight.capture(model, (3, 8, 8)), {"1": [0], "2": [1]})
        >>> found.done, found.notes[0].partition(":")[0]
        ("1 of 4 maps of '1' deleted", "map 1 of '2' cannot be deleted")
    """
    parts: dict[str, Part] = {}
    refused: list[RemedyError] = []
    for layer, channels in maps.items():
        try:
            delete_maps(model, net, layer, channels, images)
        except RemedyError as error:
            refused.append(error)
        else:
            parts[layer] = maps_of(net, layer, channels)
    if not parts:
        raise refused[0] if refused else RemedyError("no maps are given")
    new, coupled = _deleted(model, net, parts, images)
    found = _finished(new, net, parts, coupled, "deleted")
    return replace(found, notes=(*found.notes, *map(str, refused)))


def merge_maps(
    model: nn.Module, net: Network, layer: str, twins: Sequence[Twin], images: Tensor | None = None
) -> Remedied:
    """Return a copy of a model without maps that are multiples of others: what reads those reads the others instead.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        layer: The layer that has the maps.
        twins: Which map goes, which stays in its place, and how many times that it is.
        images: (n, c, h, w) inputs, or one, on which the copy is checked besides noise.

    Raises:
        BadInputError: The network has no such maps, or one that should stay is among those that go.
        RemedyError: The maps cannot be merged exactly; the text is the reason.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> found = merge_maps(model, backlight.capture(model, (3, 8, 8)), "1", [Twin(3, of=0, times=2.0)])
        >>> found.done
        "1 of 4 maps of '1' merged into the maps that it repeats"
    """
    part = maps_of(net, layer, [twin.channel for twin in twins])
    maps_of(net, layer, [twin.of for twin in twins])
    kept = {twin.of for twin in twins} & set(part.indices)
    if kept:
        raise BadInputError(
            f"map {min(kept)} of {layer!r} cannot both go and stay in another's place; name a third"
        )
    try:
        return _merged(model, net, layer, twins, part, images)
    except RemedyError as error:
        numbers = ", ".join(f"{twin.channel} (of {twin.of})" for twin in twins)
        raise RemedyError(f"maps {numbers} of {layer!r} cannot be merged: {error}") from error


def _deleted(
    model: nn.Module, net: Network, parts: Mapping[str, Part], images: Tensor | None
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the new model, and where other maps had to go too."""
    if any(len(part.indices) == net.layer(layer).n_maps for layer, part in parts.items()):
        raise RemedyError("nothing would be left of the layer")
    flow, coupled = _route(Follower(net), {net.node(layer): part for layer, part in parts.items()})

    def zeroed(value: Tensor, part: Part) -> Tensor:
        return value.index_fill(part.dim, index_of(part.indices, value), 0)

    below = {read.below for read in flow.reads}
    without = {net.node(layer): partial(zeroed, part=part) for layer, part in parts.items()}
    inner = unwrapped(model, net)
    expected = reference(inner, net, inputs_for(net, images), without, below)
    with _said_of_joins(coupled):
        change = Change(_constants_moved(inner, net, flow, expected), flow.cuts(net))
        for name in change.values:
            # a bias that is new loses with its weight what that loses of its outputs
            outputs = change.cuts.get(f"{name.rpartition('.')[0]}.weight", {}).get(0)
            if outputs is not None:
                change.cuts[name] = {0: outputs}
        return applied(inner, change, expected), coupled


def _merged(
    model: nn.Module, net: Network, layer: str, twins: Sequence[Twin], part: Part, images: Tensor | None
) -> Remedied:
    follower = Follower(net)
    node = net.node(layer)
    flow, coupled = _route(follower, {node: part})

    def replaced(value: Tensor) -> Tensor:
        value = value.clone()
        for twin in twins:
            value.select(part.dim, twin.channel).copy_(value.select(part.dim, twin.of) * twin.times)
        return value

    values = Values(unwrapped(model, net))
    expected = reference(values.model, net, inputs_for(net, images), {node: replaced})
    for twin in twins:
        lost, stays = (_reads(follower, node, part.dim, twin, c) for c in (twin.channel, twin.of))
        for key, read in lost.items():
            if key not in stays or len(stays[key].indices) != len(read.indices):
                raise RemedyError(f"{net.where(read.node)!r} does not read both")
            weight = values[read.weight]
            moved = weight.index_select(read.dim, index_of(read.indices, weight)) * twin.times
            # the twin's columns are added to those of the map that stays, in the same order
            values.add(read.weight, read.dim, stays[key].indices, moved)
    pronoun = "it repeats" if len(part.indices) == 1 else "they repeat"
    with _said_of_joins(coupled):
        new = applied(values.model, Change(values.changed, flow.cuts(net)), expected)
    return _finished(new, net, {layer: part}, coupled, f"merged into the maps that {pronoun}")


@contextmanager
def _said_of_joins(coupled: tuple[str, ...]) -> Iterator[None]:
    """Say of what is not exact that it is because of maps that the lost ones are joined with, where there are any."""
    try:
        yield
    except RemedyError as error:
        if not coupled:
            raise
        raise RemedyError(
            f"at {coupled[0]!r} they are joined with maps that are not zero, "
            "and a sum or a product cannot lose a map on one side alone"
        ) from error


def _finished(
    new: nn.Module, net: Network, parts: Mapping[str, Part], coupled: tuple[str, ...], done: str
) -> Remedied:
    notes = [f"the maps that join them at {place!r} are deleted too" for place in coupled]
    read = {node.meta["parameter"] for node in net.module.graph.find_nodes(op="get_attr")}
    unread = next((name for name, _ in new.named_parameters() if name not in read), None)
    # a bias that is new is not in the graph either, but its weight is
    if unread is not None and f"{unread.rpartition('.')[0]}.weight" not in read:
        notes.append(
            f"{unread!r} takes no part in inference, and may not fit the network in training any more"
        )
    counts = [
        f"{len(part.indices)} of {counted(net.layer(layer).n_maps, 'map')} of {layer!r}"
        for layer, part in parts.items()
    ]
    return Remedied(new, "prune", f"{', '.join(counts)} {done}", tuple(notes))


def _route(follower: Follower, parts: Mapping[fx.Node, Part]) -> tuple[Flow, tuple[str, ...]]:
    """Return where maps go from the weights that make them, and where other maps had to join them.

    Where maps meet others in a sum, those that meet them there are followed too: a sum loses a map on all sides or on
    none. Whether that is exact, the check of the outputs says.
    """
    sources: dict[fx.Node, Part] = {}
    for node, part in parts.items():
        sources = _joined(sources, follower.makers(node, part))
    coupled: list[str] = []
    while True:
        try:
            return follower.onward(sources), tuple(coupled)
        except MixedError as error:
            place = follower.net.where(error.node)
            before = dict(sources)
            for touched in error.touched[:1]:
                sources = _joined(sources, follower.makers(error.node, touched))
            # more of what makes the maps themselves is no map that joins them: an operator mixes a layer's maps
            if sources == before or any(sources[node] != part for node, part in before.items()):
                raise RemedyError(f"{place!r} mixes them with the other maps") from error
            coupled.append(place)


def _joined(one: Mapping[fx.Node, Part], other: Mapping[fx.Node, Part]) -> dict[fx.Node, Part]:
    found = dict(one)
    for node, part in other.items():
        known = found[node].indices if node in found else ()
        found[node] = Part(part.dim, tuple(sorted({*known, *part.indices})))
    return found


def _reads(
    follower: Follower, node: fx.Node, dim: int, twin: Twin, channel: int
) -> dict[tuple[fx.Node, str], Read]:
    try:
        flow = follower.onward({node: Part(dim, (channel,))})
        if twin.times != 1:
            follower.check_scaling(flow)
    except MixedError as error:
        raise RemedyError(f"{follower.net.where(error.node)!r} mixes them with other maps") from error
    return {(read.node, read.weight): read for read in flow.reads}


def _constants_moved(model: nn.Module, net: Network, flow: Flow, expected: Reference) -> dict[str, Tensor]:
    """Return biases that hold what readers got from lost maps that are constant, and not zero, where they read them."""
    weights, found = Values(model), dict[str, Tensor]()
    for read in flow.reads:
        dim = flow.parts[read.below].dim
        maps = expected.kept[read.below].index_select(dim, index_of(read.indices, expected.images))
        values = maps.movedim(dim, 0).flatten(1)  # (lost, images and positions)
        if not values.abs().max() > _CONSTANT * expected.kept[read.below].abs().max():
            continue
        if (values.amax(1) - values.amin(1)).max() > _CONSTANT * values.abs().max():
            raise RemedyError(
                f"{net.where(read.node)!r} reads what they are made from too, which is neither zero nor constant there"
            )
        weight = weights[read.weight].to(values)
        if weight.dim() > 2 and read.dim == 0:
            raise RemedyError(f"{net.where(read.node)!r}, a transposed convolution, reads a constant of them")
        # (out, lost): what a constant adds to each output; a kernel sums over its positions
        columns = weight.index_select(1, index_of(read.indices, weight))
        columns = columns.flatten(2).sum(2) if columns.dim() > 2 else columns
        name = f"{read.weight.rpartition('.')[0]}.bias"
        found[name] = columns @ values[:, 0] + (weights[name].to(values) if name in weights else 0)
    return found
