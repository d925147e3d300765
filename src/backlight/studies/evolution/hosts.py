"""Callbacks that watch a training in the frameworks which run it; none of them is imported before it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import nn

from backlight.errors import BadInputError
from backlight.studies.evolution.watch import EvolutionWatch

Part = Callable[[Any], nn.Module]
"""Returns the module to look at: one that takes a batch of images."""


def _itself(module: Any) -> nn.Module:
    found: nn.Module = module
    return found


def lightning_callback(watch: EvolutionWatch, part: Part = _itself, event: str = "on_train_epoch_end") -> Any:
    """Return a `Callback` for a `Trainer` of Lightning: `Trainer(callbacks=[lightning_callback(watch)])`.

    Args:
        watch: Looks at the module after each epoch, in the process of rank zero.
        part: Returns what of the LightningModule is looked at, such as `lambda module: module.net`; the module
            itself takes a batch of images if its `forward` does.
        event: The hook that looks; it may be one of the validation, which runs without gradients.

    Raises:
        BadInputError: Lightning is not installed.
    """
    base = _imported("Lightning", "lightning.pytorch", "pytorch_lightning").Callback

    def start(_: Any, trainer: Any, __: Any) -> None:
        watch.start()

    def look(_: Any, trainer: Any, module: Any) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            watch(part(module), trainer.current_epoch)

    return type("EvolutionCallback", (base,), {"on_train_start": start, event: look})()


def transformers_callback(watch: EvolutionWatch, part: Part = _itself, event: str = "on_epoch_end") -> Any:
    """Return a `TrainerCallback` for a `Trainer` of Transformers: `trainer.add_callback(transformers_callback(watch))`.

    Args:
        watch: Looks at the model, in the process of rank zero. Steps are called as checkpoints are: by the steps that
            the optimiser has made.
        part: Returns what of the model is looked at.
        event: The event at which it looks, such as `on_epoch_end`, `on_evaluate` or `on_save`.

    Raises:
        BadInputError: Transformers is not installed.
    """
    base = _imported("Transformers", "transformers").TrainerCallback

    def start(_: Any, args: Any, state: Any, control: Any, **__: Any) -> None:
        watch.start()

    def look(_: Any, args: Any, state: Any, control: Any, model: Any = None, **__: Any) -> None:
        if state.is_world_process_zero:
            watch(part(model), state.global_step)

    return type("EvolutionCallback", (base,), {"on_train_begin": start, event: look})()


def watch_ultralytics(model: Any, watch: EvolutionWatch, event: str = "on_train_epoch_end") -> None:
    """Let a watch look at a model of Ultralytics in each epoch of `model.train(...)`, by its `add_callback`.

    Args:
        model: A `YOLO` or another model of Ultralytics.
        watch: Looks at the network that is trained.
        event: The event at which it looks.
    """

    def start(trainer: Any) -> None:
        watch.start()

    def look(trainer: Any) -> None:
        watch(trainer.model, trainer.epoch)

    model.add_callback("on_train_start", start)
    model.add_callback(event, look)


def _imported(name: str, *modules: str) -> Any:
    """Return the first of some modules that is imported already, else the first that is installed."""
    for module in sorted(modules, key=lambda own: own not in sys.modules):
        try:
            return import_module(module)
        except ImportError:
            continue
    raise BadInputError(f"{name} is not installed; install it to watch its trainings")
