"""How each method rates the pixels of a unit's receptive field: the largest scores are covered first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from backlight.geometry import Box
from backlight.network import Layer, Network
from backlight.operators.ruleset import RuleSet
from backlight.projection import Projections, Unit
from backlight.studies.projected import HitProjector, magnitude, smoothed
from backlight.studies.subjects import Subject, distances

TURNED, CENTRE, RANDOM = "turned", "centre", "random"
SOBEL, OTHER_MAP, OTHER_IMAGE = "sobel", "other map", "other image"
CONTROLS = (TURNED, CENTRE, RANDOM, SOBEL, OTHER_MAP, OTHER_IMAGE)
"""What a projection is compared with, the most telling first."""


class Scorer:
    """Scores the pixels of hits of one layer by every method.

    Args:
        net: The captured network.
        layer: The layer of the hits.
        rule_sets: The rule sets whose projections give scores, the one under study first.
    """

    def __init__(self, net: Network, layer: Layer, rule_sets: Sequence[RuleSet]) -> None:
        self._rule_sets = tuple(rule_sets)
        self._project = HitProjector(net, layer)

    def __call__(
        self, subjects: Sequence[Subject], images: Sequence[Tensor], others: Sequence[Unit | None]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Return for each hit the scores (h, w) of the pixels inside, by method.

        Args:
            subjects: The hits, those of one map next to each other.
            images: The input (c, h, w) of each.
            others: For each a unit of another map at the same place; None where there is none.

        *Convention*: `random` needs no scores and is not among them. `other image` is the projection of the map's next
        hit laid on this one's receptive field; it is missing where a map has one hit.
        """
        units = [subject.unit for subject in subjects]
        found: list[dict[str, NDArray[np.float64]]] = [{} for _ in subjects]
        for rules in self._rule_sets:
            projections = self._project(images, units, rules)
            for i, subject in enumerate(subjects):
                found[i][rules.name] = smoothed(magnitude(projections, i, subject.inside))
            if rules is self._rule_sets[0]:
                self._add_other_images(found, subjects, projections)
        self._add_other_maps(found, subjects, images, others)
        for scores, subject, image in zip(found, subjects, images, strict=True):
            scores[CENTRE] = -distances(subject)
            scores[SOBEL] = smoothed(sobel_energy(image)[subject.inside.slices()])
        return found

    def _add_other_images(
        self,
        found: Sequence[dict[str, NDArray[np.float64]]],
        subjects: Sequence[Subject],
        projections: Projections,
    ) -> None:
        for i, subject in enumerate(subjects):
            own = [j for j, other in enumerate(subjects) if other.unit.channel == subject.unit.channel]
            if len(own) > 1:
                other = own[(own.index(i) + 1) % len(own)]
                # both boxes have one size: the other's projection, cut to what is inside the image here
                whole = magnitude(projections, other, subjects[other].box)
                found[i][OTHER_IMAGE] = smoothed(
                    whole[subject.inside.slices(subject.box.top, subject.box.left)]
                )

    def _add_other_maps(
        self,
        found: Sequence[dict[str, NDArray[np.float64]]],
        subjects: Sequence[Subject],
        images: Sequence[Tensor],
        others: Sequence[Unit | None],
    ) -> None:
        chosen = [(i, other) for i, other in enumerate(others) if other is not None]
        if chosen:
            projections = self._project(
                [images[i] for i, _ in chosen], [other for _, other in chosen], self._rule_sets[0]
            )
            for at, (i, _) in enumerate(chosen):
                found[i][OTHER_MAP] = smoothed(magnitude(projections, at, subjects[i].inside))


def sobel_energy(image: Tensor) -> NDArray[np.float64]:
    """Return the squared gradient (h, w) of an input's mean over channels, by Sobel's filter."""
    grey = image.double().mean(0).cpu().numpy()
    down, right = (ndimage.sobel(grey, axis) for axis in (0, 1))
    energy: NDArray[np.float64] = down**2 + right**2
    return energy


def draw_other(maps: NDArray[np.floating], unit: Unit, generator: np.random.Generator) -> Unit | None:
    """Return a unit of another map at the same place, drawn from those active there; None if none is.

    Args:
        maps: (c,) the activations of all maps at the unit's place.
        unit: The unit.
        generator: Makes the draw.
    """
    active = [int(c) for c in np.flatnonzero(maps > 0) if c != unit.channel]
    if not active:
        return None
    return Unit(unit.layer, int(generator.choice(active)), unit.row, unit.col)


def cover(image: Tensor, masks: NDArray[np.bool_], fills: Tensor, at: Box) -> Tensor:
    """Return an input (c, H, W) covered by each of k masks, (k, c, H, W).

    Args:
        image: (c, H, W) the input.
        masks: (k, h, w) over the box.
        fills: (k, c, H, W) what each of them shows instead.
        at: Where the masks lie in the input.
    """
    chosen = torch.from_numpy(masks).to(image.device)[:, None]  # (k, 1, h, w)
    result = image.repeat(len(masks), 1, 1, 1)
    part = result[..., *at.slices()]  # (k, c, h, w) on the box
    result[..., *at.slices()] = torch.where(chosen, fills[..., *at.slices()], part)
    return result
