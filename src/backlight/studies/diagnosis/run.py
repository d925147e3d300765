"""Diagnosis: what is wrong with a network, layer by layer, each finding against its null.

*Source*: Zeiler & Fergus (2013), section 4.1 and Fig. 6, who saw in the pictures what was wrong with AlexNet: dead
filters, missing frequencies, aliasing. *Differs*: numbers with nulls and corrected p values instead of the eye, and
more kinds of findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backlight.errors import BadInputError
from backlight.network import Layer, Network
from backlight.network.layers import Layers
from backlight.progress import Watching, shows_progress
from backlight.scan import choose_layers
from backlight.studies.diagnosis.aliasing import find_aliasing
from backlight.studies.diagnosis.borders import find_border_detectors, find_uneven
from backlight.studies.diagnosis.causes import find_causes
from backlight.studies.diagnosis.checkerboard import find_checkerboards
from backlight.studies.diagnosis.collect import Record, collect
from backlight.studies.diagnosis.drivers import can_drive, drivers
from backlight.studies.diagnosis.duplicates import find_duplicates
from backlight.studies.diagnosis.evidence import picture_of
from backlight.studies.diagnosis.fields import find_fields
from backlight.studies.diagnosis.inputs import Inputs, turned_out
from backlight.studies.diagnosis.pictures import SIDE
from backlight.studies.diagnosis.result import Diagnosis, DiagnosisConfig, Finding
from backlight.studies.diagnosis.rms import find_loud
from backlight.studies.diagnosis.silent import find_silent
from backlight.studies.diagnosis.spectrum import find_missing_frequencies
from backlight.studies.diagnosis.stages import Stages
from backlight.studies.diagnosis.strides import Strides
from backlight.studies.diagnosis.verdicts import Outcome, verdicts
from backlight.studies.progress import Count

_N_TURNED, _N_SPECTRA, _N_BELOW = 250, 64, 4
"""Images that are turned out, whose spectra are taken, and on which filters are shuffled."""


@shows_progress
def run(
    net: Network,
    images: Any,
    layers: Layers | None = None,
    config: DiagnosisConfig | None = None,
    *,
    objects: Sequence[tuple[float, float]] | None = None,
    n_pictures: int = 24,
    progress: Watching = None,
) -> Diagnosis:
    """Return what is wrong with a network, as far as its weights and some images tell.

    Args:
        net: The captured network; it is only read.
        images: Inputs (n, c, h, w), or whatever `open_images` takes. Some hundred images of the kind that the network
            is for; what too few of them cannot tell is said.
        layers: Layer names; None takes the network's default layers, which are its rectified feature maps.
        config: How much is looked at, and from where on something is a finding.
        objects: Heights and widths of the images' objects, in pixels of the input, to compare receptive fields with.
        n_pictures: How many of the findings, the most serious first, get a picture as evidence.
        progress: True shows bars; a function is called with `diagnosis`, the number of images done and the number in
            all.

    Raises:
        BadInputError: No images, or none of the layers has units with a row and a column.
        UnknownLayerError: The network has no such layer.

    Example:
        >>> import torch, backlight
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        >>> _ = model[0].weight.data[5].zero_(), model[0].bias.data[5].zero_()
        >>> net = backlight.capture(model, (3, 16, 16))
        >>> found = run(net, torch.rand(60, 3, 16, 16))
        >>> found.maps_with("dead", "1")
        {5}
    """
    config = config or DiagnosisConfig()
    chosen = tuple(own for own in choose_layers(net, layers) if own.is_spatial)
    if not chosen:
        raise BadInputError(
            f"{net.name}: none of the layers has feature maps with rows and columns to diagnose"
        )
    inputs = Inputs(net, images, config.n_images, config.seed)
    few = inputs.some(_N_TURNED)
    count = Count(progress, "diagnosis", 2 * len(inputs.ids) + len(few.ids))
    records = collect(net, inputs, chosen, count)
    turned = collect(net, few, chosen, count, turned_out)
    stages, strides = Stages(net, chosen), Strides(net, chosen)
    config_of_hits = replace(config, n_hits=max(4, min(config.n_hits, len(inputs.ids) // 4)))
    shares = drivers(inputs, records, stages, config_of_hits.n_hits, count)
    spectra = inputs.first(_N_SPECTRA)
    tested = [
        *_by_layer(net, inputs, records, turned, stages, strides, config),
        *_causes(records, stages, shares, config),
        find_missing_frequencies(_first(stages), spectra, config),
        find_aliasing(strides, spectra, config),
        find_uneven(net, chosen),
        find_fields(net, chosen, objects),
    ]
    found = verdicts(tested)
    findings, pictures = _with_pictures(net, inputs, records, found.findings, n_pictures)
    return Diagnosis(
        config=config,
        network=net.name,
        images=inputs.name,
        n_images=len(next(iter(records.values())).ids),
        layers=tuple(own.name for own in chosen),
        findings=findings,
        looked_for=found.looked_for,
        lacking=found.lacking,
        pictures=pictures,
    )


def _by_layer(
    net: Network,
    inputs: Inputs,
    records: dict[str, Record],
    turned: dict[str, Record],
    stages: Stages,
    strides: Strides,
    config: DiagnosisConfig,
) -> list[Outcome]:
    """Return what was tested in each layer by itself."""
    below, found = stages.below(inputs.first(_N_BELOW)), []
    for name, record in records.items():
        stage = stages.by_layer.get(name)
        found += [
            find_silent(record, stage, config),
            find_duplicates(record, stage, below.get(name), config),
            find_loud(record, stage, config),
            find_border_detectors(record, turned[name], config),
            find_checkerboards(net, inputs, record, _periods(record.layer, strides), config),
        ]
    return found


def _periods(layer: Layer, strides: Strides) -> list[int]:
    """Return the periods in pixels of the grids that the strides below a layer can leave."""
    below = strides.below(layer)
    found = [prod(max(own.step) for own in below[: i + 1]) for i in range(len(below))]
    field = layer.receptive_field
    most = max(field.stride) if field is not None else max(found, default=1)
    return sorted({period for period in found if period <= most})


def _causes(
    records: dict[str, Record],
    stages: Stages,
    shares: dict[str, list[NDArray[np.float32]]],
    config: DiagnosisConfig,
) -> list[Outcome]:
    """Return the tests for several causes, in the layers where these can be told apart."""
    found = []
    for name, record in records.items():
        stage = stages.by_layer.get(name)
        reason = can_drive(stage)
        if stage is not None and reason is None:
            found.append(find_causes(record, stage, shares[name], config))
        else:
            lacking = Outcome()
            lacking.lack("causes", name, str(reason))
            found.append(lacking)
    return found


def _first(stages: Stages) -> Any:
    """Return the stage that reads the image; None where there is none."""
    return next((own for own in stages.by_layer.values() if own.is_first), None)


def _with_pictures(
    net: Network, inputs: Inputs, records: dict[str, Record], findings: Sequence[Finding], n_pictures: int
) -> tuple[tuple[Finding, ...], NDArray[np.uint8]]:
    """Return the findings, the first of which have a picture, and the pictures."""
    pictures: list[NDArray[np.uint8]] = []
    found = []
    for finding in findings:
        picture = picture_of(net, inputs, records, finding) if len(pictures) < n_pictures else None
        found.append(finding if picture is None else replace(finding, evidence=len(pictures)))
        if picture is not None:
            pictures.append(picture)
    return tuple(found), np.stack(pictures) if pictures else np.zeros((0, SIDE, SIDE, 3), np.uint8)
