"""The configuration of a search for images, and what it found: how close it came, and how it got there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BadInputError
from backlight.geometry import Box
from backlight.inversion.descent import Stopped
from backlight.inversion.measures import CodeSpread
from backlight.network.class_output import Wanted
from backlight.studies.results import Result

Goal = Literal["invert", "caricature", "maximise"]


@dataclass(frozen=True)
class InversionConfig:
    """How to search for an image.

    Attributes:
        recipe: A key of `RECIPES`: "default", "wide", "cvpr2015" or "ijcv2016".
        strength: The recipe's main weight: the total variation λ for "cvpr2015" (1, 10 or 100 in the paper), the
            objective's C for the others (1 to 300 in the paper); None leaves the choice to the recipe.
        restarts: Number of starts, searched in one batch. The result of a start does not depend on how many there are,
            up to rounding, which late layers amplify.
        seed: Random seed for the starts and the jitter.
        channels: Feature maps to match; None for all.
        box: Rows and columns to match; None for all.
        centre: Instead of a box, match only the central N x N units: the paper's central neighbourhood, with N = 5.
        frames: Number of intermediate pictures to keep, most of them from the first steps; 0 for none.
        output: The model output to read class answers from, by name or position; None follows the rule of
            `Network.class_output`.

    Raises:
        BadInputError: A number out of range, or both a box and a centre.
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
        """Refuse invalid settings."""
        if self.restarts < 1 or self.frames < 0 or self.seed < 0:
            given = f"{self.restarts}, {self.frames} and {self.seed}"
            raise BadInputError(f"restarts must be at least 1, frames and seed at least 0, got {given}")
        if self.box is not None and self.centre is not None:
            raise BadInputError("the units to match are given by box or by centre, got both")

    @property
    def matched(self) -> str:
        """Which part of the code is matched, in words for a figure; empty where all of it is.

        Example:
            >>> InversionConfig(channels=(0, 1, 2, 5), centre=3).matched
            'feature maps 0-2, 5, in the central 3 x 3 units'
            >>> InversionConfig().matched
            ''
        """
        parts = []
        if self.channels is not None:
            parts.append(f"feature map{'s' * (len(self.channels) > 1)} {_ranges(self.channels)}")
        if self.centre is not None:
            parts.append(f"in the central {self.centre} x {self.centre} units")
        if self.box is not None:
            rows, cols = (self.box.top, self.box.bottom - 1), (self.box.left, self.box.right - 1)
            parts.append(f"in rows {rows[0]}-{rows[1]}, columns {cols[0]}-{cols[1]}")
        return ", ".join(parts)


def _ranges(numbers: tuple[int, ...]) -> str:
    """Return numbers in ascending order, neighbours joined: 0-2, 5."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


@dataclass(frozen=True, eq=False, repr=False)
class Inversion(Result):
    """The images found for one code, one for each restart.

    Attributes:
        config: How they were searched for.
        goal: "invert" for an image with this code, "caricature" for an exaggerated one, "maximise" for one unit.
        model: The network's name.
        layer: The layer's name.
        title: The image's file name, the unit, or "a code".
        images: (n, c, h, w) the images found, as network inputs, float32.
        pictures: (n, h, w, 3) the same as 8-bit RGB.
        original: (h, w, 3) the image whose code was given, as the network sees it; (0,) for a code without an image.
        terms: Names of the curves: the objective times its weight, then the priors.
        curves: (terms, steps, n) the cost of each term at each step; constant while a restart rests and others run.
        goals: (n,) the objective of each of `images`, without its weight: for "invert" the squared relative error.
        norm: Length of the part of the code to match.
        spread: Distances between the codes of photographs in this layer; None where no photographs were given.
        labels: (n,) the network's answer for each image; (0,) where it does not classify.
        label: Its answer for the original; None where there is none.
        frames: (f, n, h, w, 3) pictures of the best images so far; (0,) for none.
        frame_steps: (f,) number of steps before each frame.
        stopped: Why the search ended: "finished" after all steps, "no improvement" in any restart, "interrupted" by
            Ctrl-C, or "diverged" where a restart went to infinity; that restart keeps its best image.
        output: Name of the output that the answers are read from; None where the network has only one output.
        picture_goals: (n,) the objective of each of `pictures`, which is another: they are rounded to whole grey
            levels, and what is darker than black or brighter than white is lost. (0,) in results of older versions.
    """

    study: ClassVar[str] = "inversion"

    config: InversionConfig
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
    spread: CodeSpread | None
    labels: NDArray[np.int64]
    label: int | None
    frames: NDArray[np.uint8]
    frame_steps: NDArray[np.int64]
    stopped: Stopped
    output: str | None = None
    picture_goals: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def shown_goals(self) -> NDArray[np.float64]:
        """(n,) the objective of what is seen: of `pictures`, or where that was not measured of `images`."""
        return self.picture_goals if self.picture_goals.size else self.goals

    @property
    def shown(self) -> Inversion:
        """This result with the objective of what is seen in place of that of `images`: its errors are the pictures'."""
        return replace(self, goals=self.shown_goals)

    @property
    def relative_errors(self) -> NDArray[np.float64]:
        """(n,) ‖Φ(x) - Φ₀‖ / ‖Φ₀‖ of `images`, as in the paper of 2016; only for the goal "invert"."""
        if self.goal != "invert":
            raise BadInputError(f"a result of {self.goal!r} matches no code, so it has no error; see goals")
        return np.sqrt(self.goals)

    @property
    def normalised_errors(self) -> NDArray[np.float64] | None:
        """(n,) ‖Φ(x) - Φ₀‖ over the mean distance of photographs, as in the text of 2014; None without photographs."""
        # errors are relative to the code's length: times that length they are distances
        return None if self.spread is None else self.relative_errors * self.norm / self.spread.distance

    @property
    def squared_errors(self) -> NDArray[np.float64] | None:
        """(n,) ‖Φ(x) - Φ₀‖² over the mean squared distance, as in the program of 2014; None without photographs."""
        return None if self.spread is None else self.goals * self.norm**2 / self.spread.squared

    @property
    def same_label(self) -> NDArray[np.bool_] | None:
        """(n,) whether the answer is that for the original; None without an original, or without class scores."""
        return None if self.label is None or not len(self.labels) else self.labels == self.label

    @property
    def best(self) -> int:
        """Index of the restart with the lowest objective."""
        return int(self.goals.argmin())

    @property
    def picture(self) -> Image.Image:
        """The best restart as a picture."""
        return Image.fromarray(self.pictures[self.best])

    def summary(self) -> dict[str, Any]:
        """Return the errors and the answer of each restart, the number of steps, and why the search ended.

        Those that begin with "picture" are of the pictures, as they are printed, the others of `images`.
        """
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
            products = {"inner_product": -self.goals, "picture_inner_product": -self.shown_goals}
            return found | {name: own.tolist() for name, own in products.items()}
        for prefix, own in (("", self), ("picture_", self.shown)):
            errors = {
                "relative_error": own.relative_errors,
                "normalised_error": own.normalised_errors,
                "normalised_squared_error": own.squared_errors,
            }
            found |= {prefix + name: None if e is None else e.tolist() for name, e in errors.items()}
        return found
