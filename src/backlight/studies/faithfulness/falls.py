"""Falls: cover the pixels of a hit that each method chose, and measure what is left of its activation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.geometry import Box
from backlight.images import ImageSource
from backlight.network import Layer, Network
from backlight.operators.ruleset import RuleSet
from backlight.studies.covering import filled, largest_shares
from backlight.studies.faithfulness.result import FaithfulnessConfig
from backlight.studies.faithfulness.scores import CONTROLS, RANDOM, Scorer, draw_other, stack_masks
from backlight.studies.responses import UnitResponses
from backlight.studies.subjects import Subject, applies

_MAPS_AT_ONCE = 4


class Falls:
    """Covers the pixels that each method chose for hits, and measures how far their activations fall.

    Args:
        net: The captured network.
        source: The images of the hits.
        rule_sets: The rule sets that choose pixels, the atlas's own among them.
        config: What is covered.

    Attributes:
        methods: What chooses the pixels: the rule sets, then the controls.
    """

    def __init__(
        self, net: Network, source: ImageSource, rule_sets: Sequence[RuleSet], config: FaithfulnessConfig
    ) -> None:
        self.net, self.source, self.config = net, source, config
        self.rule_sets = tuple(rule_sets)
        self.methods = (*(rules.name for rules in self.rule_sets), *CONTROLS)

    def layer(
        self, layer: Layer, rules: RuleSet, maps: Sequence[Sequence[Subject]]
    ) -> Iterator[tuple[list[Subject], NDArray[np.float64], NDArray[np.float64]]]:
        """Yield some hits at a time, with their activations and falls (n, methods, shares, fills).

        Args:
            layer: The layer of the hits.
            rules: The layer's own rule set, which also makes the controls that are projections.
            maps: The hits, map by map.
        """
        rivals = [own for own in self.rule_sets if own != rules and applies(self.net, layer, own)]
        rule_sets = [rules, *rivals]
        scorer, responses = Scorer(self.net, layer, rule_sets), UnitResponses(self.net, layer)
        for start in range(0, len(maps), _MAPS_AT_ONCE):
            subjects = [s for own in maps[start : start + _MAPS_AT_ONCE] for s in own]
            if not subjects:
                continue
            images = self._images(subjects)
            generators = [self._generator(layer, subject) for subject in subjects]
            windows = [
                image[:, *responses.window(s.unit).slices()]
                for image, s in zip(images, subjects, strict=True)
            ]
            # (n, maps): what all maps answer where each hit is, to draw another map that is active there
            around = responses.around(torch.stack(windows), [s.unit for s in subjects])
            others = [draw_other(a, s.unit, g) for a, s, g in zip(around, subjects, generators, strict=True)]
            scores = scorer(subjects, images, others)
            parts = zip(subjects, images, scores, generators, strict=True)
            found = [self._falls(responses, *part) for part in parts]
            values, falls = zip(*found, strict=True)
            yield subjects, np.array(values), np.stack(falls)

    def _falls(
        self,
        responses: UnitResponses,
        subject: Subject,
        image: Tensor,
        scores: dict[str, NDArray[np.float64]],
        generator: np.random.Generator,
    ) -> tuple[float, NDArray[np.float64]]:
        """Return a hit's activation, and its fall (methods, shares, fills)."""
        config, unit = self.config, subject.unit
        scores = {RANDOM: generator.random((subject.inside.height, subject.inside.width)), **scores}
        fills = [filled(image, fill, generator) for fill in config.fills]
        window = responses.window(unit)
        # (scores * shares, h, w), all masks of one score together
        masks = np.concatenate([largest_shares(own, config.shares, generator) for own in scores.values()])
        # where the masks lie in the window that is run
        at = Box(
            subject.inside.top - window.top,
            subject.inside.left - window.left,
            subject.inside.bottom - window.top,
            subject.inside.right - window.left,
        )
        cut = image[:, *window.slices()]
        inputs = stack_masks(masks, cut, [fill[:, *window.slices()] for fill in fills], at).flatten(0, 1)
        inputs = torch.cat([cut[None], inputs])  # the uncovered window first
        values = responses(inputs, [unit] * len(inputs))
        shape = len(scores), len(config.shares), len(config.fills)
        found = 1 - values[1:].reshape(shape) / values[0]
        # back into the order of self.methods; a score that is missing stays NaN
        falls = np.full((len(self.methods), *shape[1:]), np.nan)
        for own, name in zip(found, scores, strict=True):
            falls[self.methods.index(name)] = own
        return float(values[0]), falls

    def _images(self, subjects: Sequence[Subject]) -> list[Tensor]:
        ids = list(dict.fromkeys(subject.image_id for subject in subjects))
        pictures = [self.source.load(i) for i in ids]
        batch = self.net.preprocessing.batch(pictures, tells=False)  # type: ignore[union-attr]
        inputs = dict(zip(ids, batch.to(self.net.device, self.net.dtype), strict=True))
        return [inputs[subject.image_id] for subject in subjects]

    def _generator(self, layer: Layer, subject: Subject) -> np.random.Generator:
        key = [self.config.seed, *layer.name.encode(), subject.unit.channel, subject.rank]
        return np.random.default_rng(key)
