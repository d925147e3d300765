"""Recipes: priors, start, optimiser and number of steps; the two published ones and our own.

*Source*: Mahendran & Vedaldi (2014), sections 3 and 5, and (2016), sections 2 to 4; constants and schedules are those
of the authors' programs.

*Differs*: the papers choose a strength for each layer of their networks by hand, here it depends on how much of the
image a unit sees (`backlight.inversion.place`). The same goes for HOG and dense SIFT, for which the programs have
longer schedules (2014) and a weight of 100 (2016), and for central neighbourhoods, for which the program of 2014
takes more steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from backlight.errors import BadInputError
from backlight.inversion.colours import RMS
from backlight.inversion.mixing import NATURAL_MIXING
from backlight.inversion.optimisers import Adam, LeakyAdaGrad, Mixed, Momentum, Optimiser
from backlight.inversion.place import Place
from backlight.inversion.priors import Norm, OutOfRange, Prior, TotalVariation, per_unit_norm

CVPR_NORM = 8e-10
CVPR_VARIATIONS = 1.0, 10.0, 100.0
IJCV_RANGE = 80.0
IJCV_VARIATION = IJCV_RANGE / 6.5
IJCV_WEIGHTS = 300.0, 100.0, 20.0, 1.0
WIDE_WEIGHTS = 1000.0, 200.0, 30.0, 10.0
WIDE_RANGE = 120.0
_EXCITING_WEIGHTS = 1000.0, 200.0, 10.0, 5.0


@dataclass(frozen=True)
class Stage:
    """A part of the search.

    Attributes:
        optimiser: How to descend.
        steps: Largest number of evaluations.
        jitter: Whether the network sees a different crop of a slightly larger image at each step.
    """

    optimiser: Optimiser
    steps: int
    jitter: bool = False


@dataclass(frozen=True)
class Recipe:
    """How to search for an image.

    Attributes:
        name: Its name.
        weight: Factor of the objective, relative to the priors.
        priors: What keeps the image like a photograph.
        stages: One after the other, each from where the last ended; at least one.
        start: "normal": normal noise with a photograph's root mean square (2014); "uniform": uniform noise, 95 % of
            which lies within `spread` (2016); "natural": the same in coordinates in which colours of photographs are
            not correlated (`mixing`), so that it is nearly grey.
        spread: Of the noise, in grey levels; for "normal" the root mean square.
        bound: Longest colour of a pixel, in grey levels without the mean; None for no bound.
        patience: An image rests for the remainder of a stage once its best cost has not fallen by the share `tolerance`
            over this many steps, and the stage ends when all rest; None for never.
        tolerance: See `patience`.
        strength_of: What a given strength changes.
    """

    name: str
    weight: float
    priors: tuple[Prior, ...]
    stages: tuple[Stage, ...]
    start: Literal["normal", "uniform", "natural"]
    spread: float
    bound: float | None = None
    patience: int | None = None
    tolerance: float = 0.002
    strength_of: Literal["objective", "variation"] = field(default="objective", repr=False)

    @property
    def n_steps(self) -> int:
        """The largest number of evaluations."""
        return sum(stage.steps for stage in self.stages)

    @property
    def jitters(self) -> bool:
        """Whether any stage jitters."""
        return any(stage.jitter for stage in self.stages)


def cvpr2015(place: Place, strength: float | None = None) -> Recipe:
    """Return the recipe of 2014 (published at CVPR 2015): 6-norm and total variation, gradient descent with momentum.

    Args:
        place: The layer.
        strength: The paper's total variation, λ: 1, 10 and 100 are its λ1, λ2, λ3; None takes one of them, the stronger
            the more of the image a unit sees.

    *Differs*: the norms of the noise and of the code are those of each image; the program takes them over all restarts
    together, so that a restart depends on how many there are.
    """
    # The program divides images by their average length sigma; here images stay in grey levels, and weights and rates
    # take the powers of sigma² = RMS² · c · h · w instead.
    count = place.shape[0] * place.shape[1] * place.shape[2]
    square = RMS**2 * count
    variation = CVPR_VARIATIONS[place.band] if strength is None else strength
    # With s = sigma, Σ|x/s|⁶ is Σ|x|⁶ / s⁶ and Σ(dx/s)² is Σdx² / s². The gradient by x/s is s times that by x, and a
    # step of x is s times one of x/s, so rates are multiplied by s².
    norm = per_unit_norm(CVPR_NORM, 6.0, square**0.5) / square**3
    stages = [(0.004, 100), (0.0004, 200), (0.00004, 100)]
    return Recipe(
        name="cvpr2015",
        weight=1.0,
        priors=(Norm(norm, 6.0, "values"), TotalVariation(variation / 2 / square, 2.0, guard=1e-5)),
        stages=tuple(Stage(Momentum(rate * square), steps) for rate, steps in stages),
        start="normal",
        spread=RMS,
        strength_of="variation",
    )


def ijcv2016(place: Place, strength: float | None = None) -> Recipe:
    """Return the recipe of 2016 (IJCV): bounded range, jitter, AdaGrad with decay; priors as means over pixels.

    Args:
        place: The layer.
        strength: The paper's C, the weight of the objective; None takes 300, 100 or 20, the less the more of the image
            a unit sees, and 1 for a vector.
    """
    pixels = place.shape[1] * place.shape[2]
    # the program's 0.05 · B² / α, with B the range and α = 6, times the pixels that the priors are divided by
    rate = pixels * 0.05 * IJCV_RANGE**2 / 6
    return Recipe(
        name="ijcv2016",
        weight=_by_band(IJCV_WEIGHTS, place) if strength is None else strength,
        priors=_ijcv_priors(place.canvas, IJCV_RANGE),
        stages=(Stage(LeakyAdaGrad(rate), 300, jitter=True), Stage(LeakyAdaGrad(rate / 10), 50)),
        start="uniform",
        spread=IJCV_RANGE / 3**0.5,
        bound=2 * IJCV_RANGE,
    )


def wide(place: Place, strength: float | None = None) -> Recipe:
    """Return the priors of 2016 with a range wide enough for nearly every colour, and smooth Adam.

    Coarse structures move further than fine ones (`Adam.smoothness`), more so the more of the image a unit sees: late
    layers reach in 200 steps what takes plain Adam twice as many. There is no jitter, since it changes the code.

    Args:
        place: The layer.
        strength: The weight of the objective, the paper's C; None takes 1000, 200 or 30, the less the more of the image
            a unit sees, and 10 for a vector.

    *Differs*: 2016 keeps colours within 160 of the mean, and its norm pulls them towards 80, so that white cannot be
    white, which causes most of the error in first layers. Here they are kept within 240; white is 244 from ImageNet's
    mean.
    """
    pixels = place.shape[1] * place.shape[2]
    return Recipe(
        name="wide",
        weight=_by_band(WIDE_WEIGHTS, place) if strength is None else strength,
        priors=_ijcv_priors(pixels, WIDE_RANGE),
        stages=(_WIDE_STAGES[place.band],),
        start="uniform",
        spread=IJCV_RANGE / 3**0.5,
        bound=2 * WIDE_RANGE,
        patience=50,
    )


_SHORT = 0.8, 0.95
"""Adam's betas: means over a few steps follow codes better than the usual ones over ten and a hundred or more."""

