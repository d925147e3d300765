"""Renormalise: bring the filters of loud maps down to the others' size.

Either exactly, where what reads a map is linear and nothing between is more than a rectifier that scales: the filter is
divided and the readers' weights are multiplied, so the network computes what it did. Or as the paper did it in
training, by a limit and without compensation, which changes the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from backlight.errors import BadInputError, RemedyError
from backlight.models.renormalise import LIMIT, renormalise_filters_
from backlight.network import Network
from backlight.operators.reading import arguments
from backlight.operators.table import is_batch_norm, is_convolution
from backlight.studies.diagnosis.remedies.carried import MixedError, Part
from backlight.studies.diagnosis.remedies.checking import applied, inputs_for, reference
from backlight.studies.diagnosis.remedies.cutting import Change, changed, copy_of
from backlight.studies.diagnosis.remedies.flow import Read
from backlight.studies.diagnosis.remedies.following import Follower
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.wiring import Values, maps_of, parameter, unwrapped
from backlight.text import counted


def filter_rms(model: nn.Module, net: Network, layer: str) -> Tensor:
    """Return the root mean square of the filter of each map (c,), of what the batch norm behind it makes of it.

    Args:
        model: The model that was captured.
        net: The captured network.
        layer: A layer that one convolution or linear map makes.

    Raises:
        RemedyError: The layer is made otherwise.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> filter_rms(model, backlight.capture(model, (3, 8, 8)), "1").shape
        torch.Size([4])
    """
    found = _making(Follower(net), net.node(layer), maps_of(net, layer, [0]))
    rms = _rms(Values(unwrapped(model, net)), found)
    if len(rms) != net.layer(layer).n_maps:
        raise RemedyError(f"the maps of {layer!r} are made by several convolutions, or several of one filter")
    return rms


@dataclass(frozen=True)
class _Making:
    """What makes a map.

    Attributes:
        maker: The convolution or linear map.
        channel: Which of its outputs the map is.
        norm: The batch norm behind it, if there is one.
        end: What gives the map as the two make it.
    """

    maker: fx.Node
    channel: int
    norm: fx.Node | None
    end: fx.Node


def _making(follower: Follower, node: fx.Node, part: Part) -> _Making:
    steps = follower.steps(node, part)
    maker, own = steps[-1]
    norms = [step for step, _ in steps if is_batch_norm(step)]
    if len(norms) > 1:
        raise RemedyError(
            f"there are {len(norms)} batch norms between them and {follower.net.where(maker)!r}"
        )
    # a norm gives a tuple, the first of which is read
    end = next(step for step, _ in steps if step.args and step.args[0] is norms[0]) if norms else maker
    return _Making(maker, own.indices[0], next(iter(norms), None), end)


def _rms(values: Values, found: _Making) -> Tensor:
    maker, norm, given = found.maker, found.norm, arguments(found.maker)
    weight = values[parameter(given["weight"])]
    transposed = _is_transposed(maker)
    if transposed and given.get("groups", 1) > 1:
        raise RemedyError("a transposed convolution of several groups makes them")
    rms = (weight.transpose(0, 1) if transposed else weight).square().flatten(1).mean(1).sqrt()
    if norm is None:
        return rms
    own = arguments(norm)
    scale = torch.rsqrt(values[parameter(own["running_var"])] + own["eps"])
    weights = own.get("weight")
    return rms * scale * (1 if weights is None else values[parameter(weights)].abs())


def renormalise_maps(
    model: nn.Module,
    net: Network,
    layer: str,
    channels: Sequence[int],
    images: Tensor | None = None,
    *,
    rms: float | None = None,
    exactly: bool = True,
) -> Remedied:
    """Return a copy of a model that computes the same with smaller filters for some maps.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        layer: The layer that has the maps.
        channels: The maps.
        images: (n, c, h, w) inputs, or one, on which the copy is checked besides noise.
        rms: The root mean square that their filters get; None takes the layer's median.
        exactly: Whether what reads the maps makes up for it. If not, the network computes something else.

    Raises:
        BadInputError: The network has no such maps, or one has an empty filter.
        RemedyError: What reads the maps cannot make up for it exactly; the text is the reason.

    *Convention*: the filter is what a batch norm behind the convolution makes of it, so the norm's weights are scaled
    where there is one. The bias is scaled with the filter.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> _ = model[0].weight.data[2].mul_(10)
        >>> net = backlight.capture(model, (3, 8, 8))
        >>> new = renormalise_maps(model, net, "1", [2]).model
        >>> x = torch.ones(1, 3, 8, 8)
        >>> torch.allclose(new(x), model(x), atol=1e-5), bool(new[0].weight[2].std() < model[0].weight[2].std())
        (True, True)
    """
    part = maps_of(net, layer, channels)
    if rms is not None and not rms > 0:
        raise BadInputError(f"rms must be above 0, got {rms}")
    try:
        values, done = _scaled(model, net, layer, part, rms, exactly)
        if not exactly:
            return Remedied(changed(values.model, Change(values.changed)), "scale down", done)
        same = reference(values.model, net, inputs_for(net, images), {})
        new = applied(values.model, Change(values.changed), same)
        return Remedied(new, "renormalise", f"{done}, the readers' weights with them")
    except MixedError as error:
        reason = f"{net.where(error.node)!r} joins them with other maps"
    except RemedyError as error:
        reason = str(error)
    which = "map" if len(part.indices) == 1 else "maps"
    raise RemedyError(
        f"{which} {', '.join(map(str, part.indices))} of {layer!r} cannot be scaled exactly: {reason}"
    )


def _scaled(
    model: nn.Module, net: Network, layer: str, part: Part, wanted: float | None, exactly: bool
) -> tuple[Values, str]:
    """Return the weights with some maps scaled to a root mean square, and what was done."""
    follower, values = Follower(net), Values(unwrapped(model, net))
    loudest = target = 0.0
    for c in part.indices:
        found = _making(follower, net.node(layer), Part(part.dim, (c,)))
        known = _rms(values, found)
        target = float(known.median()) if wanted is None else wanted
        times = float(known[found.channel]) / target
        if not times > 0:
            raise BadInputError(f"the filter of map {c} of {layer!r} is empty; delete the map instead")
        loudest = max(loudest, times * target)
        _scale_maker(values, found, 1 / times)
        dims = found.end.meta["val"].dim()
        along = Part(1 if dims == 4 else dims - 1, (found.channel,))
        if exactly:
            flow = follower.onward({found.end: along}, stop_at_norms=True)
            follower.check_scaling(flow)
            for read in flow.reads:
                _scale_reader(values, net, read, times)
    return (
        values,
        f"{counted(len(part.indices), 'filter')} of {layer!r} scaled from RMS {loudest:.3g} to {target:.3g}",
    )


def _scale_maker(values: Values, found: _Making, factor: float) -> None:
    given = arguments(found.maker if found.norm is None else found.norm)
    if found.norm is not None and given.get("weight") is None:
        raise RemedyError("the batch norm behind them has no weights of its own")
    transposed = found.norm is None and _is_transposed(found.maker)
    values.scale(parameter(given["weight"]), 1 if transposed else 0, (found.channel,), factor)
    if given.get("bias") is not None:
        values.scale(parameter(given["bias"]), 0, (found.channel,), factor)


def _is_transposed(maker: fx.Node) -> bool:
    return is_convolution(maker) and "transpose" in str(maker.target)


def _scale_reader(values: Values, net: Network, read: Read, factor: float) -> None:
    """Make a reader do with maps that are smaller by a factor what it did with those that were not."""
    if not is_batch_norm(read.node):
        values.scale(read.weight, read.dim, read.indices, factor)
        return
    # weight * (x - mean) / deviation + bias, of x / factor: the mean shrinks with x and the weight makes up for both
    given: dict[str, Any] = arguments(read.node)
    if given.get("weight") is None:
        raise RemedyError(
            f"the batch norm {net.where(read.node)!r}, which reads them, has no weights of its own"
        )
    values.scale(parameter(given["weight"]), 0, read.indices, factor)
    values.scale(parameter(given["running_mean"]), 0, read.indices, 1 / factor)


def clip_filters(model: nn.Module, limit: float = LIMIT) -> Remedied:
    """Return a copy of a model no filter of which exceeds a root mean square; what it computes changes.

    *Source*: Zeiler & Fergus (2013), section 3, who do so in training; see `backlight.renormalise_filters_`.

    Example:
        >>> clip_filters(nn.Sequential(nn.Conv2d(1, 2, 1).requires_grad_(False).eval()), 1e9).done
        '0 filters clipped to RMS 1e+09'
    """
    new = copy_of(model)
    n_changed = sum(renormalise_filters_(new, limit).values())
    return Remedied(new, "clip", f"{counted(n_changed, 'filter')} clipped to RMS {limit:.3g}")
