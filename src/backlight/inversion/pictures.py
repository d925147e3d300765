"""Pictures of inversions: all layers of one image, all restarts of one layer, and animations of the search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backlight.errors import BadInputError
from backlight.inversion.colours import RMS
from backlight.inversion.lost import equal_restarts, lost
from backlight.inversion.result import Inversion
from backlight.render.page import LINE, WHITE, Frame, headed, page
from backlight.storage import replacing

ANIMATED = (".webp", ".gif")
_SMALLEST = 160
_FRAME_MS, _LAST_MS = 150, 2500
_GOALS = {
    "invert": "images of the same code",
    "caricature": "caricatures",
    "maximise": "images that excite a unit",
}


def figure(results: Sequence[Inversion]) -> Image.Image:
    """Return the original and the images found, side by side: the papers' Fig. 6 for several layers, Fig. 7 for one.

    With one restart and one image, layers follow each other in reading order; otherwise each result has a row. Several
    restarts are followed by their mean and by how much they differ (`lost`).

    Raises:
        BadInputError: There is no result.
    """
    return _figure(results, None)


def animate(results: Sequence[Inversion], path: Path | str) -> None:
    """Write the search of all results as one animation, .webp or .gif, that ends with the finished figure.

    Raises:
        BadInputError: No result has frames (InversionConfig.frames), or the file has another suffix.
        StorageError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in ANIMATED:
        raise BadInputError(f"an animation is written as .webp or .gif, got {str(path)!r}")
    steps = sorted({int(step) for result in results for step in result.frame_steps})
    if not steps:
        raise BadInputError(
            "no intermediate pictures were kept; ask for them with InversionConfig(frames=40)"
        )
    frames = _of_one_size([*(_figure(results, step) for step in steps[:-1]), _figure(results, None)])
    pauses = [_FRAME_MS] * (len(frames) - 1) + [_LAST_MS]
    with replacing(path) as (fresh,):
        frames[0].save(fresh, save_all=True, append_images=frames[1:], duration=pauses, loop=0)


def _figure(results: Sequence[Inversion], step: int | None) -> Image.Image:
    if not results:
        raise BadInputError("a figure shows at least one inversion, got none")
    first = results[0]
    images = {result.original.tobytes() for result in results}
    rows = len(results) > 1 and (first.config.restarts > 1 or len(images) > 1)
    blocks: list[Image.Image] = []
    for i, result in enumerate(results):
        if result.original.size and (i == 0 or rows):
            blocks.append(_below(result.original, "original", result.title))
        blocks += [_block(result, restart, step) for restart in range(len(result.pictures))]
        blocks += _lost_blocks(result, step) if _shows_lost(result) else []
    columns = len(blocks) // len(results) if rows else None
    way, legend = ("", _legend(results)) if step is None else (f", step {step}", "")
    of = "" if first.goal == "maximise" or len(images) > 1 else f" · {first.title}"
    title = f"{first.model} · {_GOALS[first.goal]}{of}"
    matched = f" · only {first.config.matched}" if first.config.matched else ""
    return page(blocks, Frame(title, f"recipe {first.config.recipe}{way}{matched}", legend, columns, gap=16))


def _of_one_size(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return pictures padded at their right and bottom to the size of the largest: an animation has one size."""
    width, height = max(own.width for own in frames), max(own.height for own in frames)
    found = [Image.new("RGB", (width, height), WHITE) for _ in frames]
    for whole, own in zip(found, frames, strict=True):
        whole.paste(own, (0, 0))
    return found


def _block(result: Inversion, restart: int, step: int | None) -> Image.Image:
    """Return one reconstruction below its layer, with its error; for a step, the frame of that step without it."""
    label = (
        result.layer if result.goal != "maximise" else f"{result.layer} {result.title.partition(' at')[0]}"
    )
    label = label if len(result.pictures) == 1 else f"{label} #{restart + 1}"
    if step is None:
        return _below(result.pictures[restart], label, _caption(result, restart))
    # a search that ended earlier shows its last frame from then on
    known = np.flatnonzero(result.frame_steps <= step)
    return _below(result.frames[known[-1] if len(known) else 0, restart], label, " ")


def _shows_lost(result: Inversion) -> bool:
    return result.goal == "invert" and len(result.pictures) > 1


def _lost_blocks(result: Inversion, step: int | None) -> list[Image.Image]:
    """Return the mean of the restarts of equal error and where they differ; blank for a step on the way there."""
    n_equal = len(equal_restarts(result)) if step is None else 0
    if n_equal < 2:
        blank = np.full_like(result.pictures[0], 255)
        return [
            _below(blank, "" if step is not None else "no two of equal error", " "),
            _below(blank, "", " "),
        ]
    found = lost(result)
    return [
        _below(found.mean, f"mean of {n_equal}", " "),
        _below(found.picture, "how they differ", f"{found.level:.0f} grey levels"),
    ]


def _caption(result: Inversion, restart: int) -> str:
    if result.goal != "invert":
        return f"{-result.shown_goals[restart]:.3g}"
    shown = result.shown
    errors = shown.normalised_errors
    text = f"{(shown.relative_errors if errors is None else errors)[restart]:.1%}"
    same = result.same_label
    return text if same is None or same[restart] else f"{text} *"


def _legend(results: Sequence[Inversion]) -> str:
    first = results[0]
    if first.goal != "invert":
        unit = (
            "its code, rectified"
            if first.goal == "caricature"
            else "the unit's largest activation if that was given, else of the layer's on noise"
        )
        return f"In grey: the inner product with the code that is sought, in units of {unit}."
    if first.spread is None:
        text = "In grey: the distance of the picture's code from the original's, over the length of that."
    else:
        text = (
            "In grey: the distance of the picture's code from the original's, over the mean distance between the codes "
            f"of {first.spread.n_images} photographs."
        )
    others = any(same is not None and not same.all() for same in (result.same_label for result in results))
    text = f"{text} *: the network's answer is another." if others else text
    if not any(_shows_lost(result) for result in results):
        return text
    return (
        f"{text} How they differ: the standard deviation at each pixel of the restarts of about the lowest error, from "
        f"black (none) to white ({RMS:.0f} grey levels and more, as between unrelated photographs): there the layer no "
        "longer knows what was there."
    )


def _below(picture: NDArray[np.uint8], label: str, caption: str) -> Image.Image:
    """Return a picture in a frame, below its label and, on a separate line, its caption."""
    found = Image.fromarray(picture)
    # the smallest whole factor that reaches that length: pixels stay squares
    factor = -(-_SMALLEST // max(found.size))
    size = (found.width * factor, found.height * factor)
    framed = ImageOps.expand(found.resize(size, Image.Resampling.NEAREST), 1, LINE)
    return headed(headed(framed, "", caption), label)