_WIDE_STAGES = (
    Stage(Adam(16.0, _SHORT, smoothness=0.3), 100),
    Stage(Adam(8.0, _SHORT, smoothness=0.7), 200),
    Stage(Adam(8.0, _SHORT, smoothness=0.7), 300),
)


def best(place: Place, strength: float | None = None) -> Recipe:
    """Return our default: `wide` with the range that a picture can hold, and decorrelated colours.

    The norm and the bound of colours give way to a penalty of what a picture cannot hold: colours a root mean square
    of 4 grey levels outside black to white cost as much as differences of 12.3 between neighbours. Start and steps are
    in coordinates in which the colours of photographs are not correlated, so that less colour of the noise stays.

    Args:
        place: The layer.
        strength: The weight of the objective, C; None takes 30 + 5000 · (1 - f)⁵ of a layer whose units see the share f
            of the image, so 5030 for a single pixel and 30 for all of it; 10 for a vector, as in `wide`.
    """
    smooth = WIDE_WEIGHTS[-1] if place.is_vector else WIDE_WEIGHTS[2] + BEST_WEIGHT * (1 - place.field) ** 5
    recipe = wide(place, smooth if strength is None else strength)
    low, high = place.range
    pixels = place.shape[1] * place.shape[2]
    variation = recipe.priors[1]
    return replace(
        recipe,
        name="default",
        priors=(OutOfRange(1 / (pixels * BEST_EDGE**2), low, high), variation),
        stages=(_BEST_STAGES[place.band],),
        start="natural",
        bound=None,
    )


