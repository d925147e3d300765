"""What people hold in memory, taken apart: tensors, images with a label, what gives images one after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images.deep import DeepPicture

MOST_DRAINED_BYTES = 8 * 2**30
"""How much of a generator is kept in memory at most, counted as pixels."""

_IMAGE_KEYS = ("image", "img", "pixel_values")
_LABEL_KEYS = ("label", "labels", "fine_label", "class", "target")
_CHANNELS = (1, 2, 3, 4)
# Of a picture of 8 bits, 255 times a value is a whole number, but for the rounding of float32.
_ROUNDING = 1e-4


@runtime_checkable
class TensorLike(Protocol):
    """A tensor of PyTorch, which this room does not import where it need not."""

    def detach(self) -> Any:
        """Return it without its gradient."""

    def cpu(self) -> Any:
        """Return it in the memory of the processor."""

    def dim(self) -> int:
        """Return its number of dimensions."""


@runtime_checkable
class MapStyle(Protocol):
    """What gives item i for `[i]` and knows how many there are, as a torch Dataset does."""

    def __len__(self) -> int:
        """Number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return an item."""


Items: TypeAlias = Iterable[Any] | MapStyle
"""Several images, or pairs of an image and its label: a sequence, a generator, a torch Dataset."""


class Item(NamedTuple):
    """One image and its label, as they were given; None where there is none."""

    image: Any
    label: Any


def is_tensor(given: object) -> bool:
    """Return whether something is a tensor of PyTorch. Where PyTorch was never imported, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def is_picture(given: object) -> bool:
    """Return whether something is one picture in memory: Pillow's, an array (h, w, ...), a tensor (c, h, w) or (h, w).

    Example:
        >>> is_picture(Image.new("L", (2, 2))), is_picture(np.zeros((5, 2, 2, 3))), is_picture("a.png")
        (True, False, False)
    """
    if isinstance(given, np.ndarray):
        return given.ndim in (2, 3)
    if is_tensor(given):
        return given.dim() in (2, 3)  # type: ignore[attr-defined]
    return isinstance(given, Image.Image | DeepPicture)


def is_grey_stack(given: object) -> bool:
    """Return whether something is a stack of grey pictures, an array or a tensor (n, h, w), and not one picture.

    *Convention*: 1 to 4 are numbers of channels: an array with so many in its last axis is one picture (h, w, c), a
    tensor with so many in its first one is one picture (c, h, w).

    Raises:
        BadInputError: It may also be one picture with its channels first (an array) or last (a tensor).

    Example:
        >>> is_grey_stack(np.zeros((9, 28, 28))), is_grey_stack(np.zeros((28, 28, 3))), is_grey_stack(np.zeros((5, 5)))
        (True, False, False)
    """
    is_array = isinstance(given, np.ndarray)
    if not (is_array or is_tensor(given)) or len(given.shape) != 3:  # type: ignore[attr-defined]
        return False
    shape: tuple[int, ...] = tuple(given.shape)  # type: ignore[attr-defined]
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if last if is_array else first:
        return False
    if shape[0] == 1 or not (first or last):
        return True
    said = "x".join(map(str, shape))
    if is_array:
        raise BadInputError(
            f"an array of shape {said} may be one picture with its channels first, or {shape[0]} grey ones; "
            "numpy.moveaxis(array, 0, -1) makes it the one, array[..., None] the others"
        )
    raise BadInputError(
        f"a tensor of shape {said} may be one picture with its channels last, or {shape[0]} grey ones; "
        "tensor.permute(2, 0, 1) makes it the one, tensor[:, None] the others"
    )


def tensor_array(tensor: Any) -> NDArray[Any]:
    """Return a tensor (c, h, w) or (h, w) as an array (h, w, c) or (h, w).

    *Convention*: floats in 0..1 that are all whole multiples of 1/255, as torchvision's `ToTensor` makes them of a
    picture of 8 bits, are that picture again, so that it is resized exactly as its file would be.

    Raises:
        ImageError: Another shape, or floats of a picture that was normalised.
    """
    shape = "x".join(map(str, tensor.shape))
    if tensor.dim() not in (2, 3) or (tensor.dim() == 3 and tensor.shape[0] not in _CHANNELS):
        is_last = tensor.dim() == 3 and tensor.shape[2] in _CHANNELS
        hint = "; tensor.permute(2, 0, 1) puts the channels first" if is_last else ""
        raise ImageError(f"a tensor of shape {shape} is not a picture, (c, h, w) or (h, w){hint}")
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    array: NDArray[Any] = tensor.numpy()
    if array.dtype.kind == "f" and array.size:
        array = _scaled(array)
    return array if array.ndim == 2 else np.ascontiguousarray(np.moveaxis(array, 0, -1))


