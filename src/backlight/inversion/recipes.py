"""Recipes: which priors, from what start, by which optimiser, for how long; the two published ones and our own.

*Source*: Mahendran & Vedaldi (2014), sections 3 and 5, and (2016), sections 2 to 4; constants and schedules are those
of the authors' programs.

*Differs*: the papers choose a strength for each layer of their networks by hand. Here a layer is placed by how much of
the image its units see: the bounds lie in the middle between the receptive fields of the layers between which the
paper of 2014 changes its strength on its network (conv2 and pool2 see 51 and 67 pixels of 227, conv4 and conv5 131 and
163), so that other networks get theirs too. HOG and dense SIFT get theirs likewise, where the programs have longer
schedules (2014) and a weight of 100 (2016) for them; so do central neighbourhoods, for which the program of 2014 goes
down longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from backlight.errors import BadInputError
from backlight.inversion.colours import RMS
from backlight.inversion.optimisers import Adam, LeakyAdaGrad, Momentum, Optimiser
from backlight.inversion.priors import Norm, Prior, TotalVariation, per_unit_norm
from backlight.network import Layer, Network

_SMALL_FIELD, _MIDDLE_FIELD = 59 / 227, 147 / 227
CVPR_NORM = 8e-10
CVPR_VARIATIONS = 1.0, 10.0, 100.0
IJCV_RANGE = 80.0
IJCV_VARIATION = IJCV_RANGE / 6.5
IJCV_WEIGHTS = 300.0, 100.0, 20.0, 1.0
BEST_WEIGHTS = 1000.0, 200.0, 30.0, 10.0
BEST_RANGE = 120.0
_EXCITING_WEIGHTS = 1000.0, 200.0, 10.0, 5.0


@dataclass(frozen=True)
class Stage:
    """A part of the search.

    Attributes:
        optimiser: How to go down.
        steps: At most so many evaluations.
        jitter: Whether the network sees another crop of a slightly larger image at each step.
    """

    optimiser: Optimiser
    steps: int
    jitter: bool = False


@dataclass(frozen=True)
class Recipe:
    """How an image is searched for.

    Attributes:
        name: What it is called.
        weight: Factor of the objective, beside the priors.
        priors: What keeps the image like a photograph.
        stages: One after the other, each from where the last has come; at the least one.
        start: "normal": normal noise of a photograph's root mean square (2014); "uniform": uniform noise, 95 % of
            which lies within `spread` (2016).
        spread: Grey levels, for "normal" the root mean square.
        bound: Longest colour of a pixel, in grey levels without the mean; None for no bound.
        patience: An image rests for the remainder of a stage where over so many steps its best cost has not fallen by
            `tolerance` of it, and the stage ends where all rest; None for never.
        tolerance: See `patience`.
        strength_of: What a strength that is asked for changes.
    """

    name: str
    weight: float
    priors: tuple[Prior, ...]
    stages: tuple[Stage, ...]
    start: Literal["normal", "uniform"]
    spread: float
    bound: float | None = None
    patience: int | None = None
    tolerance: float = 0.002
    strength_of: Literal["objective", "variation"] = field(default="objective", repr=False)

    @property
    def n_steps(self) -> int:
        """The most evaluations that it takes."""
        return sum(stage.steps for stage in self.stages)

    @property
    def jitters(self) -> bool:
        """Whether a stage moves the image about."""
        return any(stage.jitter for stage in self.stages)


@dataclass(frozen=True)
class Place:
    """What a recipe has to know of a layer; `place_of` finds it out.

    Attributes:
        shape: (c, h, w) of the network's input.
        field: How much of the longer side of the image a unit sees, 0 to 1; 1 for all of it.
        is_vector: Whether the layer has no rows and columns any more.
        stride: Pixels from one unit to the next; for a vector as in the last layer that is none.
    """

    shape: tuple[int, int, int]
    field: float
    is_vector: bool
    stride: float

    @property
    def jitter(self) -> int:
        """By how many pixels jitter moves at most, plus 1: a quarter of the layer's stride (2016)."""
        return max(round(self.stride / 4), 1)

    @property
    def canvas(self) -> int:
        """Number of pixels of an image that jitter moves about."""
        edge = self.jitter - 1
        return (self.shape[1] + edge) * (self.shape[2] + edge)

    @property
    def band(self) -> int:
        """0, 1 or 2: a layer that sees little, some or most of the image."""
        return 0 if self.field <= _SMALL_FIELD else 1 if self.field <= _MIDDLE_FIELD else 2


def place_of(net: Network, layer: Layer) -> Place:
    """Return what a recipe has to know of a layer."""
    known = net.layers[: net.layers.index(layer) + 1]
    fields = [
        own.receptive_field
        for own in known
        if own.receptive_field is not None and not own.receptive_field.is_whole
    ]
    field = layer.receptive_field
    n_colours, height, width = net.input_shape
    side = max(height, width)
    return Place(
        shape=(n_colours, height, width),
        field=1.0 if field is None else min(max(field.size) / side, 1.0),
        is_vector=all(size == 1 for size in layer.shape[1:]),
        stride=float(max(fields[-1].stride)) if fields else 1.0,
    )


