"""The fixed images of the study, read once where they are few enough to be kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from backlight.errors import BadInputError
from backlight.images import ImageSource, Preprocessing, Skipped, load_batches, open_images
from backlight.network import Layer, Network
from backlight.progress import Watching
from backlight.scan import Scan, scan

MOST_BYTES = 2**28
"""Images whose inputs take no more than this are decoded once and kept; others are decoded at every step."""


class FixedImages:
    """The images over which every step looks for the strongest activations.

    Args:
        images: Inputs (n, c, h, w), or whatever `open_images` takes.
        preprocessing: How pictures become inputs; needed unless inputs are given.
        batch_size: Images read at a time.

    Attributes:
        name: What the images are called.
        skipped: Images that could not be read, known when they have been read once.

    Raises:
        BadInputError: No images, or pictures without preprocessing.
    """

    def __init__(self, images: Any, preprocessing: Preprocessing | None, batch_size: int) -> None:
        self.preprocessing, self._batch_size = preprocessing, batch_size
        self.skipped: tuple[Skipped, ...] = ()
        self._inputs: Tensor | None = None
        self._source: ImageSource | None = None
        if isinstance(images, Tensor) and (images.is_floating_point() or preprocessing is None):
            if images.dim() != 4 or not len(images):
                raise BadInputError(f"inputs are (n, c, h, w), at least one, got {tuple(images.shape)}")
            # a copy: what is followed stays the same, whatever is done to the batch later
            self._inputs, self.name = images.detach().cpu().clone(), "inputs"
            self._ids = list(range(len(images)))
            return
        if preprocessing is None:
            raise BadInputError(
                "pictures need a preprocessing; pass preprocessing=Preprocessing(...), or inputs (n, c, h, w)"
            )
        self._source = open_images(images)
        self.name = self._source.name
        self._ids = list(range(len(self._source)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one input."""
        if self._inputs is not None:
            channels, height, width = self._inputs.shape[1:]
            return channels, height, width
        assert self.preprocessing is not None
        return (self.preprocessing.channels, *self.preprocessing.crop)

    @property
    def n_images(self) -> int:
        """How many there are; after the first scan, how many could be read."""
        return len(self._ids)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the images and of how they are preprocessed; of inputs, of their values."""
        if self._source is None:
            assert self._inputs is not None
            values = self._inputs.float().contiguous()
            return hashlib.sha256(f"{tuple(values.shape)} ".encode() + values.numpy().tobytes()).hexdigest()
        assert self.preprocessing is not None
        text = f"{self._source.fingerprint()} {json.dumps(self.preprocessing.to_dict(), sort_keys=True)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def scan(self, net: Network, layers: Sequence[Layer], progress: Watching) -> Scan:
        """Return the strongest hit of every map over the images.

        Raises:
            BadInputError: None of the images can be read, or they do not fit the network.
            ActivationError: An activation is not finite.
        """
        self._keep()
        names = [layer.name for layer in layers]
        images = self._source if self._inputs is None else self._inputs
        assert images is not None
        found = scan(net, images, names, 1, batch_size=self._batch_size, compile="off", progress=progress)
        if self._inputs is None:
            self._read(found.skipped)
        return found

    def image_id(self, found: int) -> int:
        """Return the id of an image that a scan found; -1 for none."""
        return found if found < 0 or self._inputs is None else self._ids[found]

    def inputs(self, ids: Sequence[int]) -> list[Tensor]:
        """Return the inputs (c, h, w) of images."""
        if self._inputs is not None:
            places = {image_id: place for place, image_id in enumerate(self._ids)}
            return [self._inputs[places[i]] for i in ids]
        assert self._source is not None
        assert self.preprocessing is not None
        return list(self.preprocessing.batch([self._source.load(i) for i in ids], tells=False))

    def path(self, image_id: int) -> str:
        """Return where an image is, or its number among inputs."""
        return f"input {image_id}" if self._source is None else self._source.records[image_id].path

    def _keep(self) -> None:
        """Read the images and keep their inputs, unless that is done, or they are too many."""
        channels, height, width = self.shape
        n_bytes = len(self._ids) * channels * height * width * 4
        if self._inputs is not None or n_bytes > MOST_BYTES:
            return
        assert self._source is not None
        assert self.preprocessing is not None
        batches = list(load_batches(self._source, self.preprocessing, self._ids, self._batch_size))
        self._read([skipped for batch in batches for skipped in batch.skipped])
        self._inputs = torch.cat([batch.tensor for batch in batches])

    def _read(self, skipped: Sequence[Skipped]) -> None:
        """Take note of which images could not be read."""
        self.skipped = tuple(skipped)
        gone = {own.id for own in skipped}
        self._ids = [i for i in self._ids if i not in gone]
        if not self._ids:
            raise BadInputError(f"none of the images of {self.name!r} can be read ({skipped[0].reason})")
