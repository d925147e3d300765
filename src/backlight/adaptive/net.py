"""The adaptive deconvolutional network: learned without labels, each layer reconstructing the input.

*Source*: Zeiler, Taylor & Fergus, "Adaptive deconvolutional networks for mid and high level feature learning" (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from backlight.adaptive import decomposition
from backlight.adaptive.config import PRESETS, AdaptiveConfig, Learning
from backlight.adaptive.decomposition import Activation, Branch, Decomposition
from backlight.adaptive.files import (
    Saved,
    TrainingOrigin,
    array_digest,
    read_network,
    resume,
    write_network,
    write_training,
)
from backlight.adaptive.inference import Codes, CodeValues, check_values, energy, refit, settle
from backlight.adaptive.inputs import Pictures, prepare
from backlight.adaptive.learning import EpochMeasure, LayerMeasure, start_filters, steps_of, with_margin
from backlight.adaptive.operators import Reconstruction
from backlight.adaptive.pooling import MapBatch, SwitchMode
from backlight.adaptive.training import Training, TrainingState
from backlight.errors import BadInputError
from backlight.progress import Watching, shows_progress

_BATCH = 4
"""Images at a time in inference: their maps stay in the processor's cache, and layer 1 is twice as fast as with 16."""
_POWER_STEPS = 30


