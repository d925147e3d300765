"""Images of a torch Dataset, and of whatever else is read by index: never copied into memory."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from backlight.errors import BacklightWarning, BadInputError, ImageError, tell
from backlight.images.decode import decode_unnamed
from backlight.images.deep import Picture
from backlight.images.held import is_picture, item_of, label_text
from backlight.images.sources import ImageRecord, check_id, digest, file_size, pixel_hash, storable
from backlight.text import one_line

N_HASHED = 256
"""How many images of a Dataset without files are hashed to know it again; all, where it has no more."""

N_READ_FOR_LABELS = 1000
"""Up to how many items a Dataset that does not list its labels is read once for them."""

_N_TRIED = 8
_SHAREABLE = ("torch.utils.data.", "torchvision.datasets.")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class _Known:
    """What a Dataset says of its items without reading one: their files and labels, each None where it does not.

    And the folder that all of its files are in, and the names of its classes in their order.
    """

    files: Sequence[str] | None = None
    labels: Sequence[str | None] | None = None
    root: str | None = None
    classes: tuple[str, ...] = ()

    def at(self, places: Sequence[int]) -> _Known:
        """Return what is known of a part of the items."""

        def chosen(given: Sequence[Any] | None) -> list[Any] | None:
            return None if given is None else [given[i] for i in places]

        return _Known(chosen(self.files), chosen(self.labels), self.root, self.classes)


@final
class MapSource:
    """The images of a Dataset, in its order: each is read when it is asked for.

    An item is an image, (image, label), or a mapping with `image` and `label`. Files and labels are those that the
    Dataset lists: `samples` and `targets`, as torchvision's do, of a Subset or ConcatDataset those of its parts. One of
    up to 1000 items that does not list its labels is read once for them. A number is named by `classes`.

    *Convention*: one thread at a time reads, for few Datasets are made for several; those of torch and torchvision are.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> import torch
        >>> MapSource(TensorDataset(torch.rand(5, 3, 8, 8), torch.arange(5))).records[4]
        ImageRecord(id=4, path='image 4', label='4')
    """

    def __init__(self, dataset: Any) -> None:
        """Read a few items, twice each, to see that they are images and stay the same.

        Raises:
            BadInputError: No items, items that are no pictures, that are normalised already, or that are others each
                time they are read.
        """
        if len(dataset) == 0:
            raise BadInputError(
                f"the {type(dataset).__name__} given as images has no items; give at least one"
            )
        self._dataset, self._lock = dataset, threading.Lock()
        self._known = _known(dataset)
        self._is_shareable = all(type(own).__module__.startswith(_SHAREABLE) for own in _within(dataset))
        self.class_names = self._known.classes
        self.name = self._known.root or type(dataset).__name__
        self._check()
        paths = _below(self._known) or [f"image {i}" for i in range(len(dataset))]
        labels = self._labels()
        self.records = tuple(
            ImageRecord(i, storable(path), label)
            for i, (path, label) in enumerate(zip(paths, labels, strict=True))
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock."""
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def load(self, image_id: int) -> Picture:
        """Return the decoded image; see `ImageSource.load`."""
        check_id(image_id, self)
        return decode_unnamed(item_of(self._item(image_id)).image)

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of the files that the Dataset lists, and of its transforms.

        Of a Dataset that lists none, it is a hash of its class, its length and the pixels of 256 images, evenly spread:
        a change of others is not noticed.
        """
        known = f"{type(self._dataset).__name__} {_transforms(self._dataset)}"
        if self._known.files is not None:
            files = zip(self.records, self._known.files, strict=True)
            entries = [(record.path, file_size(Path(file))) for record, file in files]
            return digest(entries if not _transforms(self._dataset) else [(known, -1), *entries])
        hashed = [(self._hash(i), i) for i in self._spread(N_HASHED)]
        return digest([(known, len(self)), *hashed])

    def _item(self, index: int) -> Any:
        try:
            if self._is_shareable:
                return self._dataset[index]
            with self._lock:
                return self._dataset[index]
        except MemoryError:
            raise
        # A Dataset is the user's own code, or reads damaged files: it may raise anything.
        except Exception as error:
            raise ImageError(
                f"the Dataset cannot give it: {type(error).__name__}: {one_line(error)}"
            ) from error

    def _hash(self, index: int) -> str:
        try:
            return pixel_hash(item_of(self._item(index)).image)
        except ImageError as error:
            return str(error)

    def _spread(self, count: int) -> list[int]:
        n = len(self._dataset)
        return sorted({int(i) for i in np.linspace(0, n - 1, min(n, count))})

    def _check(self) -> None:
        what = f"the {type(self._dataset).__name__} given as images"
        if (normalise := _normalising(self._dataset)) is not None:
            raise BadInputError(
                f"{what} normalises its pictures ({normalise}), which the preprocessing of the network does; leave "
                "Normalize out of its transform"
            )
        for index in self._spread(_N_TRIED):
            try:
                item = item_of(self._item(index))
            except ImageError:
                continue  # skipped when it is loaded, with its reason
            if not (is_picture(item.image) or isinstance(item.image, str | Path)):
                raise BadInputError(
                    f"item {index} of {what} is a {type(item.image).__name__}; an item is an image, (image, label), "
                    "or a mapping with 'image'"
                )
            refuse_normalised(item.image, what)
            if self._hash(index) != self._hash(index):
                raise BadInputError(
                    f"{what} gives another picture each time it is read; leave random transforms out of it"
                )

    def _labels(self) -> Sequence[str | None]:
        """Return the label of each item: as the Dataset lists them, else, of a small one, as its items have them."""
        n = len(self._dataset)
        if self._known.labels is not None:
            return self._known.labels
        if self._label(0) is None:
            return [None] * n
        if n <= N_READ_FOR_LABELS:
            return [self._label(i) for i in range(n)]
        tell(
            BacklightWarning(
                f"the {type(self._dataset).__name__} given as images does not list its labels, and reading all {n} "
                "items for them would take long, so they are not kept; give it a list of them, one for each item, as "
                "its attribute `targets`"
            )
        )
        return [None] * n

    def _label(self, index: int) -> str | None:
        try:
            return label_text(item_of(self._item(index)).label, self.class_names)
        except ImageError:
            return None


def refuse_normalised(image: Any, what: str) -> None:
    """Raise `BadInputError` for a colour picture whose values cannot be those of one: it has been normalised."""
    try:
        decode_unnamed(image)
    except ImageError as error:
        if "before Normalize" in str(error):
            raise BadInputError(f"{what}: {error}") from error


def _known(dataset: Any) -> _Known:
    """Return what a Dataset lists of its items; lists of another length are something else."""
    parts = getattr(dataset, "datasets", None)
    if parts is not None and hasattr(dataset, "cumulative_sizes"):  # a ConcatDataset
        every = [_known(part) for part in parts]
        roots = {os.path.abspath(own.root) for own in every if own.root is not None}  # noqa: PTH100  (as commonpath)
        root = os.path.commonpath(roots) if roots else None
        files, labels = _joined([own.files for own in every]), _joined([own.labels for own in every])
        same = every[0].classes if len({own.classes for own in every}) == 1 else ()
        return _Known(files, labels, root, same)
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):  # a Subset
        return _known(dataset.dataset).at([int(i) for i in dataset.indices])
    n = len(dataset)
    pairs: Any = getattr(dataset, "samples", None)
    is_listed = isinstance(pairs, Sequence) and len(pairs) == n and _is_file_pair(pairs[0])
    files = [str(pair[0]) for pair in pairs] if is_listed else None
    root = getattr(dataset, "root", None)
    top = str(root) if files and isinstance(root, str | Path) else None
    classes = _classes(dataset)
    return _Known(files, _labels(dataset, n, classes), top, classes)


def _classes(dataset: Any) -> tuple[str, ...]:
    """Return the names of a Dataset's classes, in the order of their numbers; none where it does not say them."""
    features = getattr(dataset, "features", None)
    if isinstance(features, dict) and "label" in features:  # a table of Hugging Face
        return tuple(getattr(features["label"], "names", None) or ())
    found = getattr(dataset, "classes", None)
    return tuple(map(str, found)) if isinstance(found, Sequence) and not isinstance(found, str) else ()


