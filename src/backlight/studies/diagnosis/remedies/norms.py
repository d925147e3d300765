"""Batch norms estimated anew: after a change below them, they get the mean and the variance of what now reaches them.

A batch norm keeps what its maps were like in training. A remedy that changes these maps, as a low-pass does, leaves it
with numbers that no longer fit. A few images, without labels, are enough to estimate them again.

*Source*: Li et al. (2016), Revisiting Batch Normalization For Practical Domain Adaptation, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backlight.errors import BadInputError, RemedyError
from backlight.network import Network
from backlight.network.eager import inference_of
from backlight.network.quiet import quiet_torch
from backlight.operators.table import is_batch_norm
from backlight.studies.diagnosis.remedies.cutting import copy_of
from backlight.studies.diagnosis.remedies.remedied import Remedied
from backlight.studies.diagnosis.remedies.sliding import module_path
from backlight.studies.diagnosis.remedies.wiring import unwrapped
from backlight.text import counted

_BATCH = 32


def estimate_norms(model: nn.Module, net: Network, images: Tensor) -> Remedied:
    """Return a copy of a model whose batch norms have the statistics of some images.

    Args:
        model: The model that was captured; it is not changed.
        net: The captured network.
        images: (n, c, h, w) inputs, two or more, like those that the network will see.

    Raises:
        BadInputError: There are fewer than two images.
        RemedyError: The network has no batch norm that is a module of its own.

    Example:
        >>> import backlight
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> net = backlight.capture(model, (3, 8, 8))
        >>> estimate_norms(model, net, torch.randn(40, 3, 8, 8)).done
        '1 batch norm estimated anew on 40 images'
    """
    new = copy_of(unwrapped(model, net))
    done = estimate_behind_(new, net, list(net.module.graph.nodes), images)
    if not done:
        raise RemedyError(f"{net.name} has no batch norm that is a module of its own")
    return Remedied(new, "estimate norms", done)


def estimate_behind_(model: nn.Module, net: Network, nodes: Sequence[fx.Node], images: Tensor) -> str:
    """Estimate the batch norms of a changed copy that read, near or far, what some nodes give; return what was done.

    Args:
        model: The copy, which is changed.
        net: The network as it was captured before.
        nodes: Where the copy was changed.
        images: (n, c, h, w) inputs, two or more.

    *Convention*: norms before the change keep their statistics, and so does a module that is called at several places.
    The whole runs in inference but for these norms: each passes on what its batch's own statistics make of its maps.
    Of several batches, the means of their means and variances are kept.
    """
    if len(images) < 2:
        raise BadInputError(f"batch norms are estimated on 2 images or more, got {len(images)}")
    behind = (model.get_submodule(path) for path in _norms_behind(net, nodes))
    norms = [own for own in behind if isinstance(own, _BatchNorm) and own.running_mean is not None]
    if not norms:
        return ""
    batch = net.prepare(images)
    with inference_of(model), torch.no_grad(), quiet_torch():
        for own in norms:
            own.reset_running_stats()
            # `inference_of` puts both back; without a momentum, all batches count alike
            own.training, own.momentum = True, None
        for part in batch.tensor_split(-(-len(batch) // _BATCH)):
            model(part)
    return f"{counted(len(norms), 'batch norm')} estimated anew on {len(batch)} images"


def _norms_behind(net: Network, nodes: Sequence[fx.Node]) -> list[str]:
    reached, found = set(nodes), []
    for node in net.module.graph.nodes:
        if reached.isdisjoint(node.all_input_nodes):
            continue
        reached.add(node)
        if is_batch_norm(node):
            try:
                found.append(module_path(net, node))
            except RemedyError:  # a function, or a module that other places share
                continue
    return found