class AdaptiveDeconvNet(nn.Module):
    """A hierarchy of sparse convolutional coding and 3-D max pooling, in which every layer reconstructs the input.

    Args:
        config: Its layers; None for the paper's four.
        seed: Random seed of the filters before learning.

    *Convention*: layers are counted from 1, as in the paper. Values have signs; a strong activation is one of large
    magnitude.

    Example:
        >>> net = AdaptiveDeconvNet(PRESETS["small"])
        >>> codes = net.infer(torch.randn(1, 1, 64, 64))
        >>> net.reconstruct(codes).shape
        torch.Size([1, 1, 64, 64])
    """

    squared_norms: Tensor

    def __init__(self, config: AdaptiveConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config or PRESETS["paper"]
        self.history: tuple[EpochMeasure, ...] = ()
        self.measures: tuple[LayerMeasure, ...] = ()
        generator = torch.Generator().manual_seed(seed)
        for layer in range(1, self.n_layers + 1):
            self.register_buffer(f"filters{layer}", start_filters(self.config, layer, generator))
        self.register_buffer("squared_norms", torch.zeros(self.n_layers))

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.config.layers)

    @property
    def filters(self) -> tuple[Tensor, ...]:
        """The filters of each layer, (k, c, side, side) with c the pooled maps of the layer below."""
        return tuple(self.get_buffer(f"filters{layer}") for layer in range(1, self.n_layers + 1))

    def prepare(self, images: Pictures) -> MapBatch:
        """Return images as `infer` takes them, (n, c, h, w): gray, of the configured size, contrast-normalised.

        Args:
            images: Pictures, paths, or a tensor, which is taken as prepared.

        Raises:
            BadInputError: No image, or a tensor that does not fit.
            ImageError: A picture cannot be read.
        """
        return prepare(self.config, images).to(self.filters[0])

    @shows_progress
    def fit(
        self,
        images: Pictures | np.ndarray,
        learning: Learning | None = None,
        progress: Watching = None,
        checkpoint: Path | str | None = None,
        fingerprint: str = "",
    ) -> list[EpochMeasure]:
        """Learn the filters of all layers, from the first up, and return the measure of each epoch.

        `measures` then says how well each learned layer reconstructs the training set.

        Args:
            images: The training set: pictures, paths or prepared tensors; an array (n, c, h, w), prepared, may lie in
                a file.
            learning: How to learn; None for the paper's 10 epochs of each layer.
            progress: True shows bars; a function is called after each batch; a `LearningProgress` also gets the
                measure of each epoch.
            checkpoint: A file that is written after each epoch; if it exists, the training resumes from it. It is not
                removed at the end.
            fingerprint: Of the images, for the checkpoint; "" to compute one from their values.

        Raises:
            BadInputError: No images, images that do not fit, or a checkpoint of another training.
            StorageError: The checkpoint cannot be written, or the temporary folder has no room.
        """
        learning, array = learning or Learning(), self._training_array(images)
        known = fingerprint or ("" if checkpoint is None else array_digest(array))
        origin = TrainingOrigin(self.config, learning.essence, known)
        state = None if checkpoint is None else resume(checkpoint, origin, len(array))
        training = Training(self.config, learning, array, state, self.squared_norms.device)

        def keep(state: TrainingState) -> None:
            if checkpoint is not None:
                write_training(state, origin, checkpoint)

        history = training.run(progress, keep)
        self._take(training.filters, training.squared_norms, history, training.measures)
        return history

    def infer(
        self,
        images: Pictures,
        layer: int | None = None,
        steps: int | None = None,
        values: CodeValues = "refitted",
    ) -> Codes:
        """Return the codes of images in all layers up to one.

        Args:
            images: Pictures, paths, or a tensor (n, c, h, w) or (c, h, w), which is taken as prepared.
            layer: The last layer; None for all.
            steps: ISTA steps for each layer; None for the configured number.
            values: "refitted" by least squares where they are not zero; "shrunk" as the paper's inference leaves them.
                Zeros and switches are the same.

        Raises:
            BadInputError: No image, images that do not fit, no such layer, fewer than one step, unknown values.
        """
        check_values(values)
        batch, top = self.prepare(images), self.n_layers if layer is None else self.config.check_layer(layer)
        n_steps = self.config.steps if steps is None else steps
        if n_steps < 1:
            raise BadInputError(f"inference takes at least 1 step, got {n_steps}")
        # 0 stands for a norm that is not known yet, as before any learning
        if not self.squared_norms[:top].all():
            self.estimate_norms(batch[:_BATCH])
        with torch.no_grad():
            parts = torch.split(batch, _BATCH)
            return Codes.joined([self._infer(part, top, n_steps, values) for part in parts])

    def reconstruct(self, codes: Codes, layer: int | None = None, switches: SwitchMode = "full") -> MapBatch:
        """Return the images (n, c, h, w) that a layer reconstructs from codes, contrast-normalised: R z.

        Args:
            codes: As `infer` gave them.
            layer: From 1; None for the last one of the codes.
            switches: Which part of the switches to use: "full", "position-only", "map-only", "centre" or "average" (see
                `Unpooling`). The layer's own switches are used in the same way as those below.

        Raises:
            BadInputError: No such layer, or an unknown use of switches.
        """
        layer = len(codes.layers) if layer is None else layer
        code = codes[layer]
        with torch.no_grad():
            return self._whole(layer, codes, switches)(code.unpooling(switches)(code.pooled))

    def decompose(
        self,
        image: Pictures,
        layer: int,
        top: int = 3,
        switches: SwitchMode = "full",
        values: CodeValues = "refitted",
    ) -> Decomposition:
        """Return the strongest activations of a layer for one image, each projected to the pixels, and their sum.

        Args:
            image: One picture, its path, or a prepared tensor.
            layer: From 1.
            top: Number of activations.
            switches: As for `reconstruct`.
            values: As for `infer`.

        Raises:
            BadInputError: Several images, no such layer, or no activation in it.
        """
        codes = self.infer(image, layer, values=values)
        with torch.no_grad():
            return decomposition.decompose(self.filters, codes, self.config.check_layer(layer), top, switches)

    def tree(
        self,
        image: Pictures,
        activation: Activation | None = None,
        branching: int = 5,
        values: CodeValues = "shrunk",
    ) -> Branch:
        """Return an activation with the activations of the layers below that it is made of: the paper's Fig. 1.

        Args:
            image: One picture, its path, or a prepared tensor.
            activation: The activation; None for the strongest of the last layer.
            branching: Number of parts of each.
            values: As for `infer`; they decide which activation is the strongest. Refitted ones cancel each other more.

        Raises:
            BadInputError: Several images, or no activation.
        """
        codes = self.infer(image, self.n_layers if activation is None else activation.layer, values=values)
        with torch.no_grad():
            if activation is None:
                top = decomposition.decompose(self.filters, codes, self.n_layers, 1)
                activation = top.activations[0]
            return decomposition.tree(self.filters, codes, activation, branching)

    def energy(self, images: Pictures, codes: Codes, layer: int) -> Float[Tensor, " n"]:
        """Return (n,) the cost that inference minimises before it refits: λ/2 ‖R z - y‖² + ‖z‖₁."""
        batch, layer = self.prepare(images), self.config.check_layer(layer)
        with torch.no_grad():
            weight = self.config.layers[layer - 1].weight
            return energy(batch, codes[layer].maps, self._whole(layer, codes), weight)

    def estimate_norms(self, images: Pictures) -> list[float]:
        """Estimate and return ‖R‖² of each layer on images by power iteration; inference takes its steps from them.

        `fit` does so; call it for filters set by hand, or for images unlike those of the training.
        """
        found = [with_margin(norm) for norm in self._measured_norms(images, renew=True)]
        self.squared_norms.copy_(torch.tensor(found))
        return found

    def check_steps(self, images: Pictures) -> list[float]:
        """Return λβ‖R‖² on images for each layer, by power iteration: steps are safe up to 1.

        From 2 on, dense codes grow without limit. Lower `LayerConfig.step`, or call `estimate_norms`, if it exceeds 1.
        """
        if not self.squared_norms.all():
            self.estimate_norms(images)
        norms = self._measured_norms(images, renew=False)
        lengths = [
            steps_of(own, known).length
            for own, known in zip(self.config.layers, self.squared_norms.tolist(), strict=True)
        ]
        return [length * norm for length, norm in zip(lengths, norms, strict=True)]

    def save(self, path: Path | str) -> None:
        """Write the network to one file: safetensors with the configuration as JSON in its header.

        Raises:
            StorageError: It cannot be written.
        """
        filters = tuple(own.detach().cpu() for own in self.filters)
        norms = tuple(self.squared_norms.tolist())
        write_network(Saved(self.config, filters, norms, self.history, self.measures), path)

    @classmethod
    def load(cls, path: Path | str) -> AdaptiveDeconvNet:
        """Return the network that `save` wrote.

        Raises:
            BadInputError: There is no such file, or it is damaged or not a network.
        """
        saved = read_network(path)
        net = cls(saved.config)
        net._take(saved.filters, saved.squared_norms, saved.history, saved.measures)
        return net

    def _training_array(self, images: Pictures | np.ndarray) -> np.ndarray:
        """Return a training set as an array (n, c, h, w) float32, without copying one that is."""
        if not isinstance(images, np.ndarray):
            images = prepare(self.config, images).cpu().numpy()
        if images.ndim != 4:
            raise BadInputError(f"an array of images must be (n, c, h, w), got {images.shape}")
        array = np.asanyarray(images, np.float32)
        prepare(self.config, torch.from_numpy(np.array(array[:1])))  # refuses what does not fit
        return array

    def _take(
        self,
        filters: Sequence[Tensor],
        squared_norms: Sequence[float],
        history: Sequence[EpochMeasure],
        measures: Sequence[LayerMeasure],
    ) -> None:
        for own, new in zip(self.filters, filters, strict=True):
            own.copy_(new)
        self.squared_norms.copy_(torch.tensor(squared_norms))
        self.history, self.measures = tuple(history), tuple(measures)

    def _infer(self, images: MapBatch, top: int, n_steps: int, values: CodeValues) -> Codes:
        # Each layer codes the images themselves, through the switches of the layers below, not the codes below.
        codes = Codes(())
        for layer in range(1, top + 1):
            how = steps_of(self.config.layers[layer - 1], float(self.squared_norms[layer - 1]))
            whole = self._whole(layer, codes)
            code = settle(images, whole, how, n_steps)
            codes = codes.then(refit(images, code, whole) if values == "refitted" else code)
        return codes

    def _whole(self, layer: int, codes: Codes, mode: SwitchMode = "full") -> Reconstruction:
        return Reconstruction(self.filters[:layer], codes.below(layer, mode))

    @torch.no_grad()
    def _measured_norms(self, images: Pictures, renew: bool) -> list[float]:
        """Return the largest ‖R‖² of each layer on images; to renew, codes are inferred with the new values."""
        batch, codes, found = self.prepare(images), Codes(()), []
        generator = torch.Generator().manual_seed(0)
        shapes = self.config.shapes((batch.shape[2], batch.shape[3]))
        for layer, own in enumerate(self.config.layers, start=1):
            whole = self._whole(layer, codes)
            # drawn on the CPU, so that every device starts from the same noise (n, k, h, w)
            noise = torch.randn(len(batch), *shapes[layer - 1], generator=generator).to(batch)
            found.append(float(whole.squared_norm(noise, _POWER_STEPS, own.block)[0].max()))
            norm = with_margin(found[-1]) if renew else float(self.squared_norms[layer - 1])
            codes = codes.then(settle(batch, whole, steps_of(own, norm), self.config.steps))
        return found
