"""Watching a training while it runs: no more often than a share of its time allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import nn

from backlight.errors import BacklightWarning, BadInputError, tell
from backlight.studies.evolution.loggers import check_logger, send
from backlight.studies.evolution.observing import Evolution
from backlight.text import one_line


class EvolutionWatch:
    """Looks at a model while it is trained, as often as a share of the training's time allows.

    In a plain loop, call it after each epoch, or each step: `watch(model, step)`. The first call always looks, and
    captures the model, which takes seconds; the next look comes when that is paid for. A look that fails is told and
    left out: no picture is worth a training. Of several processes only that of rank zero looks.

    Args:
        evolution: What is looked at.
        max_share: The largest share of the training's own time that looking may take.
        loggers: Where pictures are sent: a SummaryWriter of TensorBoard, a run of W&B or Aim, MLflow, or Lightning's
            own for any of these.
        clock: Returns the time in seconds.

    Attributes:
        spent_s: Seconds that were spent on looking.

    Raises:
        BadInputError: The share is not above zero, or a logger takes no pictures.

    *Convention*: a step is looked at if all that was spent and as much as the last look took come to no more than the
    share of the time that the training itself has taken; and so does as much as the last look took of the time since
    then, which keeps looks evenly apart. So the share is kept from the moment at which the first look is paid for. The
    time begins when the watch is made, or when `start` is called.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> watch = EvolutionWatch(Evolution(torch.rand(5, 3, 8, 8), maps=2), max_share=0.02)
        >>> for epoch in range(3):
        ...     pictures = watch(model, epoch)  # after the training of the epoch
        >>> watch.evolution.result.steps
        ('0',)
    """

    def __init__(
        self,
        evolution: Evolution,
        max_share: float = 0.02,
        loggers: Sequence[object] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not max_share > 0:
            raise BadInputError(f"max_share is a share of the training's time above 0, got {max_share}")
        for logger in loggers:
            check_logger(logger)
        self.evolution, self.max_share, self.loggers = evolution, max_share, tuple(loggers)
        self._clock = clock
        self.start()

    def start(self) -> None:
        """Begin to count the training's time now; what was spent before is forgotten."""
        self._began, self.spent_s, self._look_s, self._due_s = self._clock(), 0.0, 0.0, 0.0

    @property
    def share(self) -> float:
        """The share of the training's own time that looking has taken so far."""
        return self.spent_s / self._training_s if self._training_s > 0 else 0.0

    def __call__(self, model: nn.Module, step: int | str) -> dict[str, Image.Image]:
        """Look at a model if there is time for it, and return a picture of each projection; none if there is not."""
        if not _is_first_process() or self._training_s < self._due_s:
            return {}
        began, training_s = self._clock(), self._training_s
        pictures: dict[str, Image.Image] = {}
        try:
            if self.spent_s == 0:
                self.evolution.prepare(model)
            began_look = self._clock()
            pictures = self.evolution.observe(model, step)
            for logger in self.loggers:
                send(logger, pictures, str(step), len(self.evolution.result.steps) - 1)
            self._look_s = self._clock() - began_look  # without the capture, which later looks do without
        except Exception as error:
            tell(BacklightWarning(f"step {step} of the training was not looked at: {one_line(error)}"))
        self.spent_s += self._clock() - began
        since, in_all = self._look_s / self.max_share, (self.spent_s + self._look_s) / self.max_share
        self._due_s = max(training_s + since, in_all)
        return pictures

    @property
    def _training_s(self) -> float:
        """The time that the training itself has taken."""
        return self._clock() - self._began - self.spent_s


def _is_first_process() -> bool:
    distributed = torch.distributed
    return not distributed.is_available() or not distributed.is_initialized() or distributed.get_rank() == 0
