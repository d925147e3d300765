"""The images of a diagnosis: a random sample of a set, read in batches and again by their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backlight.errors import BadInputError
from backlight.images import ImageSource, load_batches, open_images
from backlight.network import Network


class Inputs:
    """A random sample of images as inputs of a network.

    Args:
        net: The captured network.
        images: Inputs (n, c, h, w), or whatever `open_images` takes.
        n_images: How many at most.
        seed: Random seed of the sample.

    Attributes:
        name: What the set is called.
        ids: The ids of the images of the sample, in their order in the set.
        n_in_set: How many images the set has.

    Raises:
        BadInputError: There are no images, or the network takes tensors only.
    """

    def __init__(self, net: Network, images: Any, n_images: int, seed: int) -> None:
        self._net = net
        self._tensor = net.prepare(images) if net.takes_as_inputs(images) else None
        self._source: ImageSource | None = None
        if self._tensor is None:
            self._source = images if isinstance(images, ImageSource) else open_images(images)
            if net.preprocessing is None:
                raise BadInputError(
                    f"{net.name} was captured without preprocessing and takes tensors only; "
                    "pass capture(model, example, preprocessing=Preprocessing(...))"
                )
        self.name = "tensors" if self._source is None else self._source.name
        self.n_in_set = len(self._source if self._source is not None else self._tensor)  # type: ignore[arg-type]
        if not self.n_in_set:
            raise BadInputError("a diagnosis needs images, got none")
        drawn = np.random.default_rng(seed).permutation(self.n_in_set)[:n_images]
        self.ids = tuple(sorted(int(i) for i in drawn))

    def batches(self, size: int) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yield the ids and the inputs (n, c, h, w) of the sample; images that cannot be read are left out."""
        if self._source is None:
            for start in range(0, len(self.ids), size):
                ids = self.ids[start : start + size]
                yield ids, self._tensor[list(ids)]  # type: ignore[index]
            return
        assert self._net.preprocessing is not None
        for batch in load_batches(self._source, self._net.preprocessing, self.ids, size):
            if batch.ids:
                yield batch.ids, batch.tensor.to(self._net.device, self._net.dtype)

    def some(self, count: int) -> Inputs:
        """Return the first images of the sample, at most `count` of them."""
        found = copy(self)
        found.ids = self.ids[:count]
        return found

    def others(self, count: int) -> Inputs | None:
        """Return images of the set that the sample leaves out, at most `count`, drawn at random; None without any."""
        left = np.setdiff1d(np.arange(self.n_in_set), np.array(self.ids, int))
        if not len(left):
            return None
        found, drawn = copy(self), np.random.default_rng(self.n_in_set).permutation(left)[:count]
        found.ids = tuple(sorted(int(i) for i in drawn))
        return found

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in their order, where the set of images says them."""
        return getattr(self._source, "class_names", ())

    def labels_in_set(self) -> list[str | None]:
        """Return the labels of all images of the set; None for those that have none."""
        records = [] if self._source is None else self._source.records
        return [own.label for own in records] if records else [None] * self.n_in_set

    def all(self) -> tuple[list[int], Tensor]:
        """Return the ids and the inputs (n, c, h, w) of all images of the sample that can be read.

        Raises:
            BadInputError: None can be read.
        """
        found = list(self.batches(64))
        if not found:
            raise BadInputError("none of the images can be read")
        return [i for ids, _ in found for i in ids], torch.cat([inputs for _, inputs in found])

    def of(self, ids: Sequence[int]) -> Tensor:
        """Return the inputs (n, c, h, w) of images by their ids."""
        if self._source is None:
            return self._tensor[list(ids)]  # type: ignore[index]
        pictures = [self._source.load(i) for i in ids]
        assert self._net.preprocessing is not None
        batch: Tensor = self._net.preprocessing.batch(pictures, tells=False)
        return batch.to(self._net.device, self._net.dtype)

    def first(self, count: int) -> Tensor:
        """Return the first inputs of the sample, (n, c, h, w), those that can be read."""
        parts, n = [], 0
        for _, inputs in self.batches(min(count, 16)):
            parts.append(inputs[: count - n])
            n += len(parts[-1])
            if n >= count:
                break
        if not parts:
            raise BadInputError("none of the images can be read")
        return torch.cat(parts)


def turned_out(images: Tensor) -> Tensor:
    """Return images (n, c, h, w) of which the middle lies at the border and the border in the middle.

    Each keeps one half of its rows and one half of its columns and is completed by their mirror image, so there is no
    seam. Whatever images tend to have at their edges lies in the middle of these.

    Example:
        >>> turned_out(torch.arange(4.0).reshape(1, 1, 1, 4))[0, 0, 0].tolist()
        [1.0, 0.0, 0.0, 1.0]
    """
    found = torch.empty_like(images)
    for i, image in enumerate(images):
        # image by image another of the four corners
        rows = _turned(image.shape[1], bool(i & 2)).to(image.device)
        cols = _turned(image.shape[2], bool(i & 1)).to(image.device)
        found[i] = image[:, rows][:, :, cols]
    return found


def _turned(length: int, keeps_end: bool) -> Tensor:
    """Return which row lies at each place: from the middle to one end, and back."""
    out = torch.arange(length // 2, length) if keeps_end else torch.arange((length + 1) // 2 - 1, -1, -1)
    return torch.cat([out, out.flip(0)])[:length] if length > 1 else torch.zeros(1, dtype=torch.long)
