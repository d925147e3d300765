"""Preprocessing by a Python function: the transforms that a network was trained with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backlight.errors import BadInputError, ImageError
from backlight.images.decode import ImageLike, decode
from backlight.images.deep import DeepPicture, Picture
from backlight.images.function_calls import (
    LONGEST_DESCRIPTION,
    called,
    described,
    fingerprint_of,
    normalising,
    tried,
)
from backlight.images.preprocessing import Preprocessing
from backlight.text import shortened

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

INPUT = "backlight: input"
"""In a picture's `info`: the tensor that the function made, as an array (c, h, w)."""

_MODES = {"RGB": 3, "L": 1}
_TRIED = ((300, 420), (420, 300))
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SLACK = 0.02
_KEYS = {"function", "fingerprint", "mode", "crop", "mean", "std"}


@final
@dataclass(frozen=True)
class FunctionPreprocessing(Preprocessing):
    """A preprocessing that is a function: picture to normalised tensor (c, h, w) of floats, c being 1 or 3.

    Made by `FunctionPreprocessing.of`, or by `capture(model, preprocessing=function)`. The picture that is shown is the
    tensor with mean and standard deviation undone, in 8 bits. An atlas cannot hold a function: it holds what tells one
    from another, and whoever reads it can show the atlas, but not preprocess more pictures.

    Attributes:
        description: The function in words: its `repr`, or its name.
        fingerprint: Hash of what it makes of two fixed pictures; a build is not resumed with another function.
        mode: The mode of the pictures that it is given: "RGB" or "L", of 8 bits.
        function: The function; None where this was read from an atlas.
    """

    description: str = ""
    fingerprint: str = ""
    mode: str = "RGB"
    function: Callable[[Image.Image], Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        function: Callable[[Image.Image], Any],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        mode: str = "RGB",
    ) -> FunctionPreprocessing:
        """Return a function as a preprocessing; it is called on two pictures, twice each.

        Args:
            function: Gives the tensor (c, h, w) of a Pillow image, always of one size and without anything random.
            mean: What it subtracts from each channel of the values in 0..1; None looks for a Normalize in it.
            std: What it then divides by; None likewise.
            mode: Which pictures it takes: "RGB" or "L".

        Raises:
            BadInputError: It gives something else, gives different results, or values that no Normalize was found for.

        Example:
            >>> from torchvision.transforms import v2
            >>> import torch
            >>> steps = [v2.Resize(40), v2.CenterCrop(32), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
            >>> FunctionPreprocessing.of(v2.Compose(steps)).crop
            (32, 32)
        """
        if mode not in _MODES:
            raise BadInputError(f"mode is 'RGB' or 'L', not {mode!r}")
        name = described(function)
        tensors = [tried(function, size, mode, name) for size in _TRIED]
        shapes = ["x".join(map(str, own.shape)) for own in tensors]
        if shapes[0] != shapes[1]:
            raise BadInputError(
                f"{name} gives {shapes[0]} of a wide picture and {shapes[1]} of a high one, and a network takes one "
                "size; crop them, with CenterCrop for example"
            )
        channels, height, width = tensors[0].shape
        found = normalising(function, channels)
        means = tuple(map(float, mean if mean is not None else found[0]))
        stds = tuple(map(float, std if std is not None else found[1]))
        made = cls(
            None, (height, width), means, stds,
            description=name, fingerprint=fingerprint_of(tensors), mode=mode, function=function,
        )  # fmt: skip
        made._check_values(tensors)
        return made

    def picture(self, image: ImageLike) -> Picture:
        """Return what the network sees of a picture, in 8 bits; see `Preprocessing.picture`.

        Raises:
            BadInputError: There is no function, as in an atlas.
            ImageError: The image cannot be read, or the function fails or gives another size.
        """
        self.check_usable()
        decoded = decode(image, _MODES[self.mode])
        given = decoded.convert(self.mode) if isinstance(decoded, DeepPicture) else decoded
        try:
            tensor = called(self.function, given)
        except BadInputError as error:
            raise ImageError(str(error)) from error
        if tensor.shape != (self.channels, *self.crop):
            raise ImageError(
                f"the function gave {'x'.join(map(str, tensor.shape))} of a picture of {given.height} x {given.width}, "
                f"and {self.channels}x{self.crop[0]}x{self.crop[1]} of others"
            )
        values = np.clip(self._undone(tensor), 0, 1)
        levels = np.rint(values * 255).astype(np.uint8)
        shown = Image.fromarray(
            levels[0] if self.channels == 1 else np.ascontiguousarray(np.moveaxis(levels, 0, 2))
        )
        shown.info = {INPUT: tensor}
        return shown

    def normalise(self, pictures: Sequence[Picture]) -> Float[Tensor, "n c h w"]:
        """Return the tensors that the function made of pictures that `picture` has given, float32.

        Raises:
            BadInputError: A picture that `picture` did not give.
        """
        import torch

        found: list[Any] = [getattr(own, "info", {}).get(INPUT) for own in pictures]
        shape = (self.channels, *self.crop)
        if any(own is None or own.shape != shape for own in found):
            raise BadInputError("a picture was not made by this preprocessing; make it with its `picture`")
        if not found:
            return torch.empty((0, *shape), dtype=torch.float32)
        return torch.from_numpy(np.stack(found))

    def check_usable(self) -> None:
        """Raise `BadInputError` where the function is not known: this came out of an atlas."""
        if self.function is None:
            raise BadInputError(
                f"this atlas was built with a Python function as its preprocessing ({self.description}), which a file "
                "cannot hold; run the study from Python, on a network captured with that function"
            )

    def with_size(self, size: int | tuple[int, int]) -> Preprocessing:
        """Raise `BadInputError`: what a function crops is its own.

        Raises:
            BadInputError: Always.
        """
        raise BadInputError(f"the size that {self.description} gives is its own; change it there")

    def to_dict(self) -> dict[str, Any]:
        """Return what tells the function from others as plain JSON values; `preprocessing_from_dict` reads it back."""
        return {
            "function": self.description, "fingerprint": self.fingerprint, "mode": self.mode,
            "crop": list(self.crop), "mean": list(self.mean), "std": list(self.std),
        }  # fmt: skip

    def _undone(self, tensor: NDArray[np.float32]) -> NDArray[np.float64]:
        # one number a channel, against (c, h, w)
        mean, std = (np.reshape(own, (-1, 1, 1)) for own in (self.mean, self.std))
        undone: NDArray[np.float64] = tensor.astype(np.float64) * std + mean
        return undone

    def _check_values(self, tensors: Sequence[NDArray[np.float32]]) -> None:
        values = [self._undone(own) for own in tensors]
        low, high = min(own.min() for own in values), max(own.max() for own in values)
        if not (low >= -_SLACK and high <= 1 + _SLACK):
            raise BadInputError(
                f"{self.description} gives values that, with mean {_numbers(self.mean)} and deviation "
                f"{_numbers(self.std)} undone, lie in {low:.3g} to {high:.3g} instead of 0 to 1; say what it subtracts "
                "and divides by: FunctionPreprocessing.of(function, mean=(...), std=(...))"
            )


