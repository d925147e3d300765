"""The evolution of feature maps over the checkpoints of a training that is done.

*Source*: Zeiler & Fergus (2013), section 4.1 and Fig. 4.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from backlight.errors import ActivationError, BacklightWarning, BadInputError, WeightsError, tell
from backlight.images import Preprocessing
from backlight.models import load_weights
from backlight.network.layers import Layers
from backlight.progress import Watching, shows_progress
from backlight.storage import locked
from backlight.studies.evolution.followed import EvolutionConfig, SkippedStep
from backlight.studies.evolution.labels import labels_of, natural_key
from backlight.studies.evolution.observing import Evolution
from backlight.studies.evolution.result import EvolutionResult
from backlight.studies.progress import Count


@shows_progress
def run(
    model: nn.Module | Callable[[Path], nn.Module],
    checkpoints: Sequence[Path | str],
    images: Any,
    layers: Layers | None = None,
    config: EvolutionConfig | None = None,
    *,
    path: Path | str | None = None,
    preprocessing: Preprocessing | None = None,
    progress: Watching = None,
) -> EvolutionResult:
    """Return the strongest units of sampled maps over images and their projections, checkpoint by checkpoint.

    One checkpoint is in memory at a time, in any form that trainers save. One that does not fit the model, is damaged,
    or gives activations that are not finite is left out and listed in `skipped`; no code from it is run.

    Args:
        model: The model, which is not changed; or what returns it with the weights of a checkpoint.
        checkpoints: The files. Their names without the ending label the steps, in natural order.
        images: Inputs (n, c, h, w), or whatever `open_images` takes.
        layers: Layer names; None takes the network's default layers.
        config: Which maps are followed, and by which rules.
        path: A file (.npz) in which every step is kept as soon as it is there. Steps that it holds already with the
            same weights are not done again, so an interrupted run resumes.
        preprocessing: How pictures become inputs.
        progress: True shows bars; a function is called with `evolution`, the number of checkpoints done and the
            number in all; and with `scan` for the images of each.

    Raises:
        BadInputError: No checkpoint can be used, no image can be read, or the file is of other images, layers or maps.
        UnknownLayerError: The network has no such layer.
        UnsupportedOperatorError: An operator between a layer and the pixels has no rule.
        StorageError: The file cannot be written, or another process is writing it.
    """
    if not checkpoints:
        raise BadInputError("there is no checkpoint to look at; give at least one file")
    files = [Path(own) for own in checkpoints]
    labelled = sorted(zip(labels_of(files), files, strict=True), key=lambda own: natural_key(own[0]))
    count = Count(progress, "evolution", len(labelled))
    skipped: list[SkippedStep] = []
    with nullcontext() if path is None else locked(path):
        evolution = Evolution(images, layers, path=path, preprocessing=preprocessing, config=config)
        for label, file in labelled:
            try:
                evolution.keep(_with_weights(model, file), label, progress)
            except (WeightsError, ActivationError) as error:
                skipped.append(SkippedStep(label, str(file), str(error)))
            count.add()
        if len(skipped) == len(labelled):
            one = (
                "the checkpoint" if len(skipped) == 1 else f"any of the {len(skipped)} checkpoints, the first"
            )
            raise BadInputError(f"cannot use {one}: {skipped[0].reason}")
        evolution.skip(skipped)
    return evolution.result


def _with_weights(model: nn.Module | Callable[[Path], nn.Module], file: Path) -> nn.Module:
    """Return a model with the weights of a checkpoint; what was chosen or left out there is told."""
    if not isinstance(model, nn.Module):
        return model(file)
    filled = copy.deepcopy(model)
    remark = load_weights(filled, str(file), type(model).__name__)
    if remark is not None:
        tell(BacklightWarning(remark))
    return filled
