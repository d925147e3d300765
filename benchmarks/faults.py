"""Faults planted in copies of trained networks, so that it is known what a diagnosis must find, and where.

Each planter takes a `Subject` (a network with images) and a seeded generator, and returns a copy of the model with one
fault, and the layer and channel that have it. The subject's own model is never changed. `NoPlaceError` says that a
network has no place for a fault: `depthwise` pads no convolution that sees several maps.

    from faults import PLANTERS, faulty_images, load_subject
    subject = load_subject("vgg")
    generator = np.random.default_rng(0)
    model, layer, channel = PLANTERS["dead"](subject, generator)
    images = faulty_images("dead", subject, generator)

A fault is planted in a map that is at work, so that it changes something, and never in one that adds a shortcut, where
a zeroed filter leaves a map alive.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

import backlight_demo
import cifar_networks
from backlight import Layer, Network, Preprocessing, capture
from common import load_network, photographs

CIFAR = ("vgg", "overlapping", "average", "leaky", "strided", "residual", "depthwise", "dense")
NAMES = (*CIFAR, "squeezenet", "demo")
"""The ten networks."""

_N_TRIED = 64
"""Images that planters measure a layer on."""
_LOUD = 10.0
_STRIDE = 4
_HITS, _PAIRS, _LEADS, _ALONE = 64, 1000, 0.25, 0.9
"""Of a map of two causes: the hits that count, the pairs tried, in which share of hits each leads, and how much of a
hit the leading one makes up.
"""


class Planted(NamedTuple):
    """A model with a fault.

    Attributes:
        model: A copy of the subject's model, with the fault.
        layer: The layer that has it, by the name that `capture` gives it.
        channel: The feature map; None where the whole layer has it.
    """

    model: nn.Module
    layer: str
    channel: int | None


@dataclass(frozen=True)
class Stage:
    """A rectified layer that one convolution makes, with nothing but a batch norm between them.

    Attributes:
        layer: The layer.
        conv: The path of the convolution's module.
        norm: The path of the batch norm's module; None where there is none.
    """

    layer: Layer
    conv: str
    norm: str | None


@dataclass(frozen=True, eq=False)
class Subject:
    """A sound network.

    Attributes:
        name: Its name here.
        model: The model.
        net: The model, captured.
        images: (n, c, h, w) inputs, normalised.
    """

    name: str
    model: nn.Module
    net: Network
    images: Tensor

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in the order of the graph."""
        found = (_stage(self.net, layer) for layer in self.net.default_layers)
        return tuple(stage for stage in found if stage is not None)

    def recapture(self, model: nn.Module) -> Network:
        """Return a changed copy of the model, captured as the original was."""
        return capture(model, self.net.input_shape, self.net.preprocessing)  # type: ignore[arg-type]


Planter = Callable[[Subject, np.random.Generator], Planted]


class NoPlaceError(ValueError):
    """A network has no layer in which a fault can be planted."""


def load_subject(name: str, n_images: int | None = None) -> Subject:
    """Return one of the ten networks.

    Args:
        name: One of `NAMES`.
        n_images: How many images; None takes 1000 of CIFAR-10's test images, or 200 photographs.
    """
    if name in CIFAR:
        model = cifar_networks.make(name)
        model.load_state_dict(cifar_networks.load_file(cifar_networks.FOLDER / f"{name}.safetensors"))
        side = cifar_networks.SIDE
        recipe = Preprocessing(None, (side, side), cifar_networks.MEAN, cifar_networks.STD)
        net = capture(model.eval(), (3, side, side), recipe)
        return Subject(name, model, net, cifar_networks.tensors("test")[0][: n_images or 1000])
    if name == "squeezenet":
        model, net, _ = load_network("squeezenet1_0")
    else:
        model, size = backlight_demo.model(), backlight_demo.PREPROCESSING["crop"]
        net = capture(model, (3, *size), Preprocessing(**backlight_demo.PREPROCESSING))
    return Subject(name, model.eval(), net, net.prepare(photographs(n_images or 200)))


def _stage(net: Network, layer: Layer) -> Stage | None:
    """Return the stage of a layer; None where it is not a convolution's, or not its alone."""
    node: Any = net.node(layer)
    norm, node = None, node.all_input_nodes[0] if layer.rectified and layer.is_spatial else None
    while node is not None and node.op == "call_function":
        if "conv" in str(node.target):
            return Stage(layer, _module_of(node), norm)
        if "batch_norm" in str(node.target):
            norm = _module_of(node)
        elif "getitem" not in str(node.target):
            return None
        node = node.args[0]
    return None


def _module_of(node: fx.Node) -> str:
    """Return the path of the module that owns a node's weight."""
    weight: Any = node.args[1]
    return str(weight.meta["parameter"]).rpartition(".")[0]


