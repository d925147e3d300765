"""What is followed through a training: the configuration, the layers with their sampled maps, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from backlight.operators.ruleset import DECONVNET, RuleSet
from backlight.studies.checks import check_at_least


@dataclass(frozen=True)
class EvolutionConfig:
    """What is followed.

    Attributes:
        maps: Feature maps of each layer: a random sample of so many; None for all.
        seed: Random seed of the sample.
        rules: How activations are projected back.
        batch_size: Images read at a time; does not show in the results.
    """

    maps: int | None = 8
    seed: int = 0
    rules: RuleSet = DECONVNET
    batch_size: int = field(default=32, compare=False)

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least(1, maps=self.maps, batch_size=self.batch_size)
        check_at_least(0, seed=self.seed)


@dataclass(frozen=True)
class SkippedStep:
    """A checkpoint that was left out.

    Attributes:
        step: Its label.
        path: The file.
        reason: Why.
    """

    step: str
    path: str
    reason: str


@dataclass(frozen=True)
class FollowedLayer:
    """A layer that is followed.

    Attributes:
        name: Its name.
        n_maps: How many feature maps it has.
        channels: The sampled ones.
        tile: Height, width and channels of the kept projections; a receptive field of more than 112 pixels is reduced.
        filters: For each sampled map the shape of the weights that make it; empty where no single operator does.
    """

    name: str
    n_maps: int
    channels: tuple[int, ...]
    tile: tuple[int, int, int]
    filters: tuple[tuple[int, ...], ...]
