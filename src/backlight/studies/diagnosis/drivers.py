"""What drives a map's strongest hits: how much of each activation every map below contributes.

That is the first step of a projection as it happens in the image: filter times what lies below, at the unit. *Differs*
from the deconvnet's first step, which sends the filter back whatever was active below, and so is one and the same for
all hits of a map.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from backlight.network.fast import step_images
from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.inputs import Inputs
from backlight.studies.diagnosis.pictures import strongest_images
from backlight.studies.diagnosis.stages import Stage, Stages
from backlight.studies.progress import Count


def can_drive(stage: Stage | None) -> str | None:
    """Return why the causes of a layer's hits cannot be told apart; None where they can."""
    if stage is None:
        return "several paths make this layer, so what drives a unit is not one filter's"
    if stage.groups > 1:
        return "its filters see only a part of the maps below"
    if isinstance(stage.padding, str):
        return f"its padding is {stage.padding!r}"
    return None


def drivers(
    inputs: Inputs, records: dict[str, Record], stages: Stages, n_hits: int, count: Count | None = None
) -> dict[str, list[NDArray[np.float32]]]:
    """Return by layer and map what drives its strongest hits: for each hit the share of every map below, (hits, c_in).

    In the first layer, which has the pixels below, every weight of the filter has a share of its own.

    Args:
        inputs: The images.
        records: What was seen of each layer.
        stages: Their filters.
        n_hits: How many hits of a map, one in an image.
        count: Counts the images.

    *Convention*: only what raises the unit counts. Shares of a hit sum to 1.
    """
    usable = {
        name: own for name, own in stages.by_layer.items() if can_drive(own) is None and name in records
    }
    wanted = {name: _hits_by_image(records[name], n_hits) for name in usable}
    found: dict[str, list[list[NDArray[np.float32]]]] = {
        name: [[] for _ in range(records[name].layer.n_maps)] for name in usable
    }
    done = 0
    for ids, batch in inputs.batches(step_images(torch.device("cpu"))):
        below = stages.below(batch)
        for name, stage in usable.items():
            hits = [(i, c) for i in range(len(ids)) for c in wanted[name].get(done + i, ())]
            if hits:
                places = np.array([records[name].places[done + i, c] for i, c in hits])
                for (_, channel), share in zip(hits, _shares(stage, below[name], hits, places), strict=True):
                    found[name][channel].append(share)
        done += len(ids)
        if count is not None:
            count.add(len(ids))
    empty = np.zeros((0, 1), np.float32)
    return {name: [np.stack(one) if one else empty for one in own] for name, own in found.items()}


def _hits_by_image(record: Record, n_hits: int) -> dict[int, list[int]]:
    """Return for each place of an image in the record the maps that have a hit there."""
    found: dict[int, list[int]] = {}
    for channel in range(record.layer.n_maps):
        for place in strongest_images(record, channel, n_hits):
            found.setdefault(int(place), []).append(channel)
    return found


def _shares(
    stage: Stage, below: Tensor, hits: list[tuple[int, int]], places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the shares (hits, c_in) of units given by image and channel, and by row and column."""
    (kh, kw), (pad_rows, pad_cols) = (
        stage.weight.shape[2:],
        map(int, stage.padding),
    )  # `can_drive` refuses names
    padded = functional.pad(below, (pad_cols, pad_cols, pad_rows, pad_rows))
    image, channel = torch.tensor(hits).T
    # (hits, kh) and (hits, kw): the rows and columns that each unit reads
    rows, cols = (
        torch.from_numpy(places[:, axis])[:, None] * stage.stride[axis]
        + torch.arange(size) * stage.dilation[axis]
        for axis, size in enumerate((kh, kw))
    )
    # (hits, kh, kw, c_in): of an indexed tensor the indices' dimensions come first
    read = padded[image[:, None, None], :, rows[:, :, None], cols[:, None, :]]
    parts = (read.permute(0, 3, 1, 2) * stage.weight[channel]).flatten(2)
    parts = parts.flatten(1) if stage.is_first else parts.sum(2)
    parts = parts.clamp(min=0)
    found: NDArray[np.float32] = (parts / parts.sum(1, keepdim=True).clamp(min=1e-30)).float().cpu().numpy()
    return found