def _seen(model: nn.Module, path: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a module takes and gives for some images."""
    kept: list[Tensor] = []
    hook = model.get_submodule(path).register_forward_hook(lambda _, x, y: kept.extend((x[0], y)))
    with torch.no_grad():
        model(images)
    hook.remove()
    return kept[0], kept[1]


def _maxima(maps: Tensor) -> Tensor:
    """Return the typical largest value of each map (c,): the mean of its per-image maxima, 0 for none above it."""
    return maps.amax((2, 3)).clamp(min=0).mean(0)


def _at_work(subject: Subject, stage: Stage) -> list[int]:
    """Return the channels whose maximum is at least a tenth of the layer's typical one, in most images."""
    _, maps = _seen(subject.model, stage.norm or stage.conv, subject.images[:_N_TRIED])
    maxima = _maxima(maps)
    often = (maps.amax((2, 3)) > 0).float().mean(0) > 0.5
    return torch.nonzero(often & (maxima > maxima.median() / 10))[:, 0].tolist()


def _draw(subject: Subject, stages: Sequence[Stage], rng: np.random.Generator) -> tuple[Stage, int]:
    """Return a random stage, and one of its maps that are at work."""
    if not stages:
        raise NoPlaceError(f"{subject.name} has no layer for this fault")
    stage = stages[rng.integers(len(stages))]
    return stage, int(rng.choice(_at_work(subject, stage)))


def _conv(model: nn.Module, stage: Stage) -> nn.Conv2d:
    conv = model.get_submodule(stage.conv)
    assert isinstance(conv, nn.Conv2d)
    return conv


@torch.no_grad()
def _set_filter(model: nn.Module, stage: Stage, channel: int, weight: Tensor, bias: float) -> None:
    """Give a map a filter and a bias, whatever the batch norm did to it before."""
    conv = _conv(model, stage)
    conv.weight[channel] = weight
    if conv.bias is not None:
        conv.bias[channel] = bias if stage.norm is None else 0
    if stage.norm is not None:
        norm: Any = model.get_submodule(stage.norm)
        norm.running_mean[channel], norm.running_var[channel] = 0, 1 - norm.eps
        norm.weight[channel], norm.bias[channel] = 1, bias


def dead(subject: Subject, rng: np.random.Generator) -> Planted:
    """Zero a filter, and with batch norm its shift too, so that the map is zero."""
    model = copy.deepcopy(subject.model)
    stage, channel = _draw(subject, subject.stages, rng)
    _set_filter(model, stage, channel, torch.zeros(()), 0.0)
    return Planted(model, stage.layer.name, channel)


@torch.no_grad()
def duplicate(subject: Subject, rng: np.random.Generator) -> Planted:
    """Copy a map at work over another of its layer: filter, bias and batch norm."""
    model = copy.deepcopy(subject.model)
    stage, source = _draw(subject, _dense(subject), rng)
    channel = int(rng.choice([c for c in range(stage.layer.n_maps) if c != source]))
    modules = [model.get_submodule(path) for path in (stage.conv, stage.norm) if path is not None]
    for module in modules:
        for own in (*module.parameters(), *module.buffers()):
            if own.dim():  # not the number of batches that a batch norm has seen
                own[channel] = own[source]
    return Planted(model, stage.layer.name, channel)


@torch.no_grad()
def loud(subject: Subject, rng: np.random.Generator) -> Planted:
    """Make a filter's RMS ten times as large: what the batch norm makes of it, where there is one."""
    model = copy.deepcopy(subject.model)
    stage, channel = _draw(subject, subject.stages, rng)
    scaled: Any = model.get_submodule(stage.norm or stage.conv)
    scaled.weight[channel] *= _LOUD
    return Planted(model, stage.layer.name, channel)


def aliased(subject: Subject, rng: np.random.Generator) -> Planted:
    """Give the first layer a stride of 4; what it aliases is in `fine_texture`."""
    model = copy.deepcopy(subject.model)
    _conv(model, subject.stages[0]).stride = (_STRIDE, _STRIDE)
    return Planted(model, subject.stages[0].layer.name, None)


def border(subject: Subject, rng: np.random.Generator) -> Planted:
    """Make a filter find the zeros of the padding: each place less the one above it, over all maps below."""
    model = copy.deepcopy(subject.model)
    stages = [own for own in _dense(subject)[1:] if min(_padding(subject, own)) > 0]
    stage, channel = _draw(subject, stages, rng)
    below, maps = _seen(subject.model, stage.conv, subject.images[:_N_TRIED])
    weight = torch.zeros_like(_conv(model, stage).weight[channel])  # (c, kh, kw)
    row, col = (size // 2 for size in weight.shape[1:])
    # maps at work alone: a weight of a silent one would be huge
    strength = _maxima(below)
    share = torch.where(strength > strength.median() / 10, 1 / strength.clamp(min=1e-6), 0)
    weight[:, row, col], weight[:, row - 1, col] = share, -share
    response = functional.conv2d(below, weight[None], padding=_padding(subject, stage))
    _set_filter(model, stage, channel, weight * (_maxima(maps).median() / _maxima(response)[0]), 0.0)
    return Planted(model, stage.layer.name, channel)


def uneven(subject: Subject, rng: np.random.Generator) -> Planted:
    """Put all the padding of a convolution at the bottom and the right."""
    model = copy.deepcopy(subject.model)
    stages = [own for own in subject.stages if min(_padding(subject, own)) > 0]
    stage = stages[rng.integers(len(stages))]
    conv, (rows, cols) = _conv(model, stage), _padding(subject, stage)
    conv.padding = (0, 0)
    model.set_submodule(stage.conv, nn.Sequential(nn.ZeroPad2d((0, 2 * cols, 0, 2 * rows)), conv))
    return Planted(model, stage.layer.name, None)


def two_causes(subject: Subject, rng: np.random.Generator) -> Planted:
    """Make a map answer to two of the maps below it, each alone, that do not go together.

    Two maps are drawn until each leads in a quarter of the strongest hits at least, and the one that leads makes up
    four fifths of them or more: only then has the map two causes.
    """
    model = copy.deepcopy(subject.model)
    stage, channel = _draw(subject, _dense(subject)[1:], rng)
    below, maps = _seen(subject.model, stage.conv, subject.images)
    # the causes have about as many of the map's hits: each is scaled by the weakest of its own
    n_hits = min(_HITS, len(below) // 4)
    scale = below.amax((2, 3)).topk(n_hits, 0).values[-1]
    known = torch.nonzero((below.amax((2, 3)) > 0).float().mean(0) > 0.5)[:, 0].tolist()
    for one, other in rng.permuted(np.array(list(combinations(known, 2))), axis=0)[:_PAIRS].tolist():
        parts = torch.stack([below[:, own] / scale[own] for own in (one, other)], 1).clamp(min=0).flatten(2)
        places = parts.sum(1).argmax(1)  # (n,)
        parts = parts[torch.arange(len(parts)), :, places]  # (n, 2) at the strongest place
        hits = parts[parts.sum(1).topk(n_hits).indices]
        leads = (hits[:, 0] > hits[:, 1]).float().mean().item()
        share = (hits.amax(1) / hits.sum(1)).mean().item()
        if min(leads, 1 - leads) >= _LEADS and share >= _ALONE:
            break
    else:
        raise NoPlaceError(f"no two maps below {stage.layer.name} of {subject.name} are apart")
    weight = torch.zeros_like(_conv(model, stage).weight[channel])  # (c, kh, kw)
    row, col = (size // 2 for size in weight.shape[1:])
    for cause in (one, other):
        weight[cause, row, col] = _maxima(maps[:_N_TRIED]).median() / scale[cause]
    _set_filter(model, stage, channel, weight, 0.0)
    return Planted(model, stage.layer.name, channel)


def _dense(subject: Subject) -> list[Stage]:
    """Return the stages whose filters see all maps below."""
    return [own for own in subject.stages if _conv(subject.model, own).groups == 1]


def _padding(subject: Subject, stage: Stage) -> tuple[int, int]:
    padding = _conv(subject.model, stage).padding
    return (int(padding[0]), int(padding[1])) if not isinstance(padding, str) else (0, 0)


def fine_texture(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return images (n, c, h, w) with noise of as much variance, all of it finer than a stride of 4 can carry."""
    noise = torch.from_numpy(rng.standard_normal((len(images), 1, *images.shape[2:]))).to(images)
    spectrum = torch.fft.fft2(noise)
    rows, cols = (torch.fft.fftfreq(size).abs() for size in images.shape[2:])
    kept = torch.maximum(rows[:, None], cols) > 1 / (2 * _STRIDE)
    fine = torch.fft.ifft2(spectrum * kept).real
    return images + fine * (images.std() / fine.std())


PLANTERS: dict[str, Planter] = {
    "dead": dead,
    "duplicate": duplicate,
    "loud": loud,
    "aliased": aliased,
    "border": border,
    "uneven": uneven,
    "two_causes": two_causes,
}
"""By name what plants a fault."""


def faulty_images(kind: str, subject: Subject, rng: np.random.Generator) -> Tensor:
    """Return the images under which a planted fault shows: the subject's own, with a fine texture for `aliased`."""
    return fine_texture(subject.images, rng) if kind == "aliased" else subject.images
