"""The picture that shows a finding: projections of the accused maps' strongest hits, or the mean map of a border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.network import Network
from backlight.studies.diagnosis.collect import Record
from backlight.studies.diagnosis.inputs import Inputs
from backlight.studies.diagnosis.pictures import (
    SIDE,
    as_picture,
    can_project,
    project_hits,
    strongest_images,
)
from backlight.studies.diagnosis.result import Finding

_OF_MEAN_MAPS = ("border",)
_OF_PROJECTIONS = ("duplicate", "loud", "sleeping", "always_on", "causes", "checkerboard")


def picture_of(
    net: Network, inputs: Inputs, records: dict[str, Record], finding: Finding
) -> NDArray[np.uint8] | None:
    """Return the picture of a finding, (side, side, 3); None where it has none.

    Of a map that looks at the border it is the mean map. Of others it is four projections: of the map's strongest hits,
    or of two hits of each of two maps. A dead map has no hit, and arithmetic needs no picture.
    """
    record = records[finding.layer]
    if finding.kind in _OF_MEAN_MAPS:
        return _mean_map(record.mean_map[finding.channels[0]])
    if finding.kind not in _OF_PROJECTIONS or can_project(net, record) is not None:
        return None
    channels = finding.channels or _most_awake(record)
    each = 4 // len(channels[:4])
    hits = [(c, int(i)) for c in channels[:4] for i in strongest_images(record, c, each)]
    if not hits:
        return None
    return _sheet([as_picture(own) for own in project_hits(net, inputs, record, hits)])


def _most_awake(record: Record) -> tuple[int, ...]:
    return tuple(int(c) for c in np.argsort(-record.awake, kind="stable")[:4])


def _mean_map(mean: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a mean map (h, w) as a picture: black is its least value, white its largest."""
    low, high = float(mean.min()), float(mean.max())
    grey = np.rint(255 * (mean - low) / max(high - low, 1e-30)).astype(np.uint8)
    drawn = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.NEAREST).convert("RGB")
    found: NDArray[np.uint8] = np.asarray(drawn)
    return found


def _sheet(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return up to four pictures as one of the same size, two rows of two; white where there are fewer."""
    half = SIDE // 2
    found = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for i, own in enumerate(pictures[:4]):
        small = Image.fromarray(own).resize((half - 1, half - 1), Image.Resampling.BILINEAR)
        row, col = divmod(i, 2)
        found[row * half : row * half + half - 1, col * half : col * half + half - 1] = np.asarray(small)
    return found
