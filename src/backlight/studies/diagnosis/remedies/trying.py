"""Trying: the remedies for what a diagnosis has found, each with the finding's own measure again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from backlight.errors import BacklightError
from backlight.network import Network, capture
from backlight.progress import Watching, shows_progress
from backlight.studies.classes import classes_of_labels
from backlight.studies.diagnosis.inputs import Inputs
from backlight.studies.diagnosis.kinds import KINDS
from backlight.studies.diagnosis.remedies.choosing import remedies_for
from backlight.studies.diagnosis.remedies.prune import delete_all
from backlight.studies.diagnosis.remedies.result import Trial, TrialConfig
from backlight.studies.diagnosis.remedies.trial import Remedy, try_remedies
from backlight.studies.diagnosis.result import Diagnosis
from backlight.studies.diagnosis.run import run

_N_FITTED, _N_MEASURED, _N_CHECKED = 64, 200, 4
"""Images on which multiples are fitted, on which a finding is measured again, and on which copies are checked."""


@shows_progress
def try_found(
    found: Diagnosis,
    model: nn.Module,
    net: Network,
    images: Any,
    n_images: int = 1000,
    config: TrialConfig | None = None,
    *,
    progress: Watching = None,
) -> tuple[Trial | None, dict[str, nn.Module]]:
    """Return what the remedies for a diagnosis's findings change, and by name the new models.

    What needs training is not tried: `KINDS` says what to try there. Dead maps are also deleted all at once. Answers
    are counted on images that the diagnosis was not made on, as far as the set has others.

    Args:
        found: The diagnosis.
        model: The model that was captured; it is not changed.
        net: The captured network.
        images: What the diagnosis was made on.
        n_images: On how many images answers are counted, at most.
        config: How remedies are tried.
        progress: True shows bars; a function is called with the study's name, how many networks are measured, and how
            many there are.

    Returns:
        The trial, None where nothing was found that has a remedy; and the new models of remedies that could be applied.
        Where the images have labels that fit the network's classes, accuracy is measured, else how often the new
        network answers as the old one does.

    Raises:
        BadInputError: No image can be read, or the network does not classify.
    """
    made_on = Inputs(net, images, found.config.n_images, found.config.seed)
    remedies = _remedies(found, model, net, made_on)
    if not remedies:
        return None, {}
    tried_on = made_on.others(n_images) or made_on.some(n_images)
    ids, batch = tried_on.all()
    n_classes = net.class_output().n_classes
    classes = classes_of_labels(tried_on.labels_in_set(), n_classes, tried_on.class_names)
    labels = None if classes is None else [own for i in ids if (own := classes[i]) is not None]
    if labels is not None and len(labels) < len(ids):  # some image has no label
        labels = None
    return try_remedies(model, net, remedies, batch, labels, config, progress=progress)


def _remedies(found: Diagnosis, model: nn.Module, net: Network, made_on: Inputs) -> list[Remedy]:
    """Return the remedies for each kind of finding in each layer, each under a name of its own."""
    if not found.findings:
        return []
    remedies: dict[str, Remedy] = {}
    measured_on = made_on.first(_N_MEASURED)
    fitted = measured_on[:_N_FITTED]
    for kind, layer in dict.fromkeys((own.kind, own.layer) for own in found.findings):
        measure = partial(_measured, net, measured_on, kind, layer)
        for name, channels in _maps(found, kind, layer):
            for own in remedies_for(model, net, kind, layer, channels, fitted):
                # an input of another size is one for all layers
                where = "" if own.name.startswith("even input") else f"{name} in {layer}"
                title = f"{KINDS[kind].title}{where}: {own.name}"
                remedies.setdefault(title, Remedy(title, own.apply, measure))
    dead = {layer: sorted(maps) for layer in found.layers if (maps := found.maps_with("dead", layer))}
    if len(dead) > 1:
        apply = partial(delete_all, model, net, dead, fitted[:_N_CHECKED])
        remedies["all dead maps: delete"] = Remedy("all dead maps: delete", apply)
    return list(remedies.values())


def _maps(found: Diagnosis, kind: str, layer: str) -> list[tuple[str, Sequence[int]]]:
    """Return what goes at once: pairs of duplicates one by one, all other accused maps of a layer together."""
    if kind == "duplicate":
        # a map goes once: in the next pair that it is in, it is gone
        pairs, gone = list[tuple[str, Sequence[int]]](), set[int]()
        for own in found.of(kind, layer):
            if not gone.intersection(own.channels):
                pairs.append((f" {' and '.join(map(str, own.channels))}", own.channels))
                gone.update(own.channels[:-1])
        return pairs
    return [("", sorted(found.maps_with(kind, layer)))]


def _measured(net: Network, images: Tensor, kind: str, layer: str, model: nn.Module) -> float:
    """Return how many maps of a layer have a finding in a changed model; NaN where it has no such layer."""
    try:
        c, h, w = net.input_shape
        changed = capture(model, (c, h, w), net.preprocessing)
        again = run(changed, images, [layer], n_pictures=0)
    except BacklightError:
        return float("nan")
    mine = [own for own in again.looked_for if own.kind == kind]
    return float(sum(own.n_found for own in mine)) if mine else float("nan")


def names_of_files(models: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return for each remedy the name of a file for its model: letters, digits, dots and hyphens.

    Example:
        >>> names_of_files({"dead map in layer1.0.relu: delete": nn.Identity()})
        {'dead map in layer1.0.relu: delete': 'dead-map-in-layer1.0.relu-delete.pt'}
    """
    found: dict[str, str] = {}
    for name in models:
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")
        while f"{plain}.pt" in found.values():
            plain += "-"
        found[name] = f"{plain}.pt"
    return found
