"""Evolution: a fixed sample of maps over fixed images, looked at again at each step of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from backlight.errors import BadInputError, WeightsError
from backlight.images import Preprocessing
from backlight.network import Network
from backlight.network.layers import Layers
from backlight.progress import Watching, shows_progress
from backlight.render.tiles import display_size, draw_values
from backlight.storage import check_place
from backlight.studies.evolution.file import open_evolution, write_evolution
from backlight.studies.evolution.followed import EvolutionConfig, SkippedStep
from backlight.studies.evolution.following import Follower, left_as_it_was
from backlight.studies.evolution.images import FixedImages
from backlight.studies.evolution.result import EvolutionResult
from backlight.studies.evolution.seeing import Followed, choose, see
from backlight.studies.evolution.steps import with_step


class Evolution:
    """Follows a sample of feature maps through a training: of each its strongest unit over fixed images, projected.

    The model is only read. Neither its weights, buffers, gradients and modes nor the random numbers change, so a
    training ends with the same weights, bit for bit, whether it is watched or not. It may be in training mode, and
    `observe` may be called inside `torch.no_grad()` and `torch.inference_mode()`.

    Args:
        images: Inputs (n, c, h, w), or whatever `open_images` takes; the same at every step.
        layers: Layer names; None takes the network's default layers.
        maps: Feature maps of each layer, a random sample; None for what the configuration says.
        path: A file (.npz) in which every step is kept as soon as it is there; an evolution that it holds is continued.
            None keeps the steps in memory.
        preprocessing: How pictures become inputs.
        config: Everything else.

    Raises:
        BadInputError: No images; or the file holds an evolution of other images, maps or rules, or is damaged.

    *Source*: Zeiler & Fergus (2013), section 4.1 and Fig. 4: the strongest activation of each map over all training
    examples, projected, at epochs 1, 2, 5, 10, 20, 30, 40 and 64. *Differs*: the images are those given.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> evolution = Evolution(torch.rand(5, 3, 8, 8), maps=2)
        >>> sorted(evolution.observe(model, 0)), evolution.result.steps
        (['1/0', '1/1'], ('0',))
    """

    def __init__(
        self,
        images: Any,
        layers: Layers | None = None,
        maps: int | None = None,
        path: Path | str | None = None,
        *,
        preprocessing: Preprocessing | None = None,
        config: EvolutionConfig | None = None,
    ) -> None:
        config = config or EvolutionConfig()
        self.config = config if maps is None else replace(config, maps=maps)
        self.images = FixedImages(images, preprocessing, self.config.batch_size)
        self.path = None if path is None else check_place(path, "evolution")
        self._layers = layers
        self.follower = Follower(self.images.shape, preprocessing)
        self._followed: Followed | None = None
        self._n_captures = 0
        self._result: EvolutionResult | None = None
        if self.path is not None and self.path.exists():
            self._result = open_evolution(self.path)
            self._check(
                {
                    "images": self._result.fingerprint == self.images.fingerprint,
                    "maps, seed or rules": self._result.config == self.config,
                }
            )

    @property
    def result(self) -> EvolutionResult:
        """What was seen so far.

        Raises:
            BadInputError: Nothing was observed.
        """
        if self._result is None:
            raise BadInputError("nothing was observed yet; call observe(model, step) first")
        return self._result

    def prepare(self, model: nn.Module) -> None:
        """Capture a model, which takes seconds and else is done at the first step.

        Raises:
            CaptureError: It cannot be captured.
        """
        with left_as_it_was():
            self.follower.follow(model)

    def observe(self, model: nn.Module, step: int | str) -> dict[str, Image.Image]:
        """Look at a model, keep what is seen, and return a picture of each projection by its name, `layer/channel`.

        Args:
            model: The model as it is now.
            step: What the step is called.

        Raises:
            BacklightError: As for `keep`.
        """
        self.keep(model, step)
        return self.pictures(step)

    @shows_progress
    def keep(self, model: nn.Module, step: int | str, progress: Watching = None) -> None:
        """Look at a model and keep what is seen.

        A step that is there already with the same weights is not looked at again; with others it is replaced.

        Args:
            model: The model as it is now; it is left exactly as it is.
            step: What the step is called, such as the number of the epoch. Steps are kept in their natural order.
            progress: True shows bars; a function is called with `scan`, the number of images done and the number in
                all.

        Raises:
            CaptureError: The model cannot be captured.
            UnknownLayerError: The network has no such layer.
            UnsupportedOperatorError: An operator between a layer and the pixels has no rule.
            ActivationError: An activation is not finite.
            BadInputError: No image can be read, or the file's evolution is of another network.
            WeightsError: The network has other layers than at the steps before.
            StorageError: The file cannot be written.
        """
        with left_as_it_was():
            net = self.follower.follow(model)
            weights, followed = net.fingerprint(), self._choose(net)
            start = self._result or self._empty(net, followed)
            if (str(step), weights) not in zip(start.steps, start.weights, strict=True):
                seen = see(net, followed, self.images, progress)
                start = replace(start, n_images=self.images.n_images, skipped_images=self.images.skipped)
                self._result = with_step(start, str(step), weights, seen)
                self._write()

    def pictures(self, step: int | str) -> dict[str, Image.Image]:
        """Return a picture of each projection at a step, by its name, `layer/channel`; grey is zero.

        Raises:
            BadInputError: Nothing was observed, or there is no such step.
        """
        result = self.result
        return {
            f"{layer.name}/{channel}": _picture(result.projection(step, layer.name, channel))
            for layer in result.layers
            for channel in layer.channels
        }

    def skip(self, skipped: list[SkippedStep]) -> None:
        """Keep which checkpoints were left out, instead of those kept before."""
        if self._result is not None and self._result.skipped != tuple(skipped):
            self._result = replace(self._result, skipped=tuple(skipped))
            self._write()

    def _write(self) -> None:
        if self.path is not None:
            write_evolution(self.result, self.path)

    def _choose(self, net: Network) -> Followed:
        """Return what is followed in a network; what the file holds must be the same."""
        if self._followed is None or self._n_captures != self.follower.n_captures:
            found = choose(net, self._layers, self.config)
            known = self._followed.records if self._followed is not None else found.records
            if found.records != known:
                raise WeightsError("the network has other layers or filters than at the steps before")
            if self._result is not None:
                same = {"network": self._result.network == net.name, "layers": self._result.layers == known}
                self._check(same)
            self._n_captures, self._followed = self.follower.n_captures, found
        return self._followed

    def _check(self, same: dict[str, bool]) -> None:
        """Refuse to go on with an evolution of something else."""
        other = [name for name, is_same in same.items() if not is_same]
        if other:
            where = "the evolution" if self.path is None else f"the evolution in {str(self.path)!r}"
            raise BadInputError(f"{where} is of other {' and '.join(other)}; keep this one in another file")

    def _empty(self, net: Network, followed: Followed) -> EvolutionResult:
        """Return an evolution without steps."""
        n_maps = sum(len(own.channels) for own in followed.records)
        n_weights = sum(int(np.prod(s)) for own in followed.records for s in own.filters if s)
        return EvolutionResult(
            config=self.config,
            network=net.name,
            images=self.images.name,
            fingerprint=self.images.fingerprint,
            n_images=self.images.n_images,
            layers=followed.records,
            steps=(),
            weights=(),
            paths={},
            skipped=(),
            skipped_images=(),
            image_ids=np.zeros((0, n_maps), np.int64),
            values=np.zeros((0, n_maps), np.float32),
            places=np.zeros((0, n_maps, 2), np.int32),
            tiles=np.zeros(0, np.uint8),
            tile_ends=np.zeros((0, n_maps), np.int64),
            scales=np.zeros((0, n_maps), np.float32),
            unlike=np.zeros((0, n_maps)),
            filters=np.zeros((0, n_weights), np.float32),
            winners=np.zeros((0, sum(own.n_maps for own in followed.records)), np.int64),
        )


def _picture(values: np.ndarray) -> Image.Image:
    """Return a projection as a picture: small ones with a square for each pixel."""
    return draw_values(values.astype(np.float64), display_size(*values.shape[:2]))
