"""How a picture becomes what a network sees: resize, centre crop, normalise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import floor, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from backlight.errors import BadInputError
from backlight.images.decode import ImageLike, decode
from backlight.images.deep import DeepPicture, Picture, ValueRange
from backlight.images.framing import INTERPOLATIONS, Resize, centre_box, resized, resized_size
from backlight.images.limits import check_resized, check_size, checked_range
from backlight.images.ranges import RangeWatch
from backlight.images.recipes import HF_TOLERANCE, hf_difference, hf_recipe, timm_recipe, torchvision_recipe

# PyTorch takes seconds to import, and an atlas describes its preprocessing to readers without it.
if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_OF_8_BITS = (0, 255)
_LEAST_STD = 1e-45  # the smallest number above 0 that float32 knows, nearly
_MAY_BE_MISSING = {"interpolation", "range"}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a picture before a network sees it.

    Attributes:
        resize: An int is the new length of the short side, the long side following in proportion, rounded
            down; (h, w) is the exact new size; None leaves the picture as it is.
        crop: Height and width of the centre crop: what the network sees.
        mean: Subtracted from each channel of the values in [0, 1]; 1 number for grey, 3 for RGB.
        std: Divides each channel afterwards.
        interpolation: As torchvision's `InterpolationMode` spells it, always antialiased, as Pillow does it.
        range: (LOW, HIGH), the stored values that become 0 (black) and 1 (white) before the mean is subtracted; what
            lies outside is clipped, and a warning says so. None takes 0..255 for 8 bits, 0..65535 for integers of more
            (16-bit PNG and TIFF), 0..1 for floats, and refuses what lies outside. Data of 12 bits stored in 16 need
            (0, 4095).

    Raises:
        BadInputError: A size below 1, a deviation that is not positive, not 1 or 3 channels, an unknown
            interpolation, a range whose LOW is not below its HIGH.

    Convention:
        As torchvision's `center_crop`: a picture smaller than the crop is padded with black, the odd pixel of
        padding at the bottom and right; of an odd margin, half is rounded to even.

    Example:
        >>> Preprocessing(256, (224, 224), (0.5,), (0.25,)).tensor(Image.new("RGB", (640, 480))).shape
        torch.Size([1, 224, 224])
    """

    resize: Resize
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    range: ValueRange | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and not isinstance(self.resize, int):
            check_size("resize", self.resize)
        elif self.resize is not None and self.resize < 1:
            raise BadInputError(f"resize must be at least 1 pixel, (h, w) or None, not {self.resize!r}")
        check_size("crop", self.crop)
        if not len(self.mean) == len(self.std) in (1, 3):
            raise BadInputError(
                f"mean and std need one number for each channel, 1 (grey) or 3 (RGB): "
                f"got {len(self.mean)} in mean, {len(self.std)} in std"
            )
        if not all(isfinite(value) for value in self.mean):
            raise BadInputError(f"mean must be finite, not {self.mean!r}")
        if not all(isfinite(value) and value >= _LEAST_STD for value in self.std):
            raise BadInputError(f"std must be finite and above 0, not {self.std!r}")
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise BadInputError(f"unknown interpolation {self.interpolation!r}; known are {known}")
        if self.range is not None:
            # As floats, so that (0, 4095) and (0.0, 4095.0) are one preprocessing in an atlas.
            object.__setattr__(self, "range", checked_range(self.range))

    @property
    def channels(self) -> int:
        """Number of channels of the tensor: 1 or 3."""
        return len(self.mean)

    def picture(self, image: ImageLike) -> Picture:
        """Return the picture, resized and cropped, that the network sees: for `normalise` and for cutting patches.

        Args:
            image: Anything that `decode` reads.

        Returns:
            A picture of size `crop`: 8-bit "RGB" or "L", or a `DeepPicture` of values in 0..1 where the image has more
            bits or a range is given. `.convert("RGB")` gives either as people see it, with the contrast of the range.

        Raises:
            ImageError: The image cannot be read, holds values outside of the range that is assumed where none is
                given, or is so narrow that, resized, it would exceed Pillow's limit on pixels.
        """
        picture = decode(image, self.channels)
        size = resized_size((picture.height, picture.width), self.resize)
        if self.resize is not None:
            check_resized(picture, size)
        if isinstance(picture, Image.Image) and self.range in (None, _OF_8_BITS):
            shown = resized(picture, size, self.interpolation)
            top, left = centre_box(size, self.crop)
            # Pillow gives black for what a box has outside of the image.
            return shown.crop((left, top, left + self.crop[1], top + self.crop[0]))
        stored = picture if isinstance(picture, DeepPicture) else DeepPicture(np.asarray(picture), _OF_8_BITS)
        deep = stored.ranged(self.range)
        return (deep if self.resize is None else deep.resized(size, self.interpolation)).centred(self.crop)

    def pictures(self, images: Sequence[ImageLike], tells: bool = True) -> list[Picture]:
        """Return what `picture` gives for several images.

        Args:
            images: Each anything that `decode` reads.
            tells: Whether a `RangeWarning` says where they use little of the range, leave it or lose bits.

        Raises:
            ImageError: As for `picture`, for the first image that cannot be read.
        """
        found = [self.picture(image) for image in images]
        if tells:
            RangeWatch().see(found)
        return found

    def tensor(self, image: ImageLike) -> Float[Tensor, "c h w"]:
        """Return the normalised float32 tensor of one image, as the network takes it.

        Args:
            image: Anything that `decode` reads.

        Raises:
            ImageError: As for `picture`.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[ImageLike], tells: bool = True) -> Float[Tensor, "n c h w"]:
        """Return the normalised float32 tensor of several images; n is 0 for none.

        Args:
            images: Each anything that `decode` reads.
            tells: As for `pictures`.

        Raises:
            ImageError: As for `picture`, for the first image that cannot be read.
        """
        return self.normalise(self.pictures(images, tells))

    def normalise(self, pictures: Sequence[Picture]) -> Float[Tensor, "n c h w"]:
        """Return the tensor of pictures that `picture` has given: ([0, 1] - mean) / std, float32.

        Raises:
            BadInputError: A picture whose size or mode is not what `picture` gives.
        """
        for picture in pictures:
            self._check_seen(picture)
        from backlight.images.tensors import normalised

        return normalised(pictures, self.crop, self.mean, self.std)

    def _check_seen(self, picture: Picture) -> None:
        mode = "L" if self.channels == 1 else "RGB"
        if isinstance(picture, Image.Image):
            its_mode = picture.mode
        elif picture.observed is None or (self.channels == 1 and picture.values.ndim == 3):
            its_mode = "as stored"
        else:
            its_mode = mode
        found = (picture.height, picture.width, its_mode)
        if found != (*self.crop, mode):
            raise BadInputError(
                f"a picture of (h, w, mode) {found} is not the {(*self.crop, mode)} that the "
                "network sees; make it with Preprocessing.picture"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, without a range where there is none; `from_dict` reads them back."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key != "range" or value is not None
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing that `to_dict` wrote.

        Raises:
            BadInputError: A field is missing, unknown or of the wrong kind.
        """
        names = {field.name for field in fields(cls)}
        wrong = names - _MAY_BE_MISSING - set(values) or set(values) - names
        if wrong:
            raise BadInputError(
                f"a preprocessing has the fields {', '.join(sorted(names))}; "
                f"missing or unknown: {', '.join(sorted(map(repr, wrong)))}"
            )
        own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            return cls(**own)
        except TypeError as error:
            raise BadInputError(f"not the values of a preprocessing: {dict(values)!r} ({error})") from error

    @classmethod
    def from_torchvision(cls, weights: Any) -> Preprocessing:
        """Return what torchvision does to a Pillow image for these weights, bit for bit.

        Args:
            weights: A member of a weights enum (`SqueezeNet1_1_Weights.DEFAULT`), its `transforms`, or the
                `ImageClassification` preset that calling those gives.

        Raises:
            BadInputError: It is not the preset for image classification.

        Convention:
            A preset with `antialias=False` is antialiased too: so does torchvision with Pillow images.
        """
        return cls(*torchvision_recipe(weights))

    @classmethod
    def from_timm(cls, model_or_cfg: Any) -> Preprocessing:
        """Return what timm's evaluation transform does to a Pillow image for this model, bit for bit.

        Args:
            model_or_cfg: A model of timm, its `pretrained_cfg`, or what `timm.data.resolve_model_data_config` gives;
                what is missing or None takes timm's own default.

        Raises:
            BadInputError: A crop mode other than "center" and "squash", or "center" with an input that is not
                square: timm's resize is then not one of the short side.
        """
        return cls(*timm_recipe(model_or_cfg))

    @classmethod
    def from_hf(cls, processor: Any) -> Preprocessing:
        """Return what an image processor of transformers does to a picture.

        Args:
            processor: An image processor, as `AutoImageProcessor.from_pretrained` gives it.

        Raises:
            BadInputError: It does something that a `Preprocessing` cannot: pads, scales to other values than 0..1,
                gives pictures of several sizes. The result is compared with the processor's own on a picture.

        Convention:
            Pillow resizes, as the processors of the backend "pil" do; those of torchvision differ from it by rounding,
            by a level or two of 255. Of an odd margin around the crop, a processor rounds half down: its crop may lie a
            row or a column further up or left.
        """
        made = cls(*hf_recipe(processor))
        found = hf_difference(processor, made.tensor, made.std)
        if found > HF_TOLERANCE:
            raise BadInputError(
                f"{type(processor).__name__} does more to a picture than resize, crop and normalise: on a test picture "
                f"the result differs by {found * 255:.0f} of 255 levels; give it as a function, "
                'preprocessing=lambda image: processor(image, return_tensors="pt")["pixel_values"][0]'
            )
        return made

    @classmethod
    def imagenet(cls, size: int | tuple[int, int] = 224) -> Preprocessing:
        """Return what most networks for ImageNet were trained with: 224 cut from 256, ImageNet's mean and deviation.

        Args:
            size: Input of the network in pixels: an int for a square, or (h, w); the margin stays in proportion.

        Example:
            >>> Preprocessing.imagenet(112).resize
            128
        """
        return cls(256, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).with_size(size)

    def with_size(self, size: int | tuple[int, int]) -> Preprocessing:
        """Return the same for another size of the input: what the crop leaves out stays in proportion.

        Args:
            size: An int for a square, or (h, w).

        Convention:
            The new resize is rounded; that of the short side is in proportion to the shorter sides of the crops.

        Example:
            >>> Preprocessing(256, (224, 224), (0.5,), (0.25,)).with_size(112).resize
            128
        """
        crop = (size, size) if isinstance(size, int) else size
        check_size("size", crop)
        resize = self.resize
        if isinstance(resize, int):
            resize = max(1, round(resize * min(crop) / min(self.crop)))
        elif resize is not None:
            high, wide = (
                max(1, round(old * new / own)) for old, new, own in zip(resize, crop, self.crop, strict=True)
            )
            resize = high, wide
        return replace(self, resize=resize, crop=crop)

    @classmethod
    def default(cls, channels: int, size: int | tuple[int, int]) -> Preprocessing:
        """Return a preprocessing for a network of which only the input is known: values in [0, 1], no more.

        Args:
            channels: 1 (grey) or 3 (RGB).
            size: Input of the network in pixels: an int for a square, or (h, w).

        Raises:
            BadInputError: The sizes or the number of channels cannot be.

        Convention:
            The short side becomes the longer side of `size` / 0.875, rounded down: 224 is cut from 256.

        Example:
            >>> Preprocessing.default(3, 224).resize
            256
        """
        crop = (size, size) if isinstance(size, int) else size
        check_size("size", crop)
        return cls(floor(max(crop) / 0.875), crop, (0.0,) * channels, (1.0,) * channels)