def _scaled(array: NDArray[Any]) -> NDArray[Any]:
    lowest, highest = float(array.min()), float(array.max())
    is_outside = lowest < -_ROUNDING or highest > 1 + _ROUNDING
    if is_outside and array.ndim == 3 and array.shape[0] == 3:
        raise ImageError(
            f"a tensor with values from {lowest:.3g} to {highest:.3g}: of a colour picture they lie in 0..1; give the "
            "pictures before Normalize, for the preprocessing of the network normalises them"
        )
    if is_outside or not np.isfinite(lowest + highest):
        return array  # what its range is, the preprocessing may say
    array = np.clip(array, 0, 1)
    levels = np.rint(array * 255)
    return levels.astype(np.uint8) if np.abs(array * 255 - levels).max() < _ROUNDING else array


def item_of(given: Any) -> Item:
    """Return the image and the label of an item of a Dataset, or of a sequence.

    Args:
        given: An image; (image, label, ...); or a mapping with `image`, and maybe `label`, as `datasets` gives it.

    Example:
        >>> item_of((Image.new("L", (2, 2)), 7)).label, item_of({"image": np.zeros((2, 2)), "label": 1}).label
        (7, 1)
    """
    if isinstance(given, Mapping):
        image = next((given[key] for key in _IMAGE_KEYS if key in given), given)
        return Item(image, next((given[key] for key in _LABEL_KEYS if key in given), None))
    if isinstance(given, tuple | list) and given:
        return Item(given[0], given[1] if len(given) > 1 else None)
    return Item(given, None)


def is_labelled(given: object) -> bool:
    """Return whether something is one picture in memory with its label, as `dataset[0]` gives them.

    Example:
        >>> picture = np.zeros((2, 2))
        >>> is_labelled((picture, 3)), is_labelled((picture, picture)), is_labelled(("a.png", "b.png"))
        (True, False, False)
    """
    if isinstance(given, Mapping):
        return is_picture(item_of(given).image)
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    return is_picture(given[0]) and (given[1] is None or _is_label(given[1]))


def _is_label(given: object) -> bool:
    is_number = is_tensor(given) and given.dim() == 0  # type: ignore[attr-defined]
    return is_number or isinstance(given, str | int | float | np.generic)


def label_text(label: Any, classes: Sequence[str] | None = None) -> str | None:
    """Return the name of a label; of a number, that of its class, where the classes have names.

    What is not one label (boxes, masks, several classes) is None.

    Example:
        >>> label_text(1, ["cat", "dog"]), label_text(7), label_text("owl"), label_text({"boxes": []})
        ('dog', '7', 'owl', None)
    """
    if label is None or not _is_label(label):
        return None
    value = label.item() if hasattr(label, "item") else label
    if isinstance(value, int) and classes is not None and 0 <= value < len(classes):
        return str(classes[value])
    return str(value)


def refuse_loader(given: object) -> None:
    """Raise `BadInputError` for a DataLoader: it may shuffle its images, and has made batches of them."""
    data = sys.modules.get("torch.utils.data")
    if data is not None and isinstance(given, data.DataLoader):
        raise BadInputError(
            "images are given one by one and in a fixed order, got a DataLoader; give its Dataset instead: "
            "loader.dataset"
        )


def is_map_style(given: object) -> bool:
    """Return whether something is read by index, as a torch Dataset is; not a sequence, nor a stream."""
    data = sys.modules.get("torch.utils.data")
    if data is not None and isinstance(given, data.IterableDataset):
        return False
    is_other = isinstance(given, Sequence | np.ndarray | Mapping | Image.Image | DeepPicture) or is_tensor(
        given
    )
    return not is_other and hasattr(type(given), "__len__") and hasattr(type(given), "__getitem__")


def drained(images: Iterable[Any]) -> list[Any]:
    """Return all that an iterator gives, kept in memory.

    Raises:
        BadInputError: It gives more than 8 GB of pixels, or has no end that fits into that.
    """
    found: list[Any] = []
    n_bytes = 0
    for own in images:
        n_bytes += _n_bytes(item_of(own).image)
        if n_bytes > MOST_DRAINED_BYTES:
            raise BadInputError(
                f"what a generator gives is kept in memory, and this one has given more than "
                f"{MOST_DRAINED_BYTES / 2**30:g} GB after {len(found)} images; give a Dataset or files instead"
            )
        found.append(own)
    return found


def _n_bytes(image: Any) -> int:
    if isinstance(image, Image.Image):
        return image.width * image.height * len(image.getbands())
    # an endless generator of paths or of anything else must end too
    return int(getattr(image, "nbytes", 1000))