BEST_WEIGHT, BEST_EDGE = 5000.0, 4.0
_BEST_STAGES = tuple(
    Stage(Mixed(Adam(rate, _SHORT, smoothness), NATURAL_MIXING), steps)
    for rate, smoothness, steps in ((16.0, 0.3, 100), (16.0, 0.7, 200), (8.0, 0.7, 300))
)


def exciting(place: Place, strength: float | None = None) -> Recipe:
    """Return our default for unbounded goals, caricatures and units maximised: the priors and the bound of 2016.

    Wilder colours always give more of a code, so they are bounded as in 2016, and the image is jittered at first, which
    suppresses fine patterns that excite a unit in a single place only.

    Args:
        place: The layer.
        strength: The weight of the objective; None takes 1000, 200, 10 or 5, chosen as in `ijcv2016`.
    """
    jittered = (Stage(Adam(12.0), 60, jitter=True), Stage(Adam(8.0), 140))
    return Recipe(
        name="default",
        weight=_by_band(_EXCITING_WEIGHTS, place) if strength is None else strength,
        priors=_ijcv_priors(place.canvas, IJCV_RANGE),
        stages=jittered if place.jitter > 1 else (Stage(Adam(16.0), 200),),
        start="uniform",
        spread=IJCV_RANGE / 3**0.5,
        bound=2 * IJCV_RANGE,
        patience=50,
    )


def _jittered_only(place: Place, strength: float | None = None) -> Recipe:
    """Return the recipe of 2016 for unbounded goals: without its last stage, which does not jitter."""
    whole = ijcv2016(place, strength)
    return replace(whole, stages=whole.stages[:1])


def _by_band(weights: tuple[float, float, float, float], place: Place) -> float:
    return weights[3 if place.is_vector else place.band]


RECIPES: dict[str, Callable[[Place, float | None], Recipe]] = {
    "default": best,
    "wide": wide,
    "cvpr2015": cvpr2015,
    "ijcv2016": ijcv2016,
}
_OTHER_GOALS = {"default": exciting, "wide": exciting, "ijcv2016": _jittered_only}


def recipe_for(name: str, place: Place, strength: float | None = None, inverts: bool = True) -> Recipe:
    """Return the recipe with a name for a layer; the default and that of 2016 have variants for unbounded goals.

    Raises:
        BadInputError: There is no such recipe, or the strength is not positive.
    """
    if name not in RECIPES:
        raise BadInputError(f"no recipe {name!r}; known are {', '.join(RECIPES)}")
    if strength is not None and not strength > 0:
        raise BadInputError(f"the strength of a recipe must be positive, got {strength}")
    chosen = RECIPES[name] if inverts else _OTHER_GOALS.get(name, RECIPES[name])
    return chosen(place, strength)


def _ijcv_priors(pixels: int, colours: float) -> tuple[Prior, ...]:
    # Means over pixels: colours of length B, and differences of length V = 80 / 6.5 between colours, cost 1 (2016,
    # section 2).
    return (
        Norm(1 / (pixels * colours**6), 6.0, "colours"),
        TotalVariation(1 / (pixels * IJCV_VARIATION**2), 2.0, guard=1e-6),
    )
