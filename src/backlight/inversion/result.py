"""Inversion: what a search has found, how near it is, and how it came there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.inversion.descent import Stopped
from backlight.inversion.measures import Spread
from backlight.network.class_output import Wanted
from backlight.studies.results import Result

if TYPE_CHECKING:
    from backlight.render.plots import Plot

Goal = Literal["invert", "caricature", "maximise"]


@dataclass(frozen=True)
class Config:
    """How an image is searched for.

    Attributes:
        recipe: A key of `RECIPES`: "default", "cvpr2015" or "ijcv2016".
        strength: What the recipe weighs by: for "cvpr2015" the total variation λ (1, 10 or 100 in the paper), else
            the objective's C (1 to 300 in the paper); None leaves the choice to the recipe.
        restarts: From so many starts, in one batch. What becomes of a start does not depend on how many there are, up
            to rounding, which late layers amplify.
        seed: Of the starts and of the jitter.
        channels: The feature maps that count; None for all.
        box: The rows and columns that count; None for all.
        centre: Instead of a box, so many rows and columns in the middle: the paper's central neighbourhood, 5.
        frames: So many pictures of the way are kept, the most of them early on; 0 for none.
        output: The output of the model that gives the answer for an image, by name or place; None follows the rule of
            `Network.class_output`.
    """

    recipe: str = "default"
    strength: float | None = None
    restarts: int = 1
    seed: int = 0
    channels: tuple[int, ...] | None = None
    box: Box | None = None
    centre: int | None = None
    frames: int = 0
    output: Wanted = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.restarts < 1 or self.frames < 0 or self.seed < 0:
            came = f"{self.restarts}, {self.frames} and {self.seed}"
            raise BadInputError(f"restarts is at least 1, frames and seed at least 0, but came {came}")
        if self.box is not None and self.centre is not None:
            raise BadInputError("the units that count are given by box or by centre, but came both")


@dataclass(frozen=True, eq=False)
class Inversion(Result):
    """The images that a search has found for one code, one for each restart.

    Attributes:
        config: How it was searched for.
        goal: "invert" for an image of this code, "caricature" for more of it, "maximise" for one unit.
        model: The network's name.
        layer: The layer's name.
        title: The image's file, the unit, or "a code".
        images: (n, c, h, w) what was found, as the network takes it, float32.
        pictures: (n, h, w, 3) the same as 8-bit RGB.
        original: (h, w, 3) the image whose code was given, as the network sees it; (0,) for a code without one.
        terms: What each row of the curves is: the objective times its weight, then the priors.
        curves: (terms, steps, n) what each costs at each step; of a restart that rests while others go on, the same.
        goals: (n,) the objective of what was found, without its weight: for "invert" the squared relative error.
        norm: Length of the code, the masked rest being 0.
        spread: How far photographs lie apart in this layer; None where none were given.
        labels: (n,) the network's answer for each image; (0,) where it does not classify.
        label: Its answer for the original; None where there is none.
        frames: (f, n, h, w, 3) pictures of the best so far; (0,) for none.
        frame_steps: (f,) after how many steps each was.
        stopped: Why the search ended: "finished" all steps, "no improvement" any more in any restart, "interrupted" by
            Ctrl-C, "diverged" where a restart went to infinity, which keeps its best.
        output: The name of the output that the answers are read from; None where the network has one output only.
    """

    study: ClassVar[str] = "inversion"

    config: Config
    goal: Goal
    model: str
    layer: str
    title: str
    images: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    original: NDArray[np.uint8]
    terms: tuple[str, ...]
    curves: NDArray[np.float32]
    goals: NDArray[np.float64]
    norm: float
    spread: Spread | None
    labels: NDArray[np.int64]
    label: int | None
    frames: NDArray[np.uint8]
    frame_steps: NDArray[np.int64]
    stopped: Stopped
    output: str | None = None

    @property
    def relative_errors(self) -> NDArray[np.float64]:
        """(n,) ‖Φ(x) - Φ₀‖ / ‖Φ₀‖, as the paper of 2016 reports it; only of an inversion."""
        if self.goal != "invert":
            raise BadInputError(f"a result of {self.goal!r} matches no code, so it has no error; see goals")
        return np.sqrt(self.goals)

    @property
    def normalised_errors(self) -> NDArray[np.float64] | None:
        """(n,) ‖Φ(x) - Φ₀‖ over the mean distance of photographs, the text of 2014; None where none were given."""
        return None if self.spread is None else self.relative_errors * self.norm / self.spread.distance

    @property
    def squared_errors(self) -> NDArray[np.float64] | None:
        """(n,) ‖Φ(x) - Φ₀‖² over the mean squared distance of photographs, the program of 2014; None likewise."""
        return None if self.spread is None else self.goals * self.norm**2 / self.spread.squared

    @property
    def same_label(self) -> NDArray[np.bool_] | None:
        """(n,) whether the network answers as for the original; None where it does not classify, or has no original."""
        return None if self.label is None or not len(self.labels) else self.labels == self.label

    @property
    def best(self) -> int:
        """The restart of the lowest objective."""
        return int(self.goals.argmin())

    @property
    def picture(self) -> Image.Image:
        """The best restart as a picture."""
        return Image.fromarray(self.pictures[self.best])

    def summary(self) -> dict[str, Any]:
        """Return the errors by restart, the answers, the number of steps and why there were no more."""
        same = self.same_label
        found: dict[str, Any] = {
            "layer": self.layer,
            "goal": self.goal,
            "recipe": self.config.recipe,
            "steps": self.curves.shape[1],
            "stopped": self.stopped,
            "output": self.output,
            "label": self.label,
            "labels": self.labels.tolist(),
            "same_label": None if same is None else same.tolist(),
        }
        if self.goal != "invert":
            return found | {"inner_product": (-self.goals).tolist()}
        errors = {"normalised_error": self.normalised_errors, "normalised_squared_error": self.squared_errors}
        found["relative_error"] = self.relative_errors.tolist()
        return found | {name: None if own is None else own.tolist() for name, own in errors.items()}

    def plot(self) -> Plot:
        """Return the pictures and the curve of each term."""
        from backlight.inversion.plot import plot_inversion

        return plot_inversion(self)