def cvpr2015(place: Place, strength: float | None = None) -> Recipe:
    """Return the recipe of 2014 (published at CVPR 2015): 6-norm and total variation, gradient descent with momentum.

    Args:
        place: The layer.
        strength: The paper's total variation, λ: 1, 10 and 100 are its λ1, λ2, λ3; None takes them in turn, the
            stronger the more of the image the layer sees.

    *Differs*: the norm of noise and of code are of each image; the program takes them over all restarts together,
    which makes a restart depend on how many there are.
    """
    count = place.shape[0] * place.shape[1] * place.shape[2]
    square = RMS**2 * count
    variation = CVPR_VARIATIONS[place.band] if strength is None else strength
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
    """Return the recipe of 2016 (IJCV): bounded range, jitter, AdaGrad that forgets; priors as means over pixels.

    Args:
        place: The layer.
        strength: The paper's C, the weight of the objective; None takes 300, 100, 20, the less the more of the image
            the layer sees, and 1 for a vector.
    """
    pixels = place.shape[1] * place.shape[2]
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


def best(place: Place, strength: float | None = None) -> Recipe:
    """Return our default: priors of 2016 with a range that holds nearly every colour, and smooth Adam.

    Coarse structures move further than fine ones (`Adam.smoothness`), the more the more of the image the layer sees:
    late layers reach in 200 steps what takes plain Adam twice as many. There is no jitter, which changes codes.

    Args:
        place: The layer.
        strength: The weight of the objective, the paper's C; None takes 1000, 200, 30, the less the more of the image
            the layer sees, and 10 for a vector.

    *Differs*: 2016 keeps colours within 160 of the mean, and its norm draws them to 80, so that white cannot be white,
    which is most of what first layers have of error. Here they are kept within 240; white is 244 from ImageNet's mean.
    """
    pixels = place.shape[1] * place.shape[2]
    return Recipe(
        name="default",
        weight=_by_band(BEST_WEIGHTS, place) if strength is None else strength,
        priors=_ijcv_priors(pixels, BEST_RANGE),
        stages=(_BEST_STAGES[place.band],),
        start="uniform",
        spread=IJCV_RANGE / 3**0.5,
        bound=2 * BEST_RANGE,
        patience=50,
    )


_SHORT = 0.8, 0.95
"""Means over a few steps follow codes better than Adam's usual ones, over ten and a hundred to a thousand."""

_BEST_STAGES = (
    Stage(Adam(16.0, _SHORT, smoothness=0.3), 100),
    Stage(Adam(8.0, _SHORT, smoothness=0.7), 200),
    Stage(Adam(8.0, _SHORT, smoothness=0.7), 300),
)


def exciting(place: Place, strength: float | None = None) -> Recipe:
    """Return our default for goals without end, caricatures and units maximised: the priors and the bound of 2016.

    More of a code can always be had by wilder colours, so they are held where 2016 holds them, and the image is moved
    about at first, which keeps fine patterns away that excite a unit in one place only.

    Args:
        place: The layer.
        strength: The weight of the objective; None takes 1000, 200, 10, 5 as `ijcv2016` does its own.
    """
    moved = (Stage(Adam(12.0), 60, jitter=True), Stage(Adam(8.0), 140))
    return Recipe(
        name="default",
        weight=_by_band(_EXCITING_WEIGHTS, place) if strength is None else strength,
        priors=_ijcv_priors(place.canvas, IJCV_RANGE),
        stages=moved if place.jitter > 1 else (Stage(Adam(16.0), 200),),
        start="uniform",
        spread=IJCV_RANGE / 3**0.5,
        bound=2 * IJCV_RANGE,
        patience=50,
    )


def _moved_only(place: Place, strength: float | None = None) -> Recipe:
    """Return the recipe of 2016 for other goals than to invert: without the last steps, which do not jitter."""
    whole = ijcv2016(place, strength)
    return replace(whole, stages=whole.stages[:1])


def _by_band(weights: tuple[float, float, float, float], place: Place) -> float:
    return weights[3 if place.is_vector else place.band]


RECIPES: dict[str, Callable[[Place, float | None], Recipe]] = {
    "default": best,
    "cvpr2015": cvpr2015,
    "ijcv2016": ijcv2016,
}
_OTHER_GOALS = {"default": exciting, "ijcv2016": _moved_only}


def recipe_for(name: str, place: Place, strength: float | None = None, inverts: bool = True) -> Recipe:
    """Return the recipe of that name for a layer; the default's and that of 2016 differ where the goal is another.

    Raises:
        BadInputError: There is none, or the strength is not positive.
    """
    if name not in RECIPES:
        raise BadInputError(f"there is no recipe {name!r}; known are {', '.join(RECIPES)}")
    if strength is not None and not strength > 0:
        raise BadInputError(f"the strength of a recipe is above 0, but came {strength}")
    chosen = RECIPES[name] if inverts else _OTHER_GOALS.get(name, RECIPES[name])
    return chosen(place, strength)


def _ijcv_priors(pixels: int, colours: float) -> tuple[Prior, ...]:
    return (
        Norm(1 / (pixels * colours**6), 6.0, "colours"),
        TotalVariation(1 / (pixels * IJCV_VARIATION**2), 2.0, guard=1e-6),
    )
