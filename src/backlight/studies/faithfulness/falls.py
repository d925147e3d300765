"""Falls: cover the pixels of a hit that each method chose, and measure what is left of its activation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backlight.images import ImageSource
from backlight.network import Layer, Network
from backlight.operators.ruleset import RuleSet
from backlight.studies.covering import filled, largest_shares
from backlight.studies.faithfulness.result import FaithfulnessConfig
from backlight.studies.faithfulness.scores import CONTROLS, RANDOM, TURNED, Scorer, cover, draw_other
from backlight.studies.faithfulness.turned import TURNS, turned
from backlight.studies.projected import inputs_of_hits
from backlight.studies.responses import UnitResponses
from backlight.studies.subjects import Subject, applies

_MAPS_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Part:
    """What was found of some hits.

    Attributes:
        subjects: The n hits.
        values: (n,) their activations.
        falls: (n, methods, shares, fills) share of the activation that is lost, by what chose the covered pixels.
        turned: (n, rule sets, shares, fills) the same for the turned masks of each rule set.
    """

    subjects: list[Subject]
    values: NDArray[np.float64]
    falls: NDArray[np.float64]
    turned: NDArray[np.float64]


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

    def layer(self, layer: Layer, rules: RuleSet, maps: Sequence[Sequence[Subject]]) -> Iterator[Part]:
        """Yield what was found of some hits at a time.

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
            images = inputs_of_hits(self.net, self.source, subjects)
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
            values, falls, turns = zip(*found, strict=True)
            yield Part(subjects, np.array(values), np.stack(falls), np.stack(turns))

    def _falls(
        self,
        responses: UnitResponses,
        subject: Subject,
        image: Tensor,
        scores: dict[str, NDArray[np.float64]],
        generator: np.random.Generator,
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return a hit's activation, its falls (methods, shares, fills), and those of each rule set's turned masks.

        The own rule set's turned masks are also the control TURNED among the methods.
        """
        shape = len(self.config.shares), len(self.config.fills)
        names = [rules.name for rules in self.rule_sets]
        scores = {RANDOM: generator.random((subject.inside.height, subject.inside.width)), **scores}
        # by method the masks (shares, h, w)
        chosen = {name: largest_shares(own, self.config.shares, generator) for name, own in scores.items()}
        found = self._fallen(
            responses, subject, image, self._coverings(subject, chosen, generator), generator
        )
        value, fallen = found
        falls, turns = (np.full((len(own), *shape), np.nan) for own in (self.methods, names))
        n_plain = len(chosen) * shape[0] * shape[1]
        # back into the order of the methods; what is missing stays NaN
        falls[[self.methods.index(name) for name in chosen]] = fallen[:n_plain].reshape(-1, *shape)
        projected = [i for i, name in enumerate(names) if name in chosen]
        # (rule sets, shares, fills, turns with that fill)
        turns[projected] = fallen[n_plain:].reshape(len(projected), *shape, -1).mean(3)
        own_rules = next(name for name in chosen if name in names)
        falls[self.methods.index(TURNED)] = turns[names.index(own_rules)]
        return value, falls, turns

    def _coverings(
        self, subject: Subject, chosen: Mapping[str, NDArray[np.bool_]], generator: np.random.Generator
    ) -> list[tuple[NDArray[np.bool_], int]]:
        """Return what covers the hit: masks, each with the position of its fill.

        First each method's masks with every fill, then those of the rule sets turned, with one fill for each turn.
        """
        n_fills = len(self.config.fills)
        plain = [(mask, fill) for masks in chosen.values() for mask in masks for fill in range(n_fills)]
        names = [rules.name for rules in self.rule_sets if rules.name in chosen]
        return plain + [
            (turned(mask, subject, turn, generator), fill)
            for name in names
            for mask in chosen[name]
            for fill, turn in turns_by_fill(n_fills, subject.rank)
        ]

    def _fallen(
        self,
        responses: UnitResponses,
        subject: Subject,
        image: Tensor,
        coverings: Sequence[tuple[NDArray[np.bool_], int]],
        generator: np.random.Generator,
    ) -> tuple[float, NDArray[np.float64]]:
        """Return a hit's activation, and the share of it that is lost under each covering, (k,)."""
        window = responses.window(subject.unit)
        cut = image[:, *window.slices()]
        # (fills, c, h, w) of the window that is run
        fills = torch.stack(
            [filled(image, fill, generator)[:, *window.slices()] for fill in self.config.fills]
        )
        masks, shown = zip(*coverings, strict=True)
        at = subject.inside.shifted(-window.top, -window.left)
        covered = cover(cut, np.stack(masks), fills[list(shown)], at)
        inputs = torch.cat([cut[None], covered])  # the uncovered window first
        values = responses(inputs, [subject.unit] * len(inputs))
        # below zero (of a leaky rectifier) nothing of the activation is left, as at zero
        return float(values[0]), 1 - values[1:].clip(0) / values[0]

    def _generator(self, layer: Layer, subject: Subject) -> np.random.Generator:
        key = [self.config.seed, *layer.name.encode(), subject.unit.channel, subject.rank]
        return np.random.default_rng(key)


def turns_by_fill(n_fills: int, rank: int) -> list[tuple[int, int]]:
    """Return pairs of a fill and a number of quarter turns, sorted by fill, every fill and every turn equally often.

    With three fills each meets one turn in this hit and another in the next, at a third of the price of all pairs.

    Example:
        >>> turns_by_fill(3, 0), turns_by_fill(3, 1), turns_by_fill(1, 0)
        ([(0, 1), (1, 2), (2, 3)], [(0, 2), (1, 3), (2, 1)], [(0, 1), (0, 2), (0, 3)])
    """
    return sorted((i % n_fills, (i + rank) % TURNS + 1) for i in range(lcm(n_fills, TURNS)))
