"""Pictures to the loggers of trainings, known by what they can do: none of their packages is imported here.

| logger | is given | takes a picture by |
|---|---|---|
| TensorBoard, tensorboardX | a SummaryWriter | `add_image(name, array, step, dataformats="HWC")` |
| Weights & Biases | a run, or the module | `log({name: wandb.Image(picture)})` |
| MLflow | the module | `log_image(picture, key=name, step=step)` |
| Aim | a run | `track(aim.Image(picture), name=name, step=step)` |
| Lightning | its logger for one of these | its `experiment`; of MLflow with its `run_id` |
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from backlight.errors import BadInputError
from backlight.studies.evolution.labels import step_number

_PREFIX = "evolution"
_METHODS = ("add_image", "track", "log_image", "log")


def check_logger(logger: Any) -> None:
    """Raise BadInputError unless pictures can be sent to a logger."""
    if not _is_lightnings(logger) and not any(hasattr(logger, name) for name in _METHODS):
        raise BadInputError(
            f"a {type(logger).__name__} takes no pictures; a logger has one of {', '.join(_METHODS)}"
        )


def send(logger: Any, pictures: Mapping[str, Image.Image], step: str, place: int) -> None:
    """Send pictures to a logger.

    Args:
        logger: One of those above.
        pictures: By name, `layer/channel`.
        step: The label of the step. Loggers count steps: the last number in it, else its place.
        place: Among the steps.

    Raises:
        BadInputError: The logger takes no pictures.
    """
    number = step_number(step, place)
    named = {f"{_PREFIX}/{name}": picture for name, picture in pictures.items()}
    target = logger.experiment if _is_lightnings(logger) else logger
    check_logger(target)
    if hasattr(target, "add_image"):
        for name, picture in named.items():
            target.add_image(name, np.asarray(picture), number, dataformats="HWC")
    elif hasattr(target, "track"):
        for name, picture in named.items():
            target.track(_image_of(target)(picture), name=name, step=number)
    elif hasattr(target, "log_image"):
        run = () if target is logger else (logger.run_id,)  # a client of MLflow serves many runs
        for name, picture in named.items():
            target.log_image(*run, picture, key=name, step=number)
    else:
        # W&B drops what is logged with a step before its own, which counts batches: the step is a number beside them
        image = _image_of(target)
        target.log({f"{_PREFIX}/step": number, **{name: image(picture) for name, picture in named.items()}})


def _is_lightnings(logger: Any) -> bool:
    """Return whether a logger is Lightning's, which has an experiment; so has a run of Aim, as a name.

    The class is asked: Lightning makes its experiment, and with it a run, when it is first read.
    """
    return hasattr(type(logger), "experiment") and not hasattr(logger, "track")


def _image_of(logger: Any) -> Any:
    """Return the class `Image` of the package that a logger comes from."""
    module = logger if hasattr(logger, "Image") else sys.modules[type(logger).__module__.partition(".")[0]]
    return module.Image