def preprocessing_from_dict(values: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that `to_dict` of either kind wrote; of a function, without the function.

    Raises:
        BadInputError: A field is missing, unknown or of the wrong kind.
    """
    if "function" not in values:
        return Preprocessing.from_dict(values)
    name, found, mode = (str(values.get(key)) for key in ("function", "fingerprint", "mode"))
    is_known = set(values) == _KEYS and mode in _MODES and _DIGEST.fullmatch(found) is not None
    if not is_known or len(name) > LONGEST_DESCRIPTION or not name.isprintable():
        raise BadInputError(
            f"not the values of a preprocessing by a function: {shortened(repr(dict(values)), 200)}"
        )
    crop, mean, std = (tuple(values[key]) for key in ("crop", "mean", "std"))
    try:
        return FunctionPreprocessing(None, crop, mean, std, description=name, fingerprint=found, mode=mode)
    except TypeError as error:
        raise BadInputError(f"not the values of a preprocessing: {dict(values)!r} ({error})") from error


def preprocessing_of(given: Any) -> Preprocessing:
    """Return a preprocessing of whatever says how pictures become inputs.

    Args:
        given: A `Preprocessing`; transforms of torchvision's weights; an image processor of transformers; or a function
            from a Pillow image to a tensor.

    Raises:
        BadInputError: It is none of these, or does what cannot be shown.
    """
    if isinstance(given, Preprocessing):
        return given
    if hasattr(given, "image_mean") and hasattr(given, "do_resize"):
        return Preprocessing.from_hf(given)
    if hasattr(given, "crop_size") and hasattr(given, "resize_size"):  # torchvision's preset
        try:
            return Preprocessing.from_torchvision(given)
        except BadInputError:
            pass  # one for other tasks is still a function
    if not callable(given):
        raise BadInputError(
            f"a preprocessing is a Preprocessing or a function from a picture to a tensor, got {type(given).__name__}"
        )
    return FunctionPreprocessing.of(given)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"