def _labels(dataset: Any, n: int, classes: Sequence[str]) -> list[str | None] | None:
    tensors = getattr(dataset, "tensors", None)
    given: Any = [getattr(dataset, key, None) for key in ("targets", "labels", "_labels")]
    given += [tensors[1]] if isinstance(tensors, tuple) and len(tensors) > 1 else []
    features = getattr(dataset, "features", None)
    if isinstance(features, dict) and "label" in features:
        given = [dataset["label"]]
    found = next(
        (own for own in given if own is not None and hasattr(own, "__len__") and len(own) == n), None
    )
    if found is None:
        return None
    change = getattr(dataset, "target_transform", None) or (lambda label: label)
    return [label_text(change(label), classes) for label in found]


def _is_file_pair(pair: Any) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str | Path)


def _joined(parts: Sequence[Sequence[Any] | None]) -> list[Any] | None:
    if None in parts:
        return None
    return [own for part in parts if part is not None for own in part]


def _within(dataset: Any) -> list[Any]:
    """Return a Dataset and those that it is made of."""
    parts: Any = getattr(dataset, "datasets", None) or ()
    inner = [getattr(dataset, "dataset", None), *parts]
    return [dataset, *(own for part in inner if part is not None for own in _within(part))]


def _transforms(dataset: Any) -> str:
    """Return the transforms of a Dataset in words, the same from run to run; "" without any."""
    found = [getattr(own, "transform", None) for own in _within(dataset)]
    return _ADDRESS.sub("", " ".join(repr(own) for own in found if own is not None))


def _normalising(dataset: Any) -> str | None:
    """Return the Normalize among the transforms of a Dataset, as it is written there."""
    named = re.search(r"\bNormalize\([^\n]{0,60}", _transforms(dataset))
    return None if named is None else named[0].rstrip(" ,")


def _below(known: _Known) -> list[str] | None:
    """Return the files of a Dataset relative to its folder, "/" between parts: as where the folder itself is opened."""
    if known.files is None:
        return None
    top = known.root or ""
    return [Path(os.path.relpath(file, top) if top else file).as_posix() for file in known.files]
